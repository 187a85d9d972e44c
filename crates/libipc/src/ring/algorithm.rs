//! The algorithm of a ring, generic over its memory. Over a mapping the tools run it;
//! over loom's atomics `tests/model.rs` checks this very code.
//!
//! - Positions count bytes. They never go back, and wrap around.
//! - Before the writer writes, it announces how far it may write: LIMIT. Bytes older
//!   than LIMIT - capacity may be gone, and no others.
//! - After it has written, it says how far: PROMISE, then HEAD. A HEAD after PROMISE
//!   was not written by a writer.
//! - A reader's slot says how far it has read.
//!
//! Every index is loaded once into a local and checked before it is used.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::layout::{
    CONSUMED, HEAD, LIMIT, Owner, PROMISE, Place, READ, STREAM, Stream, WAITING, WRITTEN, owner, position,
};
use crate::shared::memory::Memory;

/// An impossible index or state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt(pub(super) &'static str);

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Available {
    /// This many bytes from its position on were written. In a stream that overwrites,
    /// some of them may be gone.
    Bytes(u64),
    /// Nothing yet.
    Nothing,
    /// The end of the stream was marked.
    Ended,
    /// Another stream has begun, after all of this one was read.
    Next(Present),
}

/// A stream whose sums are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) stream: Stream,
    /// The position at which it began.
    pub(super) start: u64,
}

/// The reader that is in the writer's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slowest {
    /// Bytes that it has not read yet.
    pub(super) lag: u64,
    /// Its slot; None if there is no reader.
    pub(super) slot: Option<usize>,
}

/// Where a writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriterPosition {
    /// The end of what is committed.
    pub(super) head: u64,
    /// Anything before it may have been overwritten, also by a writer that died.
    pub(super) touched: u64,
}

/// A ring in some memory.
#[derive(Debug)]
pub(super) struct Ring<M> {
    pub(super) memory: M,
    /// In bytes, more than 0.
    pub(super) capacity: u64,
    /// How many slots there are.
    pub(super) slots: usize,
}

/// Whether position `a` is before `b`.
pub(super) fn before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b)).cast_signed() < 0
}

impl<M: Memory> Ring<M> {
    pub(super) fn stream(&self) -> Result<Stream, Corrupt> {
        // Acquire pairs with the Release of `begin`, `end` and `resume`: the place and
        // the last HEAD of this stream.
        Stream::decode(self.memory.load(STREAM, Acquire)).ok_or(Corrupt("no such state of a stream"))
    }

    /// The present stream, with its sums checked.
    pub(super) fn present(&self) -> Result<Present, Corrupt> {
        /// For those who only look: streams may end, go on and begin meanwhile.
        const LOOKS: usize = 100;
        for _ in 0..LOOKS {
            let stream = self.stream()?;
            let place = Place::of(stream.generation);
            let start = self.memory.load(place.start(), Relaxed);
            let sum = self.memory.load(place.sum(), Relaxed);
            if sum == stream.sum(start) && (!stream.ended || self.is_sealed(stream, start)) {
                return Ok(Present { stream, start });
            }
        }
        Err(Corrupt("its stream has another sum"))
    }

    fn is_sealed(&self, stream: Stream, start: u64) -> bool {
        let load = |at| self.memory.load(at, Relaxed);
        load(Place::of(stream.generation).seal()) == stream.seal(start, load(HEAD), load(LIMIT))
    }

    pub(super) fn owner(&self, slot: usize) -> Result<Owner, Corrupt> {
        // Acquire pairs with the Release of `join`, for the position and the name, and
        // with that of `leave`, for what the leaving reader had consumed.
        Owner::decode(self.memory.load(owner(slot), Acquire)).ok_or(Corrupt("no such state of a reader"))
    }

    /// Check that PROMISE and LIMIT are where a writer may have put them.
    pub(super) fn check_positions(&self) -> Result<(), Corrupt> {
        // Each is loaded after the one before. Meanwhile HEAD goes on up to PROMISE and
        // LIMIT, and these up to HEAD + capacity.
        let least = self.memory.load(HEAD, Acquire);
        let ahead = [PROMISE, LIMIT].map(|at| self.memory.load(at, Acquire));
        let most = self.memory.load(HEAD, Acquire).wrapping_add(self.capacity);
        let sane = ahead.iter().all(|&at| !before(at, least) && !before(most, at));
        sane.then_some(()).ok_or(Corrupt("its positions are impossible"))
    }

    /// The oldest position of a stream with this start that was not overwritten.
    pub(super) fn oldest(&self, start: u64) -> u64 {
        let limit = self.memory.load(LIMIT, Relaxed);
        if limit.wrapping_sub(start) <= self.capacity { start } else { limit.wrapping_sub(self.capacity) }
    }

