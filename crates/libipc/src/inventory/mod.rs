//! What exists, and who holds it: every kind of object in one list.
//!
//! Three steps, each linear: the objects are listed ([`list`]) or found by their
//! addresses ([`find`]); one pass over /proc tells who holds which
//! ([`settle`], with [`holders::Census`]); and each is judged ([`State`]).
//! Nothing is opened for more than a look, nothing is changed, and what vanishes
//! meanwhile is left out.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc::{GETNCNT, GETPID, GETZCNT};

use crate::address::{Address, Key, Kind, KindAddress, SysV};
use crate::error::{Error, ErrorKind, Result};
use crate::sys;

pub mod holders;
pub mod limits;
mod ours;
mod posix;
mod sysv;
pub mod users;

pub use holders::{Census, Holder, Thing};
pub use ours::Ours;

/// One object.
#[derive(Clone, Debug)]
pub struct Object {
    /// How [`crate::shm::remove`] and its like are told of it.
    pub address: KindAddress,
    /// Its key, if it is a System V object that a key finds.
    pub key: Option<Key>,
    /// The identifier of a System V object.
    pub id: Option<i32>,
    /// The user who owns it.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// What it holds: bytes of memory, or of messages, if that may be known.
    pub size: Option<u64>,
    /// What its kind adds.
    pub detail: Detail,
    /// The process that made it, where the kernel remembers one.
    pub creator: Option<Creator>,
    /// When what was done to it: names as `changed`, seconds since the epoch.
    pub times: Vec<(&'static str, i64)>,
    /// Who holds it; set by [`settle`].
    pub holders: Vec<Holder>,
    /// Who else may hold it; set by [`settle`].
    pub others: Others,
    /// The verdict; set by [`settle`].
    pub state: State,
    thing: Option<Thing>,
    attached: Option<u64>,
}

/// What only some kinds have.
#[derive(Clone, Debug)]
pub enum Detail {
    /// Shared memory.
    Segment {
        /// Removed already; goes when the last process detaches it.
        removed: bool,
        /// Of this toolkit, and left over: a temporary name of a dead maker, or
        /// half filled by a dead one.
        leftover: bool,
        /// System V: who attached or detached it last.
        last_pid: Option<i32>,
        /// Pages of it in memory and in swap, in bytes.
        resident: Option<(u64, u64)>,
    },
    /// A message queue.
    Queue {
        /// How many messages are in it.
        messages: Option<u64>,
        /// POSIX: how many it holds.
        max_messages: Option<u64>,
        /// POSIX: the largest message in bytes.
        message_size: Option<u64>,
        /// System V: how many bytes it holds.
        max_bytes: Option<u64>,
        /// System V: who sent and who received last.
        last: Option<(i32, i32)>,
    },
    /// Semaphores.
    Semaphores {
        /// How many are in the set.
        count: u64,
        /// Their values, if they may be read.
        values: Option<Vec<u32>>,
        /// POSIX: how many wait.
        waiting: Option<u32>,
    },
    /// A ring or a lock of this toolkit.
    Ours(Ours),
}

/// Who made an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creator {
    /// Its number; None if it is of another PID namespace.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// Whether it has ended, if that can be known.
    pub gone: Option<bool>,
}

/// Holders that were not found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// There are none.
    None,
    /// So many attachments by processes that cannot be seen.
    Some(u64),
    /// Whether there are any cannot be known.
    #[default]
    Unknown,
}

/// The verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Somebody has it open, mapped or attached.
    Held,
    /// Nobody is seen to have, and that is no fault: it may be between two
    /// commands, or held by one that cannot be looked at.
    #[default]
    Unheld,
    /// Nobody has, and there is evidence that nobody will.
    Orphan,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Unheld => "unheld",
            State::Orphan => "orphan",
        }
    }
}

impl Object {
    /// Whether it is a System V object.
    pub fn is_sysv(&self) -> bool {
        self.id.is_some()
    }

