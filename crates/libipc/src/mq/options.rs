//! How queues are opened, and which messages are wanted.

use crate::base::mode::Mode;

/// The largest priority of a message of a POSIX queue: mq_overview(7), MQ_PRIO_MAX.
pub const LARGEST_PRIORITY: u32 = 32767;

/// How [`Queue::open`](super::Queue::open) opens a queue.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Which way messages go.
    pub direction: Direction,
    /// Make the queue if it is absent; None if it must exist.
    pub create: Option<Create>,
}

/// How to make a queue that is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Create {
    /// The queue must be absent: [`Exists`](crate::ErrorKind::Exists) otherwise.
    pub exclusive: bool,
    /// Permission bits; [`Mode::PRIVATE`] if left out.
    pub mode: Option<Mode>,
    /// Send to a queue that exists also if another user, who is not root, owns it:
    /// [`Denied`](crate::ErrorKind::Denied) otherwise. It may be planted.
    pub foreign: bool,
    /// The number of messages that it holds; POSIX only.
    pub max_messages: Option<u64>,
    /// The largest message in bytes; POSIX only.
    pub message_size: Option<u64>,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the queue.
    Send,
    /// Out of the queue.
    Receive,
}

/// Which message to receive from a System V queue: the type and the flags of
/// msgrcv(2). Types are numbers from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// The first.
    #[default]
    First,
    /// The first of this type.
    Type(i64),
    /// The first of any other type: MSG_EXCEPT.
    Except(i64),
    /// The first of the lowest type up to this one.
    UpTo(i64),
    /// A copy of the message at this index, from 0 on; the message stays: MSG_COPY.
    Copy(u32),
}

/// The limits of a POSIX queue and what is in it: mq_getattr(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The number of messages that it holds.
    pub max_messages: u64,
    /// The largest message in bytes.
    pub message_size: u64,
    /// The number of messages that are in it.
    pub messages: u64,
}
