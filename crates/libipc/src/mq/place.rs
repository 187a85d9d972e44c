//! Where a message is received to, if it must outlive this process.

use std::sync::atomic::Ordering;

use crate::shared::memory::{Mapped, Memory};

/// Eight bytes for the number of a message, and its bytes after them.
///
/// The kernel writes the number before it takes the message out of sight, and no
/// message has the number of all ones: see [`Place::prepare`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(super) memory: &'a Mapped,
    pub(super) at: usize,
    pub(super) room: usize,
}

/// No message has this number.
const NONE: u64 = u64::MAX;

impl<'a> Place<'a> {
    /// Bytes before the message.
    pub(crate) const HEAD: usize = 8;

    /// A place at an offset of the memory, which must have room for it.
    pub(crate) fn new(memory: &'a Mapped, at: usize, room: usize) -> Self {
        Place { memory, at, room }
    }

    /// Make it possible to tell that a message was received.
    pub(crate) fn prepare(&self) {
        self.memory.store(self.at, NONE, Ordering::Relaxed);
    }

    /// The priority or type of the message that was received; None if none was.
    pub(crate) fn number(&self, sysv: bool) -> Option<i64> {
        if sysv {
            let number = self.memory.load(self.at, Ordering::Relaxed);
            (number != NONE).then_some(number.cast_signed())
        } else {
            // The kernel wrote an unsigned int.
            let number = self.memory.load32(self.at, Ordering::Relaxed);
            (number != NONE as u32).then_some(number.into())
        }
    }
}
