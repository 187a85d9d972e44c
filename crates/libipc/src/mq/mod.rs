//! Message queues: one [`Queue`] over both interfaces.
//!
//! | verb | POSIX | System V |
//! | --- | --- | --- |
//! | [`Queue::open`] | mq_open(3) | msgget(2) |
//! | [`Queue::send`], a number with each message | mq_send(3), a priority | msgsnd(2), a type |
//! | [`Queue::receive`] | mq_receive(3) | msgrcv(2), by [`Select`] |
//! | [`wait_for_any`] | poll(2) | not available |
//! | [`remove`] | mq_unlink(3) | msgctl(2), IPC_RMID |
//!
//! Examples: [POSIX](crate#posix-message-queues) and
//! [System V](crate#system-v-message-queues).

use std::os::fd::BorrowedFd;

use crate::base::address::{Address, Api, Kind};
use crate::base::discard::Discard;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::{Backoff, Wait};
use crate::fs::readers::Readers;

mod options;
mod place;
pub(crate) mod posix;
pub mod sysv;

pub(crate) use place::Place;

pub use options::{Attributes, Create, Direction, LARGEST_PRIORITY, OpenOptions, Select};

/// The largest message in bytes that any queue at this address could take: the
/// kernel's ceiling for POSIX queues, mq_overview(7), or kernel.msgmax.
pub fn longest_message(address: &Address) -> usize {
    match address {
        Address::Name(_) => posix::CEILING,
        Address::SysV(_) => sysv::msgmax(),
    }
}

/// The error of a message that is longer than [`longest_message`]:
/// [`ErrorKind::NoRoom`].
pub fn longer_than_any(address: &Address) -> Error {
    match address {
        Address::Name(_) => {
            let problem = format!("the message is longer than any of a POSIX queue, {} bytes", posix::CEILING);
            Error::new(ErrorKind::NoRoom, address, problem)
        }
        Address::SysV(_) => sysv::longer_than_msgmax(address),
    }
}

/// An open queue.
#[derive(Debug)]
pub struct Queue(Inner);

#[derive(Debug)]
enum Inner {
    Posix(posix::Queue),
    SysV(sysv::Queue),
}

impl Queue {
    /// Open a queue: mq_open(3), msgget(2). With [`OpenOptions::create`] an absent one
    /// is made.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Exists`], [`ErrorKind::Denied`], also for
    /// [`Create::foreign`]; [`ErrorKind::NoRoom`] names the limit that was hit;
    /// [`ErrorKind::Usage`] for an address that no queue has.
    #[doc(alias = "mq_open")]
    #[doc(alias = "msgget")]
    pub fn open(address: &Address, options: &OpenOptions) -> Result<Self> {
        match address.api(Kind::Mq)? {
            Api::Posix(name) => posix::Queue::open(name, options).map(Inner::Posix),
            Api::SysV(sysv) => sysv::Queue::open(sysv, options).map(Inner::SysV),
        }
        .map(Queue)
    }

    /// Open a queue, after waiting for it to exist. Nothing tells of that: it is looked for
    /// in growing intervals.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] if it does not appear; those of
    /// [`Queue::open`].
    pub fn open_when_there(address: &Address, options: &OpenOptions, wait: &mut Wait) -> Result<Self> {
        let mut backoff = Backoff::new();
        loop {
            match Self::open(address, options) {
                Err(error) if error.kind == ErrorKind::Missing => {}
                other => return other,
            }
            wait.proceed(&address.to_string(), "does not exist")?;
            backoff.sleep(&wait.deadline());
        }
    }

    /// The largest message that can be sent, in bytes, as of the last look at the
    /// limits.
    pub fn largest(&self) -> usize {
        match &self.0 {
            Inner::Posix(queue) => queue.message_size(),
            Inner::SysV(queue) => queue.largest(),
        }
    }

    /// The limits of a POSIX queue, and the number of messages when it was opened:
    /// mq_getattr(3).
    #[doc(alias = "mq_getattr")]
    pub fn attributes(&self) -> Option<Attributes> {
        match &self.0 {
            Inner::Posix(queue) => Some(queue.attributes()),
            Inner::SysV(_) => None,
        }
    }

    /// The permission bits of a queue that existed when it was opened; None of one that
    /// [`Queue::open`] has made.
    pub fn existing_mode(&self) -> Option<u32> {
        match &self.0 {
            Inner::Posix(queue) => queue.existing_mode(),
            Inner::SysV(queue) => queue.existing_mode(),
        }
    }

    /// The identifier of a System V queue. A queue made by `private:` has no key, and
    /// is found by its identifier.
    pub fn id(&self) -> Option<i32> {
        match &self.0 {
            Inner::Posix(_) => None,
            Inner::SysV(queue) => Some(queue.id()),
        }
    }

