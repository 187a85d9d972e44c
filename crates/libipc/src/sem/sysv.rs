//! System V semaphore sets, sysvipc(7).

use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_short, sembuf, semid_ds};

use super::{Create, Op, State};
use crate::address::{Key, SysV};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::sys;
use crate::wait::{Deadline, Limit, Patience, Steps};

/// SEMVMX, the largest value; not to be raised.
pub(super) const LARGEST: u32 = 32767;

/// So long the maker of a set has to initialise it, which takes it one call.
const UNINITIALISED: Duration = Duration::from_secs(4);

const NOWAIT: c_short = libc::IPC_NOWAIT as c_short;
const UNDO: c_short = libc::SEM_UNDO as c_short;

/// The identifier of the set with this key, if there is one: semget(2).
#[doc(alias = "semget")]
pub fn find(key: Key) -> Option<i32> {
    sys::sem::get(key.get(), 0, 0).ok()
}

/// Remove a set and wake all who wait on it: semctl(2), IPC_RMID.
#[doc(alias = "semctl")]
pub fn remove(address: &SysV) -> Result<()> {
    let id = address.resolve(|key| sys::sem::get(key, 0, 0))?;
    sys::sem::remove(id).map_err(|errno| Error::stale(address, errno))
}

/// A set of semaphores.
#[derive(Debug)]
pub struct Set {
    id: i32,
    address: String,
    /// It was there when it was opened: an identifier is not looked up.
    seen: bool,
}

impl Set {
    /// semget(2). See [`super::Semaphores::open`].
    ///
    /// A set appears with all its values 0, and is initialised by a single
    /// semop(2) of its maker, which sets sem_otime and keeps what others have
    /// given meanwhile. Whoever else would have made it waits for that.
    #[doc(alias = "semget")]
    pub fn open(address: &SysV, create: Option<&Create>, patience: &mut Patience) -> Result<Self> {
        let seen = !matches!(address, SysV::Id(_));
        let Some(create) = create else {
            let id = address.resolve(|key| sys::sem::get(key, 0, 0))?;
            return Ok(Set { id, address: address.to_string(), seen });
        };
        let count = create.values.len() as i32;
        let get = |key, flags: c_int| sys::sem::get(key, if flags == 0 { 0 } else { count }, flags);
        loop {
            let (id, new) =
                address.find_or_create(create.exclusive, create.mode, get, |errno| not_made(address, count, errno))?;
            let set = Set { id, address: address.to_string(), seen };
            if new {
                return set.initialise(&create.values).map(|()| set);
            }
            match set.wait_for_its_maker(&create.values, patience) {
                Err(error) if error.kind == ErrorKind::Gone => {}
                other => return other.map(|()| set),
            }
        }
    }

    /// The identifier, which `private:` sets are found by.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Undo a creation that nobody will hear of.
    pub fn discard(&self) {
        let _ = sys::sem::remove(self.id);
    }

    fn initialise(&self, values: &[u32]) -> Result<()> {
        let given = (0..).zip(values).filter(|&(_, &value)| value > 0);
        let mut ops: Vec<_> = given.map(|(element, &value)| sembuf_of(element, value as c_short, 0)).collect();
        let done = match sys::sem::operate(self.id, &mut ops, None) {
            // All of them 0, for which no operation has to be made; or too many.
            Err(Errno::EINVAL | Errno::E2BIG) => {
                let values: Vec<_> = values.iter().map(|&value| value as u16).collect();
                sys::sem::set_values(self.id, &values).and_then(|()| self.touch())
            }
            other => other,
        };
        done.map_err(|errno| {
            self.discard();
            match errno {
                Errno::EACCES => Error::new(ErrorKind::Denied, &self.address, "its own maker may not initialise it")
                    .mend("choose a mode and a umask that leave the owner 0600"),
                errno => self.failed(errno, true),
            }
        })
    }

