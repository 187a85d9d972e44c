//! Semaphores: one [`Semaphores`] over both interfaces.
//!
//! | verb | POSIX | System V |
//! | --- | --- | --- |
//! | [`Semaphores::open`] | sem_open(3) | semget(2) |
//! | [`Semaphores::operate`] | sem_wait(3), sem_post(3) | semop(2) |
//! | the same with [`Op::undo`] | a guardian process | SEM_UNDO |
//! | [`Semaphores::run`], a command that holds them | a guardian process | SEM_UNDO |
//! | [`Semaphores::barrier`] | byte locks, which end with a process | SEM_UNDO |
//! | [`Semaphores::states`] | sem_getvalue(3) | semctl(2) |
//! | [`Semaphores::set`] | one store | semctl(2), SETALL |
//! | [`remove`] | sem_unlink(3) | semctl(2), IPC_RMID |
//!
//! Examples: [POSIX](crate#posix-semaphores) and [System V](crate#system-v-semaphore-sets).

use std::ffi::OsString;

use crate::base::address::{Address, Api, Kind};
use crate::base::discard::Discard;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::{Timeout, Wait};
use crate::process::command::{self, End};

mod barrier;
mod guardian;
mod ops;
pub(crate) mod posix;
pub mod sysv;

pub use ops::{Create, Op, OpenOptions, Ops, State, check_values};

/// A System V set, or the single POSIX semaphore.
#[derive(Debug)]
pub struct Semaphores(Inner);

#[derive(Debug)]
enum Inner {
    Posix(Box<posix::Semaphore>),
    SysV(sysv::Set),
}

impl Semaphores {
    /// Open semaphores to operate on them: sem_open(3), semget(2). With
    /// [`OpenOptions::create`] absent ones are made.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Exists`], [`ErrorKind::Denied`];
    /// [`ErrorKind::NoRoom`] names the limit that was hit;
    /// [`ErrorKind::Unexpected`] for a set that nobody initialises, a set of another
    /// size, and a file that is no semaphore;
    /// [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] while another process
    /// initialises the set;
    /// [`ErrorKind::Usage`] for an address or values that no semaphore has.
    #[doc(alias = "sem_open")]
    #[doc(alias = "semget")]
    pub fn open(address: &Address, options: &OpenOptions, wait: &mut Wait) -> Result<Self> {
        let create = options.create.as_ref();
        if create.is_some_and(|create| create.values.is_empty()) {
            return Err(Error::new(ErrorKind::Usage, address, "a new set has at least one value"));
        }
        check_values(address, create.map_or(&[], |create| &create.values))?;
        match address.api(Kind::Sem)? {
            Api::Posix(name) => posix::Semaphore::open(name, create).map(Box::new).map(Inner::Posix),
            Api::SysV(sysv) => sysv::Set::open(sysv, create, wait).map(Inner::SysV),
        }
        .map(Semaphores)
    }

    /// Open semaphores to read their states. Read permission is enough, and the opener
    /// does not count as a holder.
    ///
    /// # Errors
    /// Those of [`Semaphores::open`].
    pub fn inspect(address: &Address) -> Result<Self> {
        match address.api(Kind::Sem)? {
            Api::Posix(name) => {
                name.check_semaphore()?;
                posix::Semaphore::inspect(name).map(Box::new).map(Inner::Posix)
            }
            Api::SysV(sysv) => sysv::Set::open(sysv, None, &mut Wait::new(Timeout::Now)).map(Inner::SysV),
        }
        .map(Semaphores)
    }

    /// The permission bits of semaphores that existed when they were opened; None of those
    /// that [`Semaphores::open`] has made.
    pub fn existing_mode(&self) -> Option<u32> {
        match &self.0 {
            Inner::Posix(semaphore) => semaphore.existing_mode(),
            Inner::SysV(set) => set.existing_mode(),
        }
    }

