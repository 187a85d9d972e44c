//! The very code that ships under loom: every interleaving of a writer and readers,
//! and every value that a load may give.
//!
//! A sleep has no timeout here, so that a missed wake-up is a deadlock. A thread that
//! is killed unwinds at one of its operations. As after the death of a process, its
//! lock is released, and sleepers wake to notice that.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;

use super::super::algorithm::{Available, Corrupt, Present, Ring, before};
use super::super::layout::{
    CONSUMED, HEAD, LIMIT, Owner, PROMISE, Place, READ, STREAM, Stream, WAITING, WRITTEN, owner, position,
};
use crate::shared::memory::Memory;

const CAPACITY: u64 = 2;
/// Positions wrap around in the middle of the stream.
pub(super) const FIRST: u64 = 0u64.wrapping_sub(2);

pub(super) struct Shared {
    pub(super) longs: BTreeMap<usize, AtomicU64>,
    words: BTreeMap<usize, AtomicU32>,
    data: Vec<AtomicU64>,
    kernel: Mutex<()>,
    asleep: Condvar,
    /// Readers, by slot, and the writer behind them, whose lock is not held.
    dead: Vec<AtomicBool>,
}

/// The memory as one thread sees it.
pub(super) struct View {
    pub(super) shared: Arc<Shared>,
    /// The number of operations after which the thread is killed.
    left: std::cell::Cell<usize>,
}

struct Killed;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.kernel.lock().unwrap()
    }
}

impl View {
    fn step(&self) {
        match self.left.get() {
            0 => resume_unwind(Box::new(Killed)),
            left => self.left.set(left - 1),
        }
    }
}

impl Memory for View {
    fn load(&self, at: usize, order: Ordering) -> u64 {
        self.step();
        self.shared.longs[&at].load(order)
    }
    fn store(&self, at: usize, value: u64, order: Ordering) {
        self.step();
        self.shared.longs[&at].store(value, order);
    }
    fn exchange(&self, at: usize, from: u64, to: u64, order: Ordering) -> bool {
        self.step();
        self.shared.longs[&at].compare_exchange(from, to, order, Ordering::Relaxed).is_ok()
    }
    fn load32(&self, at: usize, order: Ordering) -> u32 {
        self.step();
        self.shared.words[&at].load(order)
    }
    fn store32(&self, at: usize, value: u32, order: Ordering) {
        self.step();
        self.shared.words[&at].store(value, order);
    }
    fn increment32(&self, at: usize, order: Ordering) {
        self.step();
        self.shared.words[&at].fetch_add(1, order);
    }
    fn fence(&self) {
        self.step();
        fence(Ordering::SeqCst);
    }
    fn sleep(&self, at: usize, expected: u32, _timeout: Duration) {
        self.step();
        let guard = self.shared.lock();
        let died = self.shared.dead.iter().any(|dead| dead.load(Ordering::Relaxed));
        if !died && self.shared.words[&at].load(Ordering::Relaxed) == expected {
            drop(self.shared.asleep.wait(guard).unwrap());
        }
    }
    fn wake(&self, _at: usize) {
        self.step();
        drop(self.shared.lock());
        self.shared.asleep.notify_all();
    }
}

pub(super) const PRESENT: Present = Present {
    stream: Stream { generation: 1, ended: false, many: false, overwrite: false, died_before: false },
    start: FIRST,
};

fn shared(readers: usize) -> Arc<Shared> {
    shared_of(readers, CAPACITY)
}

pub(super) fn shared_of(readers: usize, capacity: u64) -> Arc<Shared> {
    let mut longs = BTreeMap::new();
    let place = Place::of(1);
    for at in [HEAD, LIMIT, PROMISE, CONSUMED, place.start()] {
        longs.insert(at, AtomicU64::new(FIRST));
    }
    longs.insert(place.sum(), AtomicU64::new(PRESENT.stream.sum(FIRST)));
    longs.insert(place.seal(), AtomicU64::new(0));
    longs.insert(STREAM, AtomicU64::new(PRESENT.stream.encode()));
    for slot in 0..readers {
        longs.insert(owner(slot), AtomicU64::new(0));
        longs.insert(position(slot), AtomicU64::new(0));
    }
    let words = [WRITTEN, WRITTEN + WAITING, READ, READ + WAITING];
    Arc::new(Shared {
        longs,
        words: words.into_iter().map(|at| (at, AtomicU32::new(0))).collect(),
        data: (0..capacity).map(|_| AtomicU64::new(u64::MAX)).collect(),
        kernel: Mutex::new(()),
        asleep: Condvar::new(),
        dead: (0..=readers).map(|_| AtomicBool::new(false)).collect(),
    })
}

