//! How queues are opened, and which messages are wanted.

use crate::base::mode::Mode;

/// The largest priority of a message of a POSIX queue: mq_overview(7), MQ_PRIO_MAX.
pub const LARGEST_PRIORITY: u32 = 32767;

/// How [`Queue::open`](super::Queue::open) opens a queue.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Which way messages go.
    pub direction: Direction,
    /// Make the queue if it is absent.
    pub create: Option<Create>,
}

/// How to make a queue that is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Create {
    /// It must be absent.
    pub exclusive: bool,
    /// Permission bits before the umask; [`Mode::PRIVATE`] if left out.
    pub mode: Option<Mode>,
    /// The number of messages it holds; POSIX alone.
    pub max_messages: Option<u64>,
    /// The largest message in bytes; POSIX alone.
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

/// Which message to receive from a System V queue: the third argument of
/// msgrcv(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// The first.
    #[default]
    First,
    /// The first of this type.
    Type(i64),
    /// The first of any other type: MSG_EXCEPT.
    Except(i64),
    /// The first of the lowest type that is at most this.
    UpTo(i64),
    /// A copy of the message at this position, which stays: MSG_COPY.
    Copy(u32),
}

/// The limits of a POSIX queue and what is in it: mq_getattr(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// How many messages it holds.
    pub max_messages: u64,
    /// The largest message in bytes.
    pub message_size: u64,
    /// How many messages are in it now.
    pub messages: u64,
}
