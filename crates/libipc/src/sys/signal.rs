//! sigaction(2) without handlers: whether a signal is ignored.

use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, c_int};
pub(crate) use nix::libc::{SIGCHLD, SIGXFSZ};

/// Whether the signal is ignored now.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is given, and `now` is valid to be written.
    let _ = unsafe { libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) };
    // SAFETY: the structure is plain integers, so zeroes are valid even if the
    // call failed.
    unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN
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