    /// The last time the kernel saw it used or changed, in seconds since the epoch.
    pub fn last_used(&self) -> i64 {
        self.times.iter().map(|(_, time)| *time).max().unwrap_or(0)
    }

    /// How long ago that was; zero if the clock was set back.
    pub fn age(&self) -> Duration {
        let then = UNIX_EPOCH + Duration::from_secs(u64::try_from(self.last_used()).unwrap_or(0));
        SystemTime::now().duration_since(then).unwrap_or_default()
    }

    /// Processes that wait for semaphores of the set: for more, and for zero.
    /// None for another kind, or if it may not be known.
    pub fn waiters(&self) -> Option<Vec<(u64, u64)>> {
        if let Detail::Semaphores { waiting: Some(waiting), .. } = self.detail {
            return Some(vec![(waiting.into(), 0)]);
        }
        self.of_each(|id, element| Some((semaphore(id, element, GETNCNT)?, semaphore(id, element, GETZCNT)?)))
    }

    /// Who has changed each semaphore of the set last.
    pub fn last_pids(&self) -> Option<Vec<u64>> {
        self.of_each(|id, element| semaphore(id, element, GETPID))
    }

    fn of_each<T>(&self, ask: impl Fn(i32, usize) -> Option<T>) -> Option<Vec<T>> {
        match (&self.detail, self.id) {
            (Detail::Semaphores { count, .. }, Some(id)) => {
                (0..usize::try_from(*count).ok()?).map(|number| ask(id, number)).collect()
            }
            _ => None,
        }
    }

    /// How many times a System V segment is attached.
    pub fn attached(&self) -> Option<u64> {
        self.attached
    }

    /// The address as the bytes that a user would type.
    pub fn raw_address(&self) -> Vec<u8> {
        let kind = self.address.kind.as_str();
        match &self.address.address {
            Address::Posix(name) => [kind.as_bytes(), b":", name.as_os_str().as_bytes()].concat(),
            Address::File(path) => [kind.as_bytes(), b":file:", path.as_os_str().as_bytes()].concat(),
            Address::SysV(sysv) => format!("{kind}:{sysv}").into_bytes(),
        }
    }

    /// Whether a pattern of fnmatch(3) matches its address, with the kind in
    /// front or without, or its name without the slash.
    pub fn matches(&self, pattern: &Pattern) -> bool {
        let whole = self.raw_address();
        let without_kind = &whole[self.address.kind.as_str().len() + 1..];
        let bare = without_kind.strip_prefix(b"/").unwrap_or(without_kind);
        [&whole, without_kind, bare]
            .into_iter()
            .any(|text| CString::new(text).is_ok_and(|text| sys::stat::matches(&pattern.0, &text)))
    }

    fn judge(&mut self, census: &Census) {
        self.holders = self.thing.map_or(&[][..], |thing| census.of(thing)).to_vec();
        self.others = match (self.attached, self.thing) {
            (Some(attached), _) => {
                let found = self.holders.iter().map(|holder| holder.mapped).sum();
                match attached.saturating_sub(found) {
                    0 => Others::None,
                    unseen => Others::Some(unseen),
                }
            }
            // A System V queue or set is used by number, and held by nobody.
            (None, None) => Others::None,
            (None, Some(_)) if census.is_complete() => Others::None,
            (None, Some(_)) => Others::Unknown,
        };
        let by_lock = matches!(self.detail, Detail::Ours(Ours { in_use: Some(true), .. }));
        if by_lock && self.holders.is_empty() {
            self.others = Others::Unknown;
        }
        let held = by_lock || !self.holders.is_empty() || matches!(self.others, Others::Some(_));
        self.state = match &self.detail {
            _ if held => State::Held,
            Detail::Ours(ours) if ours.is_orphan() => State::Orphan,
            // The kernel's locks tell of these what the census cannot.
            Detail::Segment { leftover: true, .. } => State::Orphan,
            Detail::Segment { removed: false, last_pid: Some(last), .. } if self.is_abandoned(*last) => State::Orphan,
            _ => State::Unheld,
        };
    }

