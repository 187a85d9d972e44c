//! A reader's end: a slot, and the bytes from its position on.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::algorithm::{Corrupt, Look, Memory, before};
use super::handle::{Care, Handle, STEP as LONGEST_SLEEP};
use super::layout::{Owner, READ, START, Stream, WAITING, WRITTEN, lock, owner, position};
use super::slots::{Slots, check_name};
use crate::address::Address;
use crate::copy::{self, CopyError, STEP, Watch};
use crate::entry::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::OUTPUT;
use crate::shm::posix::Watcher;
use crate::wait::Patience;

/// Where a new reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the oldest byte that is still there.
    Oldest,
    /// With what is written from now on.
    Newest,
    /// After so many bytes of the stream.
    Position(u64),
}

/// How to read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Wait for the ring to exist.
    pub wait: bool,
    /// The name that keeps the position; none if left out.
    pub name: Option<OsString>,
    /// Where to begin, but for a name that has a position.
    pub from: From,
    /// At the end of a stream, and at a writer's death, wait for the next.
    pub follow: bool,
    /// Whole records alone: the byte that ends them.
    pub end: Option<u8>,
    /// End after so many records, or bytes where there are no records.
    pub count: Option<u64>,
}

/// A reader that has a slot.
#[derive(Debug)]
pub struct Reader {
    pub(super) handle: Handle,
    pub(super) how: Read,
    slot: usize,
    /// What we stored in it, with the generation of the stream.
    who: Owner,
    pub(super) position: u64,
    /// Of that stream.
    pub(super) overwrite: bool,
    /// Bytes of our own: records, and what may be written over meanwhile.
    pub(super) buffer: Vec<u8>,
    /// In the middle of a record whose beginning we do not have.
    pub(super) skipping: bool,
    /// What was written last is a record without its end.
    pub(super) unended: bool,
    /// Bytes that were lost, and that nobody was told of yet.
    pub(super) lost: u64,
}

fn open(address: &Address) -> Result<Handle> {
    Handle::open(super::entry(address)?, Access::Write)
}

fn wait_for_ring(address: &Address, patience: &mut Patience) -> Result<Handle> {
    let mut watcher = None;
    loop {
        match open(address) {
            Err(error) if error.kind == ErrorKind::Missing => {
                patience.begin(&address.to_string(), "does not exist yet")?
            }
            other => {
                patience.start_over();
                return other;
            }
        }
        match &mut watcher {
            // Looked for once more before the first sleep: it may have appeared
            // before the watch began.
            None => watcher = Some(Watcher::new(super::entry(address).ok())),
            Some(watcher) => watcher.wait(&patience.deadline()),
        }
    }
}

/// What there is for a reader.
enum Found {
    /// So many bytes.
    Bytes(u64),
    /// No more than there were, of a record that does not fit into the ring.
    Part(u64),
    /// The same, of a record that a stream has ended with.
    Last(u64),
    /// The end of the stream; whether it was marked.
    End(bool),
    /// Another stream, which is to be read too.
    Next(Stream),
}

impl Reader {
    /// Open the ring and take a slot.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`]; [`ErrorKind::NoRoom`] if all slots are taken by
    /// live readers and names; [`ErrorKind::Busy`] if the name is being read as;
    /// [`ErrorKind::Failure`] if there is no such position (any more).
    pub fn open(address: &Address, how: Read, patience: &mut Patience) -> Result<Self> {
        let handle = if how.wait { wait_for_ring(address, patience)? } else { open(address)? };
        let name = how.name.as_deref().map(OsStr::as_bytes);
        if let Some(name) = name {
            check_name(&handle, name)?;
        }
        let slots = Slots(&handle);
        let ring = &handle.ring;
        let (slot, who, at, stream, is_new) = handle.with_slots(patience, || {
            let stream = handle.stream()?;
            if let Some(name) = name
                && let Some((slot, who)) = slots.find(name)?
            {
                slots.lock(slot, name)?;
                // No stream begins before all of the last was read: whatever
                // it has not read is of this one.
                let who = who.in_generation(stream.generation);
                ring.memory.store(owner(slot), who.encode(), Release);
                return Ok((slot, who, ring.memory.load(position(slot), Relaxed), stream, false));
            }
            let at = slots.begin(how.from)?;
            let slot = slots.take()?;
            let who = match name {
                Some(name) => {
                    slots.set_name(slot, name);
                    Owner::Named(stream.generation)
                }
                None => Owner::Anonymous(stream.generation),
            };
            let joined = ring.join(slot, who, at, stream.overwrite);
            if let (From::Position(wanted), true) = (how.from, at != Some(joined)) {
                // The writer was faster.
                handle.free(slot);
                return Err(slots.gone(wanted, joined.wrapping_sub(ring.memory.load(START, Relaxed))));
            }
            Ok((slot, who, joined, stream, true))
        })?;
        // Who waits for readers has one more.
        ring.notify(READ);
        let mut reader = Reader {
            handle,
            how,
            slot,
            who,
            position: at,
            overwrite: stream.overwrite,
            buffer: Vec::new(),
            skipping: false,
            unended: false,
            lost: 0,
        };
        reader.skipping = is_new && reader.begins_within()?;
        Ok(reader)
    }

