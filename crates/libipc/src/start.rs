//! How the process was started, before Rust's runtime changed it.
//!
//! Rust sets SIGPIPE to be ignored and opens /dev/null for each of the
//! descriptors 0 to 2 that was closed. A tool must undo the first (a closed
//! pipe ends it quietly) and must know of the second (data written to a closed
//! stdout is lost, and that is an error). A command that a tool runs gets
//! everything as it was.

use crate::sys;
use crate::sys::signal::{SIGPIPE, SIGXFSZ, set_disposition};

/// The standard descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// Descriptor 0.
    Input = 0,
    /// Descriptor 1.
    Output = 1,
    /// Descriptor 2.
    Error = 2,
}

/// Whether the process was started with this descriptor open.
pub fn was_open(which: Standard) -> bool {
    sys::start::state() & (1 << which as u8) == 0
}

fn was_ignored(signal: i32) -> bool {
    sys::start::CHANGED.iter().any(|&(changed, bit)| changed == signal && sys::start::state() & bit != 0)
}

/// Give SIGPIPE the disposition that the process was started with; make a write
/// beyond RLIMIT_FSIZE an error (EFBIG) instead of a death by SIGXFSZ; survive
/// the loss of mapped memory.
pub fn prepare() {
    set_disposition(SIGPIPE, was_ignored(SIGPIPE));
    set_disposition(SIGXFSZ, true);
    sys::guard::install();
}

/// Before a command takes this process's place: dispositions and standard
/// descriptors as the process was started with.
pub(crate) fn restore() {
    for (signal, bit) in sys::start::CHANGED {
        set_disposition(signal, sys::start::state() & bit != 0);
    }
    for which in [Standard::Input, Standard::Output, Standard::Error] {
        if !was_open(which) {
            // Rust's own /dev/null.
            let _ = nix::unistd::close(which as i32);
        }
    }
}
