//! Queues: two handles, numbers of messages, what is refused, removal.

use libipc::mq::{self, Create, Direction, OpenOptions, Queue, Select};
use libipc::wait::Wait;
use libipc::{Address, Discard, ErrorKind, Kind, Result, SysV};

use crate::util::{Own, brief, kind, now, patient, wait_until};

fn open(address: &Address, direction: Direction, create: Option<Create>) -> Result<Queue> {
    Queue::open(address, &OpenOptions { direction, create })
}

/// Small: all queues of a user share one limit of bytes.
fn small() -> Create {
    Create { max_messages: Some(4), message_size: Some(64), ..Create::default() }
}

fn receive(queue: &mut Queue, select: Select, wait: &mut Wait) -> Result<(Vec<u8>, i64)> {
    queue.receive(select, wait).map(|(message, number)| (message.to_vec(), number))
}

#[test]
fn a_posix_queue_from_two_handles() {
    let own = Own::name(Kind::Mq);
    assert_eq!(kind(open(&own.address, Direction::Receive, None)), ErrorKind::Missing);
    let mut sender = open(&own.address, Direction::Send, Some(small())).unwrap();
    let exclusive = Create { exclusive: true, ..small() };
    assert_eq!(kind(open(&own.address, Direction::Send, Some(exclusive))), ErrorKind::Exists);
    let mut receiver = open(&own.address, Direction::Receive, None).unwrap();
    assert_eq!((receiver.largest(), receiver.id()), (64, None));

    sender.send(b"low", 1, &mut now()).unwrap();
    sender.send(&[0; 64], mq::LARGEST_PRIORITY.into(), &mut now()).unwrap();
    assert_eq!(kind(sender.send(&[0; 65], 0, &mut now())), ErrorKind::NoRoom);
    let queues = [open(&own.address, Direction::Receive, None).unwrap()];
    assert_eq!(mq::wait_for_any(&queues, &mut now()), Ok(0));
    assert_eq!(receive(&mut receiver, Select::First, &mut now()), Ok((vec![0; 64], 32767)));
    assert_eq!(receive(&mut receiver, Select::First, &mut now()), Ok((b"low".to_vec(), 1)));
    assert_eq!(kind(receive(&mut receiver, Select::First, &mut now())), ErrorKind::Busy);
    assert_eq!(kind(receive(&mut receiver, Select::First, &mut brief())), ErrorKind::TimedOut);
    for i in 0..4 {
        sender.send(&[i], 0, &mut now()).unwrap();
    }
    assert_eq!(kind(sender.send(b"full", 0, &mut now())), ErrorKind::Busy);

    own.remove().unwrap();
    assert_eq!(kind(own.remove()), ErrorKind::Missing);
    assert_eq!(kind(sender.check_linked()), ErrorKind::Gone);
    assert_eq!(receive(&mut receiver, Select::First, &mut now()), Ok((vec![0], 0)));
}

#[test]
fn a_posix_queue_has_no_types_and_no_other_priorities() {
    let own = Own::name(Kind::Mq);
    let mut sender = open(&own.address, Direction::Send, Some(small())).unwrap();
    for priority in [-1, 32768, i64::MAX, i64::MIN] {
        assert_eq!(kind(sender.send(b"x", priority, &mut now())), ErrorKind::Usage, "{priority}");
    }
    sender.send(b"x", 0, &mut now()).unwrap();
    let mut receiver = open(&own.address, Direction::Receive, None).unwrap();
    for select in [Select::Type(5), Select::Except(5), Select::UpTo(5), Select::Copy(0)] {
        assert_eq!(kind(receive(&mut receiver, select, &mut now())), ErrorKind::Usage, "{select:?}");
    }
    assert_eq!(receive(&mut receiver, Select::First, &mut now()), Ok((b"x".to_vec(), 0)));
}

#[test]
fn who_waits_for_a_removed_posix_queue_is_told() {
    let own = Own::name(Kind::Mq);
    let mut receiver = open(&own.address, Direction::Receive, Some(small())).unwrap();
    let waiter = std::thread::spawn(move || kind(receive(&mut receiver, Select::First, &mut patient())));
    own.remove().unwrap();
    assert_eq!(waiter.join().unwrap(), ErrorKind::Gone);
}