    /// The identifier of a System V set. A set made by `private:` has no key, and is
    /// found by its identifier.
    pub fn id(&self) -> Option<i32> {
        match &self.0 {
            Inner::Posix(_) => None,
            Inner::SysV(set) => Some(set.id()),
        }
    }

    /// Perform all of the operations at once, or none: semop(2), sem_wait(3),
    /// sem_post(3).
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] or [`ErrorKind::TimedOut`] if they cannot be performed
    /// in time; [`ErrorKind::Gone`] if the semaphores are removed meanwhile;
    /// [`ErrorKind::NoRoom`] if a value would become too large, or there are more
    /// operations than SEMOPM; [`ErrorKind::Failure`] for an element that the set does
    /// not have; [`ErrorKind::Usage`] for operations that were made for the other
    /// interface.
    ///
    /// An operation with [`Op::undo`] is reversed when this process ends: a System V set
    /// is operated on with SEM_UNDO. For a POSIX semaphore this forks a process that
    /// stays: this process must have one thread, and [`ErrorKind::NoRoom`] means also
    /// that no process can be made that would give it back.
    #[doc(alias = "SEM_UNDO")]
    #[doc(alias = "semop")]
    #[doc(alias = "sem_wait")]
    #[doc(alias = "sem_post")]
    pub fn operate(&self, ops: &Ops, wait: &mut Wait) -> Result<()> {
        match &self.0 {
            Inner::Posix(semaphore) => ops.of(true, semaphore.label())?.iter().try_for_each(|op| match op.undo {
                true => guardian::hold(semaphore, *op, wait),
                false => semaphore.operate(*op, wait),
            }),
            Inner::SysV(set) => set.operate(ops.of(false, set.address())?, wait),
        }
    }

    /// Perform the operations, call `performed`, and run a command. What has
    /// [`Op::undo`] is reversed when the command has ended.
    ///
    /// - With a System V set this process becomes the command, and the call returns only
    ///   if that failed.
    /// - With a POSIX semaphore the command is a child, which is killed if this process
    ///   dies. The call returns once the operation is reversed. A signal that was passed
    ///   on and has ended the command ends this process too.
    ///
    /// This process must have one thread.
    ///
    /// # Errors
    /// Those of [`Semaphores::operate`]; [`ErrorKind::CommandMissing`] and
    /// [`ErrorKind::CommandRefused`].
    pub fn run(&self, ops: &Ops, words: &[OsString], wait: &mut Wait, performed: impl FnOnce()) -> Result<End> {
        let op = match &self.0 {
            Inner::Posix(semaphore) => ops.of(true, semaphore.label())?.first().map(|op| (semaphore, *op)),
            Inner::SysV(_) => None,
        };
        match op {
            Some((semaphore, op)) if op.undo => guardian::run(semaphore, op, words, wait, performed),
            _ => {
                self.operate(ops, wait)?;
                performed();
                let failed = command::exec(words);
                // The kernel would do it at the end, but what is new is looked at before.
                if let Inner::SysV(set) = &self.0 {
                    set.undo(ops.get());
                }
                Err(failed)
            }
        }
    }

    /// Give up to `count`, but make no value larger than `most`. Never waits.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] without read permission for a System V set;
    /// [`ErrorKind::Failure`] for an element that it does not have.
    pub fn give_up_to(&self, element: u16, count: u32, most: u32) -> Result<()> {
        match &self.0 {
            Inner::Posix(semaphore) => semaphore.give_up_to(count, most),
            Inner::SysV(set) => set.give_up_to(element, count, most),
        }
    }

    /// Wait until `count` processes have arrived here; then they all go on, and the
    /// barrier is as before. Who dies or waits in vain has not arrived.
    ///
    /// The values must be 0: those of the elements 0 and 1 of a System V set, or that of
    /// a POSIX semaphore. Nothing else may operate on them.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`] if too few arrive in time;
    /// [`ErrorKind::Gone`] if the semaphores are removed meanwhile;
    /// [`ErrorKind::Unexpected`] for a set with one element.
    #[doc(alias = "pthread_barrier_wait")]
    pub fn barrier(&self, count: u16, wait: &mut Wait) -> Result<()> {
        match &self.0 {
            Inner::Posix(semaphore) => barrier::posix(semaphore, count, wait),
            Inner::SysV(set) => barrier::sysv(set, count, wait),
        }
    }

    /// The state of each semaphore, by its index: sem_getvalue(3), semctl(2).
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] without read permission; [`ErrorKind::Gone`].
    #[doc(alias = "sem_getvalue")]
    pub fn states(&self) -> Result<Vec<State>> {
        match &self.0 {
            Inner::Posix(semaphore) => semaphore.state().map(|state| vec![state]),
            Inner::SysV(set) => set.states(),
        }
    }

    /// The value of each semaphore, by its index.
    ///
    /// # Errors
    /// Those of [`Semaphores::states`].
    pub fn values(&self) -> Result<Vec<u32>> {
        match &self.0 {
            Inner::Posix(semaphore) => Ok(vec![semaphore.state()?.value]),
            Inner::SysV(set) => set.values(),
        }
    }

    /// Give each semaphore a value, all at once, and wake the waiters: semctl(2),
    /// SETALL. It cancels every undo in a System V set.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`] if the set has more or fewer semaphores;
    /// [`ErrorKind::Usage`] for a value that is too large, and for more or fewer than
    /// one value for a POSIX semaphore.
    #[doc(alias = "SETALL")]
    pub fn set(&self, values: &[u32]) -> Result<()> {
        match (&self.0, values) {
            (Inner::SysV(set), values) => set.set(values),
            (Inner::Posix(semaphore), [value]) => semaphore.set(*value),
            (Inner::Posix(semaphore), values) => {
                let problem = format!("a POSIX semaphore is one value, and {} were given", values.len());
                Err(Error::new(ErrorKind::Usage, semaphore.label(), problem))
            }
        }
    }
}