    /// Until somebody has operated on the set, which is to have as many as `values`.
    fn wait_for_its_maker(&self, values: &[u32], patience: &mut Patience) -> Result<()> {
        let count = values.len();
        let (end, mut steps) = (Deadline::after(Some(UNINITIALISED)), Steps::new());
        loop {
            let stat = self.stat()?;
            if stat.sem_nsems as usize != count {
                let what = format!("exists with {}, and not with {count}", elements(stat.sem_nsems as usize));
                return Err(Error::new(ErrorKind::Unexpected, &self.address, what)
                    .mend("leave -c out, or remove the set with ipcunlink"));
            }
            if stat.sem_otime != 0 {
                return Ok(());
            }
            let what = "was made, and nobody has initialised it";
            if end.passed() {
                let address = &self.address;
                let values = values.iter().take(8).map(u32::to_string).collect::<Vec<_>>().join(",");
                let rest = if count > 8 { ",..." } else { "" };
                return Err(Error::new(ErrorKind::Unexpected, address, what).mend(format!(
                    "its maker has died or is another program: \
                     semop --set {values}{rest} {address}, or ipcunlink sem:{address}"
                )));
            }
            patience.begin(&self.address, what)?;
            steps.sleep(&patience.deadline());
        }
    }

    /// Set sem_otime and change nothing that anybody could see.
    fn touch(&self) -> nix::Result<()> {
        let (up, down) = (sembuf_of(0, 1, 0), sembuf_of(0, -1, NOWAIT));
        loop {
            match sys::sem::operate(self.id, &mut [up, down], None) {
                Err(Errno::ERANGE) => {}
                other => return other,
            }
            match sys::sem::operate(self.id, &mut [down, up], None) {
                Err(Errno::EAGAIN) => {}
                other => return other,
            }
        }
    }

    /// SEM_STAT_ANY needs no permission to read; who may operate may have none.
    fn stat(&self) -> Result<semid_ds> {
        let any = sys::stat_by_index(self.id, |index| sys::sem::stat(index, sys::sem::SEM_STAT_ANY));
        any.or_else(|_| sys::sem::stat(self.id, libc::IPC_STAT).map(|(_, stat)| stat))
            .map_err(|errno| self.failed(errno, self.seen))
    }

    fn count(&self) -> Result<usize> {
        Ok(self.stat()?.sem_nsems as usize)
    }

    /// What a call says of an identifier that is no more.
    fn failed(&self, errno: Errno, seen: bool) -> Error {
        match errno {
            Errno::EINVAL if seen => Error::errno(&self.address, Errno::EIDRM),
            Errno::EINVAL => Error::errno(&self.address, Errno::ENOENT),
            errno => Error::errno(&self.address, errno),
        }
    }

    pub(super) fn perform(&self, ops: &[Op], undo: bool, patience: &mut Patience) -> Result<()> {
        let mut seen = self.seen;
        loop {
            let (timeout, wait) = match patience.remaining() {
                Limit::Nonblock => (None, NOWAIT),
                Limit::Within(left) => (Some(left), 0),
                Limit::Forever => (None, 0),
            };
            // A wait for zero has nothing to undo.
            let flags = |op: &Op| wait | if undo && op.change != 0 { UNDO } else { 0 };
            let mut calls: Vec<_> = ops.iter().map(|op| sembuf_of(op.element, op.change, flags(op))).collect();
            match sys::sem::operate(self.id, &mut calls, timeout) {
                Ok(()) => return Ok(()),
                // A stop and continue.
                Err(Errno::EINTR) => seen = true,
                Err(Errno::EAGAIN) => return Err(patience.over(&self.address, busy(ops))),
                Err(errno) => return Err(self.refused(ops, undo, errno, seen)),
            }
        }
    }

    fn refused(&self, ops: &[Op], undo: bool, errno: Errno, seen: bool) -> Error {
        let error = |kind, what: String| Error::new(kind, &self.address, what);
        match errno {
            Errno::EFBIG => {
                let count = self.count().unwrap_or(0);
                let beyond = ops.iter().find(|op| usize::from(op.element) >= count).map_or(0, |op| op.element);
                error(ErrorKind::Failure, format!("there is no element {beyond}, the set has {}", elements(count)))
                    .mend("they are counted from 0")
            }
            Errno::E2BIG => {
                let limit = limits::semaphores(2).unwrap_or(0);
                error(ErrorKind::NoRoom, format!("{} OPs are more than SEMOPM allows in one call, {limit}", ops.len()))
                    .mend("the third number of sysctl kernel.sem raises it")
            }
            Errno::ERANGE if undo && !self.overflows(ops) => {
                let what = "this process would have more than 32767 to undo at its end";
                error(ErrorKind::NoRoom, what.into()).mend("nest fewer of them, or give without a command")
            }
            Errno::ERANGE => {
                error(ErrorKind::NoRoom, "a value would become more than 32767, the largest that there is".into())
            }
            errno => self.failed(errno, seen),
        }
    }

