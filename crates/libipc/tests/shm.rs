//! Segments: put, read by two handles, written in place, removed.

use std::os::fd::AsFd;

use libipc::error::Hint;
use libipc::fs::copy::Control;
use libipc::fs::input::Input;
use libipc::lock::{Lock, LockMode, OpenOptions};
use libipc::mode::Mode;
use libipc::shm::{self, PutOptions, ReadOptions, Segment};
use libipc::{Address, ErrorKind, Kind, SysV};

use crate::util::{Own, brief, content, file, kind, now, put};

fn open(address: &Address) -> libipc::Result<Segment> {
    Segment::open(address, &ReadOptions::default(), &mut now())
}

fn write_in_place(address: &Address, bytes: &[u8], offset: u64) -> libipc::Result<()> {
    let file = file(bytes);
    let input = Input::new(file.as_fd(), "a file")?;
    shm::write_in_place(address, &input, offset, false, &mut Control::default())
}

#[test]
fn an_open_segment_is_one_version_of_its_content() {
    let own = Own::name(Kind::Shm);
    let missing = open(&own.address).unwrap_err();
    assert_eq!((missing.kind, missing.errno), (ErrorKind::Missing, Some(nix::libc::ENOENT)));
    put(&own.address, b"old", &PutOptions::default()).unwrap();
    let old = open(&own.address).unwrap();
    put(&own.address, b"newer", &PutOptions::default()).unwrap();
    let new = open(&own.address).unwrap();
    assert_eq!((old.size(), content(&old).unwrap()), (3, b"old".to_vec()));
    assert_eq!((new.size(), content(&new).unwrap()), (5, b"newer".to_vec()));
    assert_eq!(kind(old.remove_if_same()), ErrorKind::Gone);
    new.remove_if_same().unwrap();
    assert_eq!(kind(own.remove()), ErrorKind::Missing);
}

#[test]
fn put_exclusively_and_with_a_size() {
    let own = Own::name(Kind::Shm);
    put(&own.address, b"x", &PutOptions { size: Some(4), ..PutOptions::default() }).unwrap();
    let exclusive = PutOptions { exclusive: true, ..PutOptions::default() };
    assert_eq!(kind(put(&own.address, b"y", &exclusive)), ErrorKind::Exists);
    let small = put(&own.address, b"yy", &PutOptions { size: Some(1), ..PutOptions::default() }).unwrap_err();
    assert_eq!((small.kind, small.hint.as_deref()), (ErrorKind::NoRoom, Some(&Hint::LargerSize)));
    assert_eq!(content(&open(&own.address).unwrap()).unwrap(), b"x\0\0\0");
}

#[test]
fn write_in_place_keeps_the_size() {
    let own = Own::name(Kind::Shm);
    assert_eq!(kind(write_in_place(&own.address, b"x", 0)), ErrorKind::Missing);
    put(&own.address, b"abcd", &PutOptions::default()).unwrap();
    let before = open(&own.address).unwrap();
    write_in_place(&own.address, b"xy", 1).unwrap();
    assert_eq!(kind(write_in_place(&own.address, b"xy", 3)), ErrorKind::NoRoom);
    assert_eq!(kind(write_in_place(&own.address, b"", 5)), ErrorKind::Failure);
    // The object is the same, so whoever has it open sees the change.
    assert_eq!(content(&before).unwrap(), b"axyd");
    let past = before.copy_to(file(b"").as_fd(), 5, None, false, &mut Control::default());
    assert_eq!(kind(past), ErrorKind::Failure);
}

#[test]
fn a_wait_for_a_segment_ends() {
    let own = Own::name(Kind::Shm);
    let waited = Segment::open(&own.address, &ReadOptions { wait: true, ..ReadOptions::default() }, &mut brief());
    assert_eq!(kind(waited), ErrorKind::TimedOut);
}

#[test]
fn a_segment_of_system_v() {
    let mut told = None;
    let bytes = file(b"abc");
    let input = Input::new(bytes.as_fd(), "a file").unwrap();
    let private = Address::SysV(SysV::Private);
    shm::put(&private, &input, &PutOptions::default(), &mut Control::default(), |id, _| {
        told = Some(id);
        Ok(())
    })
    .unwrap();
    let own = Own::id(Kind::Shm, told.unwrap());
    assert_eq!(kind(put(&own.address, b"x", &PutOptions::default())), ErrorKind::Exists);
    write_in_place(&own.address, b"x", 0).unwrap();
    let segment = open(&own.address).unwrap();
    assert_eq!(content(&segment).unwrap(), b"xbc");
    own.remove().unwrap();
    // Attached, it lives on.
    assert_eq!(content(&segment).unwrap(), b"xbc");
    drop(segment);
    assert_eq!(kind(open(&own.address)), ErrorKind::Missing);
}

#[test]
fn an_object_of_another_kind_is_left_alone() {
    let own = Own::name(Kind::Lock);
    let options = OpenOptions { mode: LockMode::Exclusive, create: Some(Mode::PRIVATE) };
    let lock = Lock::open(&own.address, &options).unwrap();
    let refused = shm::remove(&own.address).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Unexpected);
    assert_eq!(refused.hint.as_deref(), Some(&Hint::OtherKind(own.with_kind())));
    assert_eq!(kind(put(&own.address, b"x", &PutOptions::default())), ErrorKind::Unexpected);
    lock.reset().unwrap();
    assert!(Lock::inspect(lock.address()).is_ok());
}
