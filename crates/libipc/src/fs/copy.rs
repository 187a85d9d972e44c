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
use crate::sys::alloc::{self, zeroed};

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
    /// A deferred signal arrived. The caller cleans up, then lets it take effect.
    Interrupted,
}

/// The result of a copy.
pub(crate) type CopyResult<T> = std::result::Result<T, CopyError>;

impl CopyError {
    /// As an error of the side that failed. Errors of the object keep their kind,
    /// those of `input` are plain failures.
    pub(crate) fn explain(self, input: &str, object: impl FnOnce(Errno) -> Error) -> Error {
        match self {
            // There is no memory for a buffer.
            CopyError::Read(errno @ Errno::ENOMEM) => Error::errno(input, errno),
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

/// What a copy reports while it runs, and what may stop it.
#[derive(Default)]
pub struct Control<'a> {
    /// Called with the number of bytes that each step moved.
    pub progress: Option<&'a mut dyn FnMut(u64)>,
    /// Signals that stop the copy, checked between steps and while it waits for
    /// input.
    pub signals: Option<&'a Deferred>,
}

impl Control<'_> {
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some(progress) = &mut self.progress {
            progress(bytes as u64);
        }
    }

    /// Call `step`, again while it is interrupted or would block: somebody who shares
    /// the descriptor may have made it non-blocking.
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

/// Copy at most `limit` bytes, fewer only if the input ends. Returns the number of
/// bytes that were written.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd, limit: u64, control: &mut Control<'_>) -> CopyResult<u64> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut buffer = zeroed(usize::try_from(limit).unwrap_or(STEP).min(STEP)).map_err(CopyError::Read)?;
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

/// Copy by splice(2), without touching the bytes, to a pipe.
///
/// The pipe then holds the pages of `from` itself: bytes that were not read from the
/// pipe yet change when the file changes.
pub(crate) fn splice_to_pipe(from: impl AsFd, to: impl AsFd, limit: u64, control: &mut Control<'_>) -> CopyResult<u64> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut done = 0;
    while done < limit {
        let want = usize::try_from(limit - done).unwrap_or(usize::MAX).min(PIPE as usize);
        let moved = control.retry(to, PollFlags::POLLOUT, CopyError::Write, || {
            splice(from, None, to, None, want, SpliceFFlags::empty())
        });
        let n = match moved {
            // The file system cannot splice.
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

/// read(2), repeated while it is interrupted or would block.
pub(crate) fn read_some(from: impl AsFd, buffer: &mut [u8]) -> nix::Result<usize> {
    let from = from.as_fd();
    let n = Control::default().retry(from, PollFlags::POLLIN, CopyError::Read, || unistd::read(from, buffer));
    n.map_err(CopyError::errno)
}

/// Read into the buffer: read(2), repeated while it is interrupted or would block.
/// Returns the number of bytes, 0 at the end of the input. `label` is what messages
/// call the input.
///
/// # Errors
/// [`ErrorKind::Failure`]: read(2).
pub fn read(from: impl AsFd, buffer: &mut [u8], label: &str) -> Result<usize> {
    read_some(from, buffer).map_err(|errno| Error::io(label, errno))
}

/// Why not all bytes were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// How many bytes were written.
    pub written: usize,
    pub(crate) errno: Errno,
}

impl Unwritten {
    /// As an error of the output that messages call `label`.
    pub fn explain(self, label: &str) -> Error {
        Error::io(label, self.errno)
    }
}

/// Make a buffer this long, if it is shorter. `label` is what messages call what it is
/// for.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn grow(buffer: &mut Vec<u8>, len: usize, label: &str) -> Result<()> {
    alloc::grow(buffer, len).map_err(|errno| Error::errno(label, errno))
}

/// Write all the bytes: write(2). With deferred `signals`, stop when one of them is
/// pending and the output would block.
///
/// # Errors
/// [`Unwritten`]: the error of write(2), or EINTR for a pending signal.
pub fn write_all(to: impl AsFd, bytes: &[u8], signals: Option<&Deferred>) -> std::result::Result<(), Unwritten> {
    let to = to.as_fd();
    // A pipe that polls as writable has room for PIPE_BUF bytes, pipe(7). A larger
    // write would block, and the signals would not be noticed.
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

/// Wait until what was written to a file is on its disk: fdatasync(2). Pipes and
/// terminals have nothing to wait for.
pub(crate) fn flush(fd: impl AsFd) -> nix::Result<()> {
    match fdatasync(fd.as_fd()) {
        Err(Errno::EINVAL | Errno::EROFS | Errno::ENOSYS) => Ok(()),
        other => other,
    }
}

/// Wait until what was written to standard output is on its disk: fdatasync(2).
///
/// # Errors
/// [`ErrorKind::Failure`]: fdatasync(2).
#[doc(alias = "fdatasync")]
pub fn flush_output(fd: impl AsFd) -> Result<()> {
    flush(fd).map_err(|errno| Error::io(OUTPUT, errno))
}

/// Enlarge a pipe at `fd` to a mebibyte, which makes copies 2 to 4 times as fast:
/// F_SETPIPE_SZ of fcntl(2). If the kernel refuses, or the pipe is larger, it stays as
/// it is.
#[doc(alias = "F_SETPIPE_SZ")]
pub fn enlarge_pipe(fd: impl AsFd) {
    let fd = fd.as_fd();
    // For other descriptors the kernel says EBADF, and nothing happens.
    if fcntl(fd, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size < PIPE) {
        let _ = fcntl(fd, FcntlArg::F_SETPIPE_SZ(PIPE));
    }
}

/// Whether `fd` is a pipe.
pub(crate) fn is_pipe(fd: impl AsFd) -> bool {
    fcntl(fd.as_fd(), FcntlArg::F_GETPIPE_SZ).is_ok()
}