#[test]
fn a_queue_for_nothing_is_refused() {
    let own = Own::name(Kind::Mq);
    for create in [Create { max_messages: Some(0), ..small() }, Create { message_size: Some(0), ..small() }] {
        assert_eq!(kind(open(&own.address, Direction::Send, Some(create))), ErrorKind::Usage);
    }
    assert_eq!(kind(own.remove()), ErrorKind::Missing);
}

#[test]
fn a_queue_that_was_made_in_vain_is_discarded() {
    let own = Own::name(Kind::Mq);
    let made = open(&own.address, Direction::Send, Some(small())).unwrap();
    // It was there for this one.
    open(&own.address, Direction::Send, Some(small())).unwrap().discard();
    assert!(open(&own.address, Direction::Send, None).is_ok());
    let other = open(&own.address, Direction::Receive, None).unwrap();
    made.discard();
    assert!(open(&own.address, Direction::Send, None).is_ok(), "somebody has it open");
    drop(other);
    // A child that another test has forked may have it too, until its exec.
    wait_until("it is gone", || {
        made.discard();
        open(&own.address, Direction::Send, None).is_err()
    });
}

/// A new System V queue, by a handle and its address.
fn private() -> (Own, Queue) {
    let queue = open(&Address::SysV(SysV::Private), Direction::Send, Some(Create::default())).unwrap();
    (Own::id(Kind::Mq, queue.id().unwrap()), queue)
}

#[test]
fn a_system_v_queue_is_received_from_by_type() {
    let (own, mut sender) = private();
    let mut receiver = open(&own.address, Direction::Receive, None).unwrap();
    for (message, number) in [(b"c", 3), (b"a", 1), (b"b", 2), (b"d", 2)] {
        sender.send(message, number, &mut now()).unwrap();
    }
    let mut next = |select| receive(&mut receiver, select, &mut now());
    assert_eq!(next(Select::Type(2)), Ok((b"b".to_vec(), 2)));
    assert_eq!(next(Select::UpTo(2)), Ok((b"a".to_vec(), 1)));
    assert_eq!(next(Select::Except(3)), Ok((b"d".to_vec(), 2)));
    assert_eq!(kind(next(Select::Type(9))), ErrorKind::Busy);
    assert_eq!(next(Select::First), Ok((b"c".to_vec(), 3)));
    assert_eq!(kind(receive(&mut receiver, Select::First, &mut brief())), ErrorKind::TimedOut);
    // Numbers that no message has, which the kernel would take for something else.
    for number in [0, -1, i64::MIN] {
        for select in [Select::Type(number), Select::Except(number), Select::UpTo(number)] {
            assert_eq!(kind(receive(&mut receiver, select, &mut now())), ErrorKind::Usage, "{select:?}");
        }
    }
    for number in [0, -1] {
        assert_eq!(kind(sender.send(b"x", number, &mut now())), ErrorKind::Usage, "{number}");
    }
    assert_eq!(kind(mq::wait_for_any(&[sender], &mut now())), ErrorKind::Usage);
    assert_eq!(kind(open(&own.address, Direction::Send, Some(small()))), ErrorKind::Usage);
}

#[test]
fn who_waits_for_a_removed_system_v_queue_is_told() {
    let (own, mut queue) = private();
    let waiter = std::thread::spawn(move || kind(receive(&mut queue, Select::First, &mut patient())));
    own.remove().unwrap();
    assert_eq!(waiter.join().unwrap(), ErrorKind::Gone);
    assert_eq!(kind(own.remove()), ErrorKind::Missing);
}

#[test]
fn a_key_finds_its_queue() {
    let own = Own::key(Kind::Mq);
    let Address::SysV(SysV::Key(key)) = own.address else { unreachable!() };
    assert_eq!(mq::sysv::find(key), None);
    let made = open(&own.address, Direction::Send, Some(Create { exclusive: true, ..Create::default() })).unwrap();
    assert_eq!(mq::sysv::find(key), made.id());
    let again = open(&own.address, Direction::Send, Some(Create { exclusive: true, ..Create::default() }));
    assert_eq!(kind(again), ErrorKind::Exists);
}
