//! Signals that interrupt a system call instead of ending the process: for waits after
//! which something is left to do, and can be waited for by no descriptor.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use nix::libc::{self, c_int, c_void};

use super::signal::raise;
use super::ticker::Timer;

/// The first signal that came; 0 if none did.
static CAME: AtomicI32 = AtomicI32::new(0);

/// What interrupts the call if the signal came just before it; of use while
/// [`ARMED`]. The number of a timer may be 0.
static TIMER: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Whether there is a [`TIMER`].
static ARMED: AtomicBool = AtomicBool::new(false);

/// The interval at which a call that began too late is interrupted.
const AGAIN: Duration = Duration::from_millis(1);

extern "C" fn on_signal(signal: c_int) {
    let _ = CAME.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
    // Acquire, with the release in `new`: the timer is that one.
    if ARMED.load(Ordering::Acquire) {
        let timer = TIMER.load(Ordering::Relaxed);
        let time = super::timespec(AGAIN);
        let spec = libc::itimerspec { it_value: time, it_interval: time };
        // SAFETY: the timer lives as long as this handler is set, `spec` is valid to
        // be read, and the call is safe in a handler.
        let _ = unsafe { libc::timer_settime(timer, 0, &raw const spec, ptr::null_mut()) };
    }
}

/// Whether a signal has come that waits until the [`Interrupts`] are dropped.
pub(crate) fn came() -> bool {
    CAME.load(Ordering::Relaxed) != 0
}

/// Whether there are [`Interrupts`].
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Handlers that are set until this is dropped. Then the first signal that came
/// takes its course. One at a time, in one thread.
pub(crate) struct Interrupts {
    before: Vec<(c_int, libc::sigaction)>,
    _timer: Timer,
}

/// Whether there are handlers now, which are not to be set twice.
pub(crate) fn are_set() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

impl Interrupts {
    /// Of these signals, with a timer of this thread.
    pub(crate) fn new(signals: impl Iterator<Item = c_int>, timer: Timer) -> Self {
        CAME.store(0, Ordering::Relaxed);
        ACTIVE.store(true, Ordering::Relaxed);
        TIMER.store(timer.raw(), Ordering::Relaxed);
        ARMED.store(true, Ordering::Release);
        // SAFETY: the structure is plain integers and pointers, for which zeroes are
        // valid: no flags, so that no call is restarted, and an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = on_signal as extern "C" fn(c_int) as usize;
        let mut before = Vec::new();
        for signal in signals {
            let mut old = action;
            // SAFETY: both structures are valid, and the handler makes only calls that
            // are safe at any moment.
            if unsafe { libc::sigaction(signal, &raw const action, &raw mut old) } == 0 {
                before.push((signal, old));
            }
        }
        Interrupts { before, _timer: timer }
    }
}

impl std::fmt::Debug for Interrupts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Interrupts").field(&came()).finish()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for (signal, action) in &self.before {
            // SAFETY: the action is one that the kernel gave us.
            let _ = unsafe { libc::sigaction(*signal, action, ptr::null_mut()) };
        }
        ARMED.store(false, Ordering::Relaxed);
        ACTIVE.store(false, Ordering::Relaxed);
        let signal = CAME.swap(0, Ordering::Relaxed);
        if signal != 0 {
            raise(signal);
        }
    }
}
