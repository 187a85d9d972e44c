//! Memory that a file system sets aside: fallocate(2).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// Have the file system set `length` bytes from `offset` on aside, and make the
/// file that long if it is to `grow`; false where it cannot. EFBIG for a size that
/// no file can have.
///
/// A sparse file in a full file system would kill the program that touches it.
pub(crate) fn reserve(file: BorrowedFd<'_>, offset: u64, length: u64, grow: bool) -> nix::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mode = if grow { FallocateFlags::empty() } else { FallocateFlags::FALLOC_FL_KEEP_SIZE };
    let number = |n: u64| i64::try_from(n).map_err(|_| Errno::EFBIG);
    loop {
        match fallocate(file, mode, number(offset)?, number(length)?) {
            Ok(()) => return Ok(true),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
