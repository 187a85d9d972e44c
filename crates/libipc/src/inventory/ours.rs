//! What a ring or a lock of this toolkit tells beyond its file.
//!
//! Every live participant holds a byte lock on the object, which the kernel
//! drops with it: what the census of processes cannot see is known all the same.

use std::fs::File;

use crate::address::Kind;
use crate::ofd::{Bytes, Hold, in_the_way};

/// What can be said of a ring or a lock.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// Whether anybody takes part, if the object may be read.
    pub in_use: Option<bool>,
    /// Whether its writer or its last holder died without an end.
    pub died: Option<bool>,
    /// A word or two for the table.
    pub summary: Option<String>,
    /// How many bytes have gone through a ring since it was made.
    pub position: Option<u64>,
    /// All else, as names and values.
    pub more: Vec<(&'static str, String)>,
}

impl Ours {
    pub(super) fn of(_kind: Kind, file: &File) -> Self {
        Ours { in_use: in_the_way(file, Hold::Exclusive, Bytes::ALL).ok(), ..Ours::default() }
    }

    /// Whether nobody takes part in it, whose writer or holder died.
    pub(super) fn is_orphan(&self) -> bool {
        self.in_use == Some(false) && self.died == Some(true)
    }
}
