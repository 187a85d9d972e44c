//! How the process was started.
//!
//! A tool must know which of the descriptors 0 to 2 were closed: data written to
//! a closed stdout is lost, and that is an error. A command that a tool runs gets
//! descriptors and dispositions as they were.

use crate::sys;
use crate::sys::signal::{SIGXFSZ, set_disposition};

pub use crate::sys::start::arguments;

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

/// See how the process was started; make a write beyond RLIMIT_FSIZE an error
/// (EFBIG) instead of a death by SIGXFSZ.
pub fn prepare() {
    sys::start::look();
    set_disposition(SIGXFSZ, true);
}

/// Before a command takes this process's place: dispositions and standard
/// descriptors as the process was started with.
pub(crate) fn restore() {
    for (signal, bit) in sys::start::CHANGED {
        set_disposition(signal, sys::start::state() & bit != 0);
    }
    for which in [Standard::Input, Standard::Output, Standard::Error] {
        if !was_open(which) {
            // Our own /dev/null.
            let _ = nix::unistd::close(which as i32);
        }
    }
}
