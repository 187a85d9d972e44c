//! Removing what was seen: look and removal are one act.
//!
//! An object that was listed may have been opened, or replaced, since. Right before it
//! goes it is therefore compared with what was seen, and judged again. Nothing that can
//! take time comes between.
//!
//! | of | that nobody has it, says |
//! | --- | --- |
//! | a file | a lease, [`Lease`]; where there is none, /proc |
//! | a ring or a lock | also a lock of all its bytes, held while it goes |
//! | a POSIX queue | /proc |
//! | a System V object | the kernel's count; it goes by its identifier |

use std::time::Duration;

use super::holders::Backing;
use super::judge::{Verdict, judge, judge_alone};
use super::object::Object;
use super::signs::Patience;
use super::{find, posix};
use crate::base::address::{Address, Kind, KindAddress, SysV};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::{Backoff, Deadline};
use crate::fs::byte_lock::{LockMode, Range, try_lock};
use crate::fs::entry::{self, Access, Entry, RACES};
use crate::sys::lease::Lease;
use crate::{mq, sem, shm};

/// How long another process may have the file open to look at it.
const LOOKED_AT: Duration = Duration::from_millis(100);

/// How long another process may hold the lock of the object's name. Whoever can open the
/// object can hold it.
const REMOVED: Duration = Duration::from_millis(500);

/// Whether an object may go, by what is known of it now.
#[derive(Clone, Copy)]
pub struct Admit<'a> {
    /// What makes an orphan.
    pub patience: &'a Patience,
    /// The decision, and its reason.
    pub check: &'a dyn Fn(&Object, &Verdict) -> Result<()>,
}

/// Remove an object that was listed or found. `admit` is asked right before, and its
/// error is returned; without it the object goes whoever holds it.
///
/// # Errors
/// [`ErrorKind::Gone`] if the address means another object by now, which is left as it
/// is; [`ErrorKind::Missing`], [`ErrorKind::Denied`].
pub fn remove(seen: &Object, admit: Option<Admit<'_>>) -> Result<()> {
    let KindAddress { kind, address } = &seen.address;
    let removed = match (address, kind) {
        (Address::SysV(_), _) => remove_sysv(seen, admit),
        (Address::Name(_), Kind::Mq) => remove_queue(seen, admit),
        (Address::Name(name), Kind::Sem) => {
            let name = name.posix().ok_or_else(|| kind.refuse(address))?;
            remove_file(seen, &Entry::semaphore(name)?, admit)
        }
        (Address::Name(name), Kind::Shm | Kind::Ring | Kind::Lock) => remove_file(seen, &Entry::new(name)?, admit),
    };
    removed.map_err(|error| Error { object: seen.address.to_string(), ..error })
}

fn replaced(seen: &Object) -> Error {
    Error::new(ErrorKind::Gone, &seen.address, "was replaced meanwhile, and is left as it is")
}

/// By its identifier: the key may mean another object by now.
fn remove_sysv(seen: &Object, admit: Option<Admit<'_>>) -> Result<()> {
    let kind = seen.address.kind;
    let id = seen.id.map(SysV::Id).ok_or_else(|| replaced(seen))?;
    let again = find(&KindAddress { kind, address: Address::SysV(id.clone()) })?;
    let maker = |object: &Object| (object.key, object.creator.map(|creator| (creator.pid, creator.uid)));
    if maker(&again) != maker(seen) {
        return Err(replaced(seen));
    }
    ask(admit, &again)?;
    match kind {
        Kind::Mq => mq::remove(&Address::SysV(id)),
        Kind::Sem => sem::remove(&Address::SysV(id)),
        Kind::Shm | Kind::Ring | Kind::Lock => shm::remove(&Address::SysV(id)),
    }
}

fn remove_queue(seen: &Object, admit: Option<Admit<'_>>) -> Result<()> {
    let again = find(&seen.address)?;
    if again.backing != seen.backing {
        return Err(replaced(seen));
    }
    ask(admit, &again)?;
    mq::remove(&seen.address.address)
}

fn ask(admit: Option<Admit<'_>>, object: &Object) -> Result<()> {
    let Some(admit) = admit else { return Ok(()) };
    let (verdicts, _) = judge(std::slice::from_ref(object), admit.patience);
    verdicts.first().map_or(Ok(()), |verdict| (admit.check)(object, verdict))
}

fn remove_file(seen: &Object, entry: &Entry, admit: Option<Admit<'_>>) -> Result<()> {
    let (patience, mut backoff) = (Deadline::after(Some(REMOVED)), Backoff::short());
    let mut races = 0;
    while races < RACES {
        races += 1;
        match entry.open(Access::Write).or_else(|_| entry.open(Access::Look)) {
            Ok(object) if seen.backing != Some(Backing::of(&object.stat)) => return Err(replaced(seen)),
            Ok(object) => {
                let Some(admit) = admit else { return entry.remove(&object) };
                // Another process of this toolkit removes it, and must find it unopened.
                if object.file().try_lock().is_err() && !patience.passed() {
                    drop(object);
                    backoff.sleep(&patience);
                    races -= 1;
                    continue;
                }
                if remove_unheld(seen, entry, &object, admit)? {
                    return Ok(());
                }
            }
            // Its names and its owner can be known, its content cannot.
            Err(error) if error.kind == ErrorKind::Denied => {
                ask(admit, seen)?;
                let stat = entry.stat()?.filter(|stat| seen.backing == Some(Backing::of(stat)));
                return entry.remove_inode(&stat.ok_or_else(|| replaced(seen))?);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorKind::Failure, entry.label(), "is opened again and again"))
}

/// Whether anybody else has the file. Who has it to look at it is waited for.
pub(super) fn lease(object: &entry::Object) -> Lease<'_> {
    let (deadline, mut backoff) = (Deadline::after(Some(LOOKED_AT)), Backoff::short());
    loop {
        match Lease::take(object.file()) {
            Lease::Shared if !deadline.passed() => backoff.sleep(&deadline),
            other => break other,
        }
    }
}

/// Whether it was removed. False if somebody was about to open it, and has by now.
fn remove_unheld(seen: &Object, entry: &Entry, object: &entry::Object, admit: Admit<'_>) -> Result<bool> {
    let lease = lease(object);
    if matches!(seen.address.kind, Kind::Ring | Kind::Lock) {
        // If it cannot be had, somebody takes part, as the judgement will tell.
        let _ = try_lock(object.file(), LockMode::Exclusive, Range::ALL);
    }
    let again = posix::describe(&seen.address, entry, object)?;
    let Lease::Alone(lease) = lease else {
        ask(Some(admit), &again)?;
        return entry.remove(object).map(|()| true);
    };
    (admit.check)(&again, &judge_alone(&again, admit.patience))?;
    if !lease.is_undisturbed() {
        return Ok(false);
    }
    entry.remove(object).map(|()| true)
}
