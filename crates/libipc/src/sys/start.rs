//! A look at the process before Rust's runtime starts: `.init_array` runs
//! before `main`, where the runtime ignores SIGPIPE and opens closed standard
//! descriptors.

use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc::{self, c_int};

/// Signals whose disposition is changed while a tool runs, each with its bit in
/// [`state`] if it was ignored; the bits below stand for the standard
/// descriptors that were closed.
pub(crate) const CHANGED: [(c_int, u8); 3] = [(libc::SIGPIPE, 8), (libc::SIGXFSZ, 16), (libc::SIGBUS, 32)];

// Written once, before there are threads, and read after: Relaxed is enough.
static STATE: AtomicU8 = AtomicU8::new(0);

extern "C" fn look() {
    let mut state = 0;
    for fd in 0..=2 {
        // SAFETY: F_GETFD takes integers only.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            state |= 1 << fd;
        }
    }
    for (signal, bit) in CHANGED {
        if super::signal::is_ignored(signal) {
            state |= bit;
        }
    }
    STATE.store(state, Ordering::Relaxed);
}

// SAFETY: the section holds pointers to functions without arguments, which the
// C library calls once each; `look` is one and needs nothing initialised.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

pub(crate) fn state() -> u8 {
    STATE.load(Ordering::Relaxed)
}
