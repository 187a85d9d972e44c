//! System V semaphore sets, sysvipc(7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_short, sembuf, semid_ds};

use super::ops::{Create, LARGEST_SYSV, Op, State, TOO_LITTLE};
use crate::base::address::{Address, Key, Kind, KindAddress, SysV};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::{Permissions, not_set};
use crate::base::sysctl;
use crate::base::wait::{Backoff, Deadline, Timeout, Wait};
use crate::process::life::{Life, life};
use crate::sys;

/// How long a creator may take to initialise a set. It needs one call.
const UNINITIALISED: Duration = Duration::from_secs(4);

pub(super) const NOWAIT: c_short = libc::IPC_NOWAIT as c_short;
pub(super) const UNDO: c_short = libc::SEM_UNDO as c_short;

/// The identifier of the set with this key, if there is one: semget(2).
#[doc(alias = "semget")]
pub fn find(key: Key) -> Option<i32> {
    sys::sem::get(key.get(), 0, 0).ok()
}

/// Remove a set and wake all who wait on it: semctl(2), IPC_RMID.
pub(super) fn remove(address: &SysV) -> Result<()> {
    let id = address.resolve(|key| sys::sem::get(key, 0, 0))?;
    sys::sem::remove(id).map_err(|errno| Error::stale(address, errno))
}

/// Give a set other owners or another mode: IPC_SET.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`].
pub(crate) fn change(address: &SysV, new: Permissions) -> Result<()> {
    let id = address.resolve(|key| sys::sem::get(key, 0, 0))?;
    let mut stat = sys::sem::stat_any(id).map_err(|errno| Error::stale(address, errno))?;
    new.put_into(&mut stat.sem_perm);
    sys::sem::set(id, stat).map_err(|errno| not_set(address, errno, sys::sem::stat_any(id).is_ok()))
}

/// A set of semaphores.
#[derive(Debug)]
pub(super) struct Set {
    id: i32,
    pub(super) address: SysV,
    /// Whether the set was seen to exist. An identifier is not looked up at first.
    seen: bool,
    /// The values that it was made with, if this call of [`Set::open`] has made it.
    made: Option<Vec<u32>>,
}

impl Set {
    /// semget(2). See [`super::Semaphores::open`].
    ///
    /// A set appears with all its values 0. Its maker initialises it with a single
    /// semop(2), which sets sem_otime and keeps what others have given meanwhile.
    /// Others that would have made the set wait for that.
    pub(super) fn open(address: &SysV, create: Option<&Create>, wait: &mut Wait) -> Result<Self> {
        let seen = !matches!(address, SysV::Id(_));
        let Some(create) = create else {
            let id = address.resolve(|key| sys::sem::get(key, 0, 0))?;
            return Ok(Set { id, address: address.clone(), seen, made: None });
        };
        let count = create.values.len() as i32;
        let get = |key, flags: c_int| sys::sem::get(key, if flags == 0 { 0 } else { count }, flags);
        loop {
            let (id, new) =
                address.find_or_create(create.exclusive, create.mode, get, |errno| not_made(address, count, errno))?;
            let set = Set { id, address: address.clone(), seen, made: new.then(|| create.values.clone()) };
            if new {
                return set.initialise(&create.values).map(|()| set);
            }
            match set.wait_for_its_maker(&create.values, wait) {
                Err(error) if error.kind == ErrorKind::Gone => {}
                other => return other.map(|()| set),
            }
        }
    }

    pub(super) fn existing_mode(&self) -> Option<u32> {
        let stat = (!self.is_new()).then(|| self.stat().ok()).flatten()?;
        Some(u32::from(stat.sem_perm.mode) & 0o777)
    }

    /// The identifier, which `private:` sets are found by.
    pub(super) fn id(&self) -> i32 {
        self.id
    }

    pub(super) fn address(&self) -> &SysV {
        &self.address
    }

    pub(super) fn is_new(&self) -> bool {
        self.made.is_some()
    }

