//! Waiting for a name to appear: inotify(7) on its directory where that is possible,
//! else looks in growing intervals. Waiting for what a name means to change.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::entry::Entry;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::{Backoff, Deadline, poll_timeout};

/// Waits for names to appear in a directory.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// With the entry, whose directory is held open.
    events: Option<(Inotify, Entry)>,
    backoff: Backoff,
}

impl Watcher {
    /// The longest interval between looks: a mount or a full event queue hides
    /// events.
    const LONGEST: Duration = Duration::from_secs(1);

    /// Watch the directory of a name. Without one, or without inotify(7), waits are
    /// pauses.
    pub(crate) fn new(entry: Option<Entry>) -> Self {
        let events = entry.and_then(|entry| {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
            let dir = format!("/proc/self/fd/{}", entry.dir.as_raw_fd());
            inotify.add_watch(dir.as_str(), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO).ok()?;
            Some((inotify, entry))
        });
        Watcher { events, backoff: Backoff::new() }
    }

    /// Wait until something has appeared in the directory, or for a while.
    pub(crate) fn wait(&mut self, deadline: &Deadline) {
        let Some((inotify, _)) = &self.events else { return self.backoff.sleep(deadline) };
        let timeout = poll_timeout(deadline.at_most(Self::LONGEST));
        let _ = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout);
        let _ = inotify.read_events();
    }
}

/// Notices changes of one name: something is made or moved there, or written, or its
/// times are set.
#[derive(Debug)]
pub(crate) struct Changes {
    inotify: Inotify,
    leaf: OsString,
    entry: Entry,
    seen: Option<Looks>,
}

/// What a write changes: the file, its size, its modification time.
type Looks = (u64, u64, i64, i64, i64);

fn looks(entry: &Entry) -> Option<Looks> {
    let stat = entry.stat().ok()??;
    Some((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec))
}

impl Changes {
    /// Watch from now on.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] if this user has too many watches.
    pub(crate) fn new(entry: Entry) -> Result<Self> {
        let kinds =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB;
        let dir = format!("/proc/self/fd/{}", entry.dir.as_raw_fd());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let watched = inotify.and_then(|inotify| inotify.add_watch(dir.as_str(), kinds).map(|_| inotify));
        match watched {
            Ok(inotify) => Ok(Changes { inotify, leaf: entry.leaf().to_owned(), seen: looks(&entry), entry }),
            Err(errno) => {
                let problem = format!("its changes cannot be watched, inotify: {}", errno.desc());
                Err(Error::new(ErrorKind::NoRoom, entry.label(), problem))
            }
        }
    }

    /// Wait for a change, for a while at most: whether there was one. Where others make
    /// more events than the kernel keeps, the file tells.
    pub(crate) fn came(&mut self, deadline: &Deadline) -> bool {
        let timeout = poll_timeout(deadline.at_most(Watcher::LONGEST));
        let _ = poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout);
        let events = self.inotify.read_events().unwrap_or_default();
        let is_ours = |name: Option<&OsString>| name == Some(&self.leaf);
        let lost = || events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW));
        events.iter().any(|event| is_ours(event.name.as_ref())) || lost() && looks(&self.entry) != self.seen
    }
}