    /// Whether one of the values would become too large, as far as can be seen.
    fn overflows(&self, ops: &[Op]) -> bool {
        let Ok(mut values) = self.values() else { return true };
        ops.iter().any(|op| {
            let Some(value) = values.get_mut(usize::from(op.element)) else { return false };
            *value = value.saturating_add_signed(op.change.into());
            *value > LARGEST
        })
    }

    pub(super) fn values(&self) -> Result<Vec<u32>> {
        let values = sys::sem::values(self.id, self.count()?).map_err(|errno| self.failed(errno, self.seen))?;
        Ok(values.into_iter().map(u32::from).collect())
    }

    pub(super) fn states(&self) -> Result<Vec<State>> {
        let number = |element, command| {
            sys::sem::number(self.id, element, command).map_err(|errno| self.failed(errno, self.seen))
        };
        let values = self.values()?.into_iter().enumerate();
        let state = |(element, value)| {
            Ok(State {
                value,
                waiting: number(element, libc::GETNCNT)?.cast_unsigned(),
                waiting_for_zero: Some(number(element, libc::GETZCNT)?.cast_unsigned()),
                last: Some(number(element, libc::GETPID)?),
            })
        };
        values.map(state).collect()
    }

    /// SETALL also makes the kernel forget what anybody would undo in this set.
    pub(super) fn set(&self, values: &[u32]) -> Result<()> {
        let count = self.count()?;
        if values.len() != count {
            let what = format!("the set has {}, and {} were given", elements(count), values.len());
            return Err(Error::new(ErrorKind::Failure, &self.address, what));
        }
        let values: Vec<_> = values.iter().map(|&value| value as u16).collect();
        sys::sem::set_values(self.id, &values)
            .and_then(|()| self.touch())
            .map_err(|errno| self.failed(errno, self.seen))
    }
}

fn sembuf_of(sem_num: u16, sem_op: c_short, sem_flg: c_short) -> sembuf {
    sembuf { sem_num, sem_op, sem_flg }
}

fn elements(count: usize) -> String {
    if count == 1 { "1 element".to_owned() } else { format!("{count} elements") }
}

/// What is said of semaphores that make one wait.
fn busy(ops: &[Op]) -> &'static str {
    let (takes, zeroes) = (ops.iter().any(|op| op.change < 0), ops.iter().any(|op| op.change == 0));
    match (takes, zeroes) {
        (true, true) => "does not permit all of it now",
        (_, true) => "is not zero",
        _ => super::posix::BUSY,
    }
}

/// Which limit it was: the kernel's numbers do not tell.
fn not_made(address: &SysV, count: i32, errno: Errno) -> Error {
    let limit = |which| limits::semaphores(which).unwrap_or(0);
    let no_room = |what: String, which: &str| {
        Error::new(ErrorKind::NoRoom, address, what)
            .mend(format!("the {which} number of sysctl kernel.sem raises it, ipcunlink makes room"))
    };
    match errno {
        Errno::EINVAL => no_room(format!("{count} values are more than SEMMSL allows in a set, {}", limit(0)), "first"),
        Errno::ENOSPC if sys::sem::totals().is_ok_and(|(sets, _)| sets >= limit(3)) => {
            no_room(format!("there are as many sets as SEMMNI allows, {}; no disk is full", limit(3)), "fourth")
        }
        Errno::ENOSPC => no_room(
            format!("all sets together would have more semaphores than SEMMNS allows, {}; no disk is full", limit(1)),
            "second",
        ),
        errno => Error::errno(address, errno),
    }
}
