//! Bytes into and out of memory that other processes write, in steps.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::poll::PollFlags;

use crate::copy::{CopyError, STEP, Watch};
use crate::sys::memory::Region;

/// Page table entries are dropped each time so many bytes have been moved: a
/// copy of gigabytes keeps a small resident set.
const WINDOW: usize = 256 * 1024;

impl Region {
    /// read(2) from `from` into the region at `offset`, at most `length` bytes;
    /// the number that was moved. A spool is emptied on the way, so that its
    /// content is not held twice.
    ///
    /// # Errors
    /// [`CopyError::Write`] with EFAULT where the memory is gone.
    pub(super) fn copy_in(
        &self,
        offset: u64,
        length: u64,
        from: BorrowedFd<'_>,
        spooled: bool,
        watch: &mut Watch<'_>,
    ) -> Result<u64, CopyError> {
        // What was spooled has been counted then.
        let mut silent = Watch { progress: None, signals: watch.signals };
        let watch = if spooled { &mut silent } else { watch };
        let failed = |errno| if errno == Errno::EFAULT { CopyError::Write(errno) } else { CopyError::Read(errno) };
        self.in_steps(offset, length, watch, |watch, at, want| {
            let n = watch.retry(from, PollFlags::POLLIN, failed, || self.fill(from, at, want))?;
            if spooled {
                let holes = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                let _ = fallocate(from, holes, at as i64 - offset.cast_signed(), n as i64);
            }
            Ok(n)
        })
    }

    /// write(2), or with `zero_copy` vmsplice(2), from the region at `offset`.
    pub(super) fn copy_out(
        &self,
        offset: u64,
        length: u64,
        out: BorrowedFd<'_>,
        zero_copy: bool,
        watch: &mut Watch<'_>,
    ) -> Result<u64, CopyError> {
        self.in_steps(offset, length, watch, |watch, at, want| {
            watch.retry(out, PollFlags::POLLOUT, CopyError::Write, || {
                if zero_copy { self.splice(out, at, want) } else { self.drain(out, at, want) }
            })
        })
    }

    /// Call `step(watch, position, wanted)` until all has been moved or it moves
    /// nothing.
    fn in_steps(
        &self,
        offset: u64,
        length: u64,
        watch: &mut Watch<'_>,
        mut step: impl FnMut(&Watch<'_>, usize, usize) -> Result<usize, CopyError>,
    ) -> Result<u64, CopyError> {
        // What is mapped fits the address space, so its offsets fit usize.
        let (start, mut at) = (offset as usize, offset as usize);
        let end = start + length as usize;
        while at < end {
            let n = step(watch, at, (end - at).min(STEP))?;
            if n == 0 {
                break;
            }
            if at / WINDOW != (at + n) / WINDOW {
                self.release(at / WINDOW * WINDOW, WINDOW);
            }
            at += n;
            watch.moved(n);
        }
        Ok((at - start) as u64)
    }
}
