//! Space that is reserved in a file system: fallocate(2).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

/// Reserve `length` bytes from `offset` on, and with `grow` make the file that long.
/// False if the file system cannot reserve; EFBIG for a size that no file can have.
///
/// Without space of its own, a mapped file in a full file system kills the program
/// that touches it.
pub(crate) fn reserve(file: BorrowedFd<'_>, offset: u64, length: u64, grow: bool) -> nix::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    if !grow && is_reserved(file, offset, length) {
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

/// Whether there is no hole: lseek(2). Then fallocate(2) is left out, which whoever waits
/// for a change would take for one.
fn is_reserved(file: BorrowedFd<'_>, offset: u64, length: u64) -> bool {
    let Ok(begin) = i64::try_from(offset) else { return false };
    let Ok(before) = lseek(file, 0, Whence::SeekCur) else { return false };
    let hole = lseek(file, begin, Whence::SeekHole);
    let _ = lseek(file, before, Whence::SeekSet);
    hole.is_ok_and(|hole| hole.cast_unsigned() >= offset.saturating_add(length))
}