pub(super) fn ring(shared: &Arc<Shared>, left: usize) -> Ring<View> {
    let view = View { shared: shared.clone(), left: std::cell::Cell::new(left) };
    let (capacity, slots) = (shared.data.len() as u64, shared.dead.len() - 1);
    Ring { memory: view, capacity, slots }
}

pub(super) fn cell(shared: &Shared, position: u64) -> &AtomicU64 {
    &shared.data[(position.wrapping_sub(FIRST) % shared.data.len() as u64) as usize]
}

fn is_dead(shared: &Shared, who: usize) -> bool {
    shared.dead[who].load(Ordering::Acquire)
}

/// Write up to `total` bytes and mark the end. False if there is no room, and no
/// reader that will make some.
fn write(ring: &Ring<View>, total: u64) -> bool {
    let shared = &ring.memory.shared;
    let mut place = ring.writer_position().unwrap();
    let end = FIRST.wrapping_add(total);
    while before(place.head, end) {
        let want = end.wrapping_sub(place.head);
        let ready = || -> Result<Option<u64>, Corrupt> {
            let room = ring.announce(place, want, 1, false)?;
            if room > 0 {
                return Ok(Some(room));
            }
            let slowest = ring.slowest(place.head)?;
            match slowest.slot {
                Some(slot) if is_dead(shared, slot) => {
                    ring.leave(slot, ring.memory.load(position(slot), Ordering::Relaxed));
                    Ok(None)
                }
                Some(_) => Ok(None),
                // Nobody will come.
                None if shared.dead[..ring.slots].iter().all(|dead| dead.load(Ordering::Acquire)) => Ok(Some(0)),
                None => Ok(None),
            }
        };
        let room = loop {
            if let Some(room) = ready().unwrap() {
                break room;
            }
            if let Some(room) = ring.wait(READ, Duration::MAX, ready).unwrap() {
                break room;
            }
        };
        if room == 0 {
            return false;
        }
        for i in 0..room {
            ring.memory.step();
            let at = place.head.wrapping_add(i);
            cell(shared, at).store(at, Ordering::Relaxed);
        }
        place = ring.commit(place, room);
    }
    ring.end(PRESENT.stream, FIRST, place);
    true
}

/// Read until the end, and check each byte. Returns the positions of the first and the
/// end.
fn read(ring: &Ring<View>, slot: usize, follow: bool) -> (u64, u64) {
    let shared = &ring.memory.shared;
    let from = ring.join(slot, Owner::Anonymous(1), None, PRESENT);
    let mut at = from;
    loop {
        let ready = || -> Result<Option<Available>, Corrupt> {
            match ring.available(at, 1)? {
                Available::Nothing if !follow && is_dead(shared, ring.slots) => {
                    // Its last words may have come before.
                    let look = ring.available(at, 1)?;
                    Ok(Some(if look == Available::Nothing { Available::Ended } else { look }))
                }
                Available::Nothing => Ok(None),
                look => Ok(Some(look)),
            }
        };
        let found = loop {
            if let Some(found) = ready().unwrap() {
                break found;
            }
            if let Some(found) = ring.wait(WRITTEN, Duration::MAX, ready).unwrap() {
                break found;
            }
        };
        let Available::Bytes(there) = found else { break };
        for i in 0..there {
            ring.memory.step();
            let want = at.wrapping_add(i);
            assert_eq!(cell(shared, want).load(Ordering::Relaxed), want, "a byte that is not the stream's");
        }
        at = at.wrapping_add(there);
        ring.consume(slot, at);
    }
    ring.leave(slot, at);
    (from, at)
}

/// Run a thread's part; false if it was killed. It owns nothing of loom, as no other
/// thread may run while one unwinds.
fn mortal(work: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(()) => true,
        Err(payload) if payload.is::<Killed>() => false,
        Err(payload) => resume_unwind(payload),
    }
}

/// Release the lock of a dead thread, as the kernel would.
fn bury(shared: &Shared, who: usize) {
    let guard = shared.lock();
    shared.dead[who].store(true, Ordering::Release);
    drop(guard);
    shared.asleep.notify_all();
}

