//! A file system without a mount point: fsopen(2), fsconfig(2), fsmount(2).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_long};

/// linux/mount.h; the libc crate leaves it out.
const FSCONFIG_CMD_CREATE: u32 = 6;
const ATTRIBUTES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;

/// The root of a file system that is mounted nowhere; it goes when it is closed.
pub(crate) fn detached(kind: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: `kind` ends with a NUL.
    let context = own(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) })?;
    let (fd, none) = (context.as_raw_fd(), ptr::null::<u8>());
    // SAFETY: this command takes neither key nor value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: takes integers only.
    own(unsafe { libc::syscall(libc::SYS_fsmount, fd, libc::FSMOUNT_CLOEXEC, ATTRIBUTES) })
}

fn own(fd: c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(fd)? as i32;
    // SAFETY: the system call has just returned this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