    // The writer's side.

    /// The reader that has most to read. Without readers, what nobody has read yet.
    pub(super) fn slowest(&self, head: u64) -> Result<Slowest, Corrupt> {
        let mut slowest = None;
        for slot in 0..self.slots {
            if self.owner(slot)? == Owner::Free {
                continue;
            }
            // Acquire pairs with the Release of `consume`: the reader is done with
            // everything before its position.
            let lag = head.wrapping_sub(self.memory.load(position(slot), Acquire));
            if slowest.is_none_or(|slowest: Slowest| slowest.lag < lag) {
                slowest = Some(Slowest { lag, slot: Some(slot) });
            }
        }
        match slowest {
            Some(slowest) => Ok(slowest),
            None => {
                let lag = head.wrapping_sub(self.memory.load(CONSUMED, Relaxed));
                let sane = lag <= self.capacity;
                sane.then_some(Slowest { lag, slot: None }).ok_or(Corrupt("more was consumed than was written"))
            }
        }
    }

    /// The room behind `head` that no reader needs, in bytes. A reader that lags by
    /// more than the capacity is about to join, or somebody overwrote its slot: then
    /// there is no room yet.
    pub(super) fn room(&self, head: u64) -> Result<u64, Corrupt> {
        Ok(self.capacity.saturating_sub(self.slowest(head)?.lag))
    }

    /// Where the last writer stopped.
    pub(super) fn writer_position(&self) -> Result<WriterPosition, Corrupt> {
        let at = WriterPosition { head: self.memory.load(HEAD, Acquire), touched: self.memory.load(LIMIT, Relaxed) };
        // The last writer may have died between the stores of PROMISE and HEAD.
        let promised = self.memory.load(PROMISE, Relaxed).wrapping_sub(at.head);
        let sane = at.touched.wrapping_sub(at.head) <= self.capacity && promised <= at.touched.wrapping_sub(at.head);
        sane.then_some(at).ok_or(Corrupt("its positions are impossible"))
    }

    /// Announce up to `want` bytes behind the head. Returns how many of them may be
    /// written now. Fewer than `least` are of no use to the caller, and are not
    /// announced. With `overwrite` readers do not count.
    pub(super) fn announce(&self, at: WriterPosition, want: u64, least: u64, overwrite: bool) -> Result<u64, Corrupt> {
        let WriterPosition { head, touched } = at;
        let want = if overwrite { want.min(self.capacity) } else { self.room(head)?.min(want) };
        if want < least {
            return Ok(0);
        }
        // LIMIT goes no further than the readers allow, so that a reader that joins
        // now is not sent past bytes that nobody has read.
        let limit = head.wrapping_add(want);
        self.memory.store(LIMIT, if before(limit, touched) { touched } else { limit }, Relaxed);
        // Pairs with the fence of `join`: either the new reader sees this LIMIT,
        // or we see its slot. Pairs with the fence of `intact`: whoever sees a byte
        // that is written after this sees the LIMIT too.
        self.memory.fence();
        if overwrite { Ok(want) } else { Ok(self.room(head)?.min(want)) }
    }

    /// Commit `len` bytes that were written behind the head. Returns the new position.
    pub(super) fn commit(&self, at: WriterPosition, len: u64) -> WriterPosition {
        let head = at.head.wrapping_add(len);
        // LIMIT goes back over what was announced and not written.
        let touched = if before(at.touched, head) { head } else { at.touched };
        self.memory.store(PROMISE, head, Relaxed);
        // Release pairs with the Acquire of `available`: the bytes, and PROMISE.
        self.memory.store(HEAD, head, Release);
        self.memory.store(LIMIT, touched, Release);
        self.notify(WRITTEN);
        WriterPosition { head, touched }
    }

    /// Begin a stream at `head`. No reader joins meanwhile, and each has read all
    /// of the last one.
    pub(super) fn begin(&self, head: u64, stream: Stream) {
        // The place of the stream before the last: nobody reads it any more.
        let place = Place::of(stream.generation);
        self.memory.store(place.start(), head, Relaxed);
        self.memory.store(place.sum(), stream.sum(head), Relaxed);
        // Sane in either stream.
        self.memory.store(CONSUMED, head, Relaxed);
        // Release pairs with the Acquire of `stream`: all of the above. A writer that
        // dies leaves the last stream as it was, or this one, empty.
        self.memory.store(STREAM, stream.encode(), Release);
        self.rouse(WRITTEN);
    }

