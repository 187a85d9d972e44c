//! A reader's end: a slot, and the bytes from its position on.

mod open;
mod records;

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::algorithm::{Available, Corrupt, Present, before};
use super::away;
use super::framing::Framing;
use super::handle::{Handle, LONGEST_SLEEP};
use super::layout::{HEAD, Owner, READ, WAITING, WRITTEN, lock, owner, position};
use super::options::ReadOptions;
use super::slots::Slots;
use super::waiting::{Check, wait_until};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::Wait;
use crate::fs::copy::{self, Control, CopyError, OUTPUT, STEP};
use crate::shared::memory::Memory;

/// A reader of a ring, which has a slot. Dropping it without [`Reader::leave`] counts
/// as a death: a writer that waits for room frees the slot.
#[derive(Debug)]
pub struct Reader {
    pub(super) handle: Handle,
    pub(super) options: ReadOptions,
    slot: usize,
    /// What we stored in the slot, with the generation of the stream.
    who: Owner,
    pub(super) position: u64,
    /// Where the stream began.
    start: u64,
    /// Whether the writer of that stream overwrites.
    pub(super) overwrite: bool,
    /// For records, and for bytes that may be overwritten meanwhile.
    pub(super) buffer: Vec<u8>,
    /// When a named reader last noted that it is there.
    stamped: Instant,
    /// Whether the position is in a record whose beginning we do not have.
    pub(super) skipping: bool,
    /// Whether the last record that was written has no end.
    pub(super) unended: bool,
    /// How many bytes were lost and not reported yet.
    pub(super) lost: u64,
}

/// Where a stream goes.
pub enum Output<'a> {
    /// To a descriptor: write(2).
    Descriptor(BorrowedFd<'a>),
    /// Each record, with its frame, to a function. If it returns false the record is not
    /// read, and nothing more is.
    Records(&'a mut dyn FnMut(&[u8]) -> Result<bool>),
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Output::Descriptor(fd) => f.debug_tuple("Descriptor").field(fd).finish(),
            Output::Records(_) => f.write_str("Records"),
        }
    }
}

/// Whether a part of a record may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// No.
    Never,
    /// Yes, as the record does not fit into the ring.
    First,
    /// Yes: it is the last of the stream, and has no end.
    Last,
}

/// What a reader has to do next.
enum Next {
    /// Pass on the whole records in this many bytes.
    Bytes(u64),
    /// Pass on this many bytes, a part of a record that does not fit into the ring.
    Part(u64),
    /// Pass on this many bytes: the stream has ended within a record.
    Last(u64),
    /// End with the stream, whose end was marked or not.
    End(bool),
    /// Go on with this stream.
    Stream(Present),
}

impl Reader {
    /// Go on with the record that is written next. In the bytes before, no beginning of
    /// a record can be told.
    pub(super) fn go_to_head(&mut self) {
        // Acquire pairs with the Release of `commit`: the bytes.
        let gone = self.handle.ring.memory.load(HEAD, Acquire).wrapping_sub(self.position);
        if self.lost > 0 {
            self.lost = self.lost.saturating_add(gone);
        }
        self.consume(gone);
    }

