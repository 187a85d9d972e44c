//! The start of a process, in place of the one that Rust's runtime would make.
//!
//! That one reads /proc/self/maps, makes a signal stack and handlers, and ignores
//! SIGPIPE: a tenth of the time that a small tool takes, to undo some of it again.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc::{self, c_char, c_int};

/// Defines the `main` of a program: its name, its exit status where no memory is left
/// for what must have some, and a function from the name and the arguments, the first of
/// which is the program's name too, to the exit status. The program must say
/// `#![cfg_attr(not(test), no_main)]`.
#[macro_export]
macro_rules! program {
    ($name:expr, $no_memory:expr, $run:expr) => {
        #[cfg(not(test))]
        #[global_allocator]
        static ALLOCATOR: $crate::process::start::Allocator = $crate::process::start::Allocator;

        #[cfg(not(test))] // where the test runner has a `main` of its own
        #[unsafe(no_mangle)]
        extern "C" fn main(argc: ::std::ffi::c_int, argv: *const *const ::std::ffi::c_char) -> ::std::ffi::c_int {
            $crate::process::start::set_last_words($name, $no_memory);
            let run: fn(&'static str, ::std::vec::Vec<::std::ffi::OsString>) -> u8 = $run;
            // SAFETY: they are what the C library passes to `main`.
            run($name, unsafe { $crate::process::start::arguments(argc, argv) }).into()
        }
    };
}

/// The arguments of `main`.
///
/// # Safety
/// They must be those that the C library has passed to it.
pub unsafe fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<OsString> {
    let argument = |index| {
        // SAFETY: there are `argc` pointers, by the caller's word.
        let pointer = unsafe { *argv.wrapping_add(index) };
        // SAFETY: each is to a string with a NUL at its end.
        let text = unsafe { CStr::from_ptr(pointer) };
        OsStr::from_bytes(text.to_bytes()).to_owned()
    };
    (0..usize::try_from(argc).unwrap_or(0)).map(argument).collect()
}

/// Signals whose disposition changes while a tool runs. Each has a bit in [`state`],
/// which is set if the signal was ignored. The lower bits stand for the standard
/// descriptors that were closed.
pub(crate) const CHANGED: [(c_int, u8); 3] = [(libc::SIGXFSZ, 8), (libc::SIGBUS, 16), (libc::SIGCHLD, 32)];

// Written once, before there are threads, and read after: Relaxed is enough.
static STATE: AtomicU8 = AtomicU8::new(0);

/// Record how the process was started. A standard descriptor that was closed is opened
/// on /dev/null: else another file would get its number, and the output meant for it.
pub(crate) fn look() {
    let mut state = 0;
    for fd in 0..=2 {
        // SAFETY: F_GETFD takes integers only.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            state |= 1 << fd;
            // SAFETY: the path ends with a NUL. The lowest free number is `fd`.
            let _ = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
    for (signal, bit) in CHANGED {
        if super::signal::is_ignored(signal) {
            state |= bit;
        }
    }
    STATE.store(state, Ordering::Relaxed);
}

pub(crate) fn state() -> u8 {
    STATE.load(Ordering::Relaxed)
}