    /// Mark the end of a stream that began at `start`.
    pub(super) fn end(&self, stream: Stream, start: u64, at: WriterPosition) {
        self.memory.store(Place::of(stream.generation).seal(), stream.seal(start, at.head, at.touched), Relaxed);
        self.mark(Stream { ended: true, ..stream });
    }

    /// Mark that a stream goes on, ended or not.
    pub(super) fn resume(&self, stream: Stream) {
        self.mark(Stream { ended: false, ..stream });
        // If nothing is written, the old seal would still be right.
        self.memory.store(Place::of(stream.generation).seal(), 0, Release);
    }

    fn mark(&self, stream: Stream) {
        // Release pairs with the Acquire of `stream`, in `available`: the last HEAD.
        self.memory.store(STREAM, stream.encode(), Release);
        self.rouse(WRITTEN);
    }

    // A reader's side.

    /// Take a slot, whose lock is held, at the position `at`, or at the oldest one.
    /// Returns the position, which is later if the writer was faster.
    pub(super) fn join(&self, slot: usize, who: Owner, at: Option<u64>, present: Present) -> u64 {
        /// A writer overtakes a new reader a few times at most. Others may write the
        /// words for ever; who cannot join finds the positions impossible later.
        const TRIES: usize = 1000;
        let Present { stream, start } = present;
        let mut wanted = at.unwrap_or_else(|| self.oldest(start));
        self.memory.store(position(slot), wanted, Relaxed);
        // Release pairs with the Acquire of `owner`: the position and the name.
        self.memory.store(owner(slot), who.encode(), Release);
        for _ in 0..TRIES {
            // Pairs with the fence of `announce`.
            self.memory.fence();
            let oldest = self.oldest(start);
            // A writer that overwrites does not wait, and neither do we.
            if stream.overwrite || !before(wanted, oldest) {
                break;
            }
            wanted = oldest;
            self.memory.store(position(slot), wanted, Release);
        }
        wanted
    }

    /// What there is for a reader at `position` of this generation.
    pub(super) fn available(&self, position: u64, generation: u32) -> Result<Available, Corrupt> {
        let first = self.stream()?;
        // Acquire pairs with the Release of `commit`: the bytes, and the `begin` before
        // it. So the second look finds the stream of these bytes, or a later one.
        let head = self.memory.load(HEAD, Acquire);
        // Relaxed: PROMISE was stored before that HEAD.
        let promise = self.memory.load(PROMISE, Relaxed);
        let now = self.stream()?;
        if now.generation != generation {
            let next = self.present()?;
            // None begins before we go on to this one, and it begins where ours ended.
            let begins = next.stream.generation == generation.wrapping_add(1) && next.start == position;
            return begins.then_some(Available::Next(next)).ok_or(Corrupt("its next stream is impossible"));
        }
        if before(promise, head) {
            return Err(Corrupt("more was committed than was written"));
        }
        let lag = head.wrapping_sub(position);
        let most = if now.overwrite { u64::MAX / 2 } else { self.capacity };
        match lag {
            0 if first.ended && first.generation == generation => {
                // Its writer may go on just now.
                let is_end = self.present()?.stream == first;
                Ok(if is_end { Available::Ended } else { Available::Nothing })
            }
            0 => Ok(Available::Nothing),
            lag if lag <= most => Ok(Available::Bytes(lag)),
            _ => Err(Corrupt("its positions are impossible")),
        }
    }

    /// The position from which on bytes that were just copied had not been
    /// overwritten.
    pub(super) fn intact(&self, start: u64) -> Result<u64, Corrupt> {
        // Pairs with the fence of `announce`.
        self.memory.fence();
        self.check_positions()?;
        Ok(self.oldest(start))
    }

    /// Say that a reader is done with everything before `to`.
    pub(super) fn consume(&self, slot: usize, to: u64) {
        // Release pairs with the Acquire of `slowest`: what was read before.
        self.memory.store(position(slot), to, Release);
        self.notify(READ);
    }

    /// Free a slot, whose lock is held, of a reader that was at `at`.
    pub(super) fn leave(&self, slot: usize, at: u64) {
        loop {
            let consumed = self.memory.load(CONSUMED, Relaxed);
            if !before(consumed, at) || self.memory.exchange(CONSUMED, consumed, at, Relaxed) {
                break;
            }
        }
        // Release pairs with the Acquire of `owner`: CONSUMED.
        self.memory.store(owner(slot), Owner::Free.encode(), Release);
        self.notify(READ);
    }

    // Waiting.

