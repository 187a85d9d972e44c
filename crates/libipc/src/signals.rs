//! Work that a signal must not leave half done.
//!
//! No handlers: the signals are blocked, looked for, and given back. What was
//! pending then takes its course, so that a tool still dies by the signal.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys;

/// Signals that would end a process while it works.
const ENDING: [Signal; 10] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGXCPU,
    Signal::SIGIO,
];

/// While this lives, signals that would end the process wait; dropping it lets
/// them come.
///
/// Who holds one asks [`pending`](Deferred::pending) between steps, waits with
/// [`readable`](Deferred::readable), and cleans up before dropping it. Signals
/// that the process ignores stay ignored and are never pending here.
#[derive(Debug)]
pub struct Deferred {
    before: SigSet,
    arrived: Option<SignalFd>,
}

impl Deferred {
    /// Defer the ending signals of this thread.
    pub fn new() -> Self {
        let mut set = SigSet::empty();
        for signal in ENDING {
            if !sys::signal::is_ignored(signal as i32) {
                set.add(signal);
            }
        }
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or_else(|_| SigSet::empty());
        // What was blocked before us is not ours to act on.
        let mut ours = SigSet::empty();
        for signal in set.iter().filter(|&signal| !before.contains(signal)) {
            ours.add(signal);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Deferred { before, arrived: SignalFd::with_flags(&ours, flags).ok() }
    }

    /// Whether a signal waits to end the process.
    pub fn pending(&self) -> bool {
        let Some(arrived) = &self.arrived else { return false };
        poll(&mut [PollFd::new(arrived.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|n| n > 0)
    }

    /// Wait until `fd` can be read; false if a signal came first.
    pub fn readable(&self, fd: BorrowedFd<'_>) -> bool {
        let Some(arrived) = &self.arrived else { return true };
        let mut fds = [PollFd::new(arrived.as_fd(), PollFlags::POLLIN), PollFd::new(fd, PollFlags::POLLIN)];
        while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
        fds[0].any() != Some(true)
    }
}

impl Default for Deferred {
    fn default() -> Self {
        Self::new()
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
