//! What a ring or a lock of this toolkit tells beyond its file.
//!
//! Every live participant holds a byte lock on the object, which the kernel
//! drops with it: what the census of processes cannot see is known all the same.

use std::fs::File;
use std::time::SystemTime;

use crate::address::{Kind, KindAddress};
use crate::ofd::{Bytes, Hold, in_the_way};
use crate::text::printable;
use crate::{lock, ring};

/// What can be said of a ring or a lock.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// Whether anybody takes part, if the object may be read.
    pub in_use: Option<bool>,
    /// Whether its writer or its last holder died without an end, and no name
    /// waits for what a ring holds.
    pub died: Option<bool>,
    /// A word or two for the table.
    pub summary: Option<String>,
    /// How many bytes have gone through a ring since it was made.
    pub position: Option<u64>,
    /// All else, as names and values.
    pub more: Vec<(&'static str, String)>,
}

impl Ours {
    pub(super) fn of(address: &KindAddress, file: &File) -> Self {
        let in_use = in_the_way(file, Hold::Exclusive, Bytes::ALL).ok();
        let ours = match address.kind {
            Kind::Ring => ring::Status::of(&address.address).map(Self::of_ring),
            _ => lock::Status::of_file(file, &address.to_string()).map(|status| Self::of_lock(&status)),
        };
        // Of what cannot be understood the file alone is known.
        Ours { in_use, ..ours.unwrap_or_else(|_| Ours { summary: Some("corrupt".into()), ..Ours::default() }) }
    }

    fn of_ring(status: ring::Status) -> Self {
        let percent = u128::from(status.unread()) * 100 / u128::from(status.capacity.max(1));
        let mut more = vec![
            ("writer", status.writer.as_str().to_owned()),
            ("capacity", status.capacity.to_string()),
            ("generation", status.generation.to_string()),
            ("position", status.position.to_string()),
            ("oldest", status.oldest.to_string()),
        ];
        more.extend(status.readers.iter().map(|reader| {
            let name = reader.name.as_ref().map_or_else(|| "anonymous".to_owned(), |name| printable(name));
            let away = if reader.live { "" } else { " (away)" };
            ("reader", format!("{name}{away}, position {}, lag {}", reader.position, reader.lag))
        }));
        Ours {
            died: Some(status.orphan),
            summary: Some(format!("{percent}% {}", status.writer.as_str())),
            position: Some(status.total),
            more,
            in_use: None,
        }
    }

    fn of_lock(status: &lock::Status) -> Self {
        let waiting = status.waiters.len() + status.sleepers.len();
        let state = status.state.as_str();
        let mut more = vec![("lock", state.to_owned())];
        let age = |since| SystemTime::now().duration_since(since).unwrap_or_default().as_secs();
        // The holder's own word.
        more.extend(
            status.mark.iter().map(|mark| ("marked by", format!("process {}, {} s ago", mark.pid, age(mark.since)))),
        );
        for (name, participants) in
            [("reader", &status.readers), ("waiter", &status.waiters), ("sleeper", &status.sleepers)]
        {
            more.extend(participants.iter().map(|one| (name, format!("process {}, {} s", one.pid, age(one.since)))));
        }
        let summary = if waiting == 0 { state.to_owned() } else { format!("{state}, {waiting} wait") };
        Ours { died: Some(status.orphan), summary: Some(summary), more, ..Ours::default() }
    }

    /// Whether nobody takes part in it, whose writer or holder died.
    pub(super) fn is_orphan(&self) -> bool {
        self.in_use == Some(false) && self.died == Some(true)
    }
}
