//! What exists, and who holds it: every kind of object in one list.
//!
//! Three steps, each linear: objects are listed ([`list`]) or found by their
//! addresses ([`find`]); one pass over /proc tells who holds which, and each is
//! judged ([`judge()`]). A judgement is a value of its own: no object has a state
//! before. Nothing is opened for more than a look, nothing is changed, and objects
//! that vanish meanwhile are left out.
//!
//! Two further steps are for one object each: [`remove`], and [`change()`] of owner, mode
//! and size.
//!
//! [An example](crate#the-inventory).

mod alone;
mod change;
mod filter;
mod holders;
mod judge;
pub mod limits;
mod lives;
mod object;
mod posix;
mod removal;
mod signs;
pub mod space;
mod sysv;
mod turns;
pub mod users;
mod waits;

pub use change::{Changes, change};
pub use filter::{Filter, Pattern};
pub use holders::{Hidden, Holder, Unseen};
pub use judge::{State, Verdict, judge};
pub use lives::program;
pub use object::{Creator, Detail, Object, Queue, Segment, Semaphores, Times};
pub use removal::{Admit, remove};
pub use signs::{Patience, Sign, Weight};
pub use waits::{Call, Waiter};

use crate::base::address::{Address, Kind, KindAddress, Name};
use crate::base::error::{Error, Result};

/// Every object of these kinds, of System V or of POSIX alone if `sysv` says so, and the
/// errors of what could not be listed: /dev/shm, /dev/mqueue, /proc/sysvipc.
pub fn list(kinds: &[Kind], sysv: Option<bool>) -> (Vec<Object>, Vec<Error>) {
    let mut objects = Vec::new();
    let mut failures = Vec::new();
    let wants = |kind| kinds.contains(&kind);
    if sysv != Some(true) {
        if [Kind::Shm, Kind::Ring, Kind::Lock, Kind::Sem].into_iter().any(wants) {
            posix::in_shm_dir(&mut objects);
        }
        if wants(Kind::Mq) {
            failures.extend(posix::queues(&mut objects).err());
        }
    }
    if sysv != Some(false) {
        if wants(Kind::Shm) {
            sysv::segments(&mut objects, None);
        }
        if wants(Kind::Mq) {
            sysv::queues(&mut objects, None);
        }
        if wants(Kind::Sem) {
            sysv::sets(&mut objects, None);
        }
    }
    objects.retain(|object| wants(object.address.kind));
    (objects, failures)
}

/// Sort by kind, then POSIX by name and System V as the kernel has them.
pub fn sort(objects: &mut [Object]) {
    let place = |kind| Kind::ALL.iter().position(|other| *other == kind);
    objects.sort_by_cached_key(|object| {
        let name = if object.is_sysv() { Vec::new() } else { object.address.to_bytes() };
        (place(object.address.kind), object.is_sysv(), name)
    });
}

/// The object at this address.
///
/// # Errors
/// [`Missing`](crate::ErrorKind::Missing); [`Unexpected`](crate::ErrorKind::Unexpected)
/// if it is of another kind. The error's object has the kind in front.
pub fn find(wanted: &KindAddress) -> Result<Object> {
    let KindAddress { kind, address } = wanted;
    let found = match (address, kind) {
        (Address::SysV(sysv), kind) => sysv::find(*kind, sysv),
        (Address::Name(Name::Posix(name)), Kind::Mq) => posix::find_queue(name),
        (Address::Name(Name::Posix(name)), Kind::Sem) => posix::find_semaphore(name),
        (Address::Name(name), kind) => posix::find(*kind, name),
    };
    found.map_err(|error| Error { object: format!("{}:{}", kind.as_str(), error.object), ..error })
}

/// The objects at these addresses, each judged, with one pass over /proc. The results
/// are in the order of the addresses; their errors are those of [`find`].
pub fn find_all(wanted: &[KindAddress], patience: &Patience) -> Vec<Result<(Object, Verdict)>> {
    let mut objects = Vec::new();
    let found: Vec<Result<()>> = wanted.iter().map(|wanted| find(wanted).map(|object| objects.push(object))).collect();
    let (verdicts, _) = judge(&objects, patience);
    let mut judged = objects.into_iter().zip(verdicts);
    found
        .into_iter()
        .map(|found| found.and_then(|()| judged.next().ok_or_else(|| object::missing("the object"))))
        .collect()
}