    /// Remove it, if this call of [`Set::open`] has made it, it was not changed, and nobody
    /// waits for it.
    pub(super) fn discard(&self) {
        let (Some(made), Ok(now)) = (&self.made, self.states()) else { return };
        let unused = |(made, now): (&u32, &State)| {
            *made == now.value && now.waiting == 0 && now.waiting_for_zero.unwrap_or(0) == 0
        };
        if made.len() == now.len() && made.iter().zip(&now).all(unused) {
            self.remove();
        }
    }

    fn remove(&self) {
        let _ = sys::sem::remove(self.id);
    }

    fn initialise(&self, values: &[u32]) -> Result<()> {
        let given = (0..).zip(values).filter(|&(_, &value)| value > 0);
        let mut ops: Vec<_> = given.map(|(element, &value)| sembuf_of(element, value as c_short, 0)).collect();
        let done = match sys::sem::operate(self.id, &mut ops, None) {
            // All values are 0, which leaves no operation; or there are too many.
            Err(Errno::EINVAL | Errno::E2BIG) => {
                let values: Vec<_> = values.iter().map(|&value| value as u16).collect();
                sys::sem::set_values(self.id, &values).and_then(|()| self.touch())
            }
            other => other,
        };
        done.map_err(|errno| {
            self.remove();
            match errno {
                Errno::EACCES => Error::new(ErrorKind::Denied, &self.address, "its own maker may not initialise it")
                    .hint(Hint::advice("choose a mode and a umask that leave the owner 0600")),
                errno => self.failed(errno, true),
            }
        })
    }

