//! A failed command leaves nothing behind: what was made for it goes again.

use std::fmt::Display;

use libipc::process::signals::Interrupting;
use libipc::{Discard, Result};

/// Pass a result on. If it is a failure, what was made for it is discarded.
///
/// # Errors
/// That of the result.
pub fn or_discard<T, E>(made: &(impl Discard + ?Sized), done: std::result::Result<T, E>) -> std::result::Result<T, E> {
    done.inspect_err(|_| made.discard())
}

/// Wait for something with an object at `address` that may be new. If the wait fails, or
/// a signal ends it, a new object is discarded; then the signal takes its course.
///
/// # Errors
/// Those of the wait.
pub fn wait_or_discard<M: Discard + ?Sized, T>(
    made: &mut M,
    address: impl Display,
    wait: impl FnOnce(&mut M) -> Result<T>,
) -> Result<T> {
    // Without a timer for it, a signal ends the process as any other.
    let signals = if made.is_new() { Interrupting::new(address).ok() } else { None };
    let done = wait(made);
    let done = or_discard(made, done);
    drop(signals);
    done
}
