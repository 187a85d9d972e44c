//! The only unsafe code: thin wrappers of the calls that nix lacks, one call
//! an unsafe block, each with its reason.
#![allow(unsafe_code)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("libipc knows the kernel structures and the semaphores of 64-bit Linux alone");

pub(crate) mod alloc;
pub(crate) mod futex;
pub(crate) mod guard;
pub(crate) mod interrupt;
pub(crate) mod lease;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod mq;
pub(crate) mod msg;
pub(crate) mod namespace;
pub(crate) mod pattern;
pub(crate) mod process;
pub(crate) mod pthread;
pub(crate) mod sem;
pub(crate) mod shm;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod start;
pub(crate) mod statx;
pub(crate) mod terminal;
pub(crate) mod ticker;
pub(crate) mod xattr;

/// Commands of shmctl(2) and ipc(2) that the libc crate leaves out; linux/ipc.h
/// and linux/shm.h.
const IPC_SET: i32 = 1;
const SHM_STAT_ANY: i32 = 15;

/// A duplicate of a descriptor that this process was given, by its number: fcntl(2).
pub(crate) fn duplicate(descriptor: i32) -> nix::Result<std::os::fd::OwnedFd> {
    // SAFETY: takes integers only.
    let fd = nix::errno::Errno::result(unsafe { nix::libc::fcntl(descriptor, nix::libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the call above has just returned this descriptor to us alone.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// A time span for the kernel; one that is too long for it becomes its longest.
pub(crate) fn timespec(duration: std::time::Duration) -> nix::libc::timespec {
    nix::libc::timespec {
        tv_sec: nix::libc::time_t::try_from(duration.as_secs()).unwrap_or(nix::libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos() as _,
    }
}

/// The status of an object by its identifier. `any` is SHM_STAT_ANY or its like, which
/// needs no permission. It takes an index into the kernel's table, and returns the
/// identifier that it found there. The index is the low 15 bits of the identifier, or 24
/// with ipcmni_extend. A kernel before 4.17 has IPC_STAT alone.
fn stat_any<T>(id: i32, any: i32, stat: impl Fn(i32, i32) -> nix::Result<(i32, T)>) -> nix::Result<T> {
    for bits in [15, 24] {
        match stat(id & ((1 << bits) - 1), any) {
            Ok((found, stat)) if found == id => return Ok(stat),
            _ => {}
        }
    }
    stat(id, nix::libc::IPC_STAT).map(|(_, stat)| stat)
}
