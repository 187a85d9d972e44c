//! How the process was started.
//!
//! A program must know which of the descriptors 0 to 2 were closed: data written to a
//! closed stdout is lost, which is an error. A command that it runs gets descriptors
//! and dispositions as they were.

use nix::sys::resource::{Resource, getrlimit};

use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::sys;
use crate::sys::signal::{SIGXFSZ, set_disposition};

pub use crate::sys::alloc::Allocator;
pub use crate::sys::start::arguments;

/// Bytes of stack that the tools need, with room to spare.
const STACK: u64 = 256 * 1024;

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

/// The program of this name says that it is out of memory, and which limit to raise, and
/// ends with this status, when no memory is left for what must have some. For
/// [`program!`](crate::program), which sets the [`Allocator`] too.
pub fn set_last_words(name: &'static str, status: u8) {
    sys::alloc::set_last_status(status);
    sys::alloc::set_last_words(name);
}

/// Change the status of this end: a program that runs a command has another one.
pub fn set_last_status(status: u8) {
    sys::alloc::set_last_status(status);
}

/// The status that was set last.
pub fn last_status() -> u8 {
    sys::alloc::last_status()
}

/// Check that the stack may grow as far as the tools need it: a program that has used up
/// its stack is killed.
///
/// # Errors
/// [`ErrorKind::NoRoom`].
pub fn check_stack() -> Result<()> {
    let (soft, _) = getrlimit(Resource::RLIMIT_STACK).unwrap_or((u64::MAX, 0));
    if soft >= STACK {
        return Ok(());
    }
    let problem = format!("RLIMIT_STACK, {} KiB, is too little to run in", soft / 1024);
    Err(Error::new(ErrorKind::NoRoom, "the stack", problem).hint(Hint::Ulimit('s')))
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
