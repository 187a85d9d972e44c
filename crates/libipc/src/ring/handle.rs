//! An open ring: its object, its name and the mapping.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::algorithm::{Corrupt, Memory, Place, Ring};
use super::layout::{
    CONSTANT, CONSUMED, COUNT, Constant, HEAD, HEADER, LONGEST_NAME, Owner, Stream, lock, name, position, read_constant,
};
use super::mapped::Mapped;
use crate::entry::{Access, Entry, Object};
use crate::error::{Error, ErrorKind, Result, errno_of};
use crate::ofd::{self, Bytes, Hold};
use crate::sys::memory;
use crate::wait::{Limit, Patience};

/// Every sleep ends after this, and everything is looked at again.
pub(super) const STEP: Duration = Duration::from_secs(1);

/// The first sleep of a wait, after a look at what the other side writes alone:
/// where both are at work it has written by then.
const FIRST_STEP: Duration = Duration::from_millis(10);

/// How closely to look before a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// At the words that are written before a notification.
    Glance,
    /// Also for what nobody tells of: a death, a scribbler.
    Thorough,
}

#[derive(Debug)]
pub(super) struct Handle {
    entry: Entry,
    object: Object,
    constant: Constant,
    pub(super) ring: Ring<Mapped>,
}

impl Handle {
    /// Open the ring of this name.
    ///
    /// # Errors
    /// As of [`Entry::open`]; [`ErrorKind::Unexpected`] if it is no ring.
    pub(super) fn open(entry: Entry, access: Access) -> Result<Self> {
        let object = entry.open(access)?;
        Self::of(entry, object, access)
    }

    pub(super) fn of(entry: Entry, object: Object, access: Access) -> Result<Self> {
        let failed = |errno| entry.errno(errno);
        let unexpected = |what| Error::new(ErrorKind::Unexpected, entry.shown(), what);
        let mut bytes = [0; CONSTANT];
        let read = object.file().read_at(&mut bytes, 0);
        let n = read.map_err(|error| failed(errno_of(&error)))?;
        if n < CONSTANT {
            return Err(unexpected("is no ring"));
        }
        let size = object.size_now().map_err(failed)?;
        let constant = read_constant(&bytes, size).map_err(unexpected)?;
        let map = if access == Access::Write { memory::map } else { memory::map_read_only };
        // Checked to be within isize.
        let region = map(object.file(), HEADER + constant.capacity as usize).map_err(failed)?;
        let memory = Mapped(region.guarded().map_err(failed)?);
        let ring = Ring { memory, capacity: constant.capacity, slots: COUNT };
        Ok(Handle { entry, object, constant, ring })
    }

    pub(super) fn shown(&self) -> &str {
        self.entry.shown()
    }

    pub(super) fn file(&self) -> &File {
        self.object.file()
    }

    /// Where in the object the bytes at a position are, and how many of `len`
    /// are in one piece.
    pub(super) fn piece(&self, position: u64, len: u64) -> (usize, usize) {
        let at = position.wrapping_sub(self.constant.first) % self.constant.capacity;
        // Both are at most the capacity, which fits.
        (HEADER + at as usize, len.min(self.constant.capacity - at) as usize)
    }

    /// Bytes that were committed since the ring was made.
    pub(super) fn total(&self) -> u64 {
        self.ring.memory.load(HEAD, Relaxed).wrapping_sub(self.constant.first)
    }

    /// Read bytes at a position into a buffer of our own.
    pub(super) fn copy_out(&self, position: u64, mut into: &mut [u8]) -> Result<()> {
        let mut position = position;
        while !into.is_empty() {
            let (at, len) = self.piece(position, into.len() as u64);
            let (now, rest) = into.split_at_mut(len);
            self.file().read_exact_at(now, at as u64).map_err(|_| self.lost())?;
            (position, into) = (position.wrapping_add(len as u64), rest);
        }
        Ok(())
    }

