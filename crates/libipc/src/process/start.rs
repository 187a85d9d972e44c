//! How the process was started.
//!
//! A program must know which of the descriptors 0 to 2 were closed: data written to a
//! closed stdout is lost, which is an error. A command that it runs gets descriptors
//! and dispositions as they were.

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

/// Whether the process was started with this descriptor open, as [`prepare`] saw it.
pub fn was_open(which: Standard) -> bool {
    sys::start::state() & (1 << which as u8) == 0
}

/// Record how the process was started, and prepare it. For `main`, before there are
/// threads.
///
/// - A standard descriptor that was closed is opened on /dev/null.
/// - SIGXFSZ is ignored: a write beyond RLIMIT_FSIZE is an error, EFBIG, and no death.
pub fn prepare() {
    sys::start::look();
    set_disposition(SIGXFSZ, true);
}

/// Restore the dispositions and standard descriptors that the process was started
/// with, for a command.
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
