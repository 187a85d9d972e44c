//! The access control list of a file, acl(5): an extended attribute, xattr(7).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

const NAME: &CStr = c"system.posix_acl_access";

/// Longer than the list of any file of a file system that limits it.
const LONGEST: usize = 64 * 1024;

/// The list, as the kernel writes it; None if the permission bits say all.
pub(crate) fn get(file: impl AsFd) -> nix::Result<Option<Vec<u8>>> {
    let mut list = vec![0; LONGEST];
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a NUL, and `list` is valid to be written.
    let length = unsafe { libc::fgetxattr(fd, NAME.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    match Errno::result(length) {
        Ok(length) => {
            list.truncate(length.cast_unsigned());
            Ok(Some(list))
        }
        Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Set the list, and with it the permission bits.
pub(crate) fn set(file: impl AsFd, list: &[u8]) -> nix::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a NUL, and `list` is valid to be read.
    Errno::result(unsafe { libc::fsetxattr(fd, NAME.as_ptr(), list.as_ptr().cast(), list.len(), 0) }).map(drop)
}

/// Remove the list, so that the permission bits say all.
pub(crate) fn remove(file: impl AsFd) -> nix::Result<()> {
    // SAFETY: the name ends with a NUL.
    match Errno::result(unsafe { libc::fremovexattr(file.as_fd().as_raw_fd(), NAME.as_ptr()) }) {
        Ok(_) | Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}
