//! The condition: a counter in the lock's memory that one sleeps on.
//!
//! A wake-up adds one. A sleeper has read the counter while it held the mutex,
//! and wakes when the counter is another: so no wake-up between its test and its
//! sleep is lost. If the sleeper that a wake-up chose was killed, the others look
//! at the counter themselves once a second. There is no list of sleepers in memory
//! that a death could leave torn.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use super::layout::{SEQUENCE_AT, SIZE};
use super::mutex::{LOOK, Lock};
use super::presence::{Announced, Role};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::Wait;
use crate::sys::futex;
use crate::sys::memory::{self, Region};

/// The condition of an open lock.
#[derive(Debug)]
pub struct Condition<'l> {
    lock: &'l Lock,
    region: Region,
}

impl<'l> Condition<'l> {
    /// Map the memory to sleep on the condition: read permission is enough.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`]: mmap(2).
    pub fn to_sleep(lock: &'l Lock) -> Result<Self> {
        Self::map(lock, memory::map_read_only(lock.object.file(), SIZE as usize))
    }

    /// Map the memory to wake sleepers: the lock must be open for
    /// [`Exclusive`](super::LockMode::Exclusive) use.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`], [`ErrorKind::NoRoom`]: mmap(2).
    pub fn to_wake(lock: &'l Lock) -> Result<Self> {
        Self::map(lock, memory::map(lock.object.file(), SIZE as usize))
    }

    fn map(lock: &'l Lock, mapped: nix::Result<Region>) -> Result<Self> {
        let region = mapped.and_then(Region::guarded).map_err(|errno| lock.entry.errno(errno))?;
        Ok(Condition { lock, region })
    }

    fn word(&self) -> Result<&AtomicU32> {
        self.region.word(SEQUENCE_AT).ok_or_else(|| self.lock.entry.errno(Errno::EFAULT))
    }

    /// What the counter is now: read while the mutex is held, before it is
    /// given up.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the lock was truncated.
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
    pub fn sleep(&self, seen: u32, wait: &mut Wait) -> Result<()> {
        let _announced = Announced::new(self.lock.object.file(), Role::Sleeper);
        while self.sequence()? == seen {
            wait.proceed(self.lock.label(), "had no wake-up")?;
            match futex::wait(self.word()?, seen, wait.deadline().at_most(LOOK)) {
                Ok(()) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ETIMEDOUT) => {}
                Err(Errno::EFAULT) => return Err(self.truncated()),
                Err(errno) => return Err(self.lock.entry.errno(errno)),
            }
            // Also after a wake-up: the memory may have been overwritten.
            if !self.lock.has_its_name()? {
                return Err(self.lock.gone());
            }
            self.lock.identify()?;
        }
        Ok(())
    }

    /// Wake one sleeper at least, or all. Never waits.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the lock was truncated.
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
        if self.region.faulted() { Err(self.truncated()) } else { Ok(()) }
    }

    fn truncated(&self) -> Error {
        Error::new(ErrorKind::Gone, self.lock.address(), "was truncated meanwhile")
    }
}
