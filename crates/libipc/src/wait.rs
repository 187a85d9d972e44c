//! Deadlines, waiting in steps for what has no event, and bounds for calls that
//! the kernel lets block for ever.
//!
//! Deadlines run on CLOCK_MONOTONIC (what [`Instant`] reads on Linux): a step
//! of the wall clock neither shortens nor lengthens a wait.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollTimeout;

use crate::error::{Error, ErrorKind, Result};
use crate::sys;

/// The moment at which a wait ends, or never.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Wait for as long as it takes.
    pub const NEVER: Deadline = Deadline(None);

    /// `timeout` from now, or never. One too long for the clock is never.
    pub fn after(timeout: Option<Duration>) -> Self {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The time left; zero once it has passed; None if there is no end.
    pub fn left(&self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// `step`, or the time left if that is shorter.
    pub fn at_most(&self, step: Duration) -> Duration {
        self.left().map_or(step, |left| left.min(step))
    }
}

/// Sleeps of growing length for a state that the kernel tells nobody about.
#[derive(Debug)]
pub struct Steps(Duration);

impl Steps {
    const FIRST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(100);

    /// From one millisecond to a tenth of a second.
    pub fn new() -> Self {
        Steps(Self::FIRST)
    }

    /// Sleep for a step, or until the deadline.
    pub fn sleep(&mut self, deadline: &Deadline) {
        std::thread::sleep(deadline.at_most(self.0));
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self::new()
    }
}

/// How long one wait may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Not at all: [`ErrorKind::Busy`].
    Nonblock,
    /// At most this long: [`ErrorKind::TimedOut`].
    Within(Duration),
    /// As long as it takes.
    Forever,
}

/// A [`Limit`], also for calls that know no deadline: System V queues, OFD locks.
///
/// A timer of this thread interrupts such a call: the call then returns EINTR,
/// and whoever made it looks at the deadline. The timer
/// repeats, as a tick that comes just before the call would be lost. Its signal
/// is the last real-time one; disposition and mask are given back at the end.
#[derive(Debug)]
pub struct Patience {
    limit: Limit,
    tries: u32,
    /// Set when a wait has begun, and until it is over.
    deadline: Option<Deadline>,
    timer: Option<sys::ticker::Timer>,
}

impl Patience {
    /// Tries without waiting end after this.
    const BRIEFLY: Duration = Duration::from_micros(100);
    /// Ticks come so often after the first, for the one that came too early.
    const AGAIN: Duration = Duration::from_millis(10);

    /// Nothing happens before a call has to wait.
    pub fn new(limit: Limit) -> Self {
        Patience { limit, tries: 1, deadline: None, timer: None }
    }

    /// For one of a stream of calls: try some times, making room for others in
    /// between, before waiting or giving up. Where the other side is at work,
    /// that costs less than to fall asleep and be woken.
    #[must_use]
    pub fn in_a_stream(self) -> Self {
        Patience { tries: 50, ..self }
    }

    /// The time runs from now on, not from the first wait.
    #[must_use]
    pub fn from_now(self) -> Self {
        let deadline =
            if let Limit::Within(timeout) = self.limit { Some(Deadline::after(Some(timeout))) } else { None };
        Patience { deadline, ..self }
    }

    /// Call without waiting until it is done, or has been tried often enough.
    pub(crate) fn try_first<T>(
        &self,
        busy: impl Fn(Errno) -> bool,
        mut call: impl FnMut() -> nix::Result<T>,
    ) -> nix::Result<Option<T>> {
        // Asked for after a first failure alone: most calls succeed.
        let mut begin = None;
        for left in (0..self.tries).rev() {
            match call() {
                Err(errno) if busy(errno) || errno == Errno::EINTR => {}
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

    /// What was waited for has come: the next wait has all its time.
    pub fn start_over(&mut self) {
        self.deadline = None;
    }

    /// A wait begins, or goes on: the error that ends it, if it may not last.
    pub(crate) fn begin(&mut self, object: &str, busy: &str) -> Result<()> {
        let limit = match self.limit {
            Limit::Nonblock => return Err(self.over(object, busy)),
            Limit::Within(timeout) => Some(timeout),
            Limit::Forever => None,
        };
        self.deadline.get_or_insert_with(|| Deadline::after(limit));
        self.check(object, busy)
    }

    /// [`ErrorKind::TimedOut`] once the deadline has passed.
    pub(crate) fn check(&self, object: &str, busy: &str) -> Result<()> {
        if self.deadline().passed() { Err(self.over(object, busy)) } else { Ok(()) }
    }

    /// The error of a wait that has ended in vain: [`ErrorKind::Busy`] if there was
    /// to be none, else [`ErrorKind::TimedOut`].
    pub(crate) fn over(&self, object: &str, busy: &str) -> Error {
        match self.limit {
            Limit::Nonblock => Error::new(ErrorKind::Busy, object, busy),
            _ => Error::new(ErrorKind::TimedOut, object, format!("{busy}, and the timeout has passed")),
        }
    }

    /// For a call that takes a timeout itself: how long it may wait now. The first
    /// such question begins the wait.
    pub(crate) fn remaining(&mut self) -> Limit {
        let Limit::Within(timeout) = self.limit else { return self.limit };
        let deadline = self.deadline.get_or_insert_with(|| Deadline::after(Some(timeout)));
        deadline.left().map_or(Limit::Forever, Limit::Within)
    }

    /// Make a blocking call that knows no deadline: EINTR comes from our timer or
    /// from a stop and continue, and the call is made again until the deadline.
    pub(crate) fn block<T>(
        &mut self,
        object: &str,
        busy: &str,
        mut call: impl FnMut() -> nix::Result<T>,
    ) -> Result<nix::Result<T>> {
        self.begin(object, busy)?;
        self.arm(object)?;
        let done = loop {
            match call() {
                Err(Errno::EINTR) => {
                    if let Err(error) = self.check(object, busy).and_then(|()| self.arm(object)) {
                        break Err(error);
                    }
                }
                other => break Ok(other),
            }
        };
        self.timer = None; // no more interruptions
        done
    }

    /// See to it that a blocking call returns EINTR at the deadline, if there is
    /// one.
    fn arm(&mut self, object: &str) -> Result<()> {
        let Some(first) = self.deadline().left() else { return Ok(()) };
        let failed = |errno| Error::errno(object, errno);
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => none.insert(sys::ticker::Timer::new().map_err(|errno| {
                match errno {
                    Errno::EAGAIN => {
                        Error::new(ErrorKind::NoRoom, object, "no timer is left, RLIMIT_SIGPENDING is used up")
                            .mend("raise it with ulimit -i")
                    }
                    errno => failed(errno),
                }
            })?),
        };
        timer.set(first, Self::AGAIN).map_err(failed)
    }

    /// When the present wait ends.
    pub(crate) fn deadline(&self) -> Deadline {
        self.deadline.unwrap_or(Deadline::NEVER)
    }

    /// The time for one poll(2): to the deadline, or for `step`.
    pub(crate) fn step(&self, step: Duration) -> PollTimeout {
        // Rounded up: a rest of a millisecond must not become a busy loop.
        let rounded = self.deadline().at_most(step) + Duration::from_micros(999);
        PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
    }
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
