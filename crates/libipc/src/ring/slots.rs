//! The table of readers: finding, taking and giving up slots, while it is
//! locked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::algorithm::Memory;
use super::handle::Handle;
use super::layout::{HEAD, LONGEST_NAME, Owner, START, lock, name};
use super::reader::From;
use crate::address::Address;
use crate::entry::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::ofd::Hold;
use crate::text::printable;
use crate::wait::Patience;

/// A name that a reader may have.
///
/// # Errors
/// [`ErrorKind::Usage`]
pub(super) fn check_name(handle: &Handle, reader: &[u8]) -> Result<()> {
    let longest = LONGEST_NAME;
    if reader.is_empty() || reader.len() > longest || reader.contains(&0) {
        let what = format!("the name of a reader has 1 to {longest} bytes");
        return Err(Error::new(ErrorKind::Usage, handle.shown(), what));
    }
    Ok(())
}

/// The table, of which the lock is held.
pub(super) struct Slots<'a>(pub(super) &'a Handle);

impl Slots<'_> {
    /// The slot of a name.
    pub(super) fn find(&self, reader: &[u8]) -> Result<Option<(usize, Owner)>> {
        for slot in 0..self.0.ring.slots {
            let who = self.0.owner(slot)?;
            if matches!(who, Owner::Named(_)) && self.0.reader_name(slot) == reader {
                return Ok(Some((slot, who)));
            }
        }
        Ok(None)
    }

    /// Lock the slot of a name, which nobody reads as.
    pub(super) fn lock(&self, slot: usize, reader: &[u8]) -> Result<()> {
        if self.0.try_lock(Hold::Exclusive, lock::reader(slot))? {
            return Ok(());
        }
        let what = format!("is being read as {}", printable(OsStr::from_bytes(reader)));
        Err(Error::new(ErrorKind::Busy, self.0.shown(), what))
    }

    /// Lock a slot that is free, or whose reader is dead.
    pub(super) fn take(&self) -> Result<usize> {
        for sweep in [false, true] {
            for slot in 0..self.0.ring.slots {
                match self.0.owner(slot)? {
                    Owner::Anonymous(_) if sweep => drop(self.0.sweep(slot)?),
                    _ => {}
                }
                // Who has just left may hold its lock for an instant.
                if self.0.owner(slot)? == Owner::Free && self.0.try_lock(Hold::Exclusive, lock::reader(slot))? {
                    return Ok(slot);
                }
            }
        }
        let what = format!("has {} readers, and no slot for another", self.0.ring.slots);
        Err(Error::new(ErrorKind::NoRoom, self.0.shown(), what)
            .mend("ringcat --status lists them, --forget NAME gives one up that is away"))
    }

    /// Write a name into a slot that is locked and free.
    pub(super) fn set_name(&self, slot: usize, reader: &[u8]) {
        let mut padded = [0; LONGEST_NAME];
        padded[..reader.len()].copy_from_slice(reader);
        for (at, bytes) in name(slot).zip(padded.as_chunks().0) {
            // `join` stores the owner after it, with Release.
            self.0.ring.memory.store(at, u64::from_ne_bytes(*bytes), Relaxed);
        }
    }

    /// The position to begin at; None for the oldest.
    pub(super) fn begin(&self, from: From) -> Result<Option<u64>> {
        let ring = &self.0.ring;
        let head = ring.memory.load(HEAD, Acquire);
        let From::Position(wanted) = from else { return Ok((from == From::Newest).then_some(head)) };
        let start = ring.memory.load(START, Relaxed);
        let (written, oldest) = (head.wrapping_sub(start), ring.oldest().wrapping_sub(start));
        let failure = |what| Err(Error::new(ErrorKind::Failure, self.0.shown(), what));
        if wanted > written {
            return failure(format!("position {wanted} is past the end, {written} bytes were committed"));
        }
        if wanted < oldest {
            return Err(self.gone(wanted, oldest));
        }
        Ok(Some(start.wrapping_add(wanted)))
    }

    /// The error of a position of the stream that was written over.
    pub(super) fn gone(&self, wanted: u64, oldest: u64) -> Error {
        let what = format!("position {wanted} is no longer there, the oldest is {oldest}");
        Error::new(ErrorKind::Failure, self.0.shown(), what)
    }
}

/// Give up the name of a reader that is away, and what it has not read.
///
/// # Errors
/// [`ErrorKind::Missing`] if there is no such name; [`ErrorKind::Busy`] while it
/// is read as.
pub fn forget(address: &Address, reader: &OsStr, patience: &mut Patience) -> Result<()> {
    let handle = Handle::open(super::entry(address)?, Access::Write)?;
    check_name(&handle, reader.as_bytes())?;
    let slots = Slots(&handle);
    handle.with_slots(patience, || {
        let Some((slot, _)) = slots.find(reader.as_bytes())? else {
            let what = format!("has no reader of the name {}", printable(reader));
            return Err(Error::new(ErrorKind::Missing, handle.shown(), what));
        };
        slots.lock(slot, reader.as_bytes())?;
        handle.free(slot);
        handle.unlock(lock::reader(slot));
        Ok(())
    })
}
