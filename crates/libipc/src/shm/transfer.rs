//! Bytes into and out of memory that other processes write, in steps.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::poll::PollFlags;

use crate::fs::copy::{Control, CopyError, CopyResult, STEP};
use crate::sys::memory::Region;

/// Page table entries are dropped after each window of this many bytes: a
/// copy of gigabytes keeps a small resident set.
const WINDOW: usize = 256 * 1024;

/// Read at most `length` bytes from `from` into the region at `offset`: read(2).
/// Returns how many. A spool is emptied on the way, so that its content is not held
/// twice.
///
/// # Errors
/// [`CopyError::Write`] with EFAULT where the memory is gone.
pub(super) fn copy_in(
    region: &Region,
    offset: u64,
    length: u64,
    from: BorrowedFd<'_>,
    spooled: bool,
    control: &mut Control<'_>,
) -> CopyResult<u64> {
    // Spooled bytes were counted when they were spooled.
    let mut silent = Control { progress: None, signals: control.signals };
    let control = if spooled { &mut silent } else { control };
    let failed = |errno| if errno == Errno::EFAULT { CopyError::Write(errno) } else { CopyError::Read(errno) };
    in_steps(region, offset, length, control, |control, at, want| {
        let n = control.retry(from, PollFlags::POLLIN, failed, || region.fill(from, at, want))?;
        if spooled {
            let holes = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(from, holes, at as i64 - offset.cast_signed(), n as i64);
        }
        Ok(n)
    })
}

/// Write `length` bytes of the region from `offset` on: write(2), or with `zero_copy`
/// vmsplice(2).
pub(super) fn copy_out(
    region: &Region,
    offset: u64,
    length: u64,
    out: BorrowedFd<'_>,
    zero_copy: bool,
    control: &mut Control<'_>,
) -> CopyResult<u64> {
    in_steps(region, offset, length, control, |control, at, want| {
        control.retry(out, PollFlags::POLLOUT, CopyError::Write, || {
            if zero_copy { region.splice(out, at, want) } else { region.drain(out, at, want) }
        })
    })
}

/// Call `step(control, position, wanted)` until all bytes are moved, or it moves none.
fn in_steps(
    region: &Region,
    offset: u64,
    length: u64,
    control: &mut Control<'_>,
    mut step: impl FnMut(&Control<'_>, usize, usize) -> CopyResult<usize>,
) -> CopyResult<u64> {
    // What is mapped fits the address space, so its offsets fit usize.
    let (start, mut at) = (offset as usize, offset as usize);
    let end = start + length as usize;
    while at < end {
        let n = step(control, at, (end - at).min(STEP))?;
        if n == 0 {
            break;
        }
        if at / WINDOW != (at + n) / WINDOW {
            region.forget_pages(at / WINDOW * WINDOW, WINDOW);
        }
        at += n;
        control.moved(n);
    }
    Ok((at - start) as u64)
}
