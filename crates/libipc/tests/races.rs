//! Names that change hands: what is claimed is claimed once, and what is held is not
//! removed. Threads stand for processes: flock(2), byte locks and leases belong to open
//! files.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use libipc::fs::copy::Control;
use libipc::fs::input::Input;
use libipc::inventory::{self, Admit, Patience, State};
use libipc::lock::{Lock, LockMode, OpenOptions};
use libipc::mode::Mode;
use libipc::shm::{self, PutOptions, ReadOptions, Segment};
use libipc::{Error, ErrorKind, Kind, KindAddress, Result};

use crate::util::{Own, content, file, now, patient, put};

/// Rounds in a usual run, or with IPCUTILS_TORTURE forty times as many for each of its
/// units.
fn rounds(short: u64) -> u64 {
    let times = std::env::var("IPCUTILS_TORTURE").ok().and_then(|times| times.parse::<u64>().ok());
    times.map_or(short, |times| 40 * times * short)
}

/// Ends the others when a thread fails.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, SeqCst);
        }
    }
}

/// Refuse what somebody holds, as a careful remover does.
fn unheld(object: &inventory::Object, verdict: &inventory::Verdict) -> Result<()> {
    match verdict.state {
        State::InUse => Err(Error::new(ErrorKind::Busy, &object.address, "is held")),
        _ => Ok(()),
    }
}

/// Find and remove it again and again, until it was found often enough. How often it was
/// removed.
fn remove_unheld(address: &KindAddress, done: &AtomicBool) -> u64 {
    let (mut found, mut removed) = (0, 0);
    while found < rounds(100) && !done.load(SeqCst) {
        let Ok(object) = inventory::find(address) else {
            thread::yield_now();
            continue;
        };
        found += 1;
        match inventory::remove(&object, Some(Admit { patience: &Patience::default(), check: &unheld })) {
            Ok(()) => removed += 1,
            Err(error) => {
                let expected = [ErrorKind::Gone, ErrorKind::Missing, ErrorKind::Busy];
                assert!(expected.contains(&error.kind), "{error}");
            }
        }
    }
    removed
}

/// Four create exclusively, six read and remove: each content is taken once.
#[test]
fn each_content_is_claimed_once() {
    const PUTTERS: u64 = 4;
    let own = Own::name(Kind::Shm);
    let wanted = rounds(500);
    let (next, taken, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (sender, claims) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..PUTTERS {
            scope.spawn(|| {
                let _alarm = Alarm(&failed);
                let exclusive = PutOptions { exclusive: true, ..PutOptions::default() };
                let mut number = next.fetch_add(1, SeqCst);
                while number < wanted && !failed.load(SeqCst) {
                    match put(&own.address, &number.to_ne_bytes(), &exclusive) {
                        Ok(()) => number = next.fetch_add(1, SeqCst),
                        Err(error) => assert_eq!(error.kind, ErrorKind::Exists, "{error}"),
                    }
                }
            });
        }
        for _ in 0..6 {
            let sender = sender.clone();
            scope.spawn(|| {
                let (sender, _alarm) = (sender, Alarm(&failed));
                while taken.load(SeqCst) < wanted && !failed.load(SeqCst) {
                    let Ok(segment) = Segment::open(&own.address, &ReadOptions::default(), &mut now()) else {
                        thread::yield_now();
                        continue;
                    };
                    let bytes: [u8; 8] = content(&segment).unwrap().try_into().unwrap();
                    match segment.remove_if_same() {
                        Ok(()) => {
                            taken.fetch_add(1, SeqCst);
                            sender.send(u64::from_ne_bytes(bytes)).unwrap();
                        }
                        Err(error) => assert_eq!(error.kind, ErrorKind::Gone, "{error}"),
                    }
                }
            });
        }
        drop(sender);
        let mut seen = HashMap::new();
        claims.iter().for_each(|number| *seen.entry(number).or_insert(0) += 1);
        assert!((0..wanted).all(|number| seen.get(&number) == Some(&1)), "lost or taken twice");
    });
}

/// One replaces, one opens and holds, one removes what it saw unheld.
#[test]
fn what_is_held_or_was_replaced_is_not_removed() {
    let own = Own::name(Kind::Shm);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _alarm = Alarm(&done);
            let bytes = file(b"content");
            while !done.load(SeqCst) {
                let input = Input::new(bytes.as_fd(), "a file").unwrap();
                std::io::Seek::rewind(&mut &bytes).unwrap();
                shm::put(&own.address, &input, &PutOptions::default(), &mut Control::default(), |_, _| Ok(())).unwrap();
            }
        });
        scope.spawn(|| {
            let _alarm = Alarm(&done);
            while !done.load(SeqCst) {
                let Ok(opened) = File::open(own.path()) else { continue };
                let links = || opened.metadata().unwrap().nlink();
                if links() == 1 {
                    // It may be replaced, and nothing else: then another has the name.
                    for _ in 0..20 {
                        let replaced = links() == 0;
                        thread::yield_now();
                        if replaced {
                            break;
                        }
                    }
                }
            }
        });
        let _alarm = Alarm(&done);
        let removed = remove_unheld(&own.with_kind(), &done);
        done.store(true, SeqCst);
        assert!(removed > 0);
    });
}

/// Two threads take a lock by its name, a third removes it whenever it is free.
#[test]
fn a_lock_that_is_removed_between_never_has_two_holders() {
    let own = Own::name(Kind::Lock);
    let (done, inside) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _alarm = Alarm(&done);
                let options = OpenOptions { mode: LockMode::Exclusive, create: Some(Mode::PRIVATE) };
                while !done.load(SeqCst) {
                    let lock = Lock::acquire(&own.address, &options, &mut patient()).unwrap();
                    assert!(!inside.swap(true, SeqCst), "two holders");
                    thread::yield_now();
                    inside.store(false, SeqCst);
                    lock.release().unwrap();
                    drop(lock);
                    // Often enough nobody has it open.
                    thread::sleep(Duration::from_micros(200));
                }
            });
        }
        let _alarm = Alarm(&done);
        let removed = remove_unheld(&own.with_kind(), &done);
        done.store(true, SeqCst);
        assert!(removed > 0);
    });
}
