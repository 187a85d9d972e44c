//! A repeating timer whose signal makes blocking calls return EINTR.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int};

extern "C" fn noticed(_signal: c_int) {}

/// The last real-time signal: nobody else is likely to use it.
fn signal() -> c_int {
    libc::SIGRTMAX()
}

/// The timers of all threads, which share the action of the signal, and the action
/// from before the first of them. The last one gives it back: given back sooner,
/// the next tick of another thread would end the process.
static USERS: Mutex<Option<(usize, libc::sigaction)>> = Mutex::new(None);

/// A timer of this thread that ticks; dropping it gives disposition and mask of
/// its signal back as they were.
#[derive(Debug)]
pub(crate) struct Timer {
    timer: libc::timer_t,
    was_blocked: bool,
}

impl Timer {
    /// Make a timer for this thread, and set a handler that does nothing. Without
    /// SA_RESTART no call is restarted after it.
    pub(crate) fn new() -> nix::Result<Self> {
        enter()?;
        let was_blocked = mask(libc::SIG_UNBLOCK);
        // SAFETY: the structure is plain integers and pointers, for which
        // zeroes are valid.
        let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal();
        // SAFETY: takes nothing.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = ptr::null_mut();
        // SAFETY: `event` is valid to be read and `timer` to be written.
        let created = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        if created == -1 {
            let errno = Errno::last(); // before other calls change it
            leave(was_blocked);
            return Err(errno);
        }
        Ok(Timer { timer, was_blocked })
    }

    /// Its number, for timer_settime(2) in a handler.
    pub(super) fn raw(&self) -> libc::timer_t {
        self.timer
    }

    /// Tick after `first`, then again after each `interval`.
    pub(crate) fn set(&self, first: Duration, interval: Duration) -> nix::Result<()> {
        let spec = libc::itimerspec { it_value: timespec(first), it_interval: timespec(interval) };
        // SAFETY: the timer lives until drop, `spec` is valid to be read.
        Errno::result(unsafe { libc::timer_settime(self.timer, 0, &raw const spec, ptr::null_mut()) }).map(drop)
    }
}

/// A time that is not zero, which would disarm.
fn timespec(duration: Duration) -> libc::timespec {
    super::timespec(duration.max(Duration::from_nanos(1)))
}

/// Block or unblock the signal, and no other: others may have been blocked since.
/// Whether it was blocked.
fn mask(how: c_int) -> bool {
    // SAFETY: a set is plain integers, and zeroes are the empty one.
    let (mut set, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `set` is a valid set.
    let _ = unsafe { libc::sigaddset(&raw mut set, signal()) };
    // SAFETY: both sets are valid.
    let _ = unsafe { libc::pthread_sigmask(how, &raw const set, &raw mut before) };
    // SAFETY: `before` is a valid set.
    unsafe { libc::sigismember(&raw const before, signal()) == 1 }
}

/// Set the handler, if this is the first timer.
fn enter() -> nix::Result<()> {
    let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((count, _)) = users.as_mut() {
        *count += 1;
        return Ok(());
    }
    // SAFETY: the structure is plain integers and pointers, for which
    // zeroes are valid: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = noticed as extern "C" fn(c_int) as usize;
    let mut before = action;
    // SAFETY: both structures are valid, and the handler is safe at any
    // moment, as it does nothing.
    Errno::result(unsafe { libc::sigaction(signal(), &raw const action, &raw mut before) })?;
    *users = Some((1, before));
    Ok(())
}

/// Give the mask of this thread back, and the action if this was the last timer.
fn leave(was_blocked: bool) {
    if was_blocked {
        mask(libc::SIG_BLOCK);
    }
    let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
    match users.as_mut() {
        Some((count, _)) if *count > 1 => *count -= 1,
        Some((_, before)) => {
            // SAFETY: the action is one that the kernel gave us.
            let _ = unsafe { libc::sigaction(signal(), &raw const *before, ptr::null_mut()) };
            *users = None;
        }
        None => {}
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // Deleted before the handler goes: no tick can come after it.
        // SAFETY: created in `new`, deleted here alone.
        let _ = unsafe { libc::timer_delete(self.timer) };
        leave(self.was_blocked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_stays_until_the_last_timer_goes() {
        let (first, second) = (Timer::new().unwrap(), Timer::new().unwrap());
        drop(first);
        super::super::signal::raise(signal()); // would end the process
        drop(second);
    }
}
