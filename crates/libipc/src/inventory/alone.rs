//! Whether nobody has a POSIX object, in whatever namespace: the kernel's word, for
//! which the object is opened and leased for an instant.

use std::os::fd::AsFd;
use std::time::Duration;

use super::holders::Backing;
use super::object::Object;
use super::posix;
use crate::base::address::{Address, Kind, Name};
use crate::base::wait::{Backoff, Deadline};
use crate::fs::entry::{Access, Entry};
use crate::sys::lease::Lease;

/// How long another process may have the file open to look at it.
const LOOKED_AT: Duration = Duration::from_millis(20);

pub(super) enum Alone {
    /// Nobody else has it.
    Yes,
    /// Somebody has it.
    No,
    /// The kernel does not say.
    Unknown,
}

/// Ask about an object. Those of System V are no files, and cannot be asked about.
pub(super) fn ask(object: &Object) -> Alone {
    let Address::Name(name) = &object.address.address else { return Alone::Unknown };
    let entry = match (object.address.kind, name) {
        (Kind::Mq, Name::Posix(name)) => {
            let opened = posix::open_queue(name.as_os_str());
            return opened.map_or(Alone::Unknown, |(queue, stat)| leased(&queue, posix::backing(&stat), object));
        }
        (Kind::Sem, Name::Posix(name)) => Entry::semaphore(name),
        _ => Entry::new(name),
    };
    let opened = entry.and_then(|entry| entry.open(Access::Look));
    opened.map_or(Alone::Unknown, |opened| leased(opened.file(), Backing::of(&opened.stat), object))
}

fn leased(opened: &impl AsFd, backing: Backing, object: &Object) -> Alone {
    if object.backing != Some(backing) {
        return Alone::Unknown;
    }
    let (deadline, mut backoff) = (Deadline::after(Some(LOOKED_AT)), Backoff::short());
    loop {
        match Lease::take(opened) {
            Lease::Alone(_) => return Alone::Yes,
            Lease::Shared if deadline.passed() => return Alone::No,
            Lease::Shared => backoff.sleep(&deadline),
            Lease::Unknown => return Alone::Unknown,
        }
    }
}
