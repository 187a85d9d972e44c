//! One object, as the kernel describes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc::{GETNCNT, GETPID, GETZCNT};

use super::holders::Backing;
use crate::base::address::{Address, Key, Kind, KindAddress, SysV};
use crate::base::error::{Error, ErrorKind, Result};
use crate::{lock, ring, sys};

/// One object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its address, with its kind.
    pub address: KindAddress,
    /// Its key, if it is a System V object that a key finds.
    pub key: Option<Key>,
    /// The identifier of a System V object.
    pub id: Option<i32>,
    /// The user who owns it.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Its size in bytes: of its memory, or of the messages in it. None for semaphores,
    /// and if it may not be known.
    pub size: Option<u64>,
    /// What its kind adds.
    pub detail: Detail,
    /// The process that made it, where the kernel remembers one.
    pub creator: Option<Creator>,
    /// When it was made, used and changed.
    pub times: Times,
    /// What a process that holds it has open, mapped or attached.
    pub(super) backing: Option<Backing>,
}

/// The part that each kind has for itself.
#[derive(Clone, Debug)]
pub enum Detail {
    /// Shared memory.
    Segment(Segment),
    /// A message queue.
    Queue(Queue),
    /// Semaphores.
    Semaphores(Semaphores),
    /// A ring, and whether anybody takes part in it; an error if it is corrupt.
    Ring(Result<Box<ring::Status>>, Option<bool>),
    /// A lock, and whether anybody takes part in it; an error if it is corrupt.
    Lock(Result<Box<lock::Status>>, Option<bool>),
}

/// Shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// It was removed, and goes when the last process detaches it.
    pub removed: bool,
    /// A dead process of this toolkit left it: a temporary name, or a segment that is
    /// half filled.
    pub leftover: bool,
    /// A process of this toolkit is filling it.
    pub filling: bool,
    /// System V: how many times it is attached.
    pub attached: Option<u64>,
    /// System V: the process that attached or detached it last.
    pub last_pid: Option<i32>,
    /// System V: pages of it in memory, in bytes.
    pub resident: Option<u64>,
    /// System V: pages of it in swap, in bytes.
    pub swapped: Option<u64>,
}

/// A message queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many messages are in it.
    pub messages: Option<u64>,
    /// POSIX: how many messages it holds.
    pub max_messages: Option<u64>,
    /// POSIX: the largest message in bytes.
    pub message_size: Option<u64>,
    /// System V: how many bytes it holds.
    pub max_bytes: Option<u64>,
    /// System V: the process that sent last.
    pub last_sender: Option<i32>,
    /// System V: the process that received last.
    pub last_receiver: Option<i32>,
}

/// Semaphores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Semaphores {
    /// How many are in the set.
    pub count: u64,
    /// Their values, if they may be read.
    pub values: Option<Vec<u32>>,
    /// POSIX: how many processes say that they wait.
    pub waiting: Option<u32>,
    /// POSIX: the file has not the form of a semaphore.
    pub corrupt: bool,
}

/// The process that made an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creator {
    /// Its number; None if it is of another PID namespace, or the kernel does not say.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// Whether it has ended, if that can be known.
    pub gone: Option<bool>,
}

/// The times of an object. None for what was never done, or if the kernel does not
/// say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// It was made.
    pub created: Option<SystemTime>,
    /// Owner, mode or content was changed. POSIX: or a tool of ours used it.
    pub changed: Option<SystemTime>,
    /// POSIX: its content was written. Not of queues, whose uses are known.
    pub modified: Option<SystemTime>,
    /// System V: a process attached it.
    pub attached: Option<SystemTime>,
    /// System V: a process detached it.
    pub detached: Option<SystemTime>,
    /// System V: a message was sent.
    pub sent: Option<SystemTime>,
    /// System V: a message was received.
    pub received: Option<SystemTime>,
    /// System V: an operation was performed on a semaphore.
    pub operated: Option<SystemTime>,
}

impl Times {
    /// The last use that the kernel has recorded. None if it records none, as of POSIX
    /// objects in memory.
    pub fn used(self) -> Option<SystemTime> {
        let Times { attached, detached, sent, received, operated, .. } = self;
        [attached, detached, sent, received, operated].into_iter().flatten().max()
    }
}

/// A moment in seconds since the epoch.
pub(super) fn moment(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    at.unwrap_or(UNIX_EPOCH)
}

impl Object {
    /// Whether it is a System V object.
    pub fn is_sysv(&self) -> bool {
        self.id.is_some()
    }

    /// Whether the kernel knows who holds it: it does not of System V queues and sets,
    /// which are used by number.
    pub fn has_holders(&self) -> bool {
        self.backing.is_some()
    }

    /// The last time the kernel saw it used or changed. Looking is neither.
    pub fn last_used(&self) -> SystemTime {
        let Times { created, changed, modified, .. } = self.times;
        [self.times.used(), created, changed, modified].into_iter().flatten().max().unwrap_or(UNIX_EPOCH)
    }

    /// How long ago that was; zero if the clock was set back.
    pub fn age(&self) -> Duration {
        SystemTime::now().duration_since(self.last_used()).unwrap_or_default()
    }

    /// For each semaphore of the set, how many processes wait for it to grow, and how
    /// many for zero. None for another kind, and if it may not be known.
    pub fn waiting(&self) -> Option<Vec<(u64, u64)>> {
        if let Detail::Semaphores(Semaphores { waiting: Some(waiting), .. }) = self.detail {
            return Some(vec![(waiting.into(), 0)]);
        }
        self.of_each(|id, element| Some((semaphore(id, element, GETNCNT)?, semaphore(id, element, GETZCNT)?)))
    }

    /// For each semaphore of the set, the process that changed it last. None for
    /// another kind or interface, and if it may not be known.
    pub fn last_pids(&self) -> Option<Vec<u64>> {
        self.of_each(|id, element| semaphore(id, element, GETPID))
    }

    fn of_each<T>(&self, ask: impl Fn(i32, usize) -> Option<T>) -> Option<Vec<T>> {
        match (&self.detail, self.id) {
            (Detail::Semaphores(Semaphores { count, .. }), Some(id)) => {
                (0..usize::try_from(*count).ok()?).map(|number| ask(id, number)).collect()
            }
            _ => None,
        }
    }
}

fn semaphore(id: i32, element: usize, command: i32) -> Option<u64> {
    sys::sem::number(id, element, command).ok().and_then(|number| u64::try_from(number).ok())
}

/// The address of a System V object: its key if it has one.
pub(super) fn sysv_address(kind: Kind, key: Option<Key>, id: i32) -> KindAddress {
    KindAddress { kind, address: Address::SysV(key.map_or(SysV::Id(id), SysV::Key)) }
}

/// The error of an object that does not exist.
pub(super) fn missing(object: impl ToString) -> Error {
    Error::new(ErrorKind::Missing, object, "does not exist")
}
