//! How many more messages may be taken, by all workers of a service together.

use std::fs::File;
use std::sync::atomic::Ordering;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use crate::base::error::{Error, Result};
use crate::shared::memory::{Mapped, Memory};
use crate::sys::memory::{Region, map};

/// A number in memory that workers share with the process that they are forked from.
#[derive(Debug)]
pub(super) struct Tickets(Mapped);

impl Tickets {
    pub(super) fn new(count: u64) -> Result<Self> {
        let size = size_of::<u64>();
        let file = memfd_create("count", MFdFlags::MFD_CLOEXEC).map(File::from);
        let memory = file.and_then(|file| ftruncate(&file, size as i64).and_then(|()| map(&file, size)));
        let memory = memory.and_then(Region::guarded).map_err(|errno| Error::errno("memory for a count", errno))?;
        let tickets = Tickets(Mapped(memory));
        tickets.0.store(0, count, Ordering::Relaxed);
        Ok(tickets)
    }

    /// Take one; false if there is none.
    pub(super) fn take(&self) -> bool {
        // Relaxed: nothing else is shared by them.
        loop {
            match self.0.load(0, Ordering::Relaxed) {
                0 => return false,
                count if self.0.exchange(0, count, count - 1, Ordering::Relaxed) => return true,
                _ => {}
            }
        }
    }
}