    /// Send a message: mq_send(3), msgsnd(2). `number` is its priority in a POSIX
    /// queue, 0 to [`LARGEST_PRIORITY`], or its type in a System V queue, 1 or more.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] if it is larger than any message may be,
    /// [`ErrorKind::Busy`] or [`ErrorKind::TimedOut`] if the queue stays full,
    /// [`ErrorKind::Gone`] if it is removed meanwhile; [`ErrorKind::Usage`] for a
    /// number that no message can have.
    #[doc(alias = "mq_send")]
    #[doc(alias = "msgsnd")]
    pub fn send(&mut self, message: &[u8], number: i64, wait: &mut Wait) -> Result<()> {
        wait.reset();
        match &mut self.0 {
            Inner::Posix(queue) => queue.send(message, number, wait),
            Inner::SysV(queue) => queue.send(message, number, wait),
        }
    }

    /// Receive a message, and its priority or type: mq_receive(3), msgrcv(2).
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] or [`ErrorKind::TimedOut`] if there is none,
    /// [`ErrorKind::Gone`] if the queue is removed meanwhile; [`ErrorKind::Usage`]
    /// for any [`Select`] but the first on a POSIX queue.
    #[doc(alias = "mq_receive")]
    #[doc(alias = "msgrcv")]
    pub fn receive(&mut self, select: Select, wait: &mut Wait) -> Result<(&[u8], i64)> {
        wait.reset();
        match &mut self.0 {
            Inner::Posix(queue) => match select {
                Select::First => queue.receive(wait),
                _ => Err(Error::new(ErrorKind::Usage, queue.label(), "messages of POSIX queues cannot be selected")),
            },
            Inner::SysV(queue) => queue.receive(select, wait),
        }
    }

    /// Receive a message into memory that survives this process. Returns its length.
    ///
    /// # Errors
    /// Those of [`Queue::receive`]; [`ErrorKind::NoRoom`] if the message of a System V
    /// queue needs more room: then it stays in the queue.
    pub(crate) fn receive_into(&mut self, place: &Place<'_>, wait: &mut Wait) -> Result<usize> {
        wait.reset();
        match &mut self.0 {
            Inner::Posix(queue) => queue.receive_into(place, wait),
            Inner::SysV(queue) => queue.receive_into(place, wait),
        }
    }

    /// What poll(2) tells about messages; None for a System V queue.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Inner::Posix(queue) => Some(queue.descriptor()),
            Inner::SysV(_) => None,
        }
    }

    /// Who may read from it.
    pub(crate) fn readers(&self) -> Result<Readers> {
        match &self.0 {
            Inner::Posix(queue) => queue.readers(),
            Inner::SysV(queue) => queue.readers(),
        }
    }

    /// The address under which every process finds this queue.
    pub(crate) fn address(&self) -> String {
        match &self.0 {
            Inner::Posix(queue) => queue.label().to_owned(),
            Inner::SysV(queue) => queue.found_by(),
        }
    }

    /// Check that a POSIX queue still has its name: sending to a removed one succeeds,
    /// and nobody receives the message.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the name was removed.
    pub fn check_linked(&self) -> Result<()> {
        match &self.0 {
            Inner::Posix(queue) => queue.check_linked(),
            Inner::SysV(_) => Ok(()),
        }
    }
}

/// A POSIX queue goes if it has no message, and nobody else has it open; a System V
/// queue if it never had a message.
impl Discard for Queue {
    fn is_new(&self) -> bool {
        match &self.0 {
            Inner::Posix(queue) => queue.new,
            Inner::SysV(queue) => queue.new,
        }
    }

    fn discard(&self) {
        match &self.0 {
            Inner::Posix(queue) => queue.discard(),
            Inner::SysV(queue) => queue.discard(),
        }
    }
}

/// Wait until one of the queues has a message, and take none: poll(2). Returns the
/// index of the first queue that has one.
///
/// # Errors
/// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`]; [`ErrorKind::Gone`] if one is
/// removed meanwhile; [`ErrorKind::Usage`] for a System V queue, which has no
/// descriptor to poll.
#[doc(alias = "poll")]
#[doc(alias = "mq_notify")]
pub fn wait_for_any(queues: &[Queue], wait: &mut Wait) -> Result<usize> {
    let mut all = Vec::with_capacity(queues.len());
    for queue in queues {
        match &queue.0 {
            Inner::Posix(queue) => all.push(queue),
            Inner::SysV(queue) => {
                let problem = "a System V queue cannot be waited for without receiving";
                return Err(Error::new(ErrorKind::Usage, queue.label(), problem));
            }
        }
    }
    posix::ready(&all, wait)
}

/// Remove a queue: mq_unlink(3), msgctl(2). A process that has a POSIX queue open
/// keeps it; whoever waits on a System V queue is woken.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Usage`] for an
/// address that no queue has.
#[doc(alias = "mq_unlink")]
#[doc(alias = "msgctl")]
pub fn remove(address: &Address) -> Result<()> {
    match address.api(Kind::Mq)? {
        Api::Posix(name) => posix::remove(name),
        Api::SysV(sysv) => sysv::remove(sysv),
    }
}