    /// Whether a System V segment that nobody has attached was left behind: its
    /// creator has ended, and this toolkit has not filled it.
    ///
    /// The last to detach what shmput(1) has filled is never its creator (see
    /// `shm::sysv`); nor has such a one never been attached.
    fn is_abandoned(&self, last: i32) -> bool {
        let Some(Creator { pid: Some(pid), gone: Some(true), .. }) = self.creator else { return false };
        last == 0 || last == pid
    }
}

fn semaphore(id: i32, element: usize, command: i32) -> Option<u64> {
    sys::sem::number(id, element, command).ok().and_then(|number| u64::try_from(number).ok())
}

/// A pattern of fnmatch(3): `*`, `?`, `[...]`.
#[derive(Clone, Debug)]
pub struct Pattern(CString);

impl Pattern {
    /// From a word of the command line; None if there is a NUL in it.
    pub fn new(text: &std::ffi::OsStr) -> Option<Self> {
        CString::new(text.as_bytes()).ok().map(Pattern)
    }
}

/// Every object of these kinds, not yet settled, and what could not be listed.
pub fn list(kinds: &[Kind]) -> (Vec<Object>, Vec<Error>) {
    let mut objects = Vec::new();
    let mut failures = Vec::new();
    let wants = |kind| kinds.contains(&kind);
    if [Kind::Shm, Kind::Ring, Kind::Lock, Kind::Sem].into_iter().any(wants) {
        posix::in_shm_dir(&mut objects);
    }
    if wants(Kind::Mq) {
        failures.extend(posix::queues(&mut objects).err());
    }
    if wants(Kind::Shm) {
        sysv::segments(&mut objects, None);
    }
    if wants(Kind::Mq) {
        sysv::queues(&mut objects, None);
    }
    if wants(Kind::Sem) {
        sysv::sets(&mut objects, None);
    }
    objects.retain(|object| wants(object.address.kind));
    (objects, failures)
}

/// By kind, then POSIX by name and System V as the kernel has them.
pub fn sort(objects: &mut [Object]) {
    let place = |kind| Kind::ALL.iter().position(|other| *other == kind);
    objects.sort_by_cached_key(|object| {
        let name = if object.is_sysv() { Vec::new() } else { object.raw_address() };
        (place(object.address.kind), object.is_sysv(), name)
    });
}

/// The object at this address, not yet settled.
///
/// # Errors
/// [`ErrorKind::Missing`]; [`ErrorKind::Unexpected`] if it is of another kind.
pub fn find(wanted: &KindAddress) -> Result<Object> {
    let KindAddress { kind, address } = wanted;
    match (kind, address) {
        (_, Address::SysV(sysv)) => sysv::find(*kind, sysv),
        (Kind::Mq, Address::Posix(name)) => posix::find_queue(name),
        _ => posix::find(wanted),
    }
}

/// See who holds these objects, and judge them.
pub fn settle(objects: &mut [Object]) {
    let mut devices = Vec::new();
    let mut segments = false;
    for object in &*objects {
        match object.thing {
            Some(Thing::File(device, _)) if !devices.contains(&device) => devices.push(device),
            Some(Thing::Segment(_)) => segments |= object.attached.is_some_and(|attached| attached > 0),
            _ => {}
        }
    }
    let census = if devices.is_empty() && !segments { Census::default() } else { Census::take(&devices, segments) };
    for object in objects {
        object.judge(&census);
    }
}

/// The name of the program that a process runs, made printable.
pub fn program(pid: i32) -> Option<String> {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    Some(crate::text::printable(std::ffi::OsStr::from_bytes(comm)))
}

fn sysv_address(kind: Kind, key: Option<Key>, id: i32) -> KindAddress {
    KindAddress { kind, address: Address::SysV(key.map_or(SysV::Id(id), SysV::Key)) }
}

fn missing(object: impl ToString) -> Error {
    Error::new(ErrorKind::Missing, object, "does not exist")
}
