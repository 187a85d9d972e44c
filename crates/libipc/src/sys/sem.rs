//! System V semaphores: semget(2), semctl(2).

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// semget(2).
pub(crate) fn get(key: i32, count: i32, flags: c_int) -> nix::Result<i32> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::semget(key, count, flags) })
}

/// semctl(2) with IPC_RMID.
pub(crate) fn remove(id: i32) -> nix::Result<()> {
    // SAFETY: IPC_RMID takes no fourth argument.
    Errno::result(unsafe { libc::semctl(id, 0, libc::IPC_RMID) }).map(drop)
}
