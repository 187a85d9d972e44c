//! Message queues: one [`Queue`] over both interfaces.
//!
//! | verb | POSIX | System V |
//! | --- | --- | --- |
//! | [`Queue::open`] | mq_open(3) | msgget(2) |
//! | [`Queue::send`], a number with each message | mq_send(3), a priority | msgsnd(2), a type |
//! | [`Queue::receive`] | mq_receive(3) | msgrcv(2), by [`Select`] |
//! | [`posix::ready`] | poll(2) | not to be had |
//! | removal | [`posix::remove`] | [`sysv::remove`] |

use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::wait::Patience;

pub mod posix;
pub mod sysv;

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

/// An open queue.
#[derive(Debug)]
pub enum Queue {
    /// mq_overview(7).
    Posix(posix::Queue),
    /// sysvipc(7).
    SysV(sysv::Queue),
}

impl Queue {
    /// Open a queue; create it first if it is absent and `create` is given.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Exists`], [`ErrorKind::Denied`];
    /// [`ErrorKind::NoRoom`] names the limit that was hit.
    pub fn open(address: &Address, direction: Direction, create: Option<&Create>) -> Result<Self> {
        match address {
            Address::Posix(name) => posix::Queue::open(name, direction, create).map(Queue::Posix),
            Address::SysV(sysv) => sysv::Queue::open(sysv, create).map(Queue::SysV),
            Address::File(_) => Err(Error::new(ErrorKind::Usage, address, "no message queue is a file")),
        }
    }

    /// The largest message in bytes that can ever be sent.
    pub fn largest(&self) -> usize {
        match self {
            Queue::Posix(queue) => queue.message_size(),
            Queue::SysV(queue) => queue.largest(),
        }
    }

    /// Send a message with this priority or type.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] if it is larger than any message may be,
    /// [`ErrorKind::Busy`] or [`ErrorKind::TimedOut`] if the queue stays full,
    /// [`ErrorKind::Gone`] if it is removed meanwhile.
    pub fn send(&mut self, message: &[u8], number: i64, patience: &mut Patience) -> Result<()> {
        patience.start_over();
        match self {
            Queue::Posix(queue) => queue.send(message, number as u32, patience),
            Queue::SysV(queue) => queue.send(message, number, patience),
        }
    }

    /// Receive a message, and its priority or type.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] or [`ErrorKind::TimedOut`] if there is none,
    /// [`ErrorKind::Gone`] if the queue is removed meanwhile.
    pub fn receive(&mut self, select: Select, patience: &mut Patience) -> Result<(&[u8], i64)> {
        patience.start_over();
        match self {
            Queue::Posix(queue) => queue.receive(patience),
            Queue::SysV(queue) => queue.receive(select, patience),
        }
    }

    /// See that the queue still has its name: sending to a POSIX queue that was
    /// removed succeeds, and nobody receives it.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`].
    pub fn check_linked(&self) -> Result<()> {
        match self {
            Queue::Posix(queue) => queue.check_linked(),
            Queue::SysV(_) => Ok(()),
        }
    }

    /// After a failure: remove the queue if this call of [`Queue::open`] has made
    /// it and nobody has used it since.
    pub fn discard(&self) {
        let _ = match self {
            Queue::Posix(queue) if queue.is_new() && queue.is_unused() => queue.remove(),
            Queue::SysV(queue) if queue.is_new() && queue.is_unused() => queue.remove(),
            _ => Ok(()),
        };
    }
}
