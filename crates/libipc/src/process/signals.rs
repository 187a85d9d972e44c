//! Work that a signal must not leave half done.
//!
//! There are no handlers. The signals are blocked, noticed with signalfd(2), and
//! unblocked at the end: then a pending one takes effect, so that the process still
//! dies by it. A handler, as the signal-hook crate sets one, would run first, and that
//! is what this module prevents.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};

use crate::base::error::{Error, Result};
use crate::base::wait::{self, Deadline};
use crate::sys::interrupt::{Interrupts, are_set};
use crate::sys::signal::{Default as DefaultAction, SIGCHLD, is_default, is_ignored, raise};

/// Signals of this thread that are blocked until this is dropped, and a descriptor
/// that reports them.
#[derive(Debug)]
pub(super) struct Blocked {
    before: SigSet,
    arrived: SignalFd,
}

impl Blocked {
    /// Block those of the `signals` that would have an effect. A signal that was ignored
    /// or blocked before is not ours to act on.
    fn new(signals: impl IntoIterator<Item = Signal>) -> Result<Self> {
        let now = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let acts = |signal: &Signal| !now.contains(*signal) && !is_ignored(*signal as i32);
        let set: SigSet = signals.into_iter().filter(acts).collect();
        let failed = |errno| Error::errno("a descriptor for signals", errno);
        let arrived = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        Ok(Blocked { before, arrived })
    }

    /// Set the mask that this thread had before, for the command.
    pub(super) fn restore_mask(&self) {
        let _ = self.before.thread_set_mask();
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// Signals that are not deferred: those that a fault of the process raises, those that
/// stop it, and those that do nothing by default.
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

/// Signals that would end the process, deferred until this is dropped.
///
/// Its descriptor is readable while one of them is pending. The holder cleans up, then
/// drops it, and the signal takes effect. A signal that the process ignores stays
/// ignored, and is never pending.
#[derive(Debug)]
pub struct Deferred(Blocked);

/// What ended a wait of [`Deferred::ready`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// A signal is pending.
    pub(crate) signal: bool,
    /// The descriptor can be used.
    pub(crate) descriptor: bool,
}

impl Deferred {
    /// Defer the signals of this thread that would end the process: sigprocmask(2),
    /// signalfd(2).
    ///
    /// # Errors
    /// [`NoRoom`](crate::ErrorKind::NoRoom) if there is no descriptor for signalfd(2).
    #[doc(alias = "signalfd")]
    pub fn new() -> Result<Self> {
        let ending = Signal::iterator().filter(|signal| !NOT_ENDING.contains(signal));
        Blocked::new(ending).map(Deferred)
    }

    /// Wait until `fd` can be read or written, or a signal is pending.
    pub(crate) fn ready(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Ready {
        ready(self.as_fd(), fd, events)
    }
}

fn ready(arrived: BorrowedFd<'_>, fd: BorrowedFd<'_>, events: PollFlags) -> Ready {
    let mut fds = [PollFd::new(arrived, PollFlags::POLLIN), PollFd::new(fd, events)];
    while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
    let [signal, descriptor] = fds.map(|fd| fd.any() == Some(true));
    Ready { signal, descriptor }
}

/// Readable while a signal is pending.
impl AsFd for Deferred {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.arrived.as_fd()
    }
}

/// While this lives, signals that would end the process end a wait of this library
/// instead, with [`crate::ErrorKind::Failure`]: what was received already stays the
/// caller's, and what was made can be discarded. Dropping it lets the first of them take
/// its course.
///
/// Here handlers are right: the call has to return. Signals that the process
/// ignores, handles or has blocked are left as they are.
#[derive(Debug)]
pub struct Interrupting {
    _handlers: Option<Interrupts>,
}

impl Interrupting {
    /// Set the handlers for a wait for `object`; dropping this takes them back. Within
    /// the life of another one it does nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NoRoom`] without a timer.
    pub fn new(object: impl std::fmt::Display) -> Result<Self> {
        if are_set() {
            return Ok(Interrupting { _handlers: None });
        }
        let timer = wait::timer(&object.to_string())?;
        let now = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let ending = Signal::iterator().filter(|signal| !NOT_ENDING.contains(signal) && !now.contains(*signal));
        let signals = ending.map(|signal| signal as i32).filter(|&signal| is_default(signal));
        Ok(Interrupting { _handlers: Some(Interrupts::new(signals, timer)) })
    }
}

/// Run `work`, a few system calls that belong together, with every signal of this
/// thread blocked.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

/// Signals that would end the process, held back to be passed on to a command.
///
/// - A signal that was ignored or blocked before is left as it is, for this process
///   and for the command.
/// - SIGCHLD has its default action meanwhile, as an ignored one would hide the end of
///   a child. Its action comes back when this is dropped.
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
    /// Hold back the signals of this thread: sigprocmask(2), signalfd(2).
    ///
    /// # Errors
    /// [`NoRoom`](crate::ErrorKind::NoRoom) if there is no descriptor for signalfd(2).
    pub fn new() -> Result<Self> {
        let children = DefaultAction::set(SIGCHLD);
        let signals = Blocked::new(FORWARDED)?;
        Ok(Forwarded { signals, _children: children })
    }

