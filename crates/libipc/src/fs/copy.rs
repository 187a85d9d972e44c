//! Bytes from one descriptor to another.
//!
//! read(2) and write(2) with a buffer that stays in the processor's second
//! level cache, and pipes enlarged to a mebibyte: measured faster than mmap,
//! splice and copy_file_range for filling a segment.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{self, fdatasync};

use crate::base::error::{Error, ErrorKind, Result};
use crate::process::signals::Deferred;

/// Bytes moved by one read and write. 128 KiB moved a segment as fast; 256 KiB
/// halve the number of wake-ups between two ends of a ring.
pub const STEP: usize = 256 * 1024;
/// The size that a pipe is given, in bytes.
const PIPE: i32 = 1024 * 1024;

/// What standard output is called in messages.
pub const OUTPUT: &str = "standard output";

/// Which side failed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyError {
    /// Reading the input.
    Read(Errno),
    /// Writing the output.
    Write(Errno),
    /// A deferred signal arrived; the caller cleans up and lets it come.
    Interrupted,
}

/// The result of a copy.
pub(crate) type CopyResult<T> = std::result::Result<T, CopyError>;

impl CopyError {
    /// In words, by the side that failed: the object's errors keep their kind,
    /// those of `input` are plain failures.
    pub(crate) fn explain(self, input: &str, object: impl FnOnce(Errno) -> Error) -> Error {
        match self {
            CopyError::Read(errno) => Error::io(input, errno),
            CopyError::Write(errno) => object(errno),
            CopyError::Interrupted => Error::new(ErrorKind::Failure, input, "interrupted by a signal"),
        }
    }

    fn errno(self) -> Errno {
        match self {
            CopyError::Read(errno) | CopyError::Write(errno) => errno,
            CopyError::Interrupted => Errno::EINTR,
        }
    }
}

/// What a copy tells while it runs, and what may stop it.
#[derive(Default)]
pub struct Control<'a> {
    /// Called with the number of bytes that each step moved.
    pub progress: Option<&'a mut dyn FnMut(u64)>,
    /// Signals to look for between steps and while the input is awaited.
    pub signals: Option<&'a Deferred>,
}

impl Control<'_> {
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
    ) -> CopyResult<usize> {
        loop {
            if self.signals.is_some_and(|signals| signals.ready(fd, ready).signal) {
                return Err(CopyError::Interrupted);
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
pub(crate) fn copy(from: impl AsFd, to: impl AsFd, limit: u64, control: &mut Control<'_>) -> CopyResult<u64> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut buffer = vec![0; usize::try_from(limit).unwrap_or(STEP).min(STEP)];
    let mut done = 0;
    while done < limit {
        let want = usize::try_from(limit - done).unwrap_or(STEP).min(STEP);
        let n = control.retry(from, PollFlags::POLLIN, CopyError::Read, || unistd::read(from, &mut buffer[..want]))?;
        if n == 0 {
            break;
        }
        let mut written = 0;
        while written < n {
            written +=
                control.retry(to, PollFlags::POLLOUT, CopyError::Write, || unistd::write(to, &buffer[written..n]))?;
        }
        done += n as u64;
        control.moved(n);
    }
    Ok(done)
}

/// Copy by splice(2), without touching the bytes: `to` is a pipe.
///
/// The pipe then holds the pages of `from` themselves: what has not been read
/// from it yet changes when they change.
pub(crate) fn splice_to_pipe(from: impl AsFd, to: impl AsFd, limit: u64, control: &mut Control<'_>) -> CopyResult<u64> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut done = 0;
    while done < limit {
        let want = usize::try_from(limit - done).unwrap_or(usize::MAX).min(PIPE as usize);
        let moved = control.retry(to, PollFlags::POLLOUT, CopyError::Write, || {
            splice(from, None, to, None, want, SpliceFFlags::empty())
        });
        let n = match moved {
            // A file system that cannot.
            Err(CopyError::Write(Errno::EINVAL)) if done == 0 => return copy(from, to, limit, control),
            other => other?,
        };
        if n == 0 {
            break;
        }
        done += n as u64;
        control.moved(n);
    }
    Ok(done)
}

/// read(2), however often it is interrupted or would block.
pub(crate) fn read_some(from: impl AsFd, buffer: &mut [u8]) -> nix::Result<usize> {
    let from = from.as_fd();
    let n = Control::default().retry(from, PollFlags::POLLIN, CopyError::Read, || unistd::read(from, buffer));
    n.map_err(CopyError::errno)
}

/// Read from the input called `label` into the buffer: how many bytes, 0 at its
/// end. An interruption, or a descriptor that does not block, is waited out.
///
/// # Errors
/// [`ErrorKind::Failure`]: read(2).
pub fn read(from: impl AsFd, buffer: &mut [u8], label: &str) -> Result<usize> {
    read_some(from, buffer).map_err(|errno| Error::io(label, errno))
}

/// Why not all bytes were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// How many were.
    pub written: usize,
    pub(crate) errno: Errno,
}

impl Unwritten {
    /// As an error of the output called `label`.
    pub fn explain(self, label: &str) -> Error {
        Error::io(label, self.errno)
    }
}

/// Write all the bytes; while signals are deferred, only as long as none of
/// them waits or the bytes can be written at once.
///
/// # Errors
/// write(2); EINTR if a signal waits.
pub fn write_all(to: impl AsFd, bytes: &[u8], signals: Option<&Deferred>) -> std::result::Result<(), Unwritten> {
    let to = to.as_fd();
    // A pipe that polls as writable has room for PIPE_BUF bytes, pipe(7); a write
    // of more would wait, deaf to signals.
    let step = if signals.is_some() && is_pipe(to) { libc::PIPE_BUF } else { bytes.len() };
    let mut written = 0;
    while written < bytes.len() {
        if signals.is_some_and(|signals| !signals.ready(to, PollFlags::POLLOUT).descriptor) {
            return Err(Unwritten { written, errno: Errno::EINTR });
        }
        let chunk = &bytes[written..bytes.len().min(written + step)];
        let n = Control::default().retry(to, PollFlags::POLLOUT, CopyError::Write, || unistd::write(to, chunk));
        written += n.map_err(|error| Unwritten { written, errno: error.errno() })?;
    }
    Ok(())
}

/// See that what was written to a file is safe on its disk: fdatasync(2). A pipe
/// or a terminal has nothing to wait for.
pub(crate) fn flush(fd: impl AsFd) -> nix::Result<()> {
    match fdatasync(fd.as_fd()) {
        Err(Errno::EINVAL | Errno::EROFS | Errno::ENOSYS) => Ok(()),
        other => other,
    }
}

/// See that what was written to standard output is safe on its disk.
///
/// # Errors
/// [`ErrorKind::Failure`]: fdatasync(2).
pub fn flush_output(fd: impl AsFd) -> Result<()> {
    flush(fd).map_err(|errno| Error::io(OUTPUT, errno))
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
pub(crate) fn is_pipe(fd: impl AsFd) -> bool {
    fcntl(fd.as_fd(), FcntlArg::F_GETPIPE_SZ).is_ok()
}
