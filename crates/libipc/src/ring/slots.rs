//! The table of readers: finding, taking and giving up slots, while it is
//! locked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::algorithm::{Corrupt, Present, before};
use super::away::{self, Patience};
use super::check::sum;
use super::handle::{Handle, LONGEST_SLEEP};
use super::layout::{CONSUMED, HEAD, LONGEST_NAME, Owner, copies, lock, name, name_sum, position};
use super::options::StartAt;
use crate::base::address::Address;
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::text::printable;
use crate::base::wait::{Timeout, Wait};
use crate::fs::byte_lock::LockMode;
use crate::fs::entry::Access;
use crate::shared::memory::Memory;

/// Check the name of a reader of the ring at this address.
///
/// # Errors
/// [`ErrorKind::Usage`].
pub(super) fn check_name(address: &Address, reader: &OsStr) -> Result<()> {
    let (longest, bytes) = (LONGEST_NAME, reader.as_bytes());
    if bytes.is_empty() || bytes.len() > longest || bytes.contains(&0) {
        let problem = format!("the name of a reader has 1 to {longest} bytes");
        return Err(Error::new(ErrorKind::Usage, address, problem));
    }
    Ok(())
}

/// The table of an open ring. Methods that change it, or rely on it, say so: they
/// are for [`Slots::with_lock`].
#[derive(Clone, Copy)]
pub(super) struct Slots<'a>(pub(super) &'a Handle);

