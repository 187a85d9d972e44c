//! The state of a ring, for whoever may read its object.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::Ordering::Acquire;

use super::algorithm::{Corrupt, Present, before};
use super::away;
use super::handle::{Handle, entry};
use super::layout::{HEAD, Owner, lock, position};
use super::slots::Slots;
use crate::base::address::Address;
use crate::base::error::Result;
use crate::fs::byte_lock::Range;
use crate::fs::entry::{Access, Object};
use crate::shared::memory::Memory;

/// The state of a ring's present stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// It has a writer.
    Live,
    /// It has no writer and no end, and waits for one of many writers.
    Open,
    /// Its end was marked.
    Ended,
    /// Its writer died before the end.
    Died,
}

impl StreamState {
    /// The state as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamState::Live => "live",
            StreamState::Open => "open",
            StreamState::Ended => "ended",
            StreamState::Died => "died",
        }
    }
}

/// A reader of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderStatus {
    /// The name that keeps its position.
    pub name: Option<OsString>,
    /// Whether a process reads now. Otherwise the name is away.
    pub live: bool,
    /// How many bytes of the stream it has read.
    pub position: u64,
    /// How many committed bytes it has not read; more than the capacity if it was
    /// overrun.
    pub lag: u64,
    /// How many bytes were taken from it while it was away, and not reported to it yet.
    pub lost: u64,
}

/// The state of a ring at one moment. If the ring is in use, the parts are of about
/// that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its capacity in bytes.
    pub capacity: u64,
    /// The number of its present stream, 1 for the first.
    pub generation: u32,
    /// The state of the present stream.
    pub writer: StreamState,
    /// Whether any number of writers append to it.
    pub many: bool,
    /// Whether its writer waits for no reader.
    pub overwrite: bool,
    /// How many bytes of the stream were committed.
    pub position: u64,
    /// The oldest position of the stream that is certainly still there.
    pub oldest: u64,
    /// How many bytes went through the ring since it was made.
    pub total: u64,
    /// Its readers, except dead ones without a name.
    pub readers: Vec<ReaderStatus>,
    /// Whether it was abandoned: its writer died, no process uses it, and no name is
    /// kept.
    pub orphan: bool,
}

impl Status {
    /// How many committed bytes the slowest reader, or the next one, has still to
    /// read; at most the capacity.
    pub fn unread(&self) -> u64 {
        let slowest = self.readers.iter().map(|reader| reader.lag).max();
        slowest.unwrap_or(self.position.wrapping_sub(self.oldest)).min(self.capacity)
    }

    /// The state of the ring at this address. Read permission is enough, and the caller
    /// does not count as a holder.
    ///
    /// # Errors
    /// [`Missing`](crate::ErrorKind::Missing), [`Denied`](crate::ErrorKind::Denied);
    /// [`Unexpected`](crate::ErrorKind::Unexpected) if it is no ring, or corrupt;
    /// [`Gone`](crate::ErrorKind::Gone) if it is truncated meanwhile.
    pub fn inspect(address: &Address) -> Result<Self> {
        Self::of_handle(&Handle::open(address, Access::Inspect)?)
    }

    /// The same of an open file.
    pub(crate) fn of(file: File, address: &Address) -> Result<Self> {
        let entry = entry(address)?;
        let object = Object::of(file).map_err(|errno| entry.errno(errno))?;
        Self::of_handle(&Handle::of(entry, object, Access::Inspect)?)
    }

    fn of_handle(handle: &Handle) -> Result<Self> {
        let ring = &handle.ring;
        // Asked before the stream's state: a writer unlocks after it has stored that.
        let held = handle.is_held(lock::WRITER)?;
        let Present { stream, start } = handle.present()?;
        ring.check_positions().map_err(|corrupt| handle.corrupt(corrupt))?;
        let writer = match (stream.ended, stream.many) {
            (true, _) => StreamState::Ended,
            (false, _) if held => StreamState::Live,
            (false, true) => StreamState::Open,
            (false, false) => StreamState::Died,
        };
        let mut readers = Vec::new();
        for slot in 0..ring.slots {
            let owner = handle.owner(slot)?;
            let live = owner != Owner::Free && handle.is_held(lock::reader(slot))?;
            let named = matches!(owner, Owner::Named(_));
            let name = named.then(|| Slots(handle).name(slot)).transpose()?.map(OsString::from_vec);
            if owner != Owner::Free && (live || name.is_some()) {
                let at = if live { ring.memory.load(position(slot), Acquire) } else { Slots(handle).recall(slot)? };
                // A reader that has not moved on to this stream has read none of it.
                let read = if before(at, start) { 0 } else { at.wrapping_sub(start) };
                // Loaded after the position, which is never after it.
                let lag = ring.memory.load(HEAD, Acquire).wrapping_sub(at);
                if lag.cast_signed() < 0 {
                    return Err(handle.corrupt(Corrupt("a reader is where it cannot be")));
                }
                let lost = if named { away::lost(handle, slot) } else { 0 };
                readers.push(ReaderStatus { name, live, position: read, lag, lost });
            }
        }
        let orphan = writer == StreamState::Died && readers.is_empty() && !handle.is_held(Range::ALL)?;
        // Loaded before the head: it is never after it.
        let oldest = ring.oldest(start).wrapping_sub(start);
        let position = ring.memory.load(HEAD, Acquire).wrapping_sub(start);
        // Lost memory reads as zeroes: then what was read above does not count.
        handle.check_memory()?;
        Ok(Status {
            capacity: ring.capacity,
            generation: stream.generation,
            writer,
            many: stream.many,
            overwrite: stream.overwrite,
            position,
            oldest,
            total: handle.total(),
            readers,
            orphan,
        })
    }
}
