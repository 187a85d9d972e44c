//! Work that a signal must not leave half done.
//!
//! No handlers: the signals are blocked, looked for, and given back. What was
//! pending then takes its course, so that a tool still dies by the signal.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Error, Result};
use crate::sys;

/// Signals that are not put off: those that the process raises by a fault of
/// its own, those that stop it, and those that do nothing by default.
const NOT_ENDING: [Signal; 14] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
    Signal::SIGCHLD,
    Signal::SIGWINCH,
];

/// While this lives, signals that would end the process wait; dropping it lets
/// them come.
///
/// Who holds one waits and asks with [`ready`](Deferred::ready), and cleans up
/// before dropping it. Signals that the process ignores stay ignored and are
/// never pending here.
#[derive(Debug)]
pub struct Deferred {
    before: SigSet,
    arrived: SignalFd,
}

impl Deferred {
    /// Defer the ending signals of this thread.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoRoom`] without a descriptor to
    /// notice them by.
    pub fn new() -> Result<Self> {
        let now = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let mut set = SigSet::empty();
        for signal in Signal::iterator() {
            // What was blocked before us is not ours to act on.
            if !NOT_ENDING.contains(&signal) && !now.contains(signal) && !sys::signal::is_ignored(signal as i32) {
                set.add(signal);
            }
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let failed = |errno| Error::errno("a descriptor for signals", errno);
        let arrived = SignalFd::with_flags(&set, flags).map_err(failed)?;
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        Ok(Deferred { before, arrived })
    }

    /// Wait until `fd` can be read or written; false if a signal came first.
    pub fn ready(&self, fd: BorrowedFd<'_>, events: PollFlags) -> bool {
        let mut fds = [PollFd::new(self.arrived.as_fd(), PollFlags::POLLIN), PollFd::new(fd, events)];
        while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
        fds[0].any() != Some(true)
    }

    /// Wait until `fd` can be written, or a signal comes; whether it can be. What
    /// can be written at once is, though a signal waits already.
    pub fn writable(&self, fd: BorrowedFd<'_>) -> bool {
        let mut fds = [PollFd::new(self.arrived.as_fd(), PollFlags::POLLIN), PollFd::new(fd, PollFlags::POLLOUT)];
        while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
        fds[1].any() == Some(true)
    }
}

/// Readable when a signal waits.
impl AsFd for Deferred {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// Run `work`, a few system calls that belong together, with every signal put
/// off until they are done.
pub fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}
