//! Semaphores: one [`Semaphores`] over both interfaces.
//!
//! | verb | POSIX | System V |
//! | --- | --- | --- |
//! | [`Semaphores::open`] | sem_open(3) | semget(2) |
//! | [`Semaphores::perform`] | sem_wait(3), sem_post(3) | semop(2) |
//! | [`Semaphores::hold`], undone when the process ends | a guardian, [`posix`] | SEM_UNDO |
//! | [`Semaphores::states`] | sem_getvalue(3) | semctl(2) |
//! | [`Semaphores::set`] | one by one | semctl(2), SETALL |
//! | removal | [`posix::remove`] | [`sysv::remove`] |

use crate::address::{Address, PosixName};
use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::wait::Patience;

mod guardian;
pub mod posix;
pub mod sysv;

/// One operation on one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// Which of the set.
    pub element: u16,
    /// What is added; 0 waits until the value is 0.
    pub change: i16,
}

/// How to make semaphores that are absent.
#[derive(Clone, Debug)]
pub struct Create {
    /// Their values.
    pub values: Vec<u32>,
    /// They must be absent.
    pub exclusive: bool,
    /// Permission bits before the umask; [`Mode::PRIVATE`] if left out.
    pub mode: Option<Mode>,
}

/// What is known of one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Its value.
    pub value: u32,
    /// How many wait for it to grow; of a POSIX one, those who were killed count.
    pub waiting: u32,
    /// How many wait for it to be zero; System V alone.
    pub waiting_for_zero: Option<u32>,
    /// The process that changed it last, or 0; System V alone.
    pub last: Option<i32>,
}

/// A System V set, or the single POSIX semaphore.
#[derive(Debug)]
pub enum Semaphores {
    /// sem_overview(7).
    Posix(Box<posix::Semaphore>),
    /// sysvipc(7).
    SysV(sysv::Set),
}

/// Refuse, before anything is done, what no semaphore at this address can do.
///
/// # Errors
/// [`ErrorKind::Usage`].
pub fn check(address: &Address, values: &[u32], ops: &[Op]) -> Result<()> {
    let usage = |what: String, mend: &str| Err(Error::new(ErrorKind::Usage, address, what).mend(mend));
    let of = |limit| values.iter().find(|&&value| value > limit);
    match address {
        Address::File(_) => usage("no semaphore is a file".into(), "say /name, key:N, id:N or ftok:PATH[:PROJ]"),
        Address::Posix(name) => {
            name.clone().for_semaphore()?;
            let cannot = match ops {
                _ if values.len() > 1 => "is one value, and no set",
                _ if ops.len() > 1 => "takes one OP at a time",
                [Op { change: 0, .. }] => "cannot be waited for to be zero",
                [Op { element: 1.., .. }] => "has one element, number 0",
                [Op { change, .. }] if change.abs() != 1 => "is taken and given one at a time",
                _ => "",
            };
            match of(posix::LARGEST) {
                Some(value) => usage(format!("{value} is more than {}", posix::LARGEST), "choose a smaller value"),
                None if cannot.is_empty() => Ok(()),
                None => usage(format!("a POSIX semaphore {cannot}"), "use a System V set, key:N"),
            }
        }
        Address::SysV(_) => match of(sysv::LARGEST) {
            Some(value) => usage(format!("{value} is more than a semaphore of System V holds"), "choose at most 32767"),
            None => match ops.iter().find(|op| usize::from(op.element) >= values.len() && !values.is_empty()) {
                Some(op) => usage(
                    format!("there is no element {} in a set of {}", op.element, values.len()),
                    "they are counted from 0",
                ),
                None => Ok(()),
            },
        },
    }
}

impl Semaphores {
    /// Open them to be operated on; make them first if they are absent and
    /// `create` is given. What [`check`] refuses must not come here.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Exists`], [`ErrorKind::Denied`];
    /// [`ErrorKind::NoRoom`] names the limit that was hit;
    /// [`ErrorKind::Unexpected`] for a set that nobody initialises.
    pub fn open(address: &Address, create: Option<&Create>, patience: &mut Patience) -> Result<Self> {
        match address {
            Address::SysV(sysv) => sysv::Set::open(sysv, create, patience).map(Semaphores::SysV),
            _ => posix::Semaphore::open(name(address)?, create).map(Box::new).map(Semaphores::Posix),
        }
    }

    /// Open them to be looked at.
    pub fn look(address: &Address) -> Result<Self> {
        match address {
            Address::SysV(_) => Self::open(address, None, &mut Patience::new(crate::wait::Limit::Nonblock)),
            _ => posix::Semaphore::look(name(address)?).map(Box::new).map(Semaphores::Posix),
        }
    }

    /// Perform all of the operations at once, or none.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] or [`ErrorKind::TimedOut`] if they cannot be performed
    /// in time; [`ErrorKind::Gone`] if the semaphores are removed meanwhile;
    /// [`ErrorKind::NoRoom`] if a value would become too large.
    pub fn perform(&self, ops: &[Op], patience: &mut Patience) -> Result<()> {
        match self {
            Semaphores::Posix(semaphore) => ops.iter().try_for_each(|op| semaphore.perform(*op, patience)),
            Semaphores::SysV(set) => set.perform(ops, false, patience),
        }
    }

    /// The same, undone when this process ends, also after exec. The process must
    /// have one thread.
    pub fn hold(&self, ops: &[Op], patience: &mut Patience) -> Result<()> {
        match self {
            Semaphores::Posix(semaphore) => ops.iter().try_for_each(|op| guardian::hold(semaphore, *op, patience)),
            Semaphores::SysV(set) => set.perform(ops, true, patience),
        }
    }

    /// What is known of each.
    pub fn states(&self) -> Result<Vec<State>> {
        match self {
            Semaphores::Posix(semaphore) => semaphore.state().map(|state| vec![state]),
            Semaphores::SysV(set) => set.states(),
        }
    }

    /// The values alone.
    pub fn values(&self) -> Result<Vec<u32>> {
        match self {
            Semaphores::Posix(semaphore) => Ok(vec![semaphore.state()?.value]),
            Semaphores::SysV(set) => set.values(),
        }
    }

    /// Give them these values.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`] if there are more or fewer of them.
    pub fn set(&self, values: &[u32]) -> Result<()> {
        match self {
            Semaphores::Posix(semaphore) => values.iter().try_for_each(|&value| semaphore.set(value)),
            Semaphores::SysV(set) => set.set(values),
        }
    }
}

fn name(address: &Address) -> Result<&PosixName> {
    match address {
        Address::Posix(name) => Ok(name),
        _ => Err(Error::new(ErrorKind::Usage, address, "is no POSIX name")),
    }
}