    /// Whether a new reader of records begins in the middle of one.
    fn begins_within(&self) -> Result<bool> {
        let Some(end) = self.how.end else { return Ok(false) };
        let ring = &self.handle.ring;
        if self.position == ring.memory.load(START, Relaxed) || matches!(self.how.from, From::Position(_)) {
            return Ok(false);
        }
        let last = self.position.wrapping_sub(1);
        let mut byte = [0];
        self.handle.copy_out(last, &mut byte)?;
        Ok(before(last, ring.intact()) || byte != [end])
    }

    /// Copy what is written to the ring to `out`, until the stream ends or as
    /// much has been copied as was asked for. What was written to `out` is
    /// committed, and not read again. `lost` is told how many bytes a writer
    /// that overwrites has taken away.
    ///
    /// # Errors
    /// [`ErrorKind::PeerDied`] after the last byte of a writer that died.
    pub fn copy_to(&mut self, out: BorrowedFd<'_>, patience: &mut Patience, lost: &mut dyn FnMut(u64)) -> Result<()> {
        copy::enlarge_pipe(out);
        let mut left = self.how.count.unwrap_or(u64::MAX);
        // Bytes behind the position that are no whole record yet.
        let mut have = 0;
        while left > 0 {
            let found = self.wait(have, patience)?;
            let (there, whole) = match found {
                Found::Bytes(there) => (there, true),
                Found::Part(there) | Found::Last(there) => (there, false),
                Found::End(marked) => (if marked { have } else { 0 }, false),
                Found::Next(stream) => {
                    self.go_on(stream, out)?;
                    continue;
                }
            };
            if self.how.end.is_none() && !self.overwrite {
                left -= if there > 0 { self.copy_directly(out, there.min(left))? } else { 0 };
            } else {
                have = self.copy_through(out, there, whole, &mut left)?;
                if !self.skipping && self.lost > 0 {
                    lost(std::mem::take(&mut self.lost));
                }
            }
            if let Found::Last(_) = found {
                left = left.saturating_sub(1);
            }
            if let Found::End(marked) = found {
                if self.lost > 0 {
                    lost(std::mem::take(&mut self.lost));
                }
                let what = "its writer died before the end of the stream; what it had committed was read";
                return if marked { Ok(()) } else { Err(Error::new(ErrorKind::PeerDied, self.handle.shown(), what)) };
            }
        }
        Ok(())
    }

    /// Read the next stream, whose first record is none of the last one's.
    fn go_on(&mut self, stream: Stream, out: BorrowedFd<'_>) -> Result<()> {
        self.who = self.who.in_generation(stream.generation);
        self.overwrite = stream.overwrite;
        self.skipping = false;
        let ring = &self.handle.ring;
        // Release: the position that we have, for `slowest` and `all_read`.
        ring.memory.store(owner(self.slot), self.who.encode(), Release);
        // Its writer may wait for that to begin yet another.
        ring.notify(READ);
        if let (true, Some(end)) = (std::mem::take(&mut self.unended), self.how.end) {
            write(out, &[end])?;
        }
        Ok(())
    }

    /// Give the slot back. A name keeps it.
    pub fn leave(self) {
        if let Owner::Anonymous(_) = self.who {
            self.handle.ring.leave(self.slot, self.position);
        }
    }

