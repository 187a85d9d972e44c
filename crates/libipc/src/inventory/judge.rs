//! Who holds each object, and what that makes of it.

use super::holders::{Backing, Holder, Holders};
use super::object::{Creator, Detail, Object, Segment};

/// The judgement on an object, once all processes were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The judgement in a word.
    pub state: State,
    /// The processes that are known to hold it.
    pub holders: Vec<Holder>,
    /// Whether others may hold it.
    pub unseen: Unseen,
}

/// Holders that were not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// There are none.
    None,
    /// This many attachments are of processes that cannot be seen.
    Some(u64),
    /// Whether there are any cannot be known.
    Unknown,
}

/// The state of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody has it open, mapped or attached.
    Held,
    /// No holder is seen, which is no fault: the object may be between two commands,
    /// or its holder cannot be looked at.
    Unheld,
    /// Nobody holds it, and there is evidence that nobody will.
    Orphan,
}

impl State {
    /// The state as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Unheld => "unheld",
            State::Orphan => "orphan",
        }
    }
}

/// Find who holds these objects, with one pass over /proc, and judge each. The
/// verdicts are in the order of the objects.
pub fn judge(objects: &[Object]) -> Vec<Verdict> {
    let mut devices = Vec::new();
    let mut segments = false;
    for object in objects {
        match object.backing {
            Some(Backing::File(device, _)) if !devices.contains(&device) => devices.push(device),
            Some(Backing::Segment(_)) => segments |= attached(object).is_some_and(|attached| attached > 0),
            _ => {}
        }
    }
    let none = devices.is_empty() && !segments;
    let holders = if none { Holders::none() } else { Holders::of_all_processes(&devices, segments) };
    objects.iter().map(|object| verdict(object, &holders)).collect()
}

/// The judgement on an object that nobody else has open, as is known from elsewhere.
pub(super) fn judge_alone(object: &Object) -> Verdict {
    verdict(object, &Holders::none())
}

fn attached(object: &Object) -> Option<u64> {
    match object.detail {
        Detail::Segment(Segment { attached, .. }) => attached,
        _ => None,
    }
}

fn verdict(object: &Object, all: &Holders) -> Verdict {
    let holders = object.backing.map_or(&[][..], |backing| all.of(backing)).to_vec();
    let mut unseen = match (attached(object), object.backing) {
        (Some(attached), _) => {
            let found = holders.iter().map(|holder| holder.mapped).sum();
            match attached.saturating_sub(found) {
                0 => Unseen::None,
                unseen => Unseen::Some(unseen),
            }
        }
        // A System V queue or set is used by number, and held by nobody.
        (None, None) => Unseen::None,
        (None, Some(_)) if all.is_complete() => Unseen::None,
        (None, Some(_)) => Unseen::Unknown,
    };
    // For rings and locks the kernel's byte locks say more than /proc.
    let (by_lock, died) = match &object.detail {
        Detail::Ring(status, in_use) => (*in_use, status.as_ref().is_ok_and(|status| status.orphan)),
        Detail::Lock(status, in_use) => (*in_use, status.as_ref().is_ok_and(|status| status.orphan)),
        _ => (None, false),
    };
    if by_lock == Some(true) && holders.is_empty() {
        unseen = Unseen::Unknown;
    }
    let held = by_lock == Some(true) || !holders.is_empty() || matches!(unseen, Unseen::Some(_));
    let state = match &object.detail {
        _ if held => State::Held,
        Detail::Ring(..) | Detail::Lock(..) if by_lock == Some(false) && died => State::Orphan,
        Detail::Segment(Segment { leftover: true, .. }) => State::Orphan,
        Detail::Segment(Segment { removed: false, last_pid: Some(last), .. }) if is_abandoned(object, *last) => {
            State::Orphan
        }
        _ => State::Unheld,
    };
    Verdict { state, holders, unseen }
}

/// Whether a System V segment that nobody has attached was left behind: its
/// creator has ended, and this toolkit has not filled it.
///
/// A segment that this toolkit has filled was attached, and the last process to detach
/// it was not its creator: see `shm::sysv`.
fn is_abandoned(object: &Object, last: i32) -> bool {
    let Some(Creator { pid: Some(pid), gone: Some(true), .. }) = object.creator else { return false };
    last == 0 || last == pid
}