impl Semaphores {
    /// Give one semaphore a value, and wake its waiters: semctl(2), SETVAL. It cancels
    /// every undo of this semaphore of a System V set.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`] for an element that the set does not have;
    /// [`ErrorKind::Usage`] for a value that is too large, and for another element than 0
    /// of a POSIX semaphore.
    #[doc(alias = "SETVAL")]
    pub fn set_element(&self, element: u16, value: u32) -> Result<()> {
        match &self.0 {
            Inner::SysV(set) => set.set_element(element, value),
            Inner::Posix(semaphore) if element == 0 => semaphore.set(value),
            Inner::Posix(semaphore) => {
                let problem = "a POSIX semaphore has one element, number 0";
                Err(Error::new(ErrorKind::Usage, semaphore.label(), problem))
            }
        }
    }
}

/// Semaphores go if their values are those that they were made with; a POSIX semaphore
/// if nobody else has it open.
impl Discard for Semaphores {
    fn is_new(&self) -> bool {
        match &self.0 {
            Inner::Posix(semaphore) => semaphore.is_new(),
            Inner::SysV(set) => set.is_new(),
        }
    }

    fn discard(&self) {
        match &self.0 {
            Inner::Posix(semaphore) => semaphore.discard(),
            Inner::SysV(set) => set.discard(),
        }
    }
}

/// Remove semaphores: sem_unlink(3), semctl(2). A process that has a POSIX semaphore
/// open keeps it; whoever waits on a System V set is woken.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Usage`] for an
/// address that no semaphore has.
#[doc(alias = "sem_unlink")]
#[doc(alias = "semctl")]
pub fn remove(address: &Address) -> Result<()> {
    match address.api(Kind::Sem)? {
        Api::Posix(name) => posix::remove(name),
        Api::SysV(sysv) => sysv::remove(sysv),
    }
}
