//! Streams through shared memory. A ring is like a named pipe with several readers,
//! each of which gets every byte.
//!
//! | who | what |
//! | --- | --- |
//! | [`Writer`] | makes the ring, copies into it or appends records, marks the end |
//! | [`Reader`] | takes a slot, copies out of it, keeps its position |
//! | [`Status`] | what there is, for whoever may read the object |
//! | [`end`], [`forget`] | the end of a stream of many writers, of a reader's name |
//! | [`remove`] | unlink(2) |
//!
//! The object's layout is in ipcutils-ring(5). No death leaves it unusable: locks that
//! the kernel holds tell who lives, and a single store commits.
//!
//! [An example](crate#rings).
//!
//! | layer | modules |
//! | --- | --- |
//! | the two ends | `writer`, `reader`, `status` |
//! | what they share | `slots`, `away`, `arrival`, `waiting`, over `handle`, the open object |
//! | the protocol | `algorithm`, generic over its memory; `layout` |
//! | its proofs | `tests/model` and `tests/exhaustive` (loom), `tests/mutation` |

mod algorithm;
mod arrival;
mod away;
mod check;
mod framing;
mod handle;
mod layout;
mod options;
mod reader;
mod slots;
mod status;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

pub use framing::Framing;
pub use options::{OnUnfinished, ReadOptions, StartAt, WriteOptions};
pub use reader::{Output, Reader};
pub use slots::forget;
pub use status::{ReaderStatus, Status, StreamState};
pub use writer::{Writer, end};

use crate::base::address::{Address, Kind};
use crate::base::error::Result;
use crate::fs::kind;

/// The smallest ring that should be made, in bytes: a page.
pub const SMALLEST: u64 = 4096;
/// The longest name of a reader in bytes.
pub const LONGEST_NAME: usize = layout::LONGEST_NAME;

/// Remove a ring: unlink(2). Its ends keep the object, and notice within a second.
///
/// # Errors
/// [`Missing`](crate::ErrorKind::Missing), [`Denied`](crate::ErrorKind::Denied);
/// [`Unexpected`](crate::ErrorKind::Unexpected) for an object of another kind.
pub fn remove(address: &Address) -> Result<()> {
    let entry = handle::entry(address)?;
    kind::remove(&entry, Kind::Ring)
}
