//! What exists: each kind is found by its address, and its holders are told.

use std::process::{Command, Stdio};

use libipc::inventory::{self, Detail, Filter, Patience, Pattern, State, Unseen};
use libipc::lock::{self, Lock, LockMode};
use libipc::mode::Mode;
use libipc::mq::{self, Direction, Queue};
use libipc::ring::{SMALLEST, StreamState, WriteOptions, Writer};
use libipc::sem::{Create, OpenOptions, Semaphores};
use libipc::shm::{PutOptions, ReadOptions, Segment};
use libipc::{Address, ErrorKind, Kind, SysV};

use crate::util::{Own, kind, now, put, wait_until};

#[test]
fn a_segment_and_its_holder() {
    let own = Own::name(Kind::Shm);
    let missing = inventory::find(&own.with_kind()).unwrap_err();
    assert_eq!(missing.kind, ErrorKind::Missing);
    assert_eq!(missing.object, own.with_kind().to_string());
    put(&own.address, b"12345", &PutOptions::default()).unwrap();
    let object = inventory::find(&own.with_kind()).unwrap();
    assert_eq!((object.size, object.mode, object.is_sysv()), (Some(5), 0o600, false));
    assert_eq!(object.uid, libipc::process::life::own_uid());
    assert!(matches!(object.detail, Detail::Segment(_)));
    let judged = || inventory::find_all(&[own.with_kind()], &Patience::default()).pop().unwrap().unwrap().1;
    wait_until("nobody holds it", || judged().state == State::Idle);

    let held = std::fs::File::open(own.path()).unwrap();
    let mut holder = Command::new("cat").stdin(Stdio::piped()).stdout(held).spawn().unwrap();
    let pid = holder.id().cast_signed();
    let verdict = judged();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(verdict.state, State::InUse);
    assert!(verdict.holders.iter().any(|holder| (holder.pid, holder.open) == (pid, 1)), "{verdict:?}");
    wait_until("nobody holds it any more", || judged().state == State::Idle);
}

#[test]
fn a_segment_of_system_v_counts_who_has_it_attached() {
    let own = Own::key(Kind::Shm);
    put(&own.address, b"12345", &PutOptions::default()).unwrap();
    let judged = || inventory::find_all(&[own.with_kind()], &Patience::default()).pop().unwrap().unwrap();
    let attached = || match judged().0.detail {
        Detail::Segment(segment) => segment.attached,
        other => panic!("{other:?}"),
    };
    wait_until("nobody has it attached", || attached() == Some(0));
    let (object, verdict) = judged();
    assert_eq!((object.size, object.address), (Some(5), own.with_kind()));
    assert_eq!((verdict.state, verdict.unseen), (State::Idle, Unseen::None));
    assert_eq!(object.creator.unwrap().pid, Some(std::process::id().cast_signed()));
    let segment = Segment::open(&own.address, &ReadOptions::default(), &mut now()).unwrap();
    assert_eq!((attached(), segment.size()), (Some(1), 5));
}

#[test]
fn queues_of_both_interfaces() {
    let own = Own::name(Kind::Mq);
    let create = Some(mq::Create { max_messages: Some(4), message_size: Some(64), ..mq::Create::default() });
    let mut queue = Queue::open(&own.address, &mq::OpenOptions { direction: Direction::Send, create }).unwrap();
    queue.send(b"x", 0, &mut now()).unwrap();
    match inventory::find(&own.with_kind()).unwrap().detail {
        Detail::Queue(found) => {
            assert_eq!((found.messages, found.max_messages, found.message_size), (Some(1), Some(4), Some(64)));
        }
        other => panic!("{other:?}"),
    }
    let create = Some(mq::Create::default());
    let private = Address::SysV(SysV::Private);
    let mut queue = Queue::open(&private, &mq::OpenOptions { direction: Direction::Send, create }).unwrap();
    let own = Own::id(Kind::Mq, queue.id().unwrap());
    queue.send(b"xyz", 1, &mut now()).unwrap();
    let object = inventory::find(&own.with_kind()).unwrap();
    match object.detail {
        Detail::Queue(found) => assert_eq!((found.messages, found.max_messages), (Some(1), None)),
        ref other => panic!("{other:?}"),
    }
    assert_eq!((object.size, object.id), (Some(3), queue.id()));
}

#[test]
fn semaphores_of_both_interfaces() {
    let create =
        |values: &[u32]| OpenOptions { create: Some(Create { values: values.into(), exclusive: true, mode: None }) };
    let own = Own::name(Kind::Sem);
    Semaphores::open(&own.address, &create(&[3]), &mut now()).unwrap();
    let private = Address::SysV(SysV::Private);
    let set = Semaphores::open(&private, &create(&[1, 0]), &mut now()).unwrap();
    let other = Own::id(Kind::Sem, set.id().unwrap());
    for (own, values) in [(&own, vec![3]), (&other, vec![1, 0])] {
        match inventory::find(&own.with_kind()).unwrap().detail {
            Detail::Semaphores(found) => assert_eq!((found.count, found.values), (values.len() as u64, Some(values))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(inventory::find(&other.with_kind()).unwrap().waiting(), Some(vec![(0, 0), (0, 0)]));
}

#[test]
fn a_ring_and_a_lock_tell_their_states() {
    let own = Own::name(Kind::Ring);
    let options = WriteOptions { capacity: SMALLEST, ..WriteOptions::default() };
    let writer = Writer::open(&own.address, &options, &mut now()).unwrap();
    let of_ring = || match inventory::find(&own.with_kind()).unwrap().detail {
        Detail::Ring(status, in_use) => (status.unwrap().writer, in_use),
        other => panic!("{other:?}"),
    };
    assert_eq!(of_ring(), (StreamState::Live, Some(true)));
    writer.end();
    wait_until("nobody uses it", || of_ring() == (StreamState::Ended, Some(false)));

    let lock = Own::name(Kind::Lock);
    let options = lock::OpenOptions { mode: LockMode::Exclusive, create: Some(Mode::PRIVATE) };
    let held = Lock::acquire(&lock.address, &options, &mut now()).unwrap();
    match inventory::find(&lock.with_kind()).unwrap().detail {
        Detail::Lock(status, in_use) => assert_eq!((status.unwrap().state, in_use), (lock::State::Held, Some(true))),
        other => panic!("{other:?}"),
    }
    held.release().unwrap();
    let ring = libipc::KindAddress::new(Kind::Ring, lock.address.clone()).unwrap();
    assert_eq!(kind(inventory::find(&ring)), ErrorKind::Unexpected);
}

#[test]
fn the_list_has_what_was_made_and_filters_choose() {
    let own = Own::name(Kind::Shm);
    put(&own.address, b"12345", &PutOptions::default()).unwrap();
    let name = own.address.to_string();
    let filter = Filter { pattern: Pattern::new(name.trim_start_matches('/').as_ref()), ..Filter::default() };
    // Others change the machine meanwhile; this one stays.
    let listed = || {
        let (mut objects, _) = inventory::list(&[Kind::Shm], None);
        objects.retain(|object| filter.admits(object));
        inventory::sort(&mut objects);
        objects
    };
    assert_eq!(listed().iter().map(|object| object.address.clone()).collect::<Vec<_>>(), [own.with_kind()]);
    let other_user = Filter { uid: Some(!libipc::process::life::own_uid()), ..filter.clone() };
    assert!(!other_user.admits(&listed()[0]));
    own.remove().unwrap();
    wait_until("it is gone", || listed().is_empty());
}
