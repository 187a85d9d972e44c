//! System V semaphores: semget(2), semctl(2), semop(2).

use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, SEM_INFO, c_int, c_ushort, sembuf, semid_ds, size_t, timespec};

use super::alloc;

// The libc crate lacks it.
unsafe extern "C" {
    fn semtimedop(id: c_int, ops: *mut sembuf, count: size_t, timeout: *const timespec) -> c_int;
}

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

/// semctl(2) with IPC_SET: owner, group and mode of `stat` become the set's.
pub(crate) fn set(id: i32, mut stat: semid_ds) -> nix::Result<()> {
    // SAFETY: `stat` is a valid structure; the kernel only reads it.
    Errno::result(unsafe { libc::semctl(id, 0, super::IPC_SET, &raw mut stat) }).map(drop)
}

/// semctl(2) with IPC_STAT, or with SEM_STAT_ANY, whose argument is an index into
/// the kernel's table and whose value is the identifier found there.
pub(crate) fn stat(id_or_index: i32, command: c_int) -> nix::Result<(i32, semid_ds)> {
    let mut stat = MaybeUninit::<semid_ds>::zeroed();
    // SAFETY: `stat` is valid to be written, and large enough for both commands.
    let id = Errno::result(unsafe { libc::semctl(id_or_index, 0, command, stat.as_mut_ptr()) })?;
    // SAFETY: the call succeeded and has filled it.
    Ok((id, unsafe { stat.assume_init() }))
}

/// The same for an identifier, without permission if the kernel can.
pub(crate) fn stat_any(id: i32) -> nix::Result<semid_ds> {
    super::stat_any(id, libc::SEM_STAT_ANY, stat)
}

/// How many sets and how many semaphores there are: semctl(2), SEM_INFO.
pub(crate) fn totals() -> nix::Result<(u64, u64)> {
    let mut info = MaybeUninit::<libc::seminfo>::zeroed();
    // SAFETY: `info` is valid to be written, and what the command fills.
    Errno::result(unsafe { libc::semctl(0, 0, SEM_INFO, info.as_mut_ptr()) })?;
    // SAFETY: the call succeeded and has filled it.
    let info = unsafe { info.assume_init() };
    Ok((info.semusz.unsigned_abs().into(), info.semaem.unsigned_abs().into()))
}

/// semctl(2) with a command that tells one number of one semaphore: GETNCNT,
/// GETZCNT, GETPID.
pub(crate) fn number(id: i32, element: usize, command: c_int) -> nix::Result<i32> {
    // SAFETY: takes integers only, and none after the command.
    Errno::result(unsafe { libc::semctl(id, element as c_int, command) })
}

/// Room for the values of any set: an element's number has 16 bits, whatever
/// kernel.sem allows. An identifier may be used again, for another set, between
/// a look at it and a call that reads or writes all of its values.
const LARGEST: usize = 1 << 16;

/// semctl(2) with GETALL: the first `count` values of the set.
pub(crate) fn values(id: i32, count: usize) -> nix::Result<Vec<c_ushort>> {
    let mut values = Vec::new();
    alloc::grow(&mut values, LARGEST)?;
    // SAFETY: the kernel writes as many values as the set that the identifier
    // means now has semaphores, for which there is room.
    Errno::result(unsafe { libc::semctl(id, 0, libc::GETALL, values.as_mut_ptr()) })?;
    values.truncate(count);
    Ok(values)
}

/// semctl(2) with SETALL. A set that has more semaphores gets zeroes for them.
pub(crate) fn set_values(id: i32, values: &[c_ushort]) -> nix::Result<()> {
    let mut all = Vec::new();
    alloc::grow(&mut all, LARGEST)?;
    let count = values.len().min(LARGEST);
    all[..count].copy_from_slice(&values[..count]);
    // SAFETY: the kernel reads as many values as the set that the identifier
    // means now has semaphores, and there are as many.
    Errno::result(unsafe { libc::semctl(id, 0, libc::SETALL, all.as_ptr()) }).map(drop)
}

/// semctl(2) with SETVAL: the value of one semaphore.
pub(crate) fn set_value(id: i32, element: u16, value: c_int) -> nix::Result<()> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::semctl(id, element.into(), libc::SETVAL, value) }).map(drop)
}

/// semtimedop(2); without a timeout it is semop(2).
pub(crate) fn operate(id: i32, ops: &mut [sembuf], timeout: Option<Duration>) -> nix::Result<()> {
    let timeout = timeout.map(super::timespec);
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the operations and the timeout live through the call.
    Errno::result(unsafe { semtimedop(id, ops.as_mut_ptr(), ops.len(), timeout) }).map(drop)
}