    /// Pass the stream on to `out`. It ends with the stream, or after
    /// [`ReadOptions::count`], or when a record was refused. What was passed on is not
    /// read again. `lost` is called with the number of bytes that a writer has taken
    /// or overwritten unread.
    ///
    /// # Errors
    /// - [`ErrorKind::PeerDied`] after the last byte of a writer that died;
    /// - [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] if nothing comes, without
    ///   [`ReadOptions::drain`];
    /// - [`ErrorKind::Gone`] if the ring is removed, replaced or truncated;
    /// - [`ErrorKind::Unexpected`] if it is corrupt, or has no records of this framing;
    /// - [`ErrorKind::Failure`] if `out` cannot be written.
    pub fn copy_to(
        &mut self,
        out: &mut Output<'_>,
        wait: &mut Wait,
        lost: &mut dyn FnMut(u64),
        control: &mut Control<'_>,
    ) -> Result<()> {
        if let Output::Descriptor(fd) = out {
            copy::enlarge_pipe(*fd);
        }
        let mut left = self.options.count.unwrap_or(u64::MAX);
        // Bytes behind the position that are no whole record yet.
        let mut have = 0;
        while left > 0 {
            self.report(lost);
            let found = match self.wait(have, wait) {
                Err(error) if self.options.drain && error.kind == ErrorKind::Busy => return Ok(()),
                other => other?,
            };
            let (there, part) = match found {
                Next::Bytes(there) => (there, Part::Never),
                Next::Part(there) => (there, Part::First),
                Next::Last(there) => (there, Part::Last),
                Next::End(marked) => (if marked { have } else { 0 }, Part::Last),
                Next::Stream(stream) => {
                    self.go_on(stream, out)?;
                    continue;
                }
            };
            match out {
                Output::Descriptor(fd) if self.options.framing == Framing::Bytes && !self.overwrite => {
                    left -= if there > 0 { self.copy_directly(*fd, there.min(left), control)? } else { 0 };
                }
                _ => have = self.copy_through(out, there, part, &mut left, control)?,
            }
            self.report(lost);
            if let Next::Last(_) = found {
                left = left.saturating_sub(1);
            }
            if let Next::End(marked) = found {
                // What was to be skipped has no end.
                self.skipping = false;
                self.report(lost);
                let what = "its writer died before the end of the stream; what it had committed was read";
                return if marked { Ok(()) } else { Err(Error::new(ErrorKind::PeerDied, self.handle.label(), what)) };
            }
        }
        Ok(())
    }

    /// Report what was lost, once it is known how much that is.
    fn report(&mut self, lost: &mut dyn FnMut(u64)) {
        if !self.skipping && self.lost > 0 {
            lost(std::mem::take(&mut self.lost));
            if let Owner::Named(_) = self.who {
                away::set_lost(&self.handle, self.slot, 0);
            }
        }
    }

    /// Go on with the next stream. A last record without an end is ended first.
    fn go_on(&mut self, Present { stream, start }: Present, out: &Output<'_>) -> Result<()> {
        self.who = self.who.in_generation(stream.generation);
        self.start = start;
        self.overwrite = stream.overwrite;
        self.skipping = false;
        let ring = &self.handle.ring;
        // Release pairs with the Acquire of `owner`, in `slowest` and `all_read`: our
        // position.
        ring.memory.store(owner(self.slot), self.who.encode(), Release);
        // Its writer may wait for this, to begin yet another stream.
        ring.notify(READ);
        let unended = std::mem::take(&mut self.unended);
        if let (true, Framing::End(end), Output::Descriptor(out)) = (unended, self.options.framing, out) {
            write(*out, &[end])?;
        }
        Ok(())
    }

    /// Give the slot back. A name keeps its slot.
    pub fn leave(self) {
        match self.who {
            Owner::Anonymous(_) => self.handle.ring.leave(self.slot, self.position),
            _ => away::stamp(&self.handle, self.slot),
        }
    }

    /// Wait for more than `have` bytes, or the end.
    fn wait(&mut self, have: u64, wait: &mut Wait) -> Result<Next> {
        let begin = Instant::now();
        if matches!(self.who, Owner::Named(_)) && begin.duration_since(self.stamped) >= LONGEST_SLEEP {
            self.stamped = begin;
            away::stamp(&self.handle, self.slot);
        }
        let blocked_on = || "has no more bytes yet".to_owned();
        wait_until(&self.handle, WRITTEN, wait, blocked_on, |check| self.ready(have, begin, check))
    }