    /// Wait for more than `have` bytes, or the end.
    fn wait(&self, have: u64, patience: &mut Patience) -> Result<Found> {
        let begin = Instant::now();
        let busy = || "has no more bytes yet".to_owned();
        self.handle.wait(WRITTEN, patience, busy, |care| self.ready(have, begin, care))
    }

    fn ready(&self, have: u64, begin: Instant, care: Care) -> Result<Option<Found>> {
        let ring = &self.handle.ring;
        let generation = self.who.generation().unwrap_or(0);
        let seen = self.position.wrapping_add(have);
        let corrupt = |corrupt| self.handle.corrupt(corrupt);
        let more = |more| Ok(Some(Found::Bytes(have.saturating_add(more))));
        match ring.look(seen, generation).map_err(corrupt)? {
            Look::Bytes(bytes) => return more(bytes),
            Look::Ended if !self.how.follow => return Ok(Some(Found::End(true))),
            Look::Ended if have > 0 => return Ok(Some(Found::Last(have))),
            Look::Next(stream) if !self.how.follow => return Ok(Some(Found::End(!stream.died_before))),
            Look::Next(stream) => return Ok(Some(Found::Next(stream))),
            Look::Ended | Look::Nothing => {}
        }
        if have >= ring.capacity {
            return Ok(Some(Found::Part(have)));
        }
        if care == Care::Glance {
            return Ok(None);
        }
        if have > 0 && begin.elapsed() >= LONGEST_SLEEP && self.is_waited_for(seen).map_err(corrupt)? {
            return Ok(Some(Found::Part(have)));
        }
        // Whose words were changed holds the writer back, or waits in vain.
        let is_ours =
            ring.owner(self.slot) == Ok(self.who) && ring.memory.load(position(self.slot), Relaxed) == self.position;
        if !is_ours {
            return Err(corrupt(Corrupt("its slot was written by another")));
        }
        let stream = self.handle.stream()?;
        if self.how.follow || stream.many || self.handle.is_held(lock::WRITER)? {
            return Ok(None);
        }
        // It may have stored its last words just before it let go.
        match ring.look(seen, generation).map_err(corrupt)? {
            Look::Nothing => {
                // The writer may have gone because the ring was removed.
                self.handle.check()?;
                Ok(Some(Found::End(false)))
            }
            Look::Bytes(bytes) => more(bytes),
            Look::Ended => Ok(Some(Found::End(true))),
            Look::Next(stream) => Ok(Some(Found::End(!stream.died_before))),
        }
    }

    /// Whether the writer waits, and none is slower than we are: for room for a
    /// record, while we wait for the rest of another, it would wait for ever.
    fn is_waited_for(&self, head: u64) -> std::result::Result<bool, Corrupt> {
        let ring = &self.handle.ring;
        let waits = ring.memory.load32(READ + WAITING, Relaxed) != 0;
        Ok(waits && ring.slowest(head)?.lag == head.wrapping_sub(self.position))
    }

    pub(super) fn consume(&mut self, len: u64) {
        self.position = self.position.wrapping_add(len);
        self.handle.ring.consume(self.slot, self.position);
    }

    /// write(2) straight out of the ring, which nobody writes over.
    fn copy_directly(&mut self, out: BorrowedFd<'_>, there: u64) -> Result<u64> {
        let (at, len) = self.handle.piece(self.position, there.min(STEP as u64));
        let region = &self.handle.ring.memory.0;
        let n = Watch::default().retry(out, PollFlags::POLLOUT, CopyError::Write, || region.drain(out, at, len));
        match n {
            Ok(n) => {
                self.consume(n as u64);
                Ok(n as u64)
            }
            Err(CopyError::Write(Errno::EFAULT)) => Err(self.handle.lost()),
            Err(CopyError::Write(errno) | CopyError::Read(errno)) => Err(not_written(errno)),
            Err(CopyError::Interrupted) => Err(not_written(Errno::EINTR)),
        }
    }
}

/// Write all of it to standard output.
pub(super) fn write(out: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    copy::write_all(out, bytes, None).map_err(|(_, errno)| not_written(errno))
}

fn not_written(errno: Errno) -> Error {
    Error::new(ErrorKind::Failure, OUTPUT, errno.desc())
}
