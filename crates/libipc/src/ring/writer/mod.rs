//! The writer's end: making a ring, beginning its streams, appending records.

mod check;
mod create;
mod fill;

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use self::create::{all_read, create, slowest_reader};
use super::algorithm::{Corrupt, Present, WriterPosition};
use super::arrival::Expected;
use super::away::{self, Patience};
use super::framing::Framing;
use super::handle::Handle;
use super::layout::{CONSUMED, HEAD, LIMIT, Owner, READ, Stream, lock};
use super::options::{OnUnfinished, WriteOptions};
use super::slots::Slots;
use super::waiting::{Check, wait_until};
use crate::base::address::{Address, Kind};
use crate::base::discard::Discard;
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::wait::Wait;
use crate::fs::byte_lock::LockMode;
use crate::fs::entry::{Access, RACES};
use crate::shared::memory::Memory;

/// The writer of a ring, or one of many. Dropping it without [`Writer::end`] counts as
/// a death.
#[derive(Debug)]
pub struct Writer {
    pub(super) handle: Handle,
    pub(super) stream: Stream,
    /// The position where the stream began.
    start: u64,
    pub(super) at: WriterPosition,
    patience: Patience,
    /// Whether to end without readers, once there was one.
    while_read: bool,
    was_read: Cell<bool>,
    /// What readers that had left had read when we began.
    consumed: u64,
}

impl Writer {
    /// Open the ring, or make it, and become its writer; begin a stream.
    ///
    /// # Errors
    /// - [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] while there is another
    ///   writer, or readers have not read the last stream;
    /// - [`ErrorKind::PeerDied`] if the last stream has no end, with
    ///   [`OnUnfinished::Refuse`];
    /// - [`ErrorKind::Denied`], also for [`WriteOptions::foreign`];
    /// - [`ErrorKind::NoRoom`] for a new ring;
    /// - [`ErrorKind::Unexpected`] if it is no ring, or corrupt.
    pub fn open(address: &Address, options: &WriteOptions, wait: &mut Wait) -> Result<Self> {
        for _ in 0..RACES {
            match Handle::open(address, Access::Write) {
                Ok(handle) => {
                    handle.owners().refuse_stranger(Kind::Ring, handle.label(), options.foreign)?;
                    return Self::take(handle, options, wait);
                }
                Err(error) if error.kind == ErrorKind::Missing => {}
                Err(error) => return Err(error),
            }
            match create(address, options) {
                Ok(handle) => {
                    return Self::new(handle, options);
                }
                // Another was faster.
                Err(error) if error.kind == ErrorKind::Exists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Gone, address, "is removed faster than it can be opened"))
    }

    fn new(handle: Handle, options: &WriteOptions) -> Result<Self> {
        let (Present { stream, start }, at) = (handle.present()?, handle.writer_position()?);
        let WriteOptions { max_lag, expire, while_read, .. } = *options;
        let patience = Patience { max_lag, expire };
        let consumed = handle.ring.memory.load(CONSUMED, Relaxed);
        Ok(Writer { handle, stream, start, at, patience, while_read, was_read: Cell::new(false), consumed })
    }

    fn take(handle: Handle, options: &WriteOptions, wait: &mut Wait) -> Result<Self> {
        lock_writer(&handle, if options.many { LockMode::Shared } else { LockMode::Exclusive }, wait)?;
        if options.many {
            lock_append(&handle, wait)?;
        }
        // Read only now: another of many writers may have begun a stream meanwhile.
        let mut writer = Self::new(handle, options)?;
        let entered = writer.enter(options, wait);
        writer.handle.unlock(lock::APPEND);
        entered.map(|()| writer)
    }

    /// Decide what becomes of the present stream.
    fn enter(&mut self, options: &WriteOptions, wait: &mut Wait) -> Result<()> {
        self.handle.check()?;
        let now = self.stream;
        // A writer that died before it committed anything has left nothing: one that
        // waited in vain for readers may try again.
        let untouched = !now.many && !options.many && now.overwrite == options.overwrite && self.position() == 0;
        let joins =
            !now.ended && options.on_unfinished == OnUnfinished::Refuse && (now.many && options.many || untouched);
        let goes_on = options.on_unfinished == OnUnfinished::Resume || joins;
        if goes_on {
            if options.overwrite && !now.overwrite {
                let problem = "its stream was begun by a writer that waits for its readers";
                return Err(Error::new(ErrorKind::Failure, self.handle.label(), problem));
            }
            self.stream = Stream { ended: false, many: options.many, ..now };
            if options.on_unfinished == OnUnfinished::Resume {
                self.handle.ring.resume(self.stream);
            }
            return Ok(());
        }
        if !now.ended && options.on_unfinished == OnUnfinished::Refuse {
            let problem = if now.many { "the stream of its many writers has no end" } else { "its last writer died" };
            let hint = Hint::ResumeOrRestart(self.position());
            return Err(Error::new(ErrorKind::PeerDied, self.handle.label(), problem).hint(hint));
        }
        self.stream = Stream {
            generation: now.generation.wrapping_add(1),
            ended: false,
            many: options.many,
            overwrite: options.overwrite,
            died_before: !now.ended,
        };
        self.begin_stream(now, wait)
    }