    /// The signals that are held back.
    pub(super) fn held(&self) -> &Blocked {
        &self.signals
    }

    /// Sleep until a signal comes or the descriptor is readable: whether a signal has
    /// come.
    pub(crate) fn came_before(&self, fd: impl AsFd) -> bool {
        ready(self.signals.arrived.as_fd(), fd.as_fd(), PollFlags::POLLIN).signal
    }

    /// The next signal, if one has come.
    pub(crate) fn next(&self) -> nix::Result<Option<siginfo>> {
        match self.signals.arrived.read_signal() {
            Err(Errno::EINTR) => Ok(None),
            other => other,
        }
    }

    /// Give the signals back, and raise this one, which came meanwhile.
    pub fn give_back(self, signal: i32) {
        drop(self);
        raise(signal);
    }
}

/// SIGTERM, SIGINT and SIGHUP, held back as requests to end in good order.
///
/// - A signal that was ignored or blocked before is left as it is.
/// - SIGCHLD has its default action meanwhile, as with [`Forwarded`].
/// - The process must have one thread: another one would be ended by the signals.
#[derive(Debug)]
pub(crate) struct Requests {
    signals: Blocked,
    ending: Vec<i32>,
    _children: DefaultAction,
}

/// What ended a wait for [`Requests`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A request to end: this signal.
    Request(i32),
    /// One of the descriptors can be read.
    Ready,
    /// The time is over.
    Nothing,
}

impl Requests {
    const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

    /// Hold back the signals of this thread: sigprocmask(2), signalfd(2).
    ///
    /// # Errors
    /// [`NoRoom`](crate::ErrorKind::NoRoom) if there is no descriptor for signalfd(2).
    pub(crate) fn new() -> Result<Self> {
        let children = DefaultAction::set(SIGCHLD);
        let heeded = Self::ENDING.into_iter().filter(|&signal| !is_ignored(signal as i32));
        let ending = heeded.map(|signal| signal as i32).collect();
        let signals = Blocked::new(Self::ENDING)?;
        Ok(Requests { signals, ending, _children: children })
    }

    /// The signals that are held back.
    pub(super) fn held(&self) -> &Blocked {
        &self.signals
    }

    /// Wait until a signal comes, a descriptor can be read, or the time is over.
    pub(crate) fn wait<'f>(
        &'f self,
        fds: impl IntoIterator<Item = BorrowedFd<'f>>,
        deadline: &Deadline,
    ) -> Result<Came> {
        self.wait_for(fds, None, deadline)
    }

    /// The same, or until `writable` can be written to.
    pub(crate) fn wait_for<'f>(
        &'f self,
        readable: impl IntoIterator<Item = BorrowedFd<'f>>,
        writable: Option<BorrowedFd<'f>>,
        deadline: &Deadline,
    ) -> Result<Came> {
        let read = std::iter::once(self.signals.arrived.as_fd()).chain(readable);
        let mut fds: Vec<_> = read.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        fds.extend(writable.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        loop {
            let timeout = deadline.left().map_or(PollTimeout::NONE, wait::poll_timeout);
            match poll(&mut fds, timeout) {
                Ok(0) if deadline.passed() => return Ok(Came::Nothing),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::errno("poll", errno)),
            }
            if fds[0].any() == Some(true)
                && let Some(signal) = self.came()?
            {
                return Ok(Came::Request(signal));
            }
            if fds[1..].iter().any(|fd| fd.any() == Some(true)) {
                return Ok(Came::Ready);
            }
        }
    }

    /// The first signal that is pending, taken.
    pub(crate) fn came(&self) -> Result<Option<i32>> {
        match self.signals.arrived.read_signal() {
            Ok(info) => Ok(info.map(|info| info.ssi_signo.cast_signed())),
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(Error::errno("a descriptor for signals", errno)),
        }
    }

    /// Make a call that waits for a System V message, as [`Interrupting`] does. A request
    /// that ends it, with [`ErrorKind::Failure`](crate::ErrorKind::Failure), is pending
    /// afterwards.
    pub(crate) fn interrupting<T>(&self, object: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let interrupts = Interrupts::new(self.ending.iter().copied(), wait::timer(object)?);
        let held = self.signals.before.thread_swap_mask(SigmaskHow::SIG_SETMASK);
        let result = call();
        if let Ok(held) = held {
            let _ = held.thread_set_mask();
        }
        // What came is raised again, and held back now.
        drop(interrupts);
        result
    }

    /// Give the signals back, and raise this one, which came meanwhile.
    pub(crate) fn give_back(self, signal: i32) {
        drop(self);
        raise(signal);
    }
}
