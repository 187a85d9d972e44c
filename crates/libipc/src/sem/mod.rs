//! Semaphores of both interfaces.

pub mod posix;
pub mod sysv;
