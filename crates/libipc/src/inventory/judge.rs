//! Who holds each object and who waits for it, and what that makes of it.

use std::time::Duration;

use super::alone::{self, Alone};
use super::holders::{Backing, Hidden, Holder, Holders, Unseen, all_pids};
use super::lives::Lives;
use super::object::{Detail, Object, Segment};
use super::signs::{Patience, Sign, Signs, are_of_an_orphan};
use super::turns::Turns;
use super::waits::{Subject, Waiter, Waits};
use crate::base::address::Kind;
use crate::base::wait::Deadline;

/// The judgement on an object, once all processes were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The judgement in a word.
    pub state: State,
    /// The processes that are known to hold it.
    pub holders: Vec<Holder>,
    /// Whether others may hold it.
    pub unseen: Unseen,
    /// The processes that are known to wait for it.
    pub waiters: Vec<Waiter>,
    /// How many processes wait for it, if that can be known.
    pub waiting: Option<u64>,
    /// What speaks for it being left over, and what against.
    pub signs: Vec<Sign>,
}

/// The state of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody has it open, mapped or attached, or waits for it.
    InUse,
    /// A tool of this toolkit is making its content.
    Filling,
    /// No holder is seen, which is no fault: the object may be between two commands,
    /// or its holder cannot be looked at.
    Idle,
    /// A lock whose holder died inside, or a ring whose writer died before the end, and
    /// nobody takes part: the next one is told.
    Died,
    /// Nobody holds it, and there are signs that nobody will.
    Orphan,
}

impl State {
    /// The state as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::InUse => "in-use",
            State::Filling => "filling",
            State::Idle => "idle",
            State::Died => "died",
            State::Orphan => "orphan",
        }
    }

    /// Whether somebody has the object, or waits for it.
    pub fn is_busy(self) -> bool {
        matches!(self, State::InUse | State::Filling)
    }
}

/// How long to ask the kernel for numbers of semaphores.
const COUNTING: Duration = Duration::from_secs(2);

/// Find who holds these objects and who waits for them, with one pass over /proc, and
/// judge each. The verdicts are in the order of the objects. The second value tells who
/// could not be looked at.
pub fn judge(objects: &[Object], patience: &Patience) -> (Vec<Verdict>, Hidden) {
    let mut devices = Vec::new();
    let (mut segments, mut queues) = (false, false);
    for object in objects {
        match object.backing {
            Some(Backing::File(device, _)) if !devices.contains(&device) => devices.push(device),
            Some(Backing::Segment(_)) => segments |= attached(object).is_some_and(|attached| attached > 0),
            Some(Backing::File(..)) => {}
            None => queues |= object.address.kind == Kind::Mq,
        }
    }
    let counting = Deadline::after(Some(COUNTING));
    let counts: Vec<Option<u64>> = objects.iter().map(|object| counted(object, &counting)).collect();
    let sets = objects.iter().zip(&counts).any(|(object, count)| is_set(object) && *count != Some(0));
    let mut seen = Seen::default();
    if !devices.is_empty() || segments || queues || sets {
        let mut turns = Turns::new();
        let Some(pids) = all_pids() else {
            seen.holders.hidden.elsewhere = true;
            return (seen.verdicts(objects, &counts, patience), seen.holders.hidden);
        };
        if !devices.is_empty() || segments {
            seen.holders = Holders::of(&pids, &devices, segments, &mut turns);
        }
        seen.waits = if queues || sets {
            Waits::of(&pids, &mut turns)
        } else {
            Waits::of(&seen.holders.pids(objects.iter().filter_map(|object| object.backing)), &mut turns)
        };
        seen.holders.hide(&seen.waits.unread);
    }
    (seen.verdicts(objects, &counts, patience), seen.holders.hidden)
}

/// The judgement on an object that nobody else has open, as is known from elsewhere.
pub(super) fn judge_alone(object: &Object, patience: &Patience) -> Verdict {
    let count = counted(object, &Deadline::after(Some(COUNTING)));
    Seen::default().verdict(object, count, patience, &mut Lives::default())
}

fn attached(object: &Object) -> Option<u64> {
    match object.detail {
        Detail::Segment(Segment { attached, .. }) => attached,
        _ => None,
    }
}

