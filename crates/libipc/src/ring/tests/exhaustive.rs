//! Single steps of the protocol, with one writer and one reader, in every interleaving
//! without a bound. The models beside run the whole protocol, with a bound.

use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;

use super::super::algorithm::{Available, Corrupt, Ring, WriterPosition};
use super::super::layout::{CONSUMED, HEAD, LIMIT, Owner, PROMISE, READ, WRITTEN, owner, position};
use super::model::{FIRST, PRESENT, Shared, View, cell, ring, shared_of};

/// Two threads over a ring of one byte, whose reader has its slot.
fn check(writer: impl Fn(&Ring<View>) + Send + Sync + 'static, reader: impl Fn(&Ring<View>) + Send + Sync + 'static) {
    let (writer, reader) = (std::sync::Arc::new(writer), std::sync::Arc::new(reader));
    let mut builder = Builder::new();
    builder.max_branches = 100_000;
    builder.check(move || {
        let shared = shared_of(1, 1);
        set(&shared, owner(0), Owner::Anonymous(1).encode());
        set(&shared, position(0), FIRST);
        let (theirs, reader) = (shared.clone(), reader.clone());
        let thread = thread::spawn(move || reader(&ring(&theirs, usize::MAX)));
        writer(&ring(&shared, usize::MAX));
        thread.join().unwrap();
    });
}

fn set(shared: &Arc<Shared>, at: usize, value: u64) {
    shared.longs[&at].store(value, Ordering::SeqCst);
}

/// Write a byte if there is room.
fn try_to_write(ring: &Ring<View>, at: WriterPosition) -> WriterPosition {
    let room = ring.announce(at, 1, 1, false).unwrap();
    if room > 0 {
        cell(&ring.memory.shared, at.head).store(at.head, Ordering::Relaxed);
    }
    ring.commit(at, room)
}

fn expect(ring: &Ring<View>, at: u64) {
    assert_eq!(cell(&ring.memory.shared, at).load(Ordering::Relaxed), at, "a byte that is not the stream's");
}

/// A byte that a reader finds is the right one, and the writer overwrites none that is
/// still to be read.
#[test]
fn k10_every_byte_is_the_streams() {
    let writer = |ring: &Ring<View>| {
        let at = try_to_write(ring, WriterPosition { head: FIRST, touched: FIRST });
        let at = try_to_write(ring, at);
        assert!(at.head != FIRST);
    };
    let reader = |ring: &Ring<View>| {
        if let Available::Bytes(there) = ring.available(FIRST, 1).unwrap() {
            assert_eq!(there, 1);
            expect(ring, FIRST);
            ring.consume(0, FIRST.wrapping_add(1));
        }
    };
    check(writer, reader);
}

/// A byte wakes a reader.
#[test]
fn k18_no_wake_up_of_a_reader_is_missed() {
    let writer = |ring: &Ring<View>| {
        cell(&ring.memory.shared, FIRST).store(FIRST, Ordering::Relaxed);
        ring.commit(WriterPosition { head: FIRST, touched: FIRST }, 1);
    };
    wakes(writer, Available::Bytes(1));
}

/// So does the end.
#[test]
fn k18_no_end_is_missed() {
    let at = WriterPosition { head: FIRST, touched: FIRST };
    wakes(move |ring| ring.end(PRESENT.stream, FIRST, at), Available::Ended);
}

fn wakes(writer: impl Fn(&Ring<View>) + Send + Sync + 'static, expected: Available) {
    let reader = move |ring: &Ring<View>| {
        let ready = || -> Result<Option<Available>, Corrupt> {
            Ok(Some(ring.available(FIRST, 1)?).filter(|&look| look != Available::Nothing))
        };
        let found = loop {
            if let Some(found) = ring.wait(WRITTEN, Duration::MAX, ready).unwrap() {
                break found;
            }
        };
        assert_eq!(found, expected);
    };
    check(writer, reader);
}

/// Room wakes a writer.
#[test]
fn k18_no_wake_up_of_a_writer_is_missed() {
    let full = FIRST.wrapping_add(1);
    let writer = move |ring: &Ring<View>| {
        let at = WriterPosition { head: full, touched: full };
        loop {
            let ready = || -> Result<Option<u64>, Corrupt> {
                Ok(Some(ring.announce(at, 1, 1, false)?).filter(|&room| room > 0))
            };
            if ring.wait(READ, Duration::MAX, ready).unwrap().is_some() {
                break;
            }
        }
    };
    let reader = move |ring: &Ring<View>| ring.consume(0, full);
    check(writer, reader);
}

/// A reader that joins a full ring is not sent to bytes that are overwritten.
#[test]
fn k13_a_late_reader_is_waited_for_or_comes_later() {
    let mut builder = Builder::new();
    builder.max_branches = 100_000;
    builder.check(|| {
        let shared = shared_of(1, 1);
        let full = FIRST.wrapping_add(1);
        for at in [HEAD, LIMIT, PROMISE, CONSUMED] {
            set(&shared, at, full);
        }
        cell(&shared, FIRST).store(FIRST, Ordering::SeqCst);
        let theirs = shared.clone();
        let reader = thread::spawn(move || {
            let ring = ring(&theirs, usize::MAX);
            let at = ring.join(0, Owner::Anonymous(1), None, PRESENT);
            if let Available::Bytes(_) = ring.available(at, 1).unwrap() {
                expect(&ring, at);
                ring.consume(0, at.wrapping_add(1));
            }
        });
        try_to_write(&ring(&shared, usize::MAX), WriterPosition { head: full, touched: full });
        reader.join().unwrap();
    });
}