    /// Begin the next stream once all of the last was read.
    fn begin_stream(&mut self, last: Stream, wait: &mut Wait) -> Result<()> {
        let (handle, head, stream, patience) = (&self.handle, self.at.head, self.stream, self.patience);
        let blocked_on = || {
            if Expected::of(handle.entry()).any() {
                return "a reader has waited for its last stream, and is on its way".to_owned();
            }
            let (who, _) = slowest_reader(handle, head);
            format!("its last stream is still being read{}", if who.ends_with("no reader") { "" } else { who })
        };
        let mut expected = Expected::of(handle.entry());
        let begun = wait_until(handle, READ, wait, blocked_on, |_| {
            // So that nobody joins in between.
            Slots(handle).with_lock_now(|| {
                // Asked first: one that is no longer on its way has its slot.
                if expected.any() {
                    return Ok(None);
                }
                let read = all_read(handle, head, [last.generation, stream.generation], patience)?;
                if read {
                    handle.ring.begin(head, stream);
                }
                Ok(read.then_some(()))
            })
        });
        begun.map_err(|error| blame_reader(handle, head, error))?;
        (self.start, self.consumed) = (head, head);
        Ok(())
    }

    /// How many bytes of the stream were committed, as of this writer's last turn.
    pub fn position(&self) -> u64 {
        self.at.head.wrapping_sub(self.start)
    }

    /// The permission bits of a ring that existed when it was opened; None of one that
    /// [`Writer::open`] has made.
    pub fn existing_mode(&self) -> Option<u32> {
        (!self.handle.is_new()).then(|| self.handle.mode())
    }

    /// The capacity of the ring in bytes, and so the longest record.
    pub fn capacity(&self) -> u64 {
        self.handle.ring.capacity
    }

    /// Wait until there are `count` readers.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`]; [`ErrorKind::Gone`] if the ring is
    /// removed, replaced or truncated; [`ErrorKind::Unexpected`] if it is corrupt.
    pub fn wait_for_readers(&self, count: usize, wait: &mut Wait) -> Result<()> {
        let handle = &self.handle;
        wait_until(
            handle,
            READ,
            wait,
            || format!("has fewer than {count} readers"),
            |_| {
                let mut live = 0;
                for slot in 0..handle.ring.slots {
                    live += usize::from(handle.owner(slot)? != Owner::Free && handle.is_held(lock::reader(slot))?);
                }
                self.was_read.set(self.was_read.get() || live > 0);
                Ok((live >= count).then_some(()))
            },
        )
    }

    /// Append whole records of this framing. The last may lack the byte that ends it.
    /// Readers see all of a record, or nothing of it.
    ///
    /// # Errors
    /// - [`ErrorKind::NoRoom`] for a record longer than the ring;
    /// - [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] if the ring stays full;
    /// - [`ErrorKind::Gone`] if the ring is removed, replaced or truncated, or the
    ///   stream of many writers was ended;
    /// - [`ErrorKind::Unexpected`] if it is corrupt.
    pub fn append(&mut self, records: &[u8], framing: Framing, wait: &mut Wait) -> Result<()> {
        let mut rest = records;
        while !rest.is_empty() {
            if self.stream.many {
                self.take_turn(wait)?;
            }
            let appended = self.append_some(rest, framing, wait);
            if self.stream.many {
                self.handle.unlock(lock::APPEND);
            }
            rest = &rest[appended?..];
        }
        Ok(())
    }

    /// Append at least one of the records. Returns the length of those appended.
    fn append_some(&mut self, records: &[u8], framing: Framing, wait: &mut Wait) -> Result<usize> {
        self.check_now_and_then()?;
        let capacity = self.capacity();
        let first = framing.first(records).unwrap_or(records.len() as u64);
        if first > capacity {
            let problem = format!("a record is longer than the ring, which holds {capacity} bytes");
            return Err(Error::new(ErrorKind::NoRoom, self.handle.label(), problem).hint(Hint::LargerRing));
        }
        let want = (records.len() as u64).min((capacity / 4).max(first));
        let room = match self.wait_for_room(want, first, wait, || false)? {
            Room::Bytes(room) => room as usize,
            Room::AtEnd => 0,
        };
        let len = if room == records.len() { room } else { framing.whole(&records[..room], u64::MAX).0 };
        let mut done = 0;
        while done < len {
            let (at, n) = self.handle.piece(self.at.head.wrapping_add(done as u64), (len - done) as u64);
            self.handle.ring.memory.0.write_at(at, &records[done..done + n]);
            done += n;
        }
        if self.handle.ring.memory.0.faulted() {
            return Err(self.handle.lost());
        }
        self.at = self.handle.ring.commit(self.at, len as u64);
        Ok(len)
    }

