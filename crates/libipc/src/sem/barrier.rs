//! Barriers: N processes arrive, and N go on.
//!
//! Both interfaces work alike. The kernel keeps who has arrived, and forgets it when a
//! process ends: an undo of System V, or a byte lock of the semaphore's file. The last
//! one to arrive makes as many tickets as are needed. Each process takes a ticket and
//! goes. A new round begins when there is no ticket left.
//!
//! A process that dies between the two leaves its ticket, so that there are more tickets
//! than processes. At no other time is that so: whoever wants to arrive sees it, and
//! removes what is too much.

use std::time::Duration;

use super::ops::LARGEST_SYSV;
use super::posix::Semaphore;
use super::sysv::{NOWAIT, Set, UNDO, replace, sembuf_of};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::{Deadline, Timeout, Wait};
use crate::fs::byte_lock::{self, LockMode, Range};

/// Why a process waits, for messages.
const MISSING: &str = "not all have arrived";
const LEAVING: &str = "the others have not left yet";

/// How often a process that wants to arrive looks for tickets of the dead.
const LOOK: Duration = Duration::from_secs(1);

/// The byte that is locked for a change.
const MUTEX: Range = Range::at((1 << 62) - 1);
/// One of these bytes is locked by each process that has arrived.
const ARRIVED: Range = Range { start: 1 << 62, len: 1 << 61 };

/// Bytes that are locked until this is dropped.
struct Held<'s>(&'s Semaphore, Range);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = byte_lock::unlock(self.0.object.file(), self.1);
    }
}

pub(super) fn posix(semaphore: &Semaphore, count: u16, wait: &mut Wait) -> Result<()> {
    let place = loop {
        let changing = change(semaphore, wait)?;
        let mut tickets = semaphore.value();
        if tickets > 0 {
            let waiting = arrived(semaphore, usize::from(count))?;
            if tickets > waiting {
                semaphore.store(waiting)?;
                tickets = waiting;
            }
        }
        if tickets == 0 {
            let place = arrive(semaphore)?;
            if arrived(semaphore, usize::from(count))? + 1 >= u32::from(count) {
                semaphore.store(count.into())?;
            }
            break place;
        }
        drop(changing);
        wait.proceed(semaphore.label(), LEAVING)?;
        semaphore.sleep_while(tickets, &wait.deadline())?;
    };
    loop {
        let changing = change(semaphore, wait)?;
        let tickets = semaphore.value();
        if tickets > 0 {
            drop(place);
            return semaphore.store(tickets - 1);
        }
        if let Err(error) = wait.proceed(semaphore.label(), MISSING) {
            // Before anybody can count us.
            drop(place);
            return Err(error);
        }
        drop(changing);
        semaphore.sleep_while(0, &wait.deadline())?;
    }
}

/// Wait until nobody else changes the barrier, which lasts for a few calls.
fn change<'s>(semaphore: &'s Semaphore, wait: &mut Wait) -> Result<Held<'s>> {
    let patience = match wait.remaining() {
        Timeout::Never => Timeout::Never,
        Timeout::Now => Timeout::After(LOOK),
        Timeout::After(left) => Timeout::After(left.max(LOOK)),
    };
    let (file, label) = (semaphore.object.file(), semaphore.label());
    byte_lock::lock(file, LockMode::Exclusive, MUTEX, label, MISSING, &mut Wait::new(patience))?;
    Ok(Held(semaphore, MUTEX))
}

/// How many others have arrived, at most `most`.
fn arrived(semaphore: &Semaphore, most: usize) -> Result<u32> {
    let others = byte_lock::others(semaphore.object.file(), ARRIVED, most, &Deadline::after(None));
    Ok(others.map_err(|errno| Error::errno(semaphore.label(), errno))?.ranges.len() as u32)
}

/// Lock a byte that nobody else has, chosen by chance: process numbers are not unique
/// across namespaces.
fn arrive(semaphore: &Semaphore) -> Result<Held<'_>> {
    let failed = |errno| Error::errno(semaphore.label(), errno);
    loop {
        let chance =
            getrandom::u64().map_err(|error| Error::new(ErrorKind::Failure, semaphore.label(), error.to_string()))?;
        let range = Range::at(ARRIVED.start + chance.cast_signed().rem_euclid(ARRIVED.len));
        if byte_lock::try_lock(semaphore.object.file(), LockMode::Exclusive, range).map_err(failed)? {
            return Ok(Held(semaphore, range));
        }
    }
}

/// The elements of a set: how many have arrived, and the tickets.
const ARRIVALS: u16 = 0;
const TICKETS: u16 = 1;

pub(super) fn sysv(set: &Set, count: u16, wait: &mut Wait) -> Result<()> {
    let elements = set.count()?;
    if elements < 2 || u32::from(count) > LARGEST_SYSV {
        let problem = format!("a barrier for {count} needs a set of 2 elements, this one has {elements}");
        return Err(Error::new(ErrorKind::Unexpected, &set.address, problem));
    }
    let label = set.address.to_string();
    let count = count.cast_signed();
    let no_ticket = sembuf_of(TICKETS, 0, 0);
    let arrive = [no_ticket, sembuf_of(ARRIVALS, 1, UNDO)];
    if !set.try_now(&arrive)? {
        loop {
            remove_tickets_of_the_dead(set)?;
            // With no time left this is one more look.
            if set.try_for(&arrive, wait.deadline().at_most(LOOK))? {
                break;
            }
            wait.proceed(&label, LEAVING)?;
        }
    }
    // Only the last one finds that many.
    let open = [
        sembuf_of(TICKETS, 0, NOWAIT),
        sembuf_of(ARRIVALS, -count, NOWAIT),
        sembuf_of(ARRIVALS, count, 0),
        sembuf_of(TICKETS, count, 0),
    ];
    set.try_now(&open)?;
    let leave = [sembuf_of(TICKETS, -1, 0), sembuf_of(ARRIVALS, -1, UNDO)];
    let withdraw = [no_ticket, sembuf_of(ARRIVALS, -1, UNDO)];
    loop {
        if set.try_for(&leave, wait.deadline().at_most(LOOK))? {
            return Ok(());
        }
        if let Err(error) = wait.proceed(&label, MISSING) {
            // A ticket that came in between is taken.
            if set.try_now(&withdraw)? {
                return Err(error);
            }
        }
    }
}

/// Make the tickets as many as the processes that have arrived, if there are more. The
/// call is possible only for the two numbers that were seen.
fn remove_tickets_of_the_dead(set: &Set) -> Result<()> {
    let values = match set.values() {
        Err(error) if error.kind == ErrorKind::Denied => return Ok(()),
        values => values?,
    };
    let [arrived, tickets, ..] = values[..] else { return Ok(()) };
    if tickets > arrived {
        set.try_now(&[replace(ARRIVALS, arrived, arrived), replace(TICKETS, tickets, arrived)].concat())?;
    }
    Ok(())
}
