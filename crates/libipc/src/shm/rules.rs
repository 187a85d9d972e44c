//! The rules of whole segments that both interfaces obey: how one is put, whose
//! object may be written, and what fits.

use crate::base::address::Kind;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::mode::Mode;
use crate::base::owner::{Owners, belongs_to};

/// How [`put`](super::put) makes a segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct PutOptions {
    /// Create only: an existing object is [`ErrorKind::Exists`].
    pub exclusive: bool,
    /// The size in bytes; what the input does not fill is zero.
    pub size: Option<u64>,
    /// Permission bits; [`Mode::PRIVATE`], or those of the object that is replaced, if
    /// left out.
    pub mode: Option<Mode>,
    /// Replace an object of another user, too.
    pub foreign: bool,
}

/// How [`Segment::open`](super::Segment::open) opens a segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Wait for the segment to exist, and to be filled. Without it, and whatever
    /// the timeout, a missing segment is [`ErrorKind::Missing`] and one that is
    /// being filled [`ErrorKind::Busy`].
    pub wait: bool,
    /// Wait until it has at least as many bytes.
    pub size: Option<u64>,
    /// Wait for the next change of a named segment: it is made, replaced or written.
    /// Stores through a mapping are not seen.
    pub changed: bool,
    /// Read a ring or a lock, too.
    pub raw: bool,
}

/// Refuse an object of another user, also for root: whoever planted it may read what
/// is written.
pub(super) fn check_owner(label: &str, owners: Owners, foreign: bool) -> Result<()> {
    match owners.other() {
        Some(_) if foreign => Ok(()),
        Some(other) => Err(belongs_to(Kind::Shm, label, other)),
        None => Ok(()),
    }
}

/// The bytes from `offset` to the end of a segment of `size` bytes.
pub(super) fn room(label: &str, size: u64, offset: u64) -> Result<u64> {
    size.checked_sub(offset).ok_or_else(|| {
        let problem = format!("offset {offset} is past its end, it has {size} bytes");
        Error::new(ErrorKind::Failure, label, problem)
    })
}

/// The error of an input that does not fit. Nothing was changed.
pub(super) fn too_long(label: &str, room: u64) -> Error {
    Error::new(ErrorKind::NoRoom, label, format!("the input is longer than the {room} bytes it has room for"))
}
