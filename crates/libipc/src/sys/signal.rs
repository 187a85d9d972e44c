//! sigaction(2) without handlers of ours: whether a signal is ignored, and an action
//! that is restored.

use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, c_int};
pub(crate) use nix::libc::{SIGCHLD, SIGXFSZ};

fn action(signal: c_int) -> libc::sigaction {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given, and `now` is valid to be written.
    let _ = unsafe { libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) };
    // SAFETY: the structure is plain integers, so zeroes are valid even if the
    // call failed.
    unsafe { now.assume_init() }
}

/// Whether the signal is ignored now.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    action(signal).sa_sigaction == libc::SIG_IGN
}

/// Whether the signal has its default action now.
pub(crate) fn is_default(signal: c_int) -> bool {
    action(signal).sa_sigaction == libc::SIG_DFL
}

/// Ignore the signal, or give it its default action.
pub(crate) fn set_disposition(signal: c_int, ignore: bool) {
    let disposition = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither disposition runs code of ours.
    unsafe { libc::signal(signal, disposition) };
}

/// raise(3): the signal comes to this thread, now if it is not blocked.
pub(crate) fn raise(signal: c_int) {
    // SAFETY: takes an integer.
    let _ = unsafe { libc::raise(signal) };
}

/// The default action of a signal, until this is dropped. Then the earlier action comes
/// back, also a handler of the process.
pub(crate) struct Default {
    signal: c_int,
    before: libc::sigaction,
}

impl Default {
    /// Set it.
    pub(crate) fn set(signal: c_int) -> Self {
        let before = action(signal);
        set_disposition(signal, false);
        Default { signal, before }
    }
}

impl std::fmt::Debug for Default {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Default").field(&self.signal).finish()
    }
}

impl Drop for Default {
    fn drop(&mut self) {
        // SAFETY: the action is one that the kernel gave us.
        let _ = unsafe { libc::sigaction(self.signal, &raw const self.before, ptr::null_mut()) };
    }
}
