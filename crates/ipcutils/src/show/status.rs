//! Rings and locks, as every tool shows them: lines of `name: value`, and JSON.

use std::time::SystemTime;

use libipc::lock::{self, Holder, Participant};
use libipc::ring;
use libipc::text::printable;

use crate::human;

/// The lines of a ring.
pub fn ring_lines(status: &ring::Status) -> Vec<(&'static str, String)> {
    let writers = match (status.many, status.overwrite) {
        (false, false) => "",
        (true, false) => " many",
        (false, true) => " overwrite",
        (true, true) => " many overwrite",
    };
    let mut lines = vec![
        ("capacity", status.capacity.to_string()),
        ("generation", status.generation.to_string()),
        ("writer", format!("{}{writers}", status.writer.as_str())),
        ("position", status.position.to_string()),
        ("oldest", status.oldest.to_string()),
    ];
    lines.extend(status.readers.iter().map(|reader| {
        let state = if reader.live { "live" } else { "away" };
        let name = reader.name.as_ref().map_or_else(String::new, |name| format!(" name={}", printable(name)));
        let lost = if reader.lost > 0 { format!(" lost={}", reader.lost) } else { String::new() };
        ("reader", format!("{state} position={} lag={}{lost}{name}", reader.position, reader.lag))
    }));
    lines
}

/// The lines of a lock. The first, with its state, has the name `state`.
pub fn lock_lines(state: &'static str, status: &lock::Status) -> Vec<(&'static str, String)> {
    let lock = Lock::new(status);
    let mut lines = vec![(state, lock.state.to_owned())];
    let all = [("holder", &lock.holders), ("waiter", &lock.waiters), ("sleeper", &lock.sleepers)];
    let rows = all.iter().flat_map(|(role, who)| who.iter().map(move |who| (*role, who)));
    for (role, who) in rows.chain(lock.died.iter().map(|who| ("died", who))) {
        let ended = if role == "holder" && who.ended == Some(true) { " ended" } else { "" };
        lines.push((role, format!("{} {}{ended}", who.pid, who.since)));
    }
    if lock.more {
        lines.push(("more", "are there than are listed".to_owned()));
    }
    lines
}

/// How full a ring is, and its writer, in a few words.
pub fn ring_summary(status: &ring::Status) -> String {
    let percent = u128::from(status.unread()) * 100 / u128::from(status.capacity.max(1));
    format!("{percent}% {}", status.writer.as_str())
}

/// The state of a lock, and how many wait, in a few words.
pub fn lock_summary(status: &lock::Status) -> String {
    let state = status.state.as_str();
    match status.waiters.len() + status.sleepers.len() {
        0 => state.to_owned(),
        waiting if status.more => format!("{state}, more than {waiting} wait"),
        waiting => format!("{state}, {waiting} wait"),
    }
}

/// A ring as JSON.
#[derive(serde::Serialize)]
pub struct Ring<'a> {
    capacity: u64,
    generation: u32,
    writer: &'a str,
    many: bool,
    overwrite: bool,
    position: u64,
    oldest: u64,
    orphan: bool,
    readers: Vec<Reader>,
}

#[derive(serde::Serialize)]
struct Reader {
    name: Option<String>,
    live: bool,
    position: u64,
    lag: u64,
    lost: u64,
}

impl<'a> Ring<'a> {
    /// The JSON of this ring.
    pub fn new(status: &'a ring::Status) -> Self {
        let ring::Status {
            capacity, generation, writer, many, overwrite, position, oldest, orphan, ref readers, ..
        } = *status;
        let reader = |reader: &ring::ReaderStatus| Reader {
            name: reader.name.as_deref().map(printable),
            live: reader.live,
            position: reader.position,
            lag: reader.lag,
            lost: reader.lost,
        };
        let readers = readers.iter().map(reader).collect();
        Ring { capacity, generation, writer: writer.as_str(), many, overwrite, position, oldest, orphan, readers }
    }
}

/// A lock as JSON.
#[derive(serde::Serialize)]
pub struct Lock {
    state: &'static str,
    holders: Vec<Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    died: Option<Process>,
    waiters: Vec<Process>,
    sleepers: Vec<Process>,
    /// Whether there are more of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

/// A process, as it said itself.
#[derive(serde::Serialize)]
struct Process {
    pid: u32,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<u64>,
    /// Whether it has ended: then its command has the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<bool>,
}

impl Lock {
    /// The JSON of this lock.
    pub fn new(status: &lock::Status) -> Self {
        let participants = |all: &[Participant]| all.iter().map(Process::new).collect();
        let mark = status.mark.as_ref().map(Process::marked);
        let held = status.state == lock::State::Held;
        let (holder, died) = if held { (mark, None) } else { (None, mark) };
        Lock {
            state: status.state.as_str(),
            holders: if held { holder.into_iter().collect() } else { participants(&status.readers) },
            died,
            waiters: participants(&status.waiters),
            sleepers: participants(&status.sleepers),
            more: status.more,
        }
    }
}

impl Process {
    fn new(participant: &Participant) -> Self {
        Process { pid: participant.pid, since: since(participant.since), namespace: None, ended: None }
    }

    fn marked(holder: &Holder) -> Self {
        let namespace = Some(holder.namespace);
        Process { pid: holder.pid, since: since(holder.since), namespace, ended: holder.has_ended() }
    }
}

fn since(at: SystemTime) -> String {
    human::timestamp(at)
}

/// What a tool prints of one object: its address and its status.
#[derive(serde::Serialize)]
pub struct Addressed<T> {
    /// The address.
    pub address: String,
    /// The members of the status, beside the address.
    #[serde(flatten)]
    pub status: T,
}

/// Lines of `name: value`.
pub fn text(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
}