    /// Wait until the set is initialised. It must have as many semaphores as there are
    /// values.
    fn wait_for_its_maker(&self, values: &[u32], wait: &mut Wait) -> Result<()> {
        let count = values.len();
        let cure = |error: Error| error.hint(Hint::Initialise(values.to_vec(), Address::SysV(self.address.clone())));
        let (mut end, mut backoff) = (None, Backoff::new());
        loop {
            let stat = self.stat()?;
            if stat.sem_nsems as usize != count {
                let what = format!("exists with {}, and not with {count}", elements(stat.sem_nsems as usize));
                return Err(
                    Error::new(ErrorKind::Unexpected, &self.address, what).hint(Hint::UseAsItIs(self.kind_address()))
                );
            }
            // What was made or set long ago has had its time.
            let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(stat.sem_ctime as u64));
            let left = UNINITIALISED.saturating_sub(age.unwrap_or_default());
            let end = *end.get_or_insert_with(|| Deadline::after(Some(left)));
            if stat.sem_otime != 0 || self.was_set(count, end.passed())? {
                return Ok(());
            }
            let what = "was made, and nobody has initialised it";
            if end.passed() {
                return Err(cure(Error::new(ErrorKind::Unexpected, &self.address, what)));
            }
            wait.proceed(&self.address.to_string(), what).map_err(cure)?;
            backoff.sleep(&wait.deadline());
        }
    }

    /// Whether another program has set every value, by SETVAL or SETALL of semctl(2):
    /// each semaphore then has the process that did it. Values that are all 0 may be
    /// raised by semop(2) next, as semget(2) shows it, unless that process has ended or
    /// the time for it is `over`.
    fn was_set(&self, count: usize, over: bool) -> Result<bool> {
        let states = match self.states() {
            // Nobody may look.
            Err(error) if error.kind == ErrorKind::Denied => return Ok(false),
            states => states?,
        };
        let by = |state: &State| state.last_pid.unwrap_or(0);
        let set = states.len() == count && states.iter().all(|state| state.value > 0 || by(state) > 0);
        let some = states.iter().any(|state| state.value > 0);
        let ended = || states.iter().all(|state| life(by(state)) == Life::Ended);
        Ok(set && (some || over || ended()))
    }

    /// Set sem_otime, and change nothing that others could see.
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

    fn kind_address(&self) -> KindAddress {
        KindAddress { kind: Kind::Sem, address: Address::SysV(self.address.clone()) }
    }

    /// semctl(2). Somebody who may operate need not be permitted to read.
    fn stat(&self) -> Result<semid_ds> {
        sys::sem::stat_any(self.id).map_err(|errno| self.failed(errno, self.seen))
    }

    pub(super) fn count(&self) -> Result<usize> {
        Ok(self.stat()?.sem_nsems as usize)
    }

    /// The error of a call on the identifier; `seen` says whether the set has existed.
    fn failed(&self, errno: Errno, seen: bool) -> Error {
        match errno {
            Errno::EINVAL if seen => Error::errno(&self.address, Errno::EIDRM),
            Errno::EINVAL => Error::errno(&self.address, Errno::ENOENT),
            errno => Error::errno(&self.address, errno),
        }
    }

    /// A call of semop(2) that does not wait: whether it was possible.
    pub(super) fn try_now(&self, ops: &[sembuf]) -> Result<bool> {
        self.try_for(ops, Duration::ZERO)
    }

    /// A call of semtimedop(2) that waits no longer than this: whether it was possible.
    pub(super) fn try_for(&self, ops: &[sembuf], step: Duration) -> Result<bool> {
        match sys::sem::operate(self.id, &mut ops.to_vec(), Some(step)) {
            Ok(()) => Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(errno) => Err(self.failed(errno, self.seen)),
        }
    }

    /// Give up to `count`, but no value larger than `most`. The kernel has no such
    /// operation: this one is possible for the value that was seen, and no other.
    pub(super) fn give_up_to(&self, element: u16, count: u32, most: u32) -> Result<()> {
        loop {
            let values = self.values()?;
            let Some(&value) = values.get(usize::from(element)) else {
                return Err(self.no_element(element, values.len()));
            };
            let given = most.saturating_sub(value).min(count);
            if given == 0 || self.try_now(&replace(element, value, value + given))? {
                return Ok(());
            }
        }
    }

    pub(super) fn operate(&self, ops: &[Op], wait: &mut Wait) -> Result<()> {
        let mut seen = self.seen;
        loop {
            let (timeout, nowait) = match wait.remaining() {
                Timeout::Now => (None, NOWAIT),
                Timeout::After(left) => (Some(left), 0),
                Timeout::Never => (None, 0),
            };
            // A wait for zero has nothing to undo.
            let flags = |op: &Op| nowait | if op.undo && op.change != 0 { UNDO } else { 0 };
            let mut calls: Vec<_> = ops.iter().map(|op| sembuf_of(op.element, op.change, flags(op))).collect();
            match sys::sem::operate(self.id, &mut calls, timeout) {
                Ok(()) => return Ok(()),
                // Interrupted by a stop and continue.
                Err(Errno::EINTR) if !sys::interrupt::came() => seen = true,
                Err(Errno::EAGAIN | Errno::EINTR) => return Err(wait.over(&self.address.to_string(), blocked_on(ops))),
                Err(errno) => return Err(self.refused(ops, errno, seen)),
            }
        }
    }

    /// Undo what these operations did, of those that are to be undone.
    pub(super) fn undo(&self, ops: &[Op]) {
        let done = ops.iter().rev().filter(|op| op.undo);
        let inverse: Vec<_> = done.map(|op| Op { change: -op.change, ..*op }).collect();
        if !inverse.is_empty() {
            let _ = self.operate(&inverse, &mut Wait::new(Timeout::Now));
        }
    }

    fn no_element(&self, element: u16, count: usize) -> Error {
        let what = format!("there is no element {element}, the set has {}", elements(count));
        Error::new(ErrorKind::Failure, &self.address, what).hint(Hint::FromZero)
    }

    fn refused(&self, ops: &[Op], errno: Errno, seen: bool) -> Error {
        let undo = ops.iter().any(|op| op.undo);
        let error = |kind, what: String| Error::new(kind, &self.address, what);
        match errno {
            Errno::EFBIG => {
                let count = self.count().unwrap_or(0);
                let beyond = ops.iter().find(|op| usize::from(op.element) >= count).map_or(0, |op| op.element);
                self.no_element(beyond, count)
            }
            Errno::E2BIG => {
                let limit = sysctl::semaphores(2).unwrap_or(0);
                error(ErrorKind::NoRoom, format!("{} OPs are more than SEMOPM allows in one call, {limit}", ops.len()))
                    .hint(Hint::SysctlSem(3))
            }
            Errno::ERANGE if undo && !self.overflows(ops) => {
                let what = "this process would have more than 32767 to undo at its end";
                error(ErrorKind::NoRoom, what.into())
                    .hint(Hint::advice("nest fewer of them, or give without a command"))
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
            *value > LARGEST_SYSV
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
                last_pid: Some(number(element, libc::GETPID)?),
            })
        };
        values.map(state).collect()
    }

    /// semctl(2), SETALL: the kernel also forgets every undo in this set.
    pub(super) fn set(&self, values: &[u32]) -> Result<()> {
        let count = self.count()?;
        if values.len() != count {
            let what = format!("the set has {}, and {} were given", elements(count), values.len());
            return Err(Error::new(ErrorKind::Failure, &self.address, what));
        }
        let Ok(values) = values.iter().map(|&value| u16::try_from(value)).collect::<std::result::Result<Vec<_>, _>>()
        else {
            return Err(Error::errno(&self.address, Errno::ERANGE));
        };
        sys::sem::set_values(self.id, &values)
            .and_then(|()| self.touch())
            .map_err(|errno| self.failed(errno, self.seen))
    }

    /// semctl(2), SETVAL: the kernel also forgets every undo of this semaphore.
    pub(super) fn set_element(&self, element: u16, value: u32) -> Result<()> {
        let count = self.count()?;
        if usize::from(element) >= count {
            return Err(self.no_element(element, count));
        }
        let value = i32::try_from(value).map_err(|_| Error::errno(&self.address, Errno::ERANGE))?;
        sys::sem::set_value(self.id, element, value).map_err(|errno| self.failed(errno, self.seen))
    }
}