fn is_set(object: &Object) -> bool {
    object.is_sysv() && object.address.kind == Kind::Sem
}

/// How many wait for a System V set, which the kernel counts.
fn counted(object: &Object, deadline: &Deadline) -> Option<u64> {
    if !is_set(object) || deadline.passed() {
        return None;
    }
    Some(object.waiting()?.into_iter().map(|(more, zero)| more + zero).sum())
}

/// What a pass over /proc has found.
#[derive(Debug, Default)]
struct Seen {
    holders: Holders,
    waits: Waits,
}

impl Seen {
    fn verdicts(&self, objects: &[Object], counts: &[Option<u64>], patience: &Patience) -> Vec<Verdict> {
        let mut lives = Lives::default();
        objects.iter().zip(counts).map(|(object, count)| self.verdict(object, *count, patience, &mut lives)).collect()
    }

    fn verdict(&self, object: &Object, count: Option<u64>, patience: &Patience, lives: &mut Lives) -> Verdict {
        let holders = object.backing.map_or(&[][..], |backing| self.holders.holding(backing)).to_vec();
        let (waiters, waiting) = self.waiting(object, count);
        // For rings and locks the kernel's byte locks say more than /proc.
        let (by_lock, died) = match &object.detail {
            Detail::Ring(status, in_use) => (*in_use, status.as_ref().is_ok_and(|status| status.orphan)),
            Detail::Lock(status, in_use) => (*in_use, status.as_ref().is_ok_and(|status| status.orphan)),
            _ => (None, false),
        };
        let mut unseen = self.unseen(object, &holders);
        if by_lock == Some(true) && holders.is_empty() {
            unseen = Unseen::Unknown;
        }
        let old = || object.age() >= patience.age;
        if unseen == Unseen::Unknown && holders.is_empty() && by_lock != Some(true) && old() {
            unseen = match alone::ask(object) {
                Alone::Yes => Unseen::None,
                Alone::No | Alone::Unknown => Unseen::Unknown,
            };
        }
        let busy = by_lock == Some(true)
            || !holders.is_empty()
            || matches!(unseen, Unseen::Some(_))
            || !waiters.is_empty()
            || waiting.is_some_and(|waiting| waiting > 0);
        let signs = Signs::new(patience, lives).of(object, &holders, unseen, waiting);
        let state = match &object.detail {
            Detail::Segment(Segment { filling: true, .. }) => State::Filling,
            _ if busy => State::InUse,
            Detail::Ring(..) | Detail::Lock(..) if by_lock == Some(false) && died => State::Died,
            _ if are_of_an_orphan(&signs) => State::Orphan,
            _ => State::Idle,
        };
        Verdict { state, holders, unseen, waiters, waiting, signs }
    }

    fn unseen(&self, object: &Object, holders: &[Holder]) -> Unseen {
        match (attached(object), object.backing) {
            (Some(attached), _) => {
                let found = holders.iter().map(|holder| holder.mapped).sum();
                match attached.saturating_sub(found) {
                    0 => Unseen::None,
                    unseen => Unseen::Some(unseen),
                }
            }
            // A System V queue or set is used by number, and held by nobody.
            (None, None) => Unseen::None,
            (None, Some(_)) if self.holders.hidden.is_nobody() => Unseen::None,
            (None, Some(_)) => Unseen::Unknown,
        }
    }

    /// Who waits for an object, and how many in all, if that can be known.
    fn waiting(&self, object: &Object, count: Option<u64>) -> (Vec<Waiter>, Option<u64>) {
        let subject = match (object.backing, object.id, object.address.kind) {
            (Some(backing), ..) => Subject::Held(backing),
            (None, Some(id), Kind::Sem) => Subject::Set(id),
            (None, Some(id), _) => Subject::Queue(id),
            (None, None, _) => return (Vec::new(), None),
        };
        let waiters = self.waits.on(subject).to_vec();
        let found = waiters.len() as u64;
        let everybody = self.holders.hidden.is_nobody();
        let waiting = if is_set(object) { count } else { (everybody || found > 0).then_some(found) };
        (waiters, waiting)
    }
}
