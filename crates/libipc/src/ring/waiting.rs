//! How both ends wait for each other: a quick look at the words that the other end
//! writes, and a full one for what nobody tells of.

use std::time::Duration;

use super::handle::{Handle, LONGEST_SLEEP};
use crate::base::error::Result;
use crate::base::wait::Wait;

/// The first sleep of a wait, after a look at what the other side writes alone:
/// where both are at work it has written by then.
const FIRST_SLEEP: Duration = Duration::from_millis(10);

/// How closely to look before a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// At the words that are written before a notification.
    Quick,
    /// Also for what nobody tells of: a death, a scribbler.
    Full,
}

/// Wait until `ready` finds something, to be woken by `word`. `blocked_on` says
/// what the ring is not yet.
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
        if check == Check::Full {
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
