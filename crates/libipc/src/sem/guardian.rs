//! The undo of POSIX semaphores, which the kernel does not have: a guardian process
//! outlives the holder, and gives back for it.
//!
//! The guardian also takes. So at no instant does the holder have something that its
//! death, even by SIGKILL, would lose.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::PollTimeout;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{chdir, close, getpid, pipe2, read, setsid};

use super::ops::{Op, TOO_LITTLE};
use super::posix::Semaphore;
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::wait::Wait;
use crate::fs::copy::write_all;
use crate::fs::entry::names;
use crate::sys;
use crate::sys::interrupt;

/// What ps(1) calls it.
const NAME: &std::ffi::CStr = c"semop-guard";

/// The failures that it reports, as numbers from 1 on; 0 is success.
const KINDS: [ErrorKind; 5] =
    [ErrorKind::Busy, ErrorKind::TimedOut, ErrorKind::Gone, ErrorKind::Unexpected, ErrorKind::NoRoom];

/// Perform the operation, and have it undone when this process ends, whatever it
/// executes until then. The process must have one thread.
///
/// # Errors
/// Those of [`super::Semaphores::operate`]; [`ErrorKind::NoRoom`] if no process can be
/// made: then nothing was taken.
pub(super) fn hold(semaphore: &Semaphore, op: Op, wait: &mut Wait) -> Result<()> {
    let failed = |errno| no_guardian(semaphore, errno);
    // Opened before the fork, so that it means this process and no other.
    let holder = sys::process::open(getpid().as_raw()).map_err(failed)?;
    let (answer, report) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    sys::process::double_fork(|| guard(semaphore, op, wait, &holder, &report)).map_err(failed)?;
    // Close our end: then a guardian that ends without a report is noticed.
    drop(report);
    let mut kind = [0];
    let answered = loop {
        match read(&answer, &mut kind) {
            // The guardian ends when we do.
            Err(Errno::EINTR) if interrupt::came() => return Err(wait.over(semaphore.label(), TOO_LITTLE)),
            Err(Errno::EINTR) => {}
            other => break other,
        }
    };
    match answered {
        Ok(1) if kind == [0] => Ok(()),
        Ok(1) => Err(match KINDS.get(usize::from(kind[0]) - 1) {
            Some(ErrorKind::Busy | ErrorKind::TimedOut) => wait.over(semaphore.label(), TOO_LITTLE),
            kind => semaphore.error(kind.copied().unwrap_or(ErrorKind::Failure)),
        }),
        _ => Err(semaphore.error(ErrorKind::Failure)),
    }
}

fn no_guardian(semaphore: &Semaphore, errno: Errno) -> Error {
    let what = format!("no process can be made that would give it back: {}", errno.desc());
    match errno {
        Errno::EAGAIN => Error::new(ErrorKind::NoRoom, semaphore.label(), what).hint(Hint::Ulimit('u')),
        // With the limit's name.
        errno => Error { problem: what, ..Error::errno(semaphore.label(), errno) },
    }
}

/// The life of the guardian.
fn guard(semaphore: &Semaphore, op: Op, wait: &mut Wait, holder: &OwnedFd, report: &OwnedFd) {
    // A signal that ends the holder's job, session or terminal must not end us before
    // it. SIGBUS is for the guard of mapped memory.
    let mut mask = SigSet::all();
    mask.remove(Signal::SIGBUS);
    let _ = mask.thread_set_mask();
    let _ = setsid();
    let _ = chdir("/");
    let _ = prctl::set_name(NAME);
    let (dir, file) = (semaphore.entry.dir.as_raw_fd(), semaphore.object.file().as_raw_fd());
    close_all_but(&[holder.as_raw_fd(), report.as_raw_fd(), dir, file]);
    let has_ended = |wait| sys::process::has_ended(holder.as_fd(), wait);
    let wanted = || match has_ended(PollTimeout::ZERO) {
        Ok(false) => Ok(()),
        _ => Err(semaphore.error(ErrorKind::Failure)),
    };
    let performed = semaphore.operate_while(op, wait, wanted);
    let kind = performed
        .err()
        .map_or(0, |error| KINDS.iter().position(|&kind| kind == error.kind).map_or(u8::MAX, |place| place as u8 + 1));
    // If nobody reads it, the holder has ended.
    let _ = write_all(report, &[kind], None);
    close_all_but(&[holder.as_raw_fd()]);
    if kind == 0 {
        while has_ended(PollTimeout::NONE) != Ok(true) {}
        semaphore.undo(op);
    }
}

/// Close every other descriptor: a pipe that we kept would not come to its end.
fn close_all_but(keep: &[RawFd]) {
    let open = names(Path::new("/proc/self/fd")).into_iter().flatten();
    let mut open: Vec<RawFd> = open.filter_map(|name| name.to_str()?.parse().ok()).collect();
    if open.is_empty() {
        open = (0..1024).collect(); // no /proc
    }
    // The descriptor of the listing is closed by now: EBADF.
    for fd in open.into_iter().filter(|fd| !keep.contains(fd)) {
        let _ = close(fd);
    }
}
