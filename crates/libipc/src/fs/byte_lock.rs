//! Byte locks that belong to an open file, fcntl_locking(2): OFD locks.
//!
//! The kernel holds them: write permission on the object is not enough to forge or
//! break one. It drops them when the last descriptor of the open file is closed, also
//! by the death of its process. They work across PID namespaces. A locked byte need
//! not exist in the file.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::base::error::{Error, Result};
use crate::base::wait::{Deadline, Wait};

/// Whether others may hold the lock too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Many at once; the file must be open for reading.
    Shared,
    /// One alone; the file must be open for writing.
    Exclusive,
}

/// The bytes that a lock covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first byte.
    pub(crate) start: i64,
    /// How many bytes; 0 for all up to the largest offset.
    pub(crate) len: i64,
}

impl Range {
    /// The whole file, whatever its size.
    pub(crate) const ALL: Range = Range { start: 0, len: 0 };

    /// One byte.
    pub(crate) const fn at(start: i64) -> Self {
        Range { start, len: 1 }
    }

    fn flock(self, kind: libc::c_int) -> libc::flock {
        libc::flock {
            l_type: kind as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: self.start,
            l_len: self.len,
            l_pid: 0, // must be 0 for an OFD lock
        }
    }
}

impl LockMode {
    fn kind(self) -> libc::c_int {
        match self {
            LockMode::Shared => libc::F_RDLCK,
            LockMode::Exclusive => libc::F_WRLCK,
        }
    }
}

/// Take the lock, or convert the one that this open file holds; false if the lock of
/// another open file conflicts.
pub(crate) fn try_lock(file: impl AsFd, mode: LockMode, range: Range) -> nix::Result<bool> {
    loop {
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&range.flock(mode.kind()))) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Take the lock, or wait for it. `object` and `blocked_on` (as in "is locked") are
/// for the message.
///
/// # Errors
/// [`crate::ErrorKind::Busy`], [`crate::ErrorKind::TimedOut`].
pub(crate) fn lock(
    file: impl AsFd,
    mode: LockMode,
    range: Range,
    object: &str,
    blocked_on: &str,
    wait: &mut Wait,
) -> Result<()> {
    let failed = |errno| Error::errno(object, errno);
    if try_lock(&file, mode, range).map_err(failed)? {
        return Ok(());
    }
    let flock = range.flock(mode.kind());
    wait.block(object, blocked_on, || fcntl(&file, FcntlArg::F_OFD_SETLKW(&flock)))?.map(drop).map_err(failed)
}

/// Release what this open file holds of these bytes.
pub(crate) fn unlock(file: impl AsFd, range: Range) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range.flock(libc::F_UNLCK))).map(drop)
}

/// Whether another open file holds a lock that conflicts with this one. Any open
/// descriptor may ask.
pub(crate) fn is_held(file: impl AsFd, mode: LockMode, range: Range) -> nix::Result<bool> {
    Ok(conflicting(file, mode, range)?.is_some())
}

/// One of the conflicting locks, not always the first: its mode and its bytes.
pub(crate) fn conflicting(file: impl AsFd, mode: LockMode, range: Range) -> nix::Result<Option<(LockMode, Range)>> {
    let mut flock = range.flock(mode.kind());
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut flock))?;
    let found = match libc::c_int::from(flock.l_type) {
        libc::F_UNLCK => return Ok(None),
        libc::F_RDLCK => LockMode::Shared,
        _ => LockMode::Exclusive,
    };
    Ok(Some((found, Range { start: flock.l_start, len: flock.l_len })))
}

/// Locks of other open files.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pub(crate) ranges: Vec<Range>,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// The locks that other open files hold within these bytes, at most `most`, and once one
/// is found no longer than until the deadline: anybody can lock every byte, and each look
/// takes as long as there are locks. What lies side by side and belongs to one file is one.
pub(crate) fn others(file: impl AsFd, range: Range, most: usize, deadline: &Deadline) -> nix::Result<Others> {
    let mut found = Others::default();
    // The kernel tells one of the locks within a range. The parts before and after it
    // are asked next.
    let mut ranges = vec![(range.start, range.start + range.len)];
    while let Some((from, to)) = ranges.pop() {
        if from >= to {
            continue;
        }
        if found.ranges.len() >= most || !found.ranges.is_empty() && deadline.passed() {
            found.more = true;
            break;
        }
        let all = Range { start: from, len: to - from };
        let Some((_, bytes)) = conflicting(&file, LockMode::Exclusive, all)? else { continue };
        let end = if bytes.len == 0 { to } else { bytes.start.saturating_add(bytes.len) };
        found.ranges.push(Range { start: bytes.start.max(from), len: end - bytes.start.max(from) });
        ranges.extend([(end.max(from), to), (from, bytes.start)]);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k6_a_lock_lives_as_long_as_its_open_file() {
        let dir = std::env::temp_dir().join(format!("ipcutils-test-ofd-{}", std::process::id()));
        let open = || std::fs::File::options().read(true).write(true).create(true).truncate(false).open(&dir);
        let (one, other) = (open().expect("one"), open().expect("other"));
        std::fs::remove_file(&dir).expect("remove");
        drop(other);
        let again = std::fs::File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&one)))
            .expect("again");
        assert_eq!(try_lock(&one, LockMode::Exclusive, Range::at(7)), Ok(true));
        assert_eq!(try_lock(&again, LockMode::Shared, Range::at(7)), Ok(false));
        assert_eq!(try_lock(&again, LockMode::Exclusive, Range::at(8)), Ok(true));
        assert_eq!(is_held(&again, LockMode::Shared, Range::ALL), Ok(true));
        assert_eq!(unlock(&again, Range::ALL), Ok(()));
        assert_eq!(is_held(&again, LockMode::Exclusive, Range::at(7)), Ok(true));
        drop(one);
        // A child that another test forks has the file too, until it calls exec.
        while is_held(&again, LockMode::Exclusive, Range::ALL) == Ok(true) {
            std::thread::yield_now();
        }
        assert_eq!(is_held(&again, LockMode::Exclusive, Range::ALL), Ok(false));
    }
}
