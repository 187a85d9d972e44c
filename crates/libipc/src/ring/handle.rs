//! An open ring: its object, its name and the mapping, and the locks on it.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::algorithm::{Corrupt, Present, Ring, WriterPosition};
use super::layout::{CONSTANT, COUNT, Constant, HEAD, HEADER, Owner, Stream, read_constant};
use crate::base::address::{Address, Kind};
use crate::base::error::{Error, ErrorKind, Result, errno_of};
use crate::base::owner::Owners;
use crate::base::wait::{Timeout, Wait};
use crate::fs::byte_lock::{self, LockMode, Range};
use crate::fs::entry::{Access, Entry, Object};
use crate::fs::kind::{RING_MAGIC, is_no};
use crate::shared::memory::{Mapped, Memory};
use crate::sys::memory::{self, Region};

/// The longest sleep. After it everything is checked again.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Handle {
    entry: Entry,
    object: Object,
    constant: Constant,
    new: bool,
    pub(super) ring: Ring<Mapped>,
    /// When it was last seen to have its name.
    checked: Cell<Instant>,
    takes_part: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.takes_part {
            self.object.trace_use();
        }
    }
}

/// The name behind a ring's address.
pub(super) fn entry(address: &Address) -> Result<Entry> {
    Entry::new(address.name(Kind::Ring)?)
}

impl Handle {
    /// Open the ring at this address.
    ///
    /// # Errors
    /// Those of [`Entry::open`]; [`ErrorKind::Unexpected`] if it is no ring.
    pub(super) fn open(address: &Address, access: Access) -> Result<Self> {
        let entry = entry(address)?;
        let object = entry.open(access)?;
        Self::of(entry, object, access)
    }

    pub(super) fn of(entry: Entry, object: Object, access: Access) -> Result<Self> {
        let failed = |errno| entry.errno(errno);
        let unexpected = |problem| Error::new(ErrorKind::Unexpected, entry.label(), problem);
        let mut bytes = [0; CONSTANT];
        let read = object.file().read_at(&mut bytes, 0);
        let n = read.map_err(|error| failed(errno_of(&error)))?;
        if n < CONSTANT || bytes[..8] != RING_MAGIC {
            return Err(is_no(object.file(), Kind::Ring, &entry.address()));
        }
        let size = object.size_now().map_err(failed)?;
        let constant = read_constant(&bytes, size).map_err(unexpected)?;
        if access == Access::Write {
            object.trace_use();
        }
        let map = if access == Access::Write { memory::map } else { memory::map_read_only };
        // Checked to be within isize.
        let region = map(object.file(), HEADER + constant.capacity as usize).map_err(failed)?;
        let region = region.guarded().map_err(failed)?;
        let mut handle = Self::mapped(entry, object, region, constant, false);
        handle.takes_part = access == Access::Write;
        Ok(handle)
    }

    pub(super) fn address(&self) -> Address {
        self.entry.address()
    }

    /// A ring that was made just now, and its memory.
    pub(super) fn of_new(entry: Entry, object: Object, region: Region, capacity: u64) -> Self {
        Self::mapped(entry, object, region, Constant { capacity, first: 0 }, true)
    }

    fn mapped(entry: Entry, object: Object, region: Region, constant: Constant, new: bool) -> Self {
        let ring = Ring { memory: Mapped(region), capacity: constant.capacity, slots: COUNT };
        Handle { entry, object, constant, new, ring, checked: Cell::new(Instant::now()), takes_part: true }
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Whether it was made by the call that opened it.
    pub(super) fn is_new(&self) -> bool {
        self.new
    }

    /// Remove it, if the call that opened it has made it, and nothing was written.
    pub(super) fn discard(&self) {
        if self.new && self.total() == 0 {
            self.entry.discard(&self.object);
        }
    }

    pub(super) fn label(&self) -> &str {
        self.entry.label()
    }

    pub(super) fn file(&self) -> &File {
        self.object.file()
    }

    pub(super) fn owners(&self) -> Owners {
        Owners::of_file(&self.object.stat)
    }

    /// Its permission bits when it was opened.
    pub(super) fn mode(&self) -> u32 {
        self.object.stat.st_mode & 0o777
    }

    /// The offset in the object of the bytes at a position, and how many of `len` are
    /// in one piece.
    pub(super) fn piece(&self, position: u64, len: u64) -> (usize, usize) {
        let at = position.wrapping_sub(self.constant.first) % self.constant.capacity;
        // Both are at most the capacity, which fits.
        (HEADER + at as usize, len.min(self.constant.capacity - at) as usize)
    }

    /// Bytes that were committed since the ring was made.
    pub(super) fn total(&self) -> u64 {
        self.before(self.ring.memory.load(HEAD, Relaxed))
    }

    /// Bytes that were committed before a position since the ring was made.
    pub(super) fn before(&self, position: u64) -> u64 {
        position.wrapping_sub(self.constant.first)
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

    /// The error of an impossible index or state, or of the lost memory that it came
    /// from.
    pub(super) fn corrupt(&self, Corrupt(problem): Corrupt) -> Error {
        self.check_memory()
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::Unexpected, self.label(), format!("is corrupt: {problem}")))
    }

