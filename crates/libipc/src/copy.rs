//! Bytes from one descriptor to another.
//!
//! read(2) and write(2) with a buffer that stays in the processor's second
//! level cache, and pipes enlarged to a mebibyte: measured faster than mmap,
//! splice and copy_file_range for filling a segment.

use std::os::fd::{AsFd, BorrowedFd};

pub use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{fdatasync, read, write};

use crate::signals::Deferred;

/// Bytes moved by one read and write.
pub const STEP: usize = 256 * 1024;
const PIPE: i32 = 1024 * 1024;

/// Which side failed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyError {
    /// Reading the input.
    Read(Errno),
    /// Writing the output.
    Write(Errno),
    /// A deferred signal arrived; the caller cleans up and lets it come.
    Interrupted,
}

/// What a copy tells while it runs, and what may stop it.
#[derive(Default)]
pub struct Watch<'a> {
    /// Called with the number of bytes that each step moved.
    pub progress: Option<&'a mut dyn FnMut(u64)>,
    /// Signals to look for between steps and while the input is awaited.
    pub signals: Option<&'a Deferred>,
}

impl Watch<'_> {
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some(progress) = &mut self.progress {
            progress(bytes as u64);
        }
    }

    /// Call `step` until it neither was interrupted nor would block: a
    /// descriptor may have been left non-blocking by somebody who shares it.
    pub(crate) fn retry(
        &self,
        fd: BorrowedFd<'_>,
        ready: PollFlags,
        failed: fn(Errno) -> CopyError,
        mut step: impl FnMut() -> nix::Result<usize>,
    ) -> Result<usize, CopyError> {
        loop {
            if let Some(signals) = self.signals {
                let go_on = if ready == PollFlags::POLLIN { signals.readable(fd) } else { !signals.pending() };
                if !go_on {
                    return Err(CopyError::Interrupted);
                }
            }
            match step() {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let _ = poll(&mut [PollFd::new(fd, ready)], PollTimeout::NONE);
                }
                other => return other.map_err(failed),
            }
        }
    }
}

/// Copy at most `limit` bytes; ends early only at the input's end.
///
/// Returns the number of bytes that were written.
pub fn copy(from: impl AsFd, to: impl AsFd, limit: u64, watch: &mut Watch<'_>) -> Result<u64, CopyError> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut buffer = vec![0; usize::try_from(limit).unwrap_or(STEP).min(STEP)];
    let mut done = 0;
    while done < limit {
        let want = usize::try_from(limit - done).unwrap_or(STEP).min(STEP);
        let n = watch.retry(from, PollFlags::POLLIN, CopyError::Read, || read(from, &mut buffer[..want]))?;
        if n == 0 {
            break;
        }
        let mut written = 0;
        while written < n {
            written += watch.retry(to, PollFlags::POLLOUT, CopyError::Write, || write(to, &buffer[written..n]))?;
        }
        done += n as u64;
        watch.moved(n);
    }
    Ok(done)
}

/// Copy by splice(2), without touching the bytes: `to` is a pipe.
///
/// The pipe then holds the pages of `from` themselves: what has not been read
/// from it yet changes when they change.
pub fn splice_to_pipe(from: impl AsFd, to: impl AsFd, limit: u64, watch: &mut Watch<'_>) -> Result<u64, CopyError> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut done = 0;
    while done < limit {
        let want = usize::try_from(limit - done).unwrap_or(usize::MAX).min(PIPE as usize);
        let n = watch.retry(to, PollFlags::POLLOUT, CopyError::Write, || {
            splice(from, None, to, None, want, SpliceFFlags::empty())
        })?;
        if n == 0 {
            break;
        }
        done += n as u64;
        watch.moved(n);
    }
    Ok(done)
}

/// Write all the bytes.
pub fn write_all(to: impl AsFd, bytes: &[u8]) -> nix::Result<()> {
    let to = to.as_fd();
    let mut written = 0;
    while written < bytes.len() {
        let step = || write(to, &bytes[written..]);
        written += Watch::default().retry(to, PollFlags::POLLOUT, CopyError::Write, step).map_err(|e| match e {
            CopyError::Read(errno) | CopyError::Write(errno) => errno,
            CopyError::Interrupted => Errno::EINTR,
        })?;
    }
    Ok(())
}

/// See what was written to a file safely to its disk; nothing for a pipe or a
/// terminal.
pub fn flush(fd: impl AsFd) -> nix::Result<()> {
    match fdatasync(fd.as_fd()) {
        // Not a file: there is nothing to wait for.
        Err(Errno::EINVAL | Errno::EROFS | Errno::ENOSYS) => Ok(()),
        other => other,
    }
}

/// Give a pipe at `fd` room for a mebibyte, which is worth 2 to 4 times the
/// speed. Not for more than the kernel grants, and never less than it had.
pub fn enlarge_pipe(fd: impl AsFd) {
    let fd = fd.as_fd();
    // Of descriptors other than pipes the kernel says EBADF, and nothing happens.
    if fcntl(fd, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size < PIPE) {
        let _ = fcntl(fd, FcntlArg::F_SETPIPE_SZ(PIPE));
    }
}

/// Whether `fd` is a pipe.
pub fn is_pipe(fd: impl AsFd) -> bool {
    fcntl(fd.as_fd(), FcntlArg::F_GETPIPE_SZ).is_ok()
}
