//! Readers that wait for a ring which does not exist yet.
//!
//! Such a reader holds a shared lock on a byte of the directory, whose number is made
//! of the name. Until it has joined or has given up, no second stream begins in the
//! ring: it misses nothing that was written after its wait began. The kernel drops
//! the lock of a dead one.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::fs::byte_lock::{LockMode, Range, is_held, try_lock};
use crate::fs::entry::Entry;

/// How long a writer waits for readers that are on their way: whoever may read the
/// directory can pretend to be one. A reader that comes later is told what it missed.
const LONGEST: Duration = Duration::from_secs(10);

/// A wait that writers can see, until it is dropped.
#[derive(Debug)]
pub(super) struct Arrival {
    _locked: OwnedFd,
}

impl Arrival {
    /// Begin. None in a directory that cannot be read or has no locks.
    pub(super) fn announce(entry: &Entry) -> Option<Self> {
        let dir = open_dir(entry)?;
        matches!(try_lock(&dir, LockMode::Shared, byte(entry)), Ok(true)).then_some(Arrival { _locked: dir })
    }
}

/// The readers that a writer waits for.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    entry: &'a Entry,
    since: Option<Instant>,
}

impl<'a> Expected<'a> {
    /// Those of this name.
    pub(super) fn of(entry: &'a Entry) -> Self {
        Expected { entry, since: None }
    }

    /// Whether one is on its way, and was not waited for too long.
    pub(super) fn any(&mut self) -> bool {
        let waits = open_dir(self.entry)
            .is_some_and(|dir| is_held(dir, LockMode::Exclusive, byte(self.entry)).unwrap_or(false));
        waits && self.since.get_or_insert_with(Instant::now).elapsed() < LONGEST
    }
}

fn open_dir(entry: &Entry) -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(&entry.dir, ".", flags, Mode::empty()).ok()
}

/// The byte of a name: ipcutils-ring(5) publishes it.
fn byte(entry: &Entry) -> Range {
    const BASE: i64 = 1 << 62;
    let hash = super::check::sum(entry.leaf().as_bytes());
    Range::at(BASE | (hash >> 2).cast_signed())
}
