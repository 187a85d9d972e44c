//! A reader's end: a slot, and the bytes from its position on.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::algorithm::{Corrupt, Look, Memory, before};
use super::handle::{Care, Handle, STEP as LONGEST_SLEEP};
use super::layout::{Owner, READ, START, WAITING, WRITTEN, lock, owner, position};
use super::slots::{Slots, check_name, kept};
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
    handle: Handle,
    how: Read,
    slot: usize,
    /// What we stored in it, with the generation of the stream.
    who: Cell<Owner>,
    position: u64,
    /// Of that stream.
    overwrite: Cell<bool>,
    /// Bytes of our own: records, and what may be written over meanwhile.
    buffer: Vec<u8>,
    /// In the middle of a record whose beginning we do not have.
    skipping: bool,
    /// Bytes that were lost, and that nobody was told of yet.
    lost: u64,
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
    /// The end of the stream; whether it was marked.
    End(bool),
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
            let stream = ring.stream().map_err(|corrupt| handle.corrupt(corrupt))?;
            if let Some(name) = name
                && let Some((slot, who)) = slots.find(name)?
            {
                slots.lock(slot, name)?;
                // No stream begins before all of the last was read: whatever
                // it has not read is of this one.
                let who = who.in_generation(stream.generation);
                ring.memory.store(owner(slot), who.encode(), Release);
                return Ok((slot, who, kept(&handle, slot), stream, false));
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
            Ok((slot, who, ring.join(slot, who, at, stream.overwrite), stream, true))
        })?;
        // Who waits for readers has one more.
        ring.notify(READ);
        let mut reader = Reader {
            handle,
            how,
            slot,
            who: Cell::new(who),
            position: at,
            overwrite: Cell::new(stream.overwrite),
            buffer: Vec::new(),
            skipping: false,
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
            let (mut there, whole) = match found {
                Found::Bytes(there) => (there, true),
                Found::Part(there) => (there, false),
                Found::End(marked) => (if marked { have } else { 0 }, false),
            };
            if self.how.end.is_none() && !self.overwrite.get() {
                left -= if there > 0 { self.copy_directly(out, there.min(left))? } else { 0 };
            } else {
                loop {
                    have = self.copy_through(out, there, whole, &mut left)?;
                    there = have;
                    if whole || have == 0 {
                        break;
                    }
                }
                if !self.skipping && self.lost > 0 {
                    lost(std::mem::take(&mut self.lost));
                }
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

    /// Give the slot back. A name keeps it.
    pub fn leave(self) {
        if let Owner::Anonymous(_) = self.who.get() {
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
        let generation = self.who.get().generation().unwrap_or(0);
        let seen = self.position.wrapping_add(have);
        let corrupt = |corrupt| self.handle.corrupt(corrupt);
        match ring.look(seen, generation).map_err(corrupt)? {
            Look::Bytes(more) => return Ok(Some(Found::Bytes(have.saturating_add(more)))),
            Look::Ended if !self.how.follow => return Ok(Some(Found::End(true))),
            Look::Next(stream) if !self.how.follow => return Ok(Some(Found::End(!stream.died_before))),
            Look::Next(stream) => {
                self.who.set(self.who.get().in_generation(stream.generation));
                self.overwrite.set(stream.overwrite);
                // Release: the position that we have, for `slowest` and `all_read`.
                ring.memory.store(owner(self.slot), self.who.get().encode(), Release);
                return self.ready(have, begin, care);
            }
            Look::Ended | Look::Nothing if care == Care::Glance => return Ok(None),
            Look::Ended | Look::Nothing => {}
        }
        if have >= ring.capacity {
            return Ok(Some(Found::Part(have)));
        }
        // A writer that waits for room for a record, while we wait for the rest
        // of another, would wait for ever.
        let writer_waits = || ring.memory.load32(READ + WAITING, Relaxed) != 0;
        if have > 0 && begin.elapsed() >= LONGEST_SLEEP && writer_waits() {
            return Ok(Some(Found::Part(have)));
        }
        // Whose words were changed holds the writer back, or waits in vain.
        let is_ours = ring.owner(self.slot) == Ok(self.who.get())
            && ring.memory.load(position(self.slot), Relaxed) == self.position;
        if !is_ours {
            return Err(corrupt(Corrupt("its slot was written by another")));
        }
        let stream = ring.stream().map_err(corrupt)?;
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
            _ => self.ready(have, begin, care),
        }
    }

    fn consume(&mut self, len: u64) {
        self.position = self.position.wrapping_add(len);
        self.handle.ring.consume(self.slot, self.position);
    }

    fn wrote(&self, result: std::result::Result<usize, CopyError>) -> Result<u64> {
        match result {
            Ok(n) => Ok(n as u64),
            Err(CopyError::Write(Errno::EFAULT)) => Err(self.handle.lost()),
            Err(CopyError::Write(errno) | CopyError::Read(errno)) => {
                Err(Error::new(ErrorKind::Failure, OUTPUT, errno.desc()))
            }
            Err(CopyError::Interrupted) => Err(Error::new(ErrorKind::Failure, OUTPUT, Errno::EINTR.desc())),
        }
    }

    /// write(2) straight out of the ring, which nobody writes over.
    fn copy_directly(&mut self, out: BorrowedFd<'_>, there: u64) -> Result<u64> {
        let (at, len) = self.handle.piece(self.position, there.min(STEP as u64));
        let region = &self.handle.ring.memory.0;
        let n = Watch::default().retry(out, PollFlags::POLLOUT, CopyError::Write, || region.drain(out, at, len));
        let n = self.wrote(n)?;
        self.consume(n);
        Ok(n)
    }

    /// Copy out of the ring and write what is intact, with `whole` whole records
    /// alone; the number of bytes behind the position that are none.
    fn copy_through(&mut self, out: BorrowedFd<'_>, there: u64, whole: bool, left: &mut u64) -> Result<u64> {
        let mut there = there;
        self.jump(&mut there);
        if there > self.handle.ring.capacity {
            return Err(self.handle.corrupt(Corrupt("its positions cannot be")));
        }
        let mut len = there.min(STEP as u64) as usize;
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.resize(len, 0);
            let copied = self.handle.copy_out(self.position, &mut buffer);
            self.buffer = buffer;
            copied?;
            let mut from = self.jump(&mut there).min(len);
            from += self.skip(from);
            let bytes = &self.buffer[from..];
            if bytes.is_empty() {
                return Ok(0);
            }
            let cut = self.cut(bytes, *left);
            let (cut, records) = match cut {
                (0, _) if !whole => (bytes.len(), 1),
                cut => cut,
            };
            if cut > 0 {
                let (buffer, range) = (std::mem::take(&mut self.buffer), from..from + cut);
                let mut written = 0;
                while written < cut {
                    let rest = &buffer[range.start + written..range.end];
                    let n = Watch::default()
                        .retry(out, PollFlags::POLLOUT, CopyError::Write, || nix::unistd::write(out, rest));
                    written += self.wrote(n)? as usize;
                }
                self.buffer = buffer;
                self.consume(cut as u64);
                *left -= records;
                return Ok(0);
            }
            if bytes.len() as u64 == there {
                return Ok(there);
            }
            len = (len.saturating_mul(2) as u64).min(there) as usize;
        }
    }

    /// How many of the bytes to write, and how many records, or bytes, that is.
    fn cut(&self, bytes: &[u8], left: u64) -> (usize, u64) {
        let Some(end) = self.how.end else {
            let len = (bytes.len() as u64).min(left);
            return (len as usize, len);
        };
        if left == u64::MAX {
            return (bytes.iter().rposition(|&byte| byte == end).map_or(0, |at| at + 1), 0);
        }
        let (mut cut, mut records) = (0, 0);
        while records < left
            && let Some(at) = bytes[cut..].iter().position(|&byte| byte == end)
        {
            cut += at + 1;
            records += 1;
        }
        (cut, records)
    }

    /// Go on behind what was written over: how many bytes that is of those that
    /// are `there`.
    fn jump(&mut self, there: &mut u64) -> usize {
        let oldest = self.handle.ring.intact();
        if !self.overwrite.get() || !before(self.position, oldest) {
            return 0;
        }
        let gone = oldest.wrapping_sub(self.position);
        self.lost = self.lost.saturating_add(gone);
        self.consume(gone);
        *there = there.saturating_sub(gone);
        self.skipping = self.how.end.is_some();
        usize::try_from(gone).unwrap_or(usize::MAX)
    }

    /// In the middle of a record, go on to the next one: how many bytes of the
    /// buffer, behind `from`, that is.
    fn skip(&mut self, from: usize) -> usize {
        let (true, Some(end)) = (self.skipping, self.how.end) else { return 0 };
        let bytes = &self.buffer[from..];
        let at = bytes.iter().position(|&byte| byte == end);
        let len = at.map_or(bytes.len(), |at| at + 1);
        self.skipping = at.is_none();
        if self.lost > 0 {
            self.lost += len as u64;
        }
        self.consume(len as u64);
        len
    }
}
