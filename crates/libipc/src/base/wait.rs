//! Waiting: timeouts, deadlines, growing pauses, and bounds for calls that the
//! kernel lets block without end.
//!
//! Deadlines run on CLOCK_MONOTONIC (what [`Instant`] reads on Linux): a step
//! of the wall clock neither shortens nor lengthens a wait.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollTimeout;

use super::error::{Error, ErrorKind, Hint, Result};
use crate::sys;

/// The moment at which a wait ends, if it does.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Wait for as long as it takes.
    pub const NEVER: Deadline = Deadline(None);

    /// The moment `timeout` from now. None is never, as is one too far for the clock.
    pub fn after(timeout: Option<Duration>) -> Self {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The time left; zero once it has passed; None if there is no end.
    pub fn left(&self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether the moment has passed.
    pub fn passed(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// `step`, or the time left if that is shorter.
    pub fn at_most(&self, step: Duration) -> Duration {
        self.left().map_or(step, |left| left.min(step))
    }
}

/// Pauses of growing length, for a change that the kernel reports to nobody.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(100);

    /// Pauses from one millisecond to a tenth of a second.
    pub fn new() -> Self {
        Backoff(Self::FIRST)
    }

    /// For what ends in microseconds: pauses from ten of them on.
    pub(crate) fn short() -> Self {
        Backoff(Duration::from_micros(10))
    }

    /// Pause, but not beyond the deadline.
    pub fn sleep(&mut self, deadline: &Deadline) {
        std::thread::sleep(deadline.at_most(self.0));
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// A timeout for poll(2), rounded up: the last part of a millisecond must not become
/// a busy loop.
pub(crate) fn poll_timeout(timeout: Duration) -> PollTimeout {
    PollTimeout::try_from(timeout + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
}

/// How long one operation may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Not at all: [`ErrorKind::Busy`].
    Now,
    /// At most this long: [`ErrorKind::TimedOut`].
    After(Duration),
    /// As long as it takes.
    Never,
}

/// How long calls may block: each of them for its [`Timeout`], also those for which
/// the kernel has none (System V queues, byte locks).
///
/// A timer of the calling thread interrupts such a call, which then returns EINTR,
/// and the deadline is checked: timer_create(2). The timer repeats, as a tick just
/// before the call blocks would be lost. Its signal is the last real-time one,
/// SIGRTMAX, whose action and mask are restored when the wait is over.
#[derive(Debug)]
pub struct Wait {
    timeout: Timeout,
    tries: u32,
    /// Set while a wait lasts.
    deadline: Option<Deadline>,
    timer: Option<sys::ticker::Timer>,
}

impl Wait {
    /// How long calls are tried without waiting.
    const BRIEFLY: Duration = Duration::from_micros(100);
    /// Interval of later ticks, in case the first came just before the call blocked.
    const AGAIN: Duration = Duration::from_millis(10);

    /// Waits with this timeout. The time of each begins when a call has to wait.
    pub fn new(timeout: Timeout) -> Self {
        Wait { timeout, tries: 1, deadline: None, timer: None }
    }

    /// For a stream of calls: try each up to 50 times, yielding in between, before
    /// waiting or giving up. While the other side is at work, that costs less than to
    /// fall asleep and be woken.
    #[must_use]
    pub fn spinning(self) -> Self {
        Wait { tries: 50, ..self }
    }

    /// The time begins now, and not when a call has to wait.
    #[must_use]
    pub fn started(mut self) -> Self {
        self.deadline();
        self
    }

    /// Make a call that does not wait; None once it has been tried often enough.
    pub(crate) fn try_first<T>(
        &self,
        would_wait: impl Fn(Errno) -> bool,
        mut call: impl FnMut() -> nix::Result<T>,
    ) -> nix::Result<Option<T>> {
        // Read only after a failure: most calls succeed at once.
        let mut begin = None;
        for left in (0..self.tries).rev() {
            match call() {
                Err(errno) if would_wait(errno) || errno == Errno::EINTR => {}
                other => return other.map(Some),
            }
            // On a busy processor a single yield takes a time slice.
            if left == 0 || begin.get_or_insert_with(Instant::now).elapsed() > Self::BRIEFLY {
                break;
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// End a wait: the next one has the whole timeout again.
    pub fn reset(&mut self) {
        self.deadline = None;
    }

    /// Begin a wait or continue it, unless its time is over. `blocked_on` says why
    /// `object` makes one wait, as in "is full".
    pub(crate) fn proceed(&mut self, object: &str, blocked_on: &str) -> Result<()> {
        if self.may_proceed() { Ok(()) } else { Err(self.over(object, blocked_on)) }
    }

    /// Begin a wait or continue it: whether there is time left, and no signal has come
    /// that is to end it.
    pub(crate) fn may_proceed(&mut self) -> bool {
        self.timeout != Timeout::Now && !self.deadline().passed() && !sys::interrupt::came()
    }

    /// The error of a wait that ended in vain: [`ErrorKind::Busy`] for
    /// [`Timeout::Now`], else [`ErrorKind::TimedOut`]; [`ErrorKind::Failure`] for one that
    /// a signal has ended.
    pub(crate) fn over(&self, object: &str, blocked_on: &str) -> Error {
        match self.timeout {
            _ if sys::interrupt::came() => Error::new(ErrorKind::Failure, object, "a signal ended the wait"),
            Timeout::Now => Error::new(ErrorKind::Busy, object, blocked_on),
            Timeout::After(_) | Timeout::Never => {
                Error::new(ErrorKind::TimedOut, object, format!("{blocked_on}, and the timeout has passed"))
            }
        }
    }

    /// The time left, for a call that takes a timeout itself. The first question
    /// begins the wait.
    pub(crate) fn remaining(&mut self) -> Timeout {
        match self.timeout {
            Timeout::After(_) => self.deadline().left().map_or(Timeout::Never, Timeout::After),
            other => other,
        }
    }

    /// Make a blocking call that takes no timeout. After EINTR, from our timer or from
    /// a stop and continue, it is made again until the deadline.
    pub(crate) fn block<T>(
        &mut self,
        object: &str,
        blocked_on: &str,
        mut call: impl FnMut() -> nix::Result<T>,
    ) -> Result<nix::Result<T>> {
        let done = loop {
            if let Err(error) = self.proceed(object, blocked_on).and_then(|()| self.arm(object)) {
                break Err(error);
            }
            match call() {
                Err(Errno::EINTR) => {}
                other => break Ok(other),
            }
        };
        self.timer = None; // no more interruptions
        done
    }

    /// Set the timer that interrupts a blocking call at the deadline, if there is one.
    fn arm(&mut self, object: &str) -> Result<()> {
        let Some(first) = self.deadline().left() else { return Ok(()) };
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => none.insert(timer(object)?),
        };
        timer.set(first, Self::AGAIN).map_err(|errno| Error::errno(object, errno))
    }

    /// When the present wait ends. The first question begins it.
    pub(crate) fn deadline(&mut self) -> Deadline {
        let timeout = match self.timeout {
            Timeout::Now => Some(Duration::ZERO),
            Timeout::After(timeout) => Some(timeout),
            Timeout::Never => None,
        };
        *self.deadline.get_or_insert_with(|| Deadline::after(timeout))
    }

    /// The time for one poll(2): to the deadline, or for `step`.
    pub(crate) fn poll_step(&mut self, step: Duration) -> PollTimeout {
        poll_timeout(self.deadline().at_most(step))
    }
}

/// A timer for a wait for `object`.
///
/// # Errors
/// [`ErrorKind::NoRoom`]: timer_create(2).
pub(crate) fn timer(object: &str) -> Result<sys::ticker::Timer> {
    sys::ticker::Timer::new().map_err(|errno| match errno {
        Errno::EAGAIN => Error::new(ErrorKind::NoRoom, object, "no timer is left, RLIMIT_SIGPENDING is used up")
            .hint(Hint::Ulimit('i')),
        errno => Error::errno(object, errno),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_too_far_for_the_clock_never_passes() {
        assert!(!Deadline::after(Some(Duration::MAX)).passed());
        assert!(Deadline::after(Some(Duration::ZERO)).passed());
        assert_eq!(Deadline::NEVER.at_most(Duration::MAX), Duration::MAX);
    }
}
