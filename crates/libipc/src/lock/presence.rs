//! Who is at a lock, as the kernel knows it. Each participant has a shared lock on a
//! byte of its own, whose offset holds its process number and since when.
//!
//! So nothing is counted in memory, where the dead would stay counted, and read
//! permission is enough. The numbers are hints, as whoever may read the object can
//! lock any byte. That the byte is locked is the kernel's word.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::wait::Deadline;
use crate::fs::byte_lock::{self, LockMode, Range};

/// What a participant is there for. Each role has a range of 2^58 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Waits for the lock.
    Waiter = 2,
    /// Waits for a wake-up.
    Sleeper = 3,
    /// Has a reader's lock.
    Reader = 4,
    /// Has the lock alone, by a descriptor of its own.
    Descriptor = 5,
}

/// The byte that is the mutex.
pub(super) const MUTEX: Range = Range::at(1 << RANGE);

/// Bits of a place within a range: 22 of the process number, which has no more,
/// 34 of the seconds since 1970, 2 that tell namespaces apart, by chance.
const RANGE: u32 = 58;
const PID: u32 = 36;
const SECONDS: u32 = 2;

/// More participants are not listed, and a list takes no longer than this.
const MOST: usize = 256;
const LONGEST: Duration = Duration::from_millis(50);

/// The participants in a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) participants: Vec<Participant>,
    /// Whether there are more.
    pub(super) more: bool,
}

/// A process at a lock, as it said itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Its number in its own PID namespace.
    pub pid: u32,
    /// Since when it has been there, in whole seconds.
    pub since: SystemTime,
}

/// The announcement of this process, until it is dropped or the file is closed. It is
/// only a hint: if it cannot be made, nothing fails.
#[derive(Debug)]
pub(super) struct Announced<'f> {
    file: &'f File,
    range: Range,
}

impl<'f> Announced<'f> {
    /// Announce this process.
    pub(super) fn new(file: &'f File, role: Role) -> Self {
        Self::of(file, role, std::process::id())
    }

    /// Announce a process that has the file open, too.
    pub(super) fn of(file: &'f File, role: Role, pid: u32) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let pid = i64::from(pid) & ((1 << (RANGE - PID)) - 1);
        let seconds = now.as_secs().cast_signed() & ((1 << (PID - SECONDS)) - 1);
        let chance = i64::from(now.subsec_nanos() & ((1 << SECONDS) - 1));
        let range = Range::at((role as i64) << RANGE | pid << PID | seconds << SECONDS | chance);
        let _ = byte_lock::try_lock(file, LockMode::Shared, range);
        Announced { file, range }
    }

    /// Stay announced until the file is closed.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        let _ = byte_lock::unlock(self.file, self.range);
    }
}

/// The participants in this role, except those of this open file.
pub(super) fn list(file: &File, role: Role) -> nix::Result<List> {
    let start = (role as i64) << RANGE;
    let range = Range { start, len: 1 << RANGE };
    let others = byte_lock::others(file, range, MOST, &Deadline::after(Some(LONGEST)))?;
    let participants = others.ranges.iter().map(|bytes| participant(bytes.start - start)).collect();
    Ok(List { participants, more: others.more })
}

fn participant(place: i64) -> Participant {
    let seconds = (place >> SECONDS & ((1 << (PID - SECONDS)) - 1)).cast_unsigned();
    Participant { pid: (place >> PID) as u32, since: UNIX_EPOCH + Duration::from_secs(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_who_and_since_when() {
        let path = std::env::temp_dir().join(format!("ipcutils-test-presence-{}", std::process::id()));
        let open = || {
            let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(&path);
            file.expect("a file")
        };
        let (one, other, looker) = (open(), open(), open());
        std::fs::remove_file(&path).expect("remove");
        let begin = SystemTime::now();
        let _one = Announced::new(&one, Role::Reader);
        let _other = Announced::new(&other, Role::Sleeper);
        let end = SystemTime::now();
        assert_eq!(list(&looker, Role::Waiter), Ok(List::default()));
        for role in [Role::Reader, Role::Sleeper] {
            let List { participants: found, more } = list(&looker, role).expect("list");
            assert!(!more);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].pid, std::process::id());
            // In whole seconds.
            assert!(begin - Duration::from_secs(1) < found[0].since && found[0].since <= end);
        }
        // A lock of everything is somebody, and hides no end.
        assert_eq!(byte_lock::try_lock(&one, LockMode::Shared, Range::ALL), Ok(true));
        assert_eq!(list(&looker, Role::Waiter).map(|all| all.participants.len()), Ok(1));
        assert_eq!(byte_lock::unlock(&one, Range::ALL), Ok(()));
        // However many there are, no more are listed.
        for place in 0..2 * MOST as i64 {
            let byte = Range::at(((Role::Waiter as i64) << RANGE) + 2 * place);
            assert_eq!(byte_lock::try_lock(&other, LockMode::Shared, byte), Ok(true));
        }
        let many = list(&looker, Role::Waiter).expect("list");
        assert!(many.more && many.participants.len() <= MOST);
    }
}
