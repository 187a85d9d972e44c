//! The condition: a counter in the lock's memory, futex(2).
//!
//! A wake-up adds one to the counter. A sleeper reads it while it holds the mutex, and
//! sleeps until it has changed: so no wake-up between its test and its sleep is lost.
//! If the kernel wakes a sleeper that is being killed, the others notice within a
//! second, as they look at the counter themselves. Memory has no list of sleepers that
//! a death could leave torn.

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
    /// Map the memory to sleep on the condition: mmap(2). Read permission is enough.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] without memory for the mapping.
    pub fn to_sleep(lock: &'l Lock) -> Result<Self> {
        Self::map(lock, memory::map_read_only(lock.object.file(), SIZE as usize))
    }

    /// Map the memory to wake sleepers: mmap(2).
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] for a lock that was not opened for
    /// [`Exclusive`](super::LockMode::Exclusive) use; [`ErrorKind::NoRoom`] without
    /// memory for the mapping.
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

    /// The counter. Read it while the mutex is held, before it is released.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the lock was truncated.
    pub fn sequence(&self) -> Result<u32> {
        // Acquire pairs with the AcqRel of `wake`.
        let now = self.word()?.load(Ordering::Acquire);
        self.check_memory().map(|()| now)
    }

    /// Sleep until the counter is no longer `seen`: FUTEX_WAIT of futex(2).
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`]; [`ErrorKind::Gone`] if the
    /// lock is removed, replaced or truncated meanwhile, [`ErrorKind::Unexpected`]
    /// if it is overwritten.
    #[doc(alias = "pthread_cond_wait")]
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

    /// Wake at least one sleeper, or all: FUTEX_WAKE of futex(2). Never waits.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the lock was truncated.
    #[doc(alias = "pthread_cond_signal")]
    #[doc(alias = "pthread_cond_broadcast")]
    pub fn wake(&self, all: bool) -> Result<()> {
        let word = self.word()?;
        // Release pairs with the Acquire of `sequence`: whoever sees the new number
        // sees what was changed before.
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