    // What can be wrong with it.

    /// An index or state that cannot be: of memory that is gone, too.
    pub(super) fn corrupt(&self, Corrupt(what): Corrupt) -> Error {
        self.check_memory()
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::Unexpected, self.shown(), format!("is corrupt: {what}")))
    }

    /// Bytes could not be reached.
    pub(super) fn lost(&self) -> Error {
        self.check_memory()
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::Gone, self.shown(), "was truncated for a moment while in use"))
    }

    pub(super) fn check_memory(&self) -> Result<()> {
        let now = self.object.size_now().map_err(|errno| self.entry.errno(errno))?;
        if self.ring.memory.0.struck() || now < HEADER as u64 + self.constant.capacity {
            return Err(Error::new(ErrorKind::Gone, self.shown(), "was truncated while in use"));
        }
        Ok(())
    }

    /// That it is all there, and still what its name means.
    pub(super) fn check(&self) -> Result<()> {
        self.check_memory()?;
        if !self.entry.means(&self.object)? {
            return Err(Error::new(ErrorKind::Gone, self.shown(), "was removed or replaced meanwhile"));
        }
        Ok(())
    }

    // What it says, or that it is corrupt.

    pub(super) fn stream(&self) -> Result<Stream> {
        self.ring.stream().map_err(|corrupt| self.corrupt(corrupt))
    }

    pub(super) fn owner(&self, slot: usize) -> Result<Owner> {
        self.ring.owner(slot).map_err(|corrupt| self.corrupt(corrupt))
    }

    pub(super) fn place(&self) -> Result<Place> {
        self.ring.place().map_err(|corrupt| self.corrupt(corrupt))
    }

    // Waiting.

    /// Wait until `ready` finds something, to be woken by `word`. `busy` says
    /// what is waited for.
    pub(super) fn wait<T>(
        &self,
        word: usize,
        patience: &mut Patience,
        busy: impl Fn() -> String,
        mut ready: impl FnMut(Care) -> Result<Option<T>>,
    ) -> Result<T> {
        let mut care = Care::Glance;
        loop {
            if let Some(found) = ready(care)? {
                patience.start_over();
                return Ok(found);
            }
            if patience.begin(self.shown(), "").is_err() {
                if care == Care::Thorough {
                    return Err(patience.over(self.shown(), &busy()));
                }
                care = Care::Thorough;
                continue;
            }
            if care == Care::Thorough {
                self.check()?;
            }
            let step = patience.deadline().at_most(if care == Care::Glance { FIRST_STEP } else { STEP });
            if let Some(found) = self.ring.wait(word, step, || ready(Care::Glance))? {
                patience.start_over();
                return Ok(found);
            }
            care = Care::Thorough;
        }
    }

    // Locks.

    /// Take a lock of the ring's while the patience lasts.
    pub(super) fn lock(&self, hold: Hold, bytes: Bytes, busy: &str, patience: &mut Patience) -> Result<()> {
        loop {
            if self.try_lock(hold, bytes)? {
                patience.start_over();
                return Ok(());
            }
            patience.begin(self.shown(), busy)?;
            // In steps, as nothing tells that the name means another object.
            let mut step = Patience::new(Limit::Within(patience.deadline().at_most(STEP)));
            match ofd::lock(self.file(), hold, bytes, self.shown(), busy, &mut step) {
                Err(error) if error.kind == ErrorKind::TimedOut => self.check()?,
                other => {
                    patience.start_over();
                    return other;
                }
            }
        }
    }

    /// Take a lock that others hold for an instant: not even -n gives up for one.
    /// A holder that was stopped, or that waits itself, is waited for like
    /// everything else.
    pub(super) fn lock_for_an_instant(&self, bytes: Bytes, busy: &str, patience: &mut Patience) -> Result<()> {
        if self.try_lock(Hold::Exclusive, bytes)? {
            return Ok(());
        }
        // The time of a timeout runs from here; without one it is over at once.
        let _ = patience.begin(self.shown(), busy);
        let mut briefly = Patience::new(Limit::Within(STEP));
        match self.lock(Hold::Exclusive, bytes, busy, &mut briefly) {
            Err(error) if error.kind == ErrorKind::TimedOut => self.lock(Hold::Exclusive, bytes, busy, patience),
            other => {
                patience.start_over();
                other
            }
        }
    }

    pub(super) fn try_lock(&self, hold: Hold, bytes: Bytes) -> Result<bool> {
        ofd::try_lock(self.file(), hold, bytes).map_err(|errno| self.entry.errno(errno))
    }

    pub(super) fn unlock(&self, bytes: Bytes) {
        let _ = ofd::unlock(self.file(), bytes);
    }

    /// Whether another open file holds any lock on these bytes.
    pub(super) fn is_held(&self, bytes: Bytes) -> Result<bool> {
        ofd::in_the_way(self.file(), Hold::Exclusive, bytes).map_err(|errno| self.entry.errno(errno))
    }

    /// Do something while no other reader joins or leaves its name, and no
    /// stream begins. Held for an instant by everybody.
    pub(super) fn with_slots<T>(&self, patience: &mut Patience, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.lock_for_an_instant(lock::SLOTS, "its table of readers is locked", patience)?;
        let done = work();
        self.unlock(lock::SLOTS);
        done
    }

    /// The same within a step of a wait; None if the lock could not be had.
    pub(super) fn with_slots_now<T>(&self, work: impl FnOnce() -> Result<Option<T>>) -> Result<Option<T>> {
        match self.with_slots(&mut Patience::new(Limit::Within(STEP)), work) {
            Err(error) if error.kind == ErrorKind::TimedOut => Ok(None),
            other => other,
        }
    }

    // Slots.

    /// The name in a slot; empty for one that has none.
    pub(super) fn reader_name(&self, slot: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LONGEST_NAME);
        for at in name(slot) {
            // Before it `owner` was loaded with Acquire.
            bytes.extend_from_slice(&self.ring.memory.load(at, Relaxed).to_ne_bytes());
        }
        let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        bytes
    }

    /// Look after the slot of a dead reader, if it is one: an anonymous one's is
    /// freed, a name stays where it is. None if the reader lives. The table is
    /// locked, so that who takes the slot finds it locked by a reader alone.
    pub(super) fn sweep(&self, slot: usize) -> Result<Option<Owner>> {
        if !self.try_lock(Hold::Exclusive, lock::reader(slot))? {
            return Ok(None);
        }
        // Looked at under the lock: it may be another reader by now, or none.
        let owner = self.owner(slot);
        if let Ok(Owner::Anonymous(_)) = owner {
            self.free(slot);
        }
        // It died on its way to its place; where the writer waits for nobody, it
        // was overrun, and is to hear of that.
        if let Ok(Owner::Named(_)) = owner
            && self.lag(slot) > self.ring.capacity
            && self.ring.stream().is_ok_and(|stream| !stream.overwrite)
        {
            self.ring.consume(slot, self.ring.oldest());
        }
        self.unlock(lock::reader(slot));
        owner.map(Some)
    }

    /// Free a slot; its lock is held.
    pub(super) fn free(&self, slot: usize) {
        let memory = &self.ring.memory;
        // A reader that is far behind, or never got to its place, has read
        // nothing that nobody else has.
        let at = if self.lag(slot) > self.ring.capacity { CONSUMED } else { position(slot) };
        self.ring.leave(slot, memory.load(at, Relaxed));
    }

    /// Bytes that were committed and not read by a reader; more than the
    /// capacity where it was overrun.
    pub(super) fn lag(&self, slot: usize) -> u64 {
        let memory = &self.ring.memory;
        memory.load(HEAD, Relaxed).wrapping_sub(memory.load(position(slot), Relaxed))
    }
}
