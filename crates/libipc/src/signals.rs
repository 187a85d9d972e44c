//! Work that a signal must not leave half done.
//!
//! No handlers: the signals are blocked, looked for, and given back. What was
//! pending then takes its course, so that a tool still dies by the signal.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

use crate::error::{Error, Result};
use crate::{start, sys};

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

/// While this lives, signals that would end the process wait to be passed on to
/// a command that it runs, and the end of a child is noticed.
///
/// Signals that the process ignores, or that were blocked before, are left as
/// they are: the command has the same dispositions and mask.
#[derive(Debug)]
pub struct Forwarded {
    before: SigSet,
    arrived: SignalFd,
}

/// What people and programs send to a process to make it end or do something.
const FORWARDED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];

impl Forwarded {
    /// Hold the signals of this thread.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoRoom`] without a descriptor to notice them by.
    pub fn new() -> Result<Self> {
        let now = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        for signal in FORWARDED {
            if !now.contains(signal) && !sys::signal::is_ignored(signal as i32) {
                set.add(signal);
            }
        }
        let failed = |errno| Error::errno("a descriptor for signals", errno);
        let arrived = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        start::notice_children(true);
        Ok(Forwarded { before, arrived })
    }

    /// The mask that the process was given, for the command.
    pub(crate) fn restore_mask(&self) {
        let _ = self.before.thread_set_mask();
    }

    /// Sleep until a signal comes.
    pub(crate) fn next(&self) -> nix::Result<siginfo> {
        loop {
            match self.arrived.read_signal() {
                Ok(Some(info)) => return Ok(info),
                Ok(None) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Let this signal, which came meanwhile, take its course after all.
    pub fn give_back(self, signal: i32) {
        drop(self);
        sys::signal::raise(signal);
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        start::notice_children(false);
        self.restore_mask();
    }
}
