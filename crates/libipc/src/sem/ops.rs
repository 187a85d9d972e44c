//! What may be done with semaphores at an address, decided before they are opened.

use crate::base::address::{Address, Api, Kind};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::Mode;

/// SEM_VALUE_MAX, the largest value of a POSIX semaphore: sem_overview(7).
pub(super) const LARGEST_POSIX: u32 = i32::MAX as u32;

/// SEMVMX, the largest value of a System V semaphore, which cannot be raised:
/// semop(2).
pub(super) const LARGEST_SYSV: u32 = 32767;

/// Why an operation waits, for messages.
pub(super) const TOO_LITTLE: &str = "has too little to take";

/// One operation on one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The index of the semaphore in its set, from 0 on.
    pub element: u16,
    /// What is added to the value; 0 waits until the value is 0.
    pub change: i16,
    /// Reverse it when this process ends, whatever it executes until then.
    pub undo: bool,
}

/// How [`Semaphores::open`](super::Semaphores::open) opens semaphores.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Make them if they are absent; None if they must exist.
    pub create: Option<Create>,
}

/// How to make semaphores that are absent.
#[derive(Clone, Debug)]
pub struct Create {
    /// Their values, one for each semaphore of the set.
    pub values: Vec<u32>,
    /// They must be absent: [`ErrorKind::Exists`] otherwise.
    pub exclusive: bool,
    /// Permission bits; [`Mode::PRIVATE`] if left out.
    pub mode: Option<Mode>,
}

/// What is known of one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Its value.
    pub value: u32,
    /// How many processes wait for it to grow. Of a POSIX semaphore, waiters that were
    /// killed still count.
    pub waiting: u32,
    /// How many processes wait for it to be zero; System V only.
    pub waiting_for_zero: Option<u32>,
    /// The process that changed it last, or 0; System V only.
    pub last_pid: Option<i32>,
}

/// Operations that the semaphores at an address can perform.
#[derive(Clone, Debug)]
pub struct Ops {
    ops: Vec<Op>,
    posix: bool,
}

impl Ops {
    /// Check operations on the semaphores at this address. `create` tells the size of
    /// a set that they may be made with.
    ///
    /// A POSIX semaphore performs one operation at a time on element 0: it takes one, or
    /// gives some.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for operations that no semaphore there can perform.
    pub fn new(address: &Address, ops: Vec<Op>, create: Option<&Create>) -> Result<Self> {
        let usage = |problem: String, hint| Err(Error::new(ErrorKind::Usage, address, problem).hint(hint));
        match address.api(Kind::Sem)? {
            Api::Posix(_) => {
                let cannot = match ops[..] {
                    [] | [Op { element: 0, change: -1 | 1.., .. }] => return Ok(Ops { ops, posix: true }),
                    [_, _, ..] => "takes one OP at a time, as no call performs several or none",
                    [Op { change: 0, .. }] => "cannot be waited for to be zero, as nobody who takes wakes a waiter",
                    [Op { element: 1.., .. }] => "has one element, number 0",
                    [Op { .. }] => "is taken one at a time, as no call takes several or none",
                };
                usage(format!("a POSIX semaphore {cannot}"), Hint::advice("use a System V set, key:N"))
            }
            Api::SysV(_) => {
                let count = create.map_or(usize::MAX, |create| create.values.len());
                match ops.iter().find(|op| usize::from(op.element) >= count) {
                    Some(op) => {
                        usage(format!("there is no element {} in a set of {count}", op.element), Hint::FromZero)
                    }
                    None => Ok(Ops { ops, posix: false }),
                }
            }
        }
    }

    /// The operations.
    pub fn get(&self) -> &[Op] {
        &self.ops
    }

    /// The operations, for semaphores of this interface.
    pub(super) fn of(&self, posix: bool, label: impl ToString) -> Result<&[Op]> {
        if self.posix == posix {
            return Ok(&self.ops);
        }
        let problem = "the operations were made for semaphores of the other interface";
        Err(Error::new(ErrorKind::Usage, label, problem))
    }
}

/// Check that semaphores at this address can have these values.
///
/// # Errors
/// [`ErrorKind::Usage`] for a value that is too large, several values for a POSIX
/// semaphore, or an address that no semaphore has.
pub fn check_values(address: &Address, values: &[u32]) -> Result<()> {
    let usage =
        |problem: String, advice| Err(Error::new(ErrorKind::Usage, address, problem).hint(Hint::advice(advice)));
    let above = |largest| values.iter().find(|&&value| value > largest);
    match address.api(Kind::Sem)? {
        Api::Posix(name) => {
            name.check_semaphore()?;
            match above(LARGEST_POSIX) {
                Some(value) => usage(format!("{value} is more than {}", LARGEST_POSIX), "choose a smaller value"),
                None if values.len() > 1 => {
                    usage("a POSIX semaphore is one value, and no set".into(), "use a System V set, key:N")
                }
                None => Ok(()),
            }
        }
        Api::SysV(_) => match above(LARGEST_SYSV) {
            Some(value) => usage(format!("{value} is more than a semaphore of System V holds"), "choose at most 32767"),
            None => Ok(()),
        },
    }
}
