//! Streams through shared memory: a ring is a named pipe made of it, with
//! several readers, each of which sees every byte.
//!
//! | who | what |
//! | --- | --- |
//! | [`Writer`] | makes the ring, copies into it or appends records, marks the end |
//! | [`Reader`] | takes a slot, copies out of it, keeps its position |
//! | [`Status`] | what there is, for whoever may read the object |
//! | [`close`], [`forget`] | the end of a stream of many writers, of a reader's name |
//!
//! The object's layout is in ipcutils-ring(5). Nobody's death leaves it
//! unusable: who lives is told by locks that the kernel holds, and what was
//! committed by one store.

mod algorithm;
mod begin;
#[cfg(test)]
mod complete;
mod fill;
#[cfg(test)]
mod fuzz;
mod handle;
mod layout;
mod mapped;
#[cfg(test)]
mod model;
mod pass;
mod reader;
mod slots;
mod status;
mod writer;

pub use reader::{From, Read, Reader};
pub use slots::forget;
pub use status::{Attached, Condition, Status};
pub use writer::{Begin, Write, Writer, close};

use crate::address::Address;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::shm;

/// The smallest ring that is made, in bytes: a page.
pub const SMALLEST: u64 = 4096;
/// The longest name of a reader in bytes.
pub const LONGEST_NAME: usize = layout::LONGEST_NAME;

/// The name behind a ring's address.
fn entry(address: &Address) -> Result<Entry> {
    if let Address::SysV(sysv) = address {
        let what = "a ring is /name or file:PATH, never a System V object";
        return Err(Error::new(ErrorKind::Usage, sysv, what));
    }
    shm::entry(address)
}
