//! Whether nobody has a POSIX object, in whatever namespace: the kernel's word, for
//! which the object is opened and leased for an instant.

use std::time::Duration;

use super::holders::Backing;
use super::object::Object;
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

/// Ask about an object. Those that are not files, and queues, cannot be asked about.
pub(super) fn ask(object: &Object) -> Alone {
    let (Address::Name(name), Some(backing)) = (&object.address.address, object.backing) else { return Alone::Unknown };
    let entry = match (object.address.kind, name) {
        (Kind::Mq, _) => return Alone::Unknown,
        (Kind::Sem, Name::Posix(name)) => Entry::semaphore(name),
        _ => Entry::new(name),
    };
    let Ok(opened) = entry.and_then(|entry| entry.open(Access::Look)) else { return Alone::Unknown };
    if Backing::of(&opened.stat) != backing {
        return Alone::Unknown;
    }
    let (deadline, mut backoff) = (Deadline::after(Some(LOOKED_AT)), Backoff::short());
    loop {
        match Lease::take(opened.file()) {
            Lease::Alone(_) => return Alone::Yes,
            Lease::Shared if deadline.passed() => return Alone::No,
            Lease::Shared => backoff.sleep(&deadline),
            Lease::Unknown => return Alone::Unknown,
        }
    }
}