    fn ready(&self, have: u64, begin: Instant, check: Check) -> Result<Option<Next>> {
        let ring = &self.handle.ring;
        let generation = self.who.generation().unwrap_or(0);
        let seen = self.position.wrapping_add(have);
        let corrupt = |corrupt| self.handle.corrupt(corrupt);
        let more = |more| Ok(Some(Next::Bytes(have.saturating_add(more))));
        match ring.available(seen, generation).map_err(corrupt)? {
            Available::Bytes(bytes) => return more(bytes),
            Available::Ended if !self.options.follow => return Ok(Some(Next::End(true))),
            Available::Ended if have > 0 => return Ok(Some(Next::Last(have))),
            Available::Next(next) if !self.options.follow => return Ok(Some(Next::End(!next.stream.died_before))),
            Available::Next(next) => return Ok(Some(Next::Stream(next))),
            Available::Ended | Available::Nothing => {}
        }
        if have >= ring.capacity {
            return Ok(Some(Next::Part(have)));
        }
        if check == Check::Quick {
            return Ok(None);
        }
        if have > 0 && begin.elapsed() >= LONGEST_SLEEP && self.is_waited_for(seen).map_err(corrupt)? {
            return Ok(Some(Next::Part(have)));
        }
        // If somebody overwrote our words, we hold the writer back, or nobody would ever
        // wake us.
        let is_ours =
            ring.owner(self.slot) == Ok(self.who) && ring.memory.load(position(self.slot), Relaxed) == self.position;
        if !is_ours {
            return Err(corrupt(Corrupt("its slot was written by another")));
        }
        let stream = self.handle.stream()?;
        if self.options.follow || stream.many || self.handle.is_held(lock::WRITER)? {
            return Ok(None);
        }
        // The writer may have stored its last words just before it unlocked.
        match ring.available(seen, generation).map_err(corrupt)? {
            Available::Nothing => {
                // The writer may have gone because the ring was removed.
                self.handle.check()?;
                Ok(Some(Next::End(false)))
            }
            Available::Bytes(bytes) => more(bytes),
            Available::Ended => Ok(Some(Next::End(true))),
            Available::Next(next) => Ok(Some(Next::End(!next.stream.died_before))),
        }
    }

    /// Whether the writer waits, and no reader is slower than we are. It may wait for
    /// room for a record, while we wait for the rest of another: neither would end.
    fn is_waited_for(&self, head: u64) -> std::result::Result<bool, Corrupt> {
        let ring = &self.handle.ring;
        let waits = ring.memory.load32(READ + WAITING, Relaxed) != 0;
        Ok(waits && ring.slowest(head)?.lag == head.wrapping_sub(self.position))
    }

    pub(super) fn consume(&mut self, len: u64) {
        self.position = self.position.wrapping_add(len);
        if let Owner::Named(_) = self.who {
            Slots(&self.handle).remember(self.slot, self.position);
        }
        self.handle.ring.consume(self.slot, self.position);
    }

    /// The position from which on bytes that were just copied had not been
    /// overwritten.
    pub(super) fn intact(&self) -> Result<u64> {
        self.handle.ring.intact(self.start).map_err(|corrupt| self.handle.corrupt(corrupt))
    }

    /// Check that the writer waited for us while we copied from our position on.
    pub(super) fn check_intact(&self) -> Result<()> {
        if before(self.position, self.intact()?) {
            return Err(self.handle.corrupt(Corrupt("what was not read was overwritten")));
        }
        Ok(())
    }

    /// write(2) straight out of the ring, where nobody overwrites what is unread.
    fn copy_directly(&mut self, out: BorrowedFd<'_>, there: u64, control: &mut Control<'_>) -> Result<u64> {
        let (at, len) = self.handle.piece(self.position, there.min(STEP as u64));
        let region = &self.handle.ring.memory.0;
        let n = control.retry(out, PollFlags::POLLOUT, CopyError::Write, || region.drain(out, at, len));
        match n {
            Ok(n) => {
                self.check_intact()?;
                self.consume(n as u64);
                control.moved(n);
                Ok(n as u64)
            }
            Err(CopyError::Write(Errno::EFAULT)) => Err(self.handle.lost()),
            Err(error) => Err(error.explain(OUTPUT, |errno| Error::io(OUTPUT, errno))),
        }
    }
}

/// Write all of it to standard output.
fn write(out: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    copy::write_all(out, bytes, None).map_err(|unwritten| unwritten.explain(OUTPUT))
}
