//! The writer's end: making a ring, beginning its streams, appending records.

use std::sync::atomic::Ordering::Relaxed;

use super::algorithm::{Corrupt, Memory, Place};
use super::begin::{all_read, create, who_is_behind};
use super::handle::{Care, Handle};
use super::layout::{HEAD, LIMIT, Owner, READ, START, Stream, lock};
use crate::address::Address;
use crate::entry::Access;
use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::ofd::Hold;
use crate::wait::Patience;

/// What to do with a stream that has no end, or that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A new stream, but for one without an end: [`ErrorKind::PeerDied`].
    New,
    /// Go on where the last writer stopped.
    Resume,
    /// A new stream, whatever became of the last.
    Restart,
}

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// Bytes that a new ring holds.
    pub capacity: u64,
    /// Its permission bits before the umask.
    pub mode: Mode,
    /// Where to begin.
    pub begin: Begin,
    /// Share the stream with other writers of that kind.
    pub many: bool,
    /// Wait for no reader.
    pub overwrite: bool,
}

/// The writer of a ring, or one of many. Dropping it without [`Writer::end`] is
/// what a death is.
#[derive(Debug)]
pub struct Writer {
    pub(super) handle: Handle,
    pub(super) stream: Stream,
    pub(super) place: Place,
}

impl Writer {
    /// Open the ring, or make it, and become its writer; begin a stream.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] while there is another
    /// writer, or readers have not read the last stream; [`ErrorKind::PeerDied`]
    /// if that has no end.
    pub fn open(address: &Address, how: &Write, patience: &mut Patience) -> Result<Self> {
        loop {
            match Handle::open(super::entry(address)?, Access::Write) {
                Ok(handle) => return Self::take(handle, how, patience),
                Err(error) if error.kind == ErrorKind::Missing => {}
                Err(error) => return Err(error),
            }
            match create(super::entry(address)?, how) {
                Ok(handle) => {
                    let (stream, place) = (handle.stream()?, handle.place()?);
                    return Ok(Writer { handle, stream, place });
                }
                // Another was faster.
                Err(error) if error.kind == ErrorKind::Exists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(handle: Handle, how: &Write, patience: &mut Patience) -> Result<Self> {
        lock_writer(&handle, if how.many { Hold::Shared } else { Hold::Exclusive }, patience)?;
        if how.many {
            lock_append(&handle, patience)?;
        }
        // No earlier: another of many writers may have begun a stream meanwhile.
        let (stream, place) = (handle.stream()?, handle.place()?);
        let mut writer = Writer { handle, stream, place };
        let entered = writer.enter(how, patience);
        writer.handle.unlock(lock::APPEND);
        entered.map(|()| writer)
    }

    /// Decide what becomes of the stream that is there.
    fn enter(&mut self, how: &Write, patience: &mut Patience) -> Result<()> {
        self.handle.check()?;
        let now = self.stream;
        // One that died with nothing committed has left nothing that would be
        // missed: a try of --readers may be repeated.
        let untouched = !now.many && !how.many && now.overwrite == how.overwrite && self.position() == 0;
        let joins = !now.ended && how.begin == Begin::New && (now.many && how.many || untouched);
        let goes_on = how.begin == Begin::Resume || joins;
        if goes_on {
            if how.overwrite && !now.overwrite {
                let what = "its stream was begun without --overwrite";
                return Err(Error::new(ErrorKind::Failure, self.handle.shown(), what));
            }
            self.stream = Stream { ended: false, many: how.many, ..now };
            if how.begin == Begin::Resume {
                self.handle.ring.mark(self.stream);
            }
            return Ok(());
        }
        if !now.ended && how.begin == Begin::New {
            let what = if now.many { "the stream of its --many writers has no end" } else { "its last writer died" };
            let mend = format!("--resume goes on after byte {}, --restart begins anew", self.position());
            return Err(Error::new(ErrorKind::PeerDied, self.handle.shown(), what).mend(mend));
        }
        self.stream = Stream {
            generation: now.generation.wrapping_add(1),
            ended: false,
            many: how.many,
            overwrite: how.overwrite,
            died_before: !now.ended,
        };
        self.begin(now, patience)
    }

    /// Begin the next stream once the last was read.
    fn begin(&mut self, last: Stream, patience: &mut Patience) -> Result<()> {
        let (handle, head, stream) = (&self.handle, self.place.head, self.stream);
        let busy = || format!("its last stream is still read{}", who_is_behind(handle, head, true));
        handle.wait(READ, patience, busy, |_| {
            // So that nobody joins in between.
            handle.with_slots_now(|| {
                let read = all_read(handle, head, last.generation, stream.generation)?;
                if read {
                    handle.ring.begin(head, last, stream);
                }
                Ok(read.then_some(()))
            })
        })?;
        self.place.touched = head;
        Ok(())
    }

    /// How many bytes of the stream were committed.
    pub fn position(&self) -> u64 {
        self.place.head.wrapping_sub(self.handle.ring.memory.load(START, Relaxed))
    }

    /// The most that one record can have.
    pub fn capacity(&self) -> u64 {
        self.handle.ring.capacity
    }

    /// Wait until so many readers are there.
    pub fn wait_for_readers(&self, count: usize, patience: &mut Patience) -> Result<()> {
        let handle = &self.handle;
        handle.wait(
            READ,
            patience,
            || format!("has fewer than {count} readers"),
            |_| {
                let mut live = 0;
                for slot in 0..handle.ring.slots {
                    let owner = handle.owner(slot)?;
                    live += usize::from(owner != Owner::Free && handle.is_held(lock::reader(slot))?);
                }
                Ok((live >= count).then_some(()))
            },
        )
    }

    /// Append whole records, which end with the byte `end`, but perhaps the last:
    /// each is there for readers entirely or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] for a record longer than the ring.
    pub fn append(&mut self, records: &[u8], end: u8, patience: &mut Patience) -> Result<()> {
        let mut rest = records;
        while !rest.is_empty() {
            if self.stream.many {
                self.take_turn(patience)?;
            }
            let appended = self.append_some(rest, end, patience);
            if self.stream.many {
                self.handle.unlock(lock::APPEND);
            }
            rest = &rest[appended?..];
        }
        Ok(())
    }

    /// Append at least one of the records; their length.
    fn append_some(&mut self, records: &[u8], end: u8, patience: &mut Patience) -> Result<usize> {
        let capacity = self.capacity();
        let first = records.iter().position(|&byte| byte == end).map_or(records.len(), |at| at + 1) as u64;
        if first > capacity {
            let what = format!("a record is longer than the ring, which holds {capacity} bytes");
            return Err(Error::new(ErrorKind::NoRoom, self.handle.shown(), what)
                .mend("remove it with ipcunlink and make a larger one with -s"));
        }
        let want = (records.len() as u64).min((capacity / 4).max(first));
        let room = self.wait_for_room(want, first, patience, || false)?.unwrap_or(0) as usize;
        let len = if room == records.len() {
            room
        } else {
            records[..room].iter().rposition(|&byte| byte == end).map_or(0, |at| at + 1)
        };
        let mut done = 0;
        while done < len {
            let (at, n) = self.handle.piece(self.place.head.wrapping_add(done as u64), (len - done) as u64);
            self.handle.ring.memory.0.write_at(at, &records[done..done + n]);
            done += n;
        }
        if self.handle.ring.memory.0.struck() {
            return Err(self.handle.lost());
        }
        self.place = self.handle.ring.commit(self.place, len as u64);
        Ok(len)
    }

    /// Become the one of many writers that appends, where the last one stopped.
    fn take_turn(&mut self, patience: &mut Patience) -> Result<()> {
        lock_append(&self.handle, patience)?;
        self.check_stream()?;
        self.place = self.handle.place()?;
        Ok(())
    }

    /// That the stream is the one that we write.
    pub(super) fn check_stream(&self) -> Result<()> {
        let now = self.handle.stream()?;
        if now == self.stream {
            return Ok(());
        }
        if self.stream.many && (now.ended || now.generation != self.stream.generation) {
            return Err(Error::new(ErrorKind::Gone, self.handle.shown(), "its stream was closed meanwhile"));
        }
        Err(self.handle.corrupt(Corrupt("its state was written by another")))
    }

    /// Wait for room for at most `want` bytes and no fewer than `least`: how many.
    /// None if `at_end` says so, which is asked while there is none.
    pub(super) fn wait_for_room(
        &self,
        want: u64,
        least: u64,
        patience: &mut Patience,
        at_end: impl Fn() -> bool,
    ) -> Result<Option<u64>> {
        let (handle, place, overwrite) = (&self.handle, self.place, self.stream.overwrite);
        let ring = &handle.ring;
        let busy = || format!("is full{}", who_is_behind(handle, place.head, false));
        handle.wait(READ, patience, busy, |care| {
            loop {
                let room = ring.announce(place, want, least, overwrite).map_err(|corrupt| handle.corrupt(corrupt))?;
                if room >= least {
                    return Ok(Some(Some(room)));
                }
                if care == Care::Glance {
                    return Ok(None);
                }
                if at_end() {
                    return Ok(Some(None));
                }
                // Whose words were changed waits in vain.
                let words = (ring.memory.load(HEAD, Relaxed), ring.memory.load(LIMIT, Relaxed));
                let sane = words.0 == place.head && words.1.wrapping_sub(words.0) <= ring.capacity;
                if !sane {
                    return Err(handle.corrupt(Corrupt("its positions were written by another")));
                }
                self.check_stream()?;
                let slowest = ring.slowest(place.head).map_err(|corrupt| handle.corrupt(corrupt))?;
                let Some(slot) = slowest.slot else { return Ok(None) };
                let moved = || ring.slowest(place.head) != Ok(slowest);
                // Most readers live: the table is not locked for them.
                if handle.is_held(lock::reader(slot))?
                    || handle.with_slots_now(|| handle.sweep(slot))?.is_none()
                    || !moved()
                {
                    return Ok(None);
                }
            }
        })
    }

    /// That the ring is what its name means, and the stream the one that was
    /// begun: before its end, after which anybody may remove it.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`]: nobody will read what was written.
    pub fn check(&self) -> Result<()> {
        self.handle.check()?;
        if self.stream.many { Ok(()) } else { self.check_stream() }
    }

    /// Mark the end of the stream; one of many writers leaves it open.
    pub fn end(self) {
        if !self.stream.many {
            self.handle.ring.mark(Stream { ended: true, ..self.stream });
        }
    }
}

/// Mark the end of a stream that has no writer, or many.
///
/// # Errors
/// [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] while it has a single writer.
pub fn close(address: &Address, patience: &mut Patience) -> Result<()> {
    let handle = Handle::open(super::entry(address)?, Access::Write)?;
    lock_writer(&handle, Hold::Shared, patience)?;
    lock_append(&handle, patience)?;
    handle.check()?;
    let stream = handle.stream()?;
    if !stream.ended {
        handle.ring.mark(Stream { ended: true, ..stream });
    }
    Ok(())
}

fn lock_writer(handle: &Handle, hold: Hold, patience: &mut Patience) -> Result<()> {
    handle.lock(hold, lock::WRITER, "has a writer already", patience)
}

fn lock_append(handle: &Handle, patience: &mut Patience) -> Result<()> {
    handle.lock_for_an_instant(lock::APPEND, "another writer appends to it", patience)
}