    /// Wake the waiters, if there are any.
    pub(super) fn notify(&self, word: usize) {
        // Pairs with the fence of `wait`: either we see the flag, or the waiter sees
        // what was stored before.
        self.memory.fence();
        if self.memory.load32(word + WAITING, Relaxed) != 0 {
            self.memory.store32(word + WAITING, 0, Relaxed);
            self.rouse(word);
        }
    }

    /// Wake all waiters, also those whom a notifier that died on the way did not wake.
    fn rouse(&self, word: usize) {
        // Release pairs with the Acquire of `wait`: a waiter that sees the new number
        // sets the flag after it was cleared.
        self.memory.increment32(word, Release);
        self.memory.wake(word);
    }

    /// Sleep until the other side notifies, or for `timeout`. `ready` is asked once a
    /// notification can no longer be missed; if it finds something, nobody sleeps.
    pub(super) fn wait<T, E>(
        &self,
        word: usize,
        timeout: Duration,
        ready: impl FnOnce() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        // Acquire pairs with the Release of `rouse`.
        let number = self.memory.load32(word, Acquire);
        self.memory.store32(word + WAITING, 1, Relaxed);
        // Pairs with the fence of `notify`.
        self.memory.fence();
        let found = ready()?;
        if found.is_none() {
            self.memory.sleep(word, number, timeout);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::sync::atomic::Ordering;

    /// Memory of a process that is killed after a number of stores.
    struct Mortal {
        words: RefCell<BTreeMap<usize, u64>>,
        left: Cell<usize>,
    }

    impl Memory for Mortal {
        fn load(&self, at: usize, _: Ordering) -> u64 {
            self.words.borrow().get(&at).copied().unwrap_or(0)
        }
        fn store(&self, at: usize, value: u64, _: Ordering) {
            if let Some(left) = self.left.get().checked_sub(1) {
                self.left.set(left);
                self.words.borrow_mut().insert(at, value);
            }
        }
        fn exchange(&self, at: usize, _: u64, to: u64, order: Ordering) -> bool {
            self.store(at, to, order);
            true
        }
        fn load32(&self, _: usize, _: Ordering) -> u32 {
            0
        }
        fn store32(&self, _: usize, _: u32, _: Ordering) {}
        fn increment32(&self, _: usize, _: Ordering) {}
        fn fence(&self) {}
        fn sleep(&self, _: usize, _: u32, _: Duration) {}
        fn wake(&self, _: usize) {}
    }

    #[test]
    fn k1_a_writer_killed_while_it_begins_a_stream() {
        const BEGAN: u64 = 5;
        const HEAD_NOW: u64 = 12;
        for (ended, many, stores) in (0..24).map(|i| (i & 1 != 0, i & 2 != 0, i / 4)) {
            let last = Stream { generation: 1, ended, many, overwrite: false, died_before: false };
            let next = Stream { generation: 2, ended: false, many: false, overwrite: true, died_before: !ended };
            let memory = Mortal { words: RefCell::default(), left: Cell::new(usize::MAX) };
            let ring = Ring { memory, capacity: 10, slots: 1 };
            let old = Place::of(last.generation);
            let seal = if ended { last.seal(BEGAN, HEAD_NOW, HEAD_NOW + 2) } else { 0 };
            for (at, value) in [
                (HEAD, HEAD_NOW),
                (PROMISE, HEAD_NOW),
                (LIMIT, HEAD_NOW + 2),
                (old.start(), BEGAN),
                (old.sum(), last.sum(BEGAN)),
                (old.seal(), seal),
                (CONSUMED, 8),
                (STREAM, last.encode()),
            ] {
                ring.memory.store(at, value, Relaxed);
            }
            ring.memory.left.set(stores);
            ring.begin(HEAD_NOW, next);
            // The last one is all there, and ended if it was; or the new one is, empty.
            let Present { stream: now, start } = ring.present().unwrap();
            let is_last = start == BEGAN && now == last;
            let is_next = start == HEAD_NOW && now == next;
            assert!(is_last || is_next, "{stores}: {now:?} {start}");
            assert_eq!(is_next, stores >= 4, "{stores}: {now:?}");
            // A reader of the last stream is told whether it had an end.
            let told = ring.available(HEAD_NOW, 1).unwrap();
            let end = if ended { Available::Ended } else { Available::Nothing };
            assert_eq!(told, if is_next { Available::Next(Present { stream: next, start }) } else { end });
            // What a new reader finds was not overwritten.
            let oldest = ring.oldest(start);
            assert_eq!(oldest, if is_last { BEGAN.max(HEAD_NOW + 2 - ring.capacity) } else { HEAD_NOW });
            ring.writer_position().unwrap();
            ring.slowest(HEAD_NOW).unwrap();
        }
    }
}