/// With IPCUTILS_TORTURE everything, else what takes a few seconds.
fn is_long() -> bool {
    std::env::var_os("IPCUTILS_TORTURE").is_some()
}

fn builder(short: Option<usize>, long: Option<usize>) -> Builder {
    let mut builder = Builder::new();
    builder.preemption_bound = if is_long() { long } else { short };
    builder.max_branches = 100_000;
    builder
}

/// One writer and `readers` readers. Each reader loses nothing from where it joined,
/// and gets everything if it joined in time.
fn all_read(builder: &Builder, readers: usize, capacity: u64, total: u64) {
    builder.check(move || {
        let shared = shared_of(readers, capacity);
        let threads: Vec<_> = (0..readers)
            .map(|slot| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (_, to) = read(&ring(&shared, usize::MAX), slot, false);
                    assert_eq!(to, FIRST.wrapping_add(total));
                })
            })
            .collect();
        assert!(write(&ring(&shared, usize::MAX), total));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn k10_k11_one_writer_and_one_reader() {
    all_read(&builder(Some(2), Some(3)), 1, CAPACITY, 3);
}

/// One byte at a time. Without a bound this is too much; `exhaustive` has its parts.
#[test]
fn k10_a_ring_of_one_byte() {
    all_read(&builder(Some(2), Some(5)), 1, 1, 2);
}

#[test]
fn one_writer_and_two_readers() {
    all_read(&builder(Some(1), Some(3)), 2, CAPACITY, 3);
}

/// The writer is killed at each of its steps; another goes on. The reader sees
/// one whole stream.
#[test]
fn k1_a_writer_killed_at_any_step() {
    let builder = builder(Some(1), Some(3));
    for step in 0.. {
        let finished = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = finished.clone();
        builder.check(move || {
            let shared = shared(1);
            let reader = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (_, to) = read(&ring(&shared, usize::MAX), 0, true);
                    assert_eq!(to, FIRST.wrapping_add(3));
                })
            };
            let doomed = ring(&shared, step);
            if mortal(|| assert!(write(&doomed, 3))) {
                seen.store(true, Ordering::Relaxed);
            } else {
                let ring = ring(&shared, usize::MAX);
                ring.resume(PRESENT.stream);
                assert!(write(&ring, 3));
            }
            reader.join().unwrap();
        });
        if finished.load(Ordering::Relaxed) {
            assert!(step > 10);
            break;
        }
    }
}

/// The writer is killed and nobody goes on: the reader gets what was committed, and
/// notices.
#[test]
fn k12_a_reader_of_a_killed_writer_gets_what_was_committed() {
    let builder = builder(Some(1), Some(3));
    for step in (0..60).step_by(if is_long() { 1 } else { 3 }) {
        builder.check(move || {
            let shared = shared(1);
            let reader = {
                let shared = shared.clone();
                thread::spawn(move || read(&ring(&shared, usize::MAX), 0, false))
            };
            let doomed = ring(&shared, step);
            mortal(|| assert!(write(&doomed, 3)));
            bury(&shared, 1);
            let (_, to) = reader.join().unwrap();
            assert_eq!(to, shared.longs[&HEAD].load(Ordering::SeqCst));
        });
    }
}

/// A reader is killed at each of its steps: the writer is not held back by it,
/// and goes on until there is nobody to read.
#[test]
fn k2_a_reader_killed_at_any_step() {
    let builder = builder(Some(1), Some(3));
    for step in 0.. {
        let finished = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = finished.clone();
        builder.check(move || {
            let shared = shared(1);
            let reader = {
                let (shared, seen) = (shared.clone(), seen.clone());
                thread::spawn(move || {
                    let doomed = ring(&shared, step);
                    let done = mortal(|| assert_eq!(read(&doomed, 0, false).1, FIRST.wrapping_add(3)));
                    if done {
                        seen.store(true, Ordering::Relaxed);
                    } else {
                        bury(&shared, 0);
                    }
                    done
                })
            };
            let wrote = write(&ring(&shared, usize::MAX), 3);
            if reader.join().unwrap() {
                assert!(wrote);
            }
            // What nobody has read fits the ring, and is all there.
            let ring = ring(&shared, usize::MAX);
            let head = ring.writer_position().unwrap().head;
            assert!(ring.oldest(FIRST).wrapping_sub(FIRST) <= head.wrapping_sub(FIRST));
        });
        if finished.load(Ordering::Relaxed) {
            assert!(step > 10);
            break;
        }
    }
}