    /// Become the one of many writers that appends, where the last one stopped.
    fn take_turn(&mut self, wait: &mut Wait) -> Result<()> {
        lock_append(&self.handle, wait)?;
        self.check_stream()?;
        self.at = self.handle.writer_position()?;
        Ok(())
    }

    /// Wait for room for at most `want` bytes and no fewer than `least`, or until
    /// `at_end` says that the input is at its end. It is asked while there is no room.
    pub(super) fn wait_for_room(
        &self,
        want: u64,
        least: u64,
        wait: &mut Wait,
        at_end: impl Fn() -> bool,
    ) -> Result<Room> {
        let (handle, at, overwrite, patience) = (&self.handle, self.at, self.stream.overwrite, self.patience);
        let ring = &handle.ring;
        let blocked_on = || format!("is full{}", slowest_reader(handle, at.head).0);
        let corrupt = |corrupt| handle.corrupt(corrupt);
        let room = wait_until(handle, READ, wait, blocked_on, |check| {
            loop {
                let room = ring.announce(at, want, least, overwrite).map_err(corrupt)?;
                if room >= least {
                    return Ok(Some(Room::Bytes(room)));
                }
                // What is in the way may be a name that need not be waited for.
                if check == Check::Quick && !patience.is_limited() {
                    return Ok(None);
                }
                if at_end() {
                    return Ok(Some(Room::AtEnd));
                }
                // If somebody overwrote our words, nobody would ever wake us.
                let words = (ring.memory.load(HEAD, Relaxed), ring.memory.load(LIMIT, Relaxed));
                let sane = words.0 == at.head && words.1.wrapping_sub(words.0) <= ring.capacity;
                if !sane {
                    return Err(corrupt(Corrupt("its positions were written by another")));
                }
                self.check_stream()?;
                self.check_readers()?;
                let slowest = ring.slowest(at.head).map_err(corrupt)?;
                let Some(slot) = slowest.slot else { return Ok(None) };
                let advanced = || ring.slowest(at.head) != Ok(slowest);
                let slots = Slots(handle);
                // Most readers live: the table is not locked for them.
                if handle.is_held(lock::reader(slot))? {
                    if let Owner::Named(_) = handle.owner(slot)? {
                        away::stamp(handle, slot);
                    }
                    return Ok(None);
                }
                if slots.with_lock_now(|| slots.sweep(slot, patience))?.is_none() || !advanced() {
                    return Ok(None);
                }
            }
        });
        room.map_err(|error| blame_reader(handle, at.head, error))
    }

    /// Mark the end of the stream. One of many writers leaves the stream open.
    pub fn end(self) {
        if !self.stream.many {
            self.handle.ring.end(self.stream, self.start, self.at);
        }
    }
}

/// A ring goes if nothing was written into it, and nobody else has it open.
impl Discard for Writer {
    fn is_new(&self) -> bool {
        self.handle.is_new()
    }

    fn discard(&self) {
        self.handle.discard();
    }
}

/// Room behind the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// This many bytes.
    Bytes(u64),
    /// There is no room, and nothing more to write.
    AtEnd,
}

/// Add a hint to the error of a wait for a reader that is away.
fn blame_reader(handle: &Handle, head: u64, error: Error) -> Error {
    let waited = matches!(error.kind, ErrorKind::Busy | ErrorKind::TimedOut);
    match slowest_reader(handle, head).1 {
        Some(hint) if waited => error.hint(hint),
        _ => error,
    }
}

/// Mark the end of a stream that has no writer, or many.
///
/// # Errors
/// [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] while it has a single writer;
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Gone`] if the ring is
/// removed meanwhile; [`ErrorKind::Unexpected`] if it is no ring, or corrupt.
pub fn end(address: &Address, wait: &mut Wait) -> Result<()> {
    let handle = Handle::open(address, Access::Write)?;
    lock_writer(&handle, LockMode::Shared, wait)?;
    lock_append(&handle, wait)?;
    handle.check()?;
    let Present { stream, start } = handle.present()?;
    if !stream.ended {
        handle.ring.end(stream, start, handle.writer_position()?);
    }
    Ok(())
}

fn lock_writer(handle: &Handle, mode: LockMode, wait: &mut Wait) -> Result<()> {
    handle.lock(mode, lock::WRITER, "has a writer already", wait)
}

fn lock_append(handle: &Handle, wait: &mut Wait) -> Result<()> {
    handle.lock_for_an_instant(lock::APPEND, "another writer appends to it", wait)
}
