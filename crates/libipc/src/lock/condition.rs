//! The condition: a counter in the lock's memory that one sleeps on.
//!
//! A wake-up adds one. Whoever sleeps has read the counter while he held the
//! mutex, and wakes when it is another: so no wake-up between his test and his
//! sleep is lost, and none that was given to a sleeper who was killed, as the
//! others look at the counter themselves once a second. There is no list of
//! sleepers in memory that a death could leave torn.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use super::layout::{self, SEQUENCE, SIZE};
use super::presence::{self, Role};
use super::{LOOK, Lock};
use crate::entry::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::ofd;
use crate::sys::futex;
use crate::sys::memory::{self, Region};
use crate::wait::Patience;

/// The condition of an open lock.
#[derive(Debug)]
pub struct Condition<'l> {
    lock: &'l Lock<'l>,
    region: Region,
}

impl<'l> Condition<'l> {
    /// Map the memory; to be read is enough to sleep, not to wake.
    pub fn new(lock: &'l Lock<'l>, access: Access) -> Result<Self> {
        let map = if access == Access::Read { memory::map_read_only } else { memory::map };
        let region = map(lock.object.file(), SIZE as usize).and_then(Region::guarded);
        region.map(|region| Condition { lock, region }).map_err(|errno| lock.entry.errno(errno))
    }

    fn word(&self) -> Result<&AtomicU32> {
        self.region.word(SEQUENCE).ok_or_else(|| self.lock.entry.errno(Errno::EFAULT))
    }

    /// What the counter is now: read while the mutex is held, before it is
    /// given up.
    pub fn sequence(&self) -> Result<u32> {
        // Acquire pairs with the AcqRel of `wake`.
        let now = self.word()?.load(Ordering::Acquire);
        self.check_memory().map(|()| now)
    }

    /// Sleep until the counter is not `seen` any more.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`]; [`ErrorKind::Gone`] if the
    /// lock is removed, replaced or truncated meanwhile, [`ErrorKind::Unexpected`]
    /// if it is overwritten.
    pub fn sleep(&self, seen: u32, patience: &mut Patience) -> Result<()> {
        const BUSY: &str = "had no wake-up";
        let file = self.lock.object.file();
        let place = presence::announce(file, Role::Sleeper);
        let slept = loop {
            if self.sequence()? != seen {
                break Ok(());
            }
            if let Err(error) = patience.begin(self.lock.shown(), BUSY) {
                break Err(error);
            }
            match futex::wait(self.word()?, seen, patience.deadline().at_most(LOOK)) {
                Ok(()) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ETIMEDOUT) => {}
                Err(Errno::EFAULT) => break Err(self.truncated()),
                Err(errno) => break Err(self.lock.entry.errno(errno)),
            }
            // Also after a wake-up: the memory may have been overwritten.
            if !self.lock.has_its_name()? {
                break Err(self.lock.gone());
            }
            layout::identify(file, self.lock.shown())?;
        };
        let _ = ofd::unlock(file, place);
        slept
    }

    /// Wake one sleeper at least, or all. Never waits.
    pub fn wake(&self, all: bool) -> Result<()> {
        let word = self.word()?;
        // What was changed before is seen by whoever sees the new number: pairs
        // with the Acquire of `sequence`.
        word.fetch_add(1, Ordering::AcqRel);
        let woken = futex::wake(word, if all { i32::MAX } else { 1 });
        self.check_memory()?;
        woken.map(drop).map_err(|errno| self.lock.entry.errno(errno))
    }

    fn check_memory(&self) -> Result<()> {
        if self.region.struck() { Err(self.truncated()) } else { Ok(()) }
    }

    fn truncated(&self) -> Error {
        Error::new(ErrorKind::Gone, self.lock.shown(), "was truncated meanwhile")
    }
}
