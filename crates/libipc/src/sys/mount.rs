//! A file system without a mount point: fsopen(2), fsconfig(2), fsmount(2).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_long};

/// Constants that the libc crate leaves out; linux/mount.h.
const FSOPEN_CLOEXEC: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSMOUNT_CLOEXEC: u32 = 1;
/// MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC.
const ATTRIBUTES: u32 = 2 | 4 | 8;

/// The root of a file system that is mounted nowhere; it goes when it is closed.
pub(crate) fn detached(kind: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: `kind` ends with a NUL.
    let context = own(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let (fd, none) = (context.as_raw_fd(), ptr::null::<u8>());
    // SAFETY: this command takes neither key nor value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: takes integers only.
    own(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, ATTRIBUTES) })
}

fn own(fd: c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(fd)? as i32;
    // SAFETY: the system call has just returned this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
