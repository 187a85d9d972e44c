//! Access control lists, acl(5), which lie in an extended attribute: xattr(7).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

const ACCESS: &CStr = c"system.posix_acl_access";
/// No attribute is longer: limits.h, XATTR_SIZE_MAX.
const LONGEST: usize = 65536;

/// The list of an open file. None if it has none beside its permission bits, or its file
/// system knows no lists.
pub(crate) fn access_list(file: impl AsFd) -> nix::Result<Option<Vec<u8>>> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a NUL. Nothing is written to a buffer of size 0.
    let size = unsafe { libc::fgetxattr(fd, ACCESS.as_ptr(), std::ptr::null_mut(), 0) };
    match Errno::result(size) {
        Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(None),
        other => other?,
    };
    let mut list = vec![0_u8; LONGEST];
    // SAFETY: the name ends with a NUL, and `list` is as long as it is said to be.
    let size = unsafe { libc::fgetxattr(fd, ACCESS.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    match Errno::result(size) {
        // Removed meanwhile.
        Err(Errno::ENODATA) => Ok(None),
        size => {
            list.truncate(size?.unsigned_abs());
            Ok(Some(list))
        }
    }
}

/// Give an open file this list, and with it the permission bits that it stands for.
pub(crate) fn set_access_list(file: impl AsFd, list: &[u8]) -> nix::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a NUL, and `list` is as long as it is said to be.
    Errno::result(unsafe { libc::fsetxattr(fd, ACCESS.as_ptr(), list.as_ptr().cast(), list.len(), 0) }).map(drop)
}

/// Leave an open file its permission bits alone.
pub(crate) fn remove_access_list(file: impl AsFd) -> nix::Result<()> {
    // SAFETY: the name ends with a NUL.
    let removed = unsafe { libc::fremovexattr(file.as_fd().as_raw_fd(), ACCESS.as_ptr()) };
    match Errno::result(removed) {
        Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}
