//! Deadlines, and waiting in steps for what has no event.
//!
//! Deadlines run on CLOCK_MONOTONIC (what [`Instant`] reads on Linux): a step
//! of the wall clock neither shortens nor lengthens a wait.

use std::time::{Duration, Instant};

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