impl Slots<'_> {
    /// Run `work` with the table locked: meanwhile no other reader joins or gives up
    /// its name, and no stream begins. Everybody holds this lock for an instant.
    pub(super) fn with_lock<T>(&self, wait: &mut Wait, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.0.lock_for_an_instant(lock::SLOTS, "its table of readers is locked", wait)?;
        let done = work();
        self.0.unlock(lock::SLOTS);
        done
    }

    /// Run `work` with the table locked, within a step of a wait; None if the lock
    /// could not be taken.
    pub(super) fn with_lock_now<T>(&self, work: impl FnOnce() -> Result<Option<T>>) -> Result<Option<T>> {
        match self.with_lock(&mut Wait::new(Timeout::After(LONGEST_SLEEP)), work) {
            Err(error) if error.kind == ErrorKind::TimedOut => Ok(None),
            other => other,
        }
    }

    /// The name in a slot; empty for one that has none.
    pub(super) fn name(&self, slot: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(LONGEST_NAME);
        for at in name(slot) {
            // Relaxed, as the caller has loaded `owner` with Acquire before.
            bytes.extend_from_slice(&self.0.ring.memory.load(at, Relaxed).to_ne_bytes());
        }
        if self.0.ring.memory.load(name_sum(slot), Relaxed) != sum(&bytes) {
            return Err(self.0.corrupt(Corrupt("the name of a reader has another sum")));
        }
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        Ok(bytes)
    }

    /// The position of a named reader that is away: what two of its three places say. A
    /// reader that died may not have stored all three.
    pub(super) fn recall(&self, slot: usize) -> Result<u64> {
        let load = |at| self.0.ring.memory.load(at, Relaxed);
        let ([one, two], at) = (copies(slot).map(load), load(position(slot)));
        match () {
            () if at == two || at == one => Ok(at),
            () if one == two => Ok(one),
            () => Err(self.0.corrupt(Corrupt("the position of a reader is none that it stored"))),
        }
    }

    /// Store the copies of a named reader's position, before the position.
    pub(super) fn remember(&self, slot: usize, at: u64) {
        // Relaxed: they are read under the slot's lock, after the death of its owner.
        copies(slot).into_iter().for_each(|copy| self.0.ring.memory.store(copy, at, Relaxed));
    }

    /// Store the position of a named reader that is away; its slot is locked.
    pub(super) fn put(&self, slot: usize, at: u64) {
        self.remember(slot, at);
        self.0.ring.consume(slot, at);
    }

    /// Bytes that were committed and not read by a reader; more than the
    /// capacity where it was overrun.
    pub(super) fn lag(&self, slot: usize) -> u64 {
        let memory = &self.0.ring.memory;
        memory.load(HEAD, Relaxed).wrapping_sub(memory.load(position(slot), Relaxed))
    }

    // With the table locked.

    /// Free the slot of a dead anonymous reader; a name keeps its slot. Returns the
    /// owner that was found, or None if the reader lives. The slot is locked for an
    /// instant. Nobody takes it meanwhile, as the table is locked. From a name is taken
    /// what it holds back beyond the `patience`.
    pub(super) fn sweep(&self, slot: usize, patience: Patience) -> Result<Option<Owner>> {
        if !self.0.try_lock(LockMode::Exclusive, lock::reader(slot))? {
            return Ok(None);
        }
        // Read under the lock: it may be another reader by now, or none.
        let owner = self.0.owner(slot);
        if let Ok(Owner::Anonymous(_)) = owner {
            self.free(slot);
        }
        let tended = if let Ok(Owner::Named(_)) = owner { self.tend(slot, patience) } else { Ok(()) };
        self.0.unlock(lock::reader(slot));
        tended.and(owner).map(Some)
    }

    /// See to what a dead named reader left half done.
    fn tend(&self, slot: usize, patience: Patience) -> Result<()> {
        let ring = &self.0.ring;
        let mut at = self.recall(slot)?;
        // One that died before it got to its position is moved there. If the writer
        // overwrites, the reader was overrun, and must be told of it.
        let Present { stream, start } = self.0.present()?;
        if !stream.overwrite && ring.memory.load(HEAD, Relaxed).wrapping_sub(at) > ring.capacity {
            at = ring.oldest(start);
        }
        if at != ring.memory.load(position(slot), Relaxed) {
            self.put(slot, at);
        }
        let (lag, allowed) = (ring.memory.load(HEAD, Relaxed).wrapping_sub(at), patience.allows(self.0, slot));
        if lag > allowed {
            // Noted first: a writer that dies in between makes the number too large, but
            // hides nothing.
            away::set_lost(self.0, slot, away::lost(self.0, slot).saturating_add(lag - allowed));
            self.put(slot, at.wrapping_add(lag - allowed));
        }
        Ok(())
    }

    /// Free a slot; its lock is held.
    pub(super) fn free(&self, slot: usize) {
        let ring = &self.0.ring;
        // A reader that is far behind, or never got to its position, has read nothing
        // that others have not.
        let at = if self.lag(slot) > ring.capacity { CONSUMED } else { position(slot) };
        ring.leave(slot, ring.memory.load(at, Relaxed));
    }

    /// The slot of a name.
    pub(super) fn find(&self, reader: &OsStr) -> Result<Option<(usize, Owner)>> {
        for slot in 0..self.0.ring.slots {
            let who = self.0.owner(slot)?;
            if matches!(who, Owner::Named(_)) && self.name(slot)? == reader.as_bytes() {
                return Ok(Some((slot, who)));
            }
        }
        Ok(None)
    }

    /// Lock the slot of a name: [`ErrorKind::Busy`] while a reader uses the name.
    pub(super) fn lock_name(&self, slot: usize, reader: &OsStr) -> Result<()> {
        if self.0.try_lock(LockMode::Exclusive, lock::reader(slot))? {
            return Ok(());
        }
        let problem = format!("is being read as {}", printable(reader));
        Err(Error::new(ErrorKind::Busy, self.0.label(), problem))
    }

    /// Lock a slot that is free, or whose reader is dead.
    pub(super) fn take(&self) -> Result<usize> {
        for sweep in [false, true] {
            for slot in 0..self.0.ring.slots {
                match self.0.owner(slot)? {
                    Owner::Anonymous(_) if sweep => drop(self.sweep(slot, Patience::default())?),
                    _ => {}
                }
                // A reader that has just left may hold its lock for an instant.
                if self.0.owner(slot)? == Owner::Free && self.0.try_lock(LockMode::Exclusive, lock::reader(slot))? {
                    return Ok(slot);
                }
            }
        }
        let problem = format!("has {} readers, and no slot for another", self.0.ring.slots);
        Err(Error::new(ErrorKind::NoRoom, self.0.label(), problem).hint(Hint::ReadersFull(self.0.address())))
    }

    /// Write a name into a slot that is locked and free.
    pub(super) fn set_name(&self, slot: usize, reader: &OsStr) {
        let (mut padded, bytes) = ([0; LONGEST_NAME], reader.as_bytes());
        padded[..bytes.len()].copy_from_slice(bytes);
        self.0.ring.memory.store(name_sum(slot), sum(&padded), Relaxed);
        for (at, bytes) in name(slot).zip(padded.as_chunks().0) {
            // Relaxed, as `join` stores the owner after it with Release.
            self.0.ring.memory.store(at, u64::from_ne_bytes(*bytes), Relaxed);
        }
    }

    /// The position to begin at; None for the oldest.
    pub(super) fn start_position(&self, start_at: StartAt, start: u64) -> Result<Option<u64>> {
        let ring = &self.0.ring;
        let head = ring.memory.load(HEAD, Acquire);
        let wanted = match start_at {
            StartAt::Oldest => return Ok(None),
            StartAt::Newest => return Ok(Some(head)),
            StartAt::Position(wanted) => wanted,
        };
        let (written, oldest) = (head.wrapping_sub(start), ring.oldest(start).wrapping_sub(start));
        let failure = |problem| Err(Error::new(ErrorKind::Failure, self.0.label(), problem));
        if wanted > written {
            return failure(format!("position {wanted} is past the end, {written} bytes were committed"));
        }
        if wanted < oldest {
            return Err(self.gone(wanted, oldest));
        }
        Ok(Some(start.wrapping_add(wanted)))
    }

    /// The position of a name that is away and comes back. No stream begins before all
    /// of the last was read: what it has not read is of the present one.
    pub(super) fn resume_position(&self, slot: usize, start: u64) -> Result<u64> {
        let at = self.recall(slot)?;
        // Acquire pairs with the Release of `commit`: the bytes.
        let head = self.0.ring.memory.load(HEAD, Acquire);
        if before(at, start) || before(head, at) {
            return Err(self.0.corrupt(Corrupt("a reader is where it cannot be")));
        }
        Ok(at)
    }

    /// The error of a position of the stream that was overwritten.
    pub(super) fn gone(&self, wanted: u64, oldest: u64) -> Error {
        let problem = format!("position {wanted} is no longer there, the oldest is {oldest}");
        Error::new(ErrorKind::Failure, self.0.label(), problem)
    }
}

/// Give up the name of a reader that is away, and what it has not read.
///
/// # Errors
/// [`ErrorKind::Missing`] if there is no such ring or name; [`ErrorKind::Busy`] while a
/// reader uses the name; [`ErrorKind::Usage`] for a name that no reader can have.
pub fn forget(address: &Address, reader: &OsStr, wait: &mut Wait) -> Result<()> {
    check_name(address, reader)?;
    let handle = Handle::open(address, Access::Write)?;
    let slots = Slots(&handle);
    slots.with_lock(wait, || {
        let Some((slot, _)) = slots.find(reader)? else {
            let problem = format!("has no reader of the name {}", printable(reader));
            return Err(Error::new(ErrorKind::Missing, handle.label(), problem));
        };
        slots.lock_name(slot, reader)?;
        slots.free(slot);
        handle.unlock(lock::reader(slot));
        Ok(())
    })
}
