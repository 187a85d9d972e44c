//! Waiting: what ends it, and when its time begins.

use std::time::{Duration, Instant};

use libipc::mq::{Create, Direction, OpenOptions, Queue, Select};
use libipc::wait::{Backoff, Deadline, Timeout, Wait};
use libipc::{Address, ErrorKind, Kind, SysV};

use crate::util::{Own, kind};

/// An empty System V queue, whose receivers the kernel lets block without end.
fn queue() -> (Own, Queue) {
    let options = OpenOptions { direction: Direction::Receive, create: Some(Create::default()) };
    let queue = Queue::open(&Address::SysV(SysV::Private), &options).unwrap();
    (Own::id(Kind::Mq, queue.id().unwrap()), queue)
}

fn receive(queue: &mut Queue, wait: &mut Wait) -> ErrorKind {
    kind(queue.receive(Select::First, wait).map(drop))
}

#[test]
fn a_call_that_knows_no_deadline_ends_at_one() {
    let (_own, mut queue) = queue();
    let timeout = Duration::from_millis(50);
    let mut wait = Wait::new(Timeout::After(timeout));
    for _ in 0..2 {
        // Each wait has all its time.
        let begin = Instant::now();
        assert_eq!(receive(&mut queue, &mut wait), ErrorKind::TimedOut);
        assert!(begin.elapsed() >= timeout);
    }
}

#[test]
fn without_time_nothing_waits() {
    let (_own, mut queue) = queue();
    assert_eq!(receive(&mut queue, &mut Wait::new(Timeout::Now)), ErrorKind::Busy);
    assert_eq!(receive(&mut queue, &mut Wait::new(Timeout::Now).spinning()), ErrorKind::Busy);
    assert_eq!(receive(&mut queue, &mut Wait::new(Timeout::After(Duration::ZERO))), ErrorKind::TimedOut);
}

#[test]
fn an_error_names_the_object_and_carries_no_errno() {
    let (own, _queue) = queue();
    let mut queue = Queue::open(&own.address, &OpenOptions { direction: Direction::Receive, create: None }).unwrap();
    let error = queue.receive(Select::First, &mut Wait::new(Timeout::Now)).unwrap_err();
    assert_eq!((error.object, error.errno), (own.address.to_string(), None));
}

#[test]
fn deadlines() {
    assert!(!Deadline::NEVER.passed() && Deadline::NEVER.left().is_none());
    let passed = Deadline::after(Some(Duration::ZERO));
    assert!(passed.passed());
    assert_eq!(passed.at_most(Duration::from_secs(9)), Duration::ZERO);
    // No pause beyond the deadline.
    let (begin, mut backoff) = (Instant::now(), Backoff::new());
    for _ in 0..10_000 {
        backoff.sleep(&passed);
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
}
