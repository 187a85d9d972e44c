//! Who holds a lock, and who waits.

use std::fs::File;

use nix::sys::stat::fstat;

use super::layout::{self, Holder};
use super::presence::{self, MUTEX, Participant, Role};
use crate::base::address::Address;
use crate::base::error::{Error, Result};
use crate::fs::byte_lock::{self, LockMode, Range};

/// Whether a lock can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody holds it.
    Free,
    /// Somebody holds it alone.
    Held,
    /// Readers hold it.
    Shared,
    /// Nobody holds it, and the last holder died inside.
    Died,
}

impl State {
    /// The state as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Free => "free",
            State::Held => "held",
            State::Shared => "shared",
            State::Died => "died",
        }
    }
}

/// A lock, as it is now. What is locked is the kernel's word; process numbers
/// and times are the participants' own, and hints. Participants of one process that came
/// within a second may be listed as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it can be taken.
    pub state: State,
    /// The process that left the mark of a holder: the present holder while the state
    /// is [`State::Held`], else the one that died inside.
    pub mark: Option<Holder>,
    /// The participants that have a reader's lock.
    pub readers: Vec<Participant>,
    /// The participants that wait for the lock.
    pub waiters: Vec<Participant>,
    /// The participants that wait for a wake-up.
    pub sleepers: Vec<Participant>,
    /// Whether there are more of them than were listed: a few hundred are.
    pub more: bool,
    /// Whether nobody is there at all, and the last holder died inside.
    pub orphan: bool,
}

impl Status {
    /// The status of the lock in an open file, at this address.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unexpected`] if it is no lock.
    pub(crate) fn of(file: &File, address: &Address) -> Result<Self> {
        // Read first: a holder that is marked by now is locked below, or has ended.
        let mark = layout::mark(file, address)?;
        let failed = |errno| Error::errno(address, errno);
        layout::check_size(fstat(file).map_err(failed)?.st_size.cast_unsigned(), address)?;
        let list = |role| presence::list(file, role).map_err(failed);
        let (readers, waiters, sleepers) = (list(Role::Reader)?, list(Role::Waiter)?, list(Role::Sleeper)?);
        let held = byte_lock::conflicting(file, LockMode::Exclusive, MUTEX).map_err(failed)?;
        let alone = !byte_lock::is_held(file, LockMode::Exclusive, Range::ALL).map_err(failed)?;
        let state = match held {
            Some((LockMode::Exclusive, _)) => State::Held,
            Some((LockMode::Shared, _)) => State::Shared,
            // It may have been taken and released meanwhile: compare the mark.
            None if mark.is_some() && layout::mark(file, address)? == mark => State::Died,
            None => State::Free,
        };
        let mark = if state == State::Free { None } else { mark };
        let more = readers.more || waiters.more || sleepers.more;
        let [readers, waiters, sleepers] = [readers, waiters, sleepers].map(|list| list.participants);
        Ok(Status { state, mark, readers, waiters, sleepers, more, orphan: alone && state == State::Died })
    }
}
