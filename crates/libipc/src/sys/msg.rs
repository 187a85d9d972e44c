//! System V message queues: msgget(2), msgctl(2).

use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// msgget(2).
pub(crate) fn get(key: i32, flags: c_int) -> nix::Result<i32> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::msgget(key, flags) })
}

/// msgctl(2) with IPC_RMID.
pub(crate) fn remove(id: i32) -> nix::Result<()> {
    // SAFETY: IPC_RMID does not use the third argument.
    Errno::result(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}
