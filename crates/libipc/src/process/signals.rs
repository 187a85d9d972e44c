//! Work that a signal must not leave half done.
//!
//! No handlers: the signals are blocked, looked for with signalfd(2), and given
//! back. What was pending then takes its course, so that a tool still dies by the
//! signal. A handler, as the signal-hook crate sets one, would have to run first,
//! which is what this module prevents.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

use crate::base::error::{Error, Result};
use crate::base::wait;
use crate::sys::interrupt::Interrupts;
use crate::sys::signal::{Default as DefaultAction, SIGCHLD, is_default, is_ignored, raise};

/// Signals of this thread that wait until this is dropped, and a descriptor that
/// tells of them.
#[derive(Debug)]
struct Blocked {
    before: SigSet,
    arrived: SignalFd,
}

impl Blocked {
    /// Block `wanted`, and those of the signals that would do something: not what
    /// the process ignores, nor what was blocked before, which is not ours to act on.
    fn new(signals: impl IntoIterator<Item = Signal>, wanted: Option<Signal>, flags: SfdFlags) -> Result<Self> {
        let now = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let acts = |signal: &Signal| !now.contains(*signal) && !is_ignored(*signal as i32);
        let set: SigSet = signals.into_iter().filter(acts).chain(wanted).collect();
        let failed = |errno| Error::errno("a descriptor for signals", errno);
        let arrived = SignalFd::with_flags(&set, flags | SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        Ok(Blocked { before, arrived })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

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
/// The holder waits for its descriptors with this, and cleans up before it drops
/// it. Signals that the process ignores stay ignored and are never pending here.
#[derive(Debug)]
pub struct Deferred(Blocked);

/// What [`Deferred`] has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// A signal waits.
    pub(crate) signal: bool,
    /// The descriptor can be used.
    pub(crate) descriptor: bool,
}

impl Deferred {
    /// Defer the ending signals of this thread.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoRoom`] without a descriptor to
    /// notice them by.
    pub fn new() -> Result<Self> {
        let ending = Signal::iterator().filter(|signal| !NOT_ENDING.contains(signal));
        Blocked::new(ending, None, SfdFlags::SFD_NONBLOCK).map(Deferred)
    }

    /// Wait until `fd` can be read or written, or a signal waits.
    pub(crate) fn ready(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Ready {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN), PollFd::new(fd, events)];
        while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
        let [signal, descriptor] = fds.map(|fd| fd.any() == Some(true));
        Ready { signal, descriptor }
    }
}

/// Readable when a signal waits.
impl AsFd for Deferred {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.arrived.as_fd()
    }
}

/// While this lives, signals that would end the process end a blocking receive of
/// a System V message instead, with [`crate::ErrorKind::Failure`]; what was received
/// already stays the caller's. Dropping it lets the first of them take its course.
///
/// Here handlers are right: the call has to return. Signals that the process
/// ignores, handles or has blocked are left as they are.
#[derive(Debug)]
pub struct Interrupting(#[allow(dead_code)] Interrupts); // held for its Drop

impl Interrupting {
    /// Set the handlers for a wait for `object`; dropping this takes them back.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoRoom`] without a timer.
    pub fn new(object: impl std::fmt::Display) -> Result<Self> {
        let timer = wait::timer(&object.to_string())?;
        let now = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let ending = Signal::iterator().filter(|signal| !NOT_ENDING.contains(signal) && !now.contains(*signal));
        let signals = ending.map(|signal| signal as i32).filter(|&signal| is_default(signal));
        Ok(Interrupting(Interrupts::new(signals, timer)))
    }
}

/// Run `work`, a few system calls that belong together, with every signal put
/// off until they are done.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

/// While this lives, signals that would end the process wait to be passed on to
/// a command that it runs, and the end of a child is noticed: an ignored SIGCHLD
/// would hide it.
///
/// Signals that the process ignores, or that were blocked before, are left as
/// they are: the command has the same dispositions and mask. The action of
/// SIGCHLD comes back when this is dropped.
#[derive(Debug)]
pub struct Forwarded {
    signals: Blocked,
    _children: DefaultAction,
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
        let children = DefaultAction::set(SIGCHLD);
        let signals = Blocked::new(FORWARDED, Some(Signal::SIGCHLD), SfdFlags::empty())?;
        Ok(Forwarded { signals, _children: children })
    }

    /// The mask that the process was given, for the command.
    pub(crate) fn restore_mask(&self) {
        let _ = self.signals.before.thread_set_mask();
    }

    /// Sleep until a signal comes.
    pub(crate) fn next(&self) -> nix::Result<siginfo> {
        loop {
            match self.signals.arrived.read_signal() {
                Ok(Some(info)) => return Ok(info),
                Ok(None) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Let this signal, which came meanwhile, take its course after all.
    pub fn give_back(self, signal: i32) {
        drop(self);
        raise(signal);
    }
}