pub(super) fn sembuf_of(sem_num: u16, sem_op: c_short, sem_flg: c_short) -> sembuf {
    sembuf { sem_num, sem_op, sem_flg }
}

/// Operations that make one value of another, and are possible only if the semaphore has
/// that one now.
pub(super) fn replace(element: u16, from: u32, to: u32) -> Vec<sembuf> {
    let change = |change: i64| sembuf_of(element, change as c_short, NOWAIT);
    let all = [change(-i64::from(from)), change(0), change(i64::from(to))];
    // A change of 0 is the test for zero, which is made once.
    all.into_iter().enumerate().filter(|(i, op)| *i == 1 || op.sem_op != 0).map(|(_, op)| op).collect()
}

fn elements(count: usize) -> String {
    if count == 1 { "1 element".to_owned() } else { format!("{count} elements") }
}

/// Why these operations wait, for messages.
fn blocked_on(ops: &[Op]) -> &'static str {
    let (takes, zeroes) = (ops.iter().any(|op| op.change < 0), ops.iter().any(|op| op.change == 0));
    match (takes, zeroes) {
        (true, true) => "does not permit all of it now",
        (_, true) => "is not zero",
        _ => TOO_LITTLE,
    }
}

/// The error of a creation. It finds out which limit was hit, as the kernel's error
/// number does not say.
fn not_made(address: &SysV, count: i32, errno: Errno) -> Error {
    let limit = |which| sysctl::semaphores(which).unwrap_or(0);
    let no_room = |problem: String, which| Error::new(ErrorKind::NoRoom, address, problem).hint(Hint::SysctlSem(which));
    match errno {
        Errno::EINVAL => no_room(format!("{count} values are more than SEMMSL allows in a set, {}", limit(0)), 1),
        Errno::ENOSPC if sys::sem::totals().is_ok_and(|(sets, _)| sets >= limit(3)) => {
            no_room(format!("there are as many sets as SEMMNI allows, {}; no disk is full", limit(3)), 4)
        }
        Errno::ENOSPC => no_room(
            format!("all sets together would have more semaphores than SEMMNS allows, {}; no disk is full", limit(1)),
            2,
        ),
        errno => Error::errno(address, errno),
    }
}
