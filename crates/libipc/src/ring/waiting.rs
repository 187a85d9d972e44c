//! How both ends wait for each other: a quick look at the words that the other end
//! writes, and a full check for what nobody reports.

use std::time::Duration;

use super::handle::{Handle, LONGEST_SLEEP};
use crate::base::error::Result;
use crate::base::wait::Wait;

/// The first sleep of a wait, after a quick look. If both sides are at work, the other
/// one has written by its end.
const FIRST_SLEEP: Duration = Duration::from_millis(10);

/// How much to check before a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The words that are written before a notification.
    Quick,
    /// Also what nobody reports: a death, or words that somebody else wrote.
    Full,
}

/// Wait until `ready` finds something, to be woken by `word`. `blocked_on` says why
/// the ring makes one wait.
pub(super) fn wait_until<T>(
    handle: &Handle,
    word: usize,
    wait: &mut Wait,
    blocked_on: impl Fn() -> String,
    mut ready: impl FnMut(Check) -> Result<Option<T>>,
) -> Result<T> {
    let mut check = Check::Quick;
    loop {
        if let Some(found) = ready(check)? {
            wait.reset();
            return Ok(found);
        }
        if !wait.may_proceed() {
            if check == Check::Full {
                return Err(wait.over(handle.label(), &blocked_on()));
            }
            check = Check::Full;
            continue;
        }
        // Also if each sleep is short, as somebody wakes us.
        if check == Check::Full || handle.is_due() {
            handle.check()?;
        }
        let longest = if check == Check::Quick { FIRST_SLEEP } else { LONGEST_SLEEP };
        let sleep = wait.deadline().at_most(longest);
        if let Some(found) = handle.ring.wait(word, sleep, || ready(Check::Quick))? {
            wait.reset();
            return Ok(found);
        }
        check = Check::Full;
    }
}
