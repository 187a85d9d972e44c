//! Rings, locks and semaphores with any content: an error of a kind that fits, and never
//! a crash, a hang or a wait.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;

use libipc::fs::copy::Control;
use libipc::lock::{self, Lock, LockMode};
use libipc::mode::Mode;
use libipc::ring::{self, Framing, OnUnfinished, Output, ReadOptions, Reader, WriteOptions, Writer};
use libipc::sem::{Op, OpenOptions, Ops, Semaphores};
use libipc::{Error, ErrorKind, Kind, Result};
use proptest::prelude::*;

use crate::util::{Own, now};

/// Changes of a content: where, and the eight bytes that come there.
fn changes(words: u64) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let value = prop_oneof![
        any::<u64>(),
        0..9000_u64,
        (0..9000_u64).prop_map(u64::wrapping_neg),
        (0..64_u32).prop_map(|bit| 1 << bit)
    ];
    proptest::collection::vec((0..words, value), 1..5)
}

/// The content with these changes; a place is in words.
fn changed(content: &[u8], changes: &[(u64, u64)]) -> Vec<u8> {
    let mut content = content.to_vec();
    for &(word, value) in changes {
        let at = word as usize * 8;
        let end = content.len().min(at + 8);
        content[at..end].copy_from_slice(&value.to_ne_bytes()[..end - at]);
    }
    content
}

/// A failure that hostile content may cause.
fn fits<T>(result: Result<T>) -> std::result::Result<(), TestCaseError> {
    use ErrorKind::{Busy, Failure, Gone, NoRoom, PeerDied, Unexpected};
    let fits = |error: &Error| [Busy, Failure, Gone, NoRoom, PeerDied, Unexpected].contains(&error.kind);
    if let Err(error) = result {
        prop_assert!(fits(&error), "{:?}: {}", error.kind, error);
    }
    Ok(())
}

fn runner() -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })
}

#[test]
fn k14_fuzz_the_header_of_a_ring() {
    let own = Own::name(Kind::Ring);
    let write = |on_unfinished| WriteOptions { capacity: 4096, on_unfinished, ..WriteOptions::default() };
    let read = |name: Option<&str>| {
        let name = name.map(Into::into);
        ReadOptions { name, count: Some(5000), ..ReadOptions::default() }
    };
    let mut writer = Writer::open(&own.address, &write(OnUnfinished::Refuse), &mut now()).unwrap();
    writer.append(&[7; 3000], Framing::End(7), &mut now()).unwrap();
    writer.end();
    let content = std::fs::read(own.path()).unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    let read = |name| {
        let mut reader = Reader::open(&own.address, &read(name), &mut now())?;
        let copied =
            reader.copy_to(&mut Output::Descriptor(null.as_fd()), &mut now(), &mut |_| {}, &mut Control::default());
        reader.leave();
        copied
    };
    // The header, and the slots of readers behind it.
    let words = (content.len() as u64 / 8).min(1024);
    let places = prop_oneof![changes(40), changes(words)];
    runner()
        .run(&places, |changes| {
            std::fs::write(own.path(), changed(&content, &changes)).unwrap();
            fits(ring::Status::inspect(&own.address))?;
            fits(read(None))?;
            fits(read(Some("name")))?;
            fits(Writer::open(&own.address, &write(OnUnfinished::Resume), &mut now()).and_then(|mut writer| {
                writer.append(b"some", Framing::End(b'e'), &mut now())?;
                writer.end();
                Ok(())
            }))
        })
        .unwrap();
    std::fs::write(own.path(), content).unwrap();
}

#[test]
fn h10_fuzz_the_header_of_a_lock() {
    let own = Own::name(Kind::Lock);
    let options = lock::OpenOptions { mode: LockMode::Exclusive, create: Some(Mode::PRIVATE) };
    Lock::acquire(&own.address, &options, &mut now()).unwrap().release().unwrap();
    let content = std::fs::read(own.path()).unwrap();
    runner()
        .run(&changes(8), |changes| {
            std::fs::write(own.path(), changed(&content, &changes)).unwrap();
            fits(Lock::inspect(&own.address))?;
            fits(Lock::acquire(&own.address, &options, &mut now()).and_then(|lock| lock.release()))
        })
        .unwrap();
    std::fs::write(own.path(), content).unwrap();
}

#[test]
fn f6_fuzz_the_memory_of_a_semaphore() {
    let own = Own::name(Kind::Sem);
    let create = libipc::sem::Create { values: vec![2], exclusive: true, mode: None };
    drop(Semaphores::open(&own.address, &OpenOptions { create: Some(create) }, &mut now()).unwrap());
    let path = PathBuf::from(format!("/dev/shm/sem.{}", &own.address.to_string()[1..]));
    let content = std::fs::read(&path).unwrap();
    let ops = |change| Ops::new(&own.address, vec![Op { element: 0, change }], None).unwrap();
    let (take, give) = (ops(-1), ops(1));
    runner()
        .run(&(changes(4), 0..40_usize), |(changes, size)| {
            let mut content = changed(&content, &changes);
            if size < 32 {
                content.truncate(size);
            }
            std::fs::write(&path, content).unwrap();
            fits(Semaphores::inspect(&own.address).and_then(|semaphore| semaphore.values()))?;
            let opened = || Semaphores::open(&own.address, &OpenOptions { create: None }, &mut now());
            for ops in [&take, &give] {
                fits(opened().and_then(|semaphore| semaphore.operate(ops, &mut now())))?;
            }
            fits(opened().and_then(|semaphore| semaphore.set(&[3])))
        })
        .unwrap();
    std::fs::write(&path, content).unwrap();
}