    /// The error of bytes that could not be reached.
    pub(super) fn lost(&self) -> Error {
        self.check_memory()
            .err()
            .unwrap_or_else(|| Error::new(ErrorKind::Gone, self.label(), "was truncated for a moment while in use"))
    }

    pub(super) fn check_memory(&self) -> Result<()> {
        let now = self.object.size_now().map_err(|errno| self.entry.errno(errno))?;
        if self.ring.memory.0.faulted() || now < HEADER as u64 + self.constant.capacity {
            return Err(Error::new(ErrorKind::Gone, self.label(), "was truncated while in use"));
        }
        Ok(())
    }

    /// Check that the object is whole, and still has its name.
    pub(super) fn check(&self) -> Result<()> {
        self.check_memory()?;
        if !self.entry.means(&self.object)? {
            return Err(Error::new(ErrorKind::Gone, self.label(), "was removed or replaced meanwhile"));
        }
        self.checked.set(Instant::now());
        Ok(())
    }

    /// Whether a check is due: a second has passed since the last. Loops that never
    /// wait ask this.
    pub(super) fn is_due(&self) -> bool {
        self.checked.get().elapsed() >= LONGEST_SLEEP
    }

    // What it says, or that it is corrupt.

    pub(super) fn stream(&self) -> Result<Stream> {
        self.ring.stream().map_err(|corrupt| self.corrupt(corrupt))
    }

    pub(super) fn present(&self) -> Result<Present> {
        self.ring.present().map_err(|corrupt| self.corrupt(corrupt))
    }

    pub(super) fn owner(&self, slot: usize) -> Result<Owner> {
        self.ring.owner(slot).map_err(|corrupt| self.corrupt(corrupt))
    }

    pub(super) fn writer_position(&self) -> Result<WriterPosition> {
        self.ring.writer_position().map_err(|corrupt| self.corrupt(corrupt))
    }

    // Locks.

    /// Take a lock of the ring's within the wait.
    pub(super) fn lock(&self, mode: LockMode, range: Range, blocked_on: &str, wait: &mut Wait) -> Result<()> {
        loop {
            if self.try_lock(mode, range)? {
                wait.reset();
                return Ok(());
            }
            wait.proceed(self.label(), blocked_on)?;
            // In steps, as nothing reports that the name means another object.
            let mut step = Wait::new(Timeout::After(wait.deadline().at_most(LONGEST_SLEEP)));
            match byte_lock::lock(self.file(), mode, range, self.label(), blocked_on, &mut step) {
                Err(error) if error.kind == ErrorKind::TimedOut => self.check()?,
                other => {
                    wait.reset();
                    return other;
                }
            }
        }
    }

    /// Take a lock that others hold for an instant: [`Timeout::Now`] waits for it too,
    /// for up to a second. A holder that keeps it longer was stopped, or waits itself,
    /// and is waited for like anything else.
    pub(super) fn lock_for_an_instant(&self, range: Range, blocked_on: &str, wait: &mut Wait) -> Result<()> {
        if self.try_lock(LockMode::Exclusive, range)? {
            return Ok(());
        }
        // The time of the wait begins here.
        wait.may_proceed();
        let mut briefly = Wait::new(Timeout::After(LONGEST_SLEEP));
        match self.lock(LockMode::Exclusive, range, blocked_on, &mut briefly) {
            Err(error) if error.kind == ErrorKind::TimedOut => self.lock(LockMode::Exclusive, range, blocked_on, wait),
            other => {
                wait.reset();
                other
            }
        }
    }

    pub(super) fn try_lock(&self, mode: LockMode, range: Range) -> Result<bool> {
        byte_lock::try_lock(self.file(), mode, range).map_err(|errno| self.entry.errno(errno))
    }

    pub(super) fn unlock(&self, range: Range) {
        let _ = byte_lock::unlock(self.file(), range);
    }

    /// Whether another open file holds any lock on these bytes.
    pub(super) fn is_held(&self, range: Range) -> Result<bool> {
        byte_lock::is_held(self.file(), LockMode::Exclusive, range).map_err(|errno| self.entry.errno(errno))
    }
}
