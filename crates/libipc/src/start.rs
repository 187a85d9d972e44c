//! How the process was started, before Rust's runtime changed it.
//!
//! Rust sets SIGPIPE to be ignored and opens /dev/null for each of the
//! descriptors 0 to 2 that was closed. A tool must undo the first (a closed
//! pipe ends it quietly) and must know of the second (data written to a closed
//! stdout is lost, and that is an error).

use crate::sys;

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

/// Give SIGPIPE the disposition that the process was started with.
pub fn restore_sigpipe() {
    sys::signal::set_disposition(sys::signal::SIGPIPE, sys::start::state() & sys::start::PIPE_IGNORED != 0);
}

/// Make a write beyond RLIMIT_FSIZE an error (EFBIG) instead of a death by
/// SIGXFSZ.
pub fn report_file_size_limit() {
    sys::signal::set_disposition(sys::signal::SIGXFSZ, true);
}
