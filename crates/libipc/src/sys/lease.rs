//! File leases, F_SETLEASE of fcntl(2): the kernel's word that nobody else has a file
//! open or mapped, in whatever namespace.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// asm-generic/fcntl.h; the libc crate leaves it out.
const F_SETSIG: c_int = 10;

/// Whether anybody else has the file.
#[derive(Debug)]
pub(crate) enum Lease<'fd> {
    /// Nobody has it, and whoever opens it waits until this is dropped.
    Alone(Alone<'fd>),
    /// Somebody has it.
    Shared,
    /// The kernel does not say: the file is another user's, and CAP_LEASE is missing, or
    /// its file system has no leases.
    Unknown,
}

/// A write lease that is given up when this is dropped.
#[derive(Debug)]
pub(crate) struct Alone<'fd>(BorrowedFd<'fd>);

impl<'fd> Lease<'fd> {
    /// Ask for a regular file. Other descriptors of this process count, but not
    /// duplicates of this one.
    pub(crate) fn take(file: &'fd impl AsFd) -> Self {
        let fd = file.as_fd();
        // Whoever opens the file makes the kernel send a signal, SIGIO by default, which
        // would end the process. SIGURG does nothing by default.
        match command(fd, F_SETSIG, libc::SIGURG).and_then(|_| command(fd, libc::F_SETLEASE, libc::F_WRLCK)) {
            Ok(_) => Lease::Alone(Alone(fd)),
            Err(Errno::EAGAIN) => Lease::Shared,
            Err(_) => Lease::Unknown,
        }
    }
}

impl Alone<'_> {
    /// Whether nobody waits to open the file.
    pub(crate) fn is_undisturbed(&self) -> bool {
        command(self.0, libc::F_GETLEASE, 0) == Ok(libc::F_WRLCK)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let _ = command(self.0, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn command(fd: BorrowedFd<'_>, command: c_int, argument: c_int) -> nix::Result<c_int> {
    // SAFETY: these commands take an integer.
    Errno::result(unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) })
}
