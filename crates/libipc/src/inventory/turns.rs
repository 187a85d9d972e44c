//! How long the processes of other users may be looked at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::stat;

use crate::base::wait::Deadline;
use crate::process::life::own_uid;

/// The time for the processes of one other user, and of all of them.
const TURN: Duration = Duration::from_millis(300);
const TURNS: Duration = Duration::from_secs(1);

/// How long the processes of each user may be looked at: a user whose processes have
/// a million mappings and descriptors hides what they hold, and nothing else. Our own
/// processes and root's have no limit.
pub(super) struct Turns {
    own: u32,
    left: Duration,
    users: BTreeMap<u32, Duration>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Turns { own: own_uid(), left: TURNS, users: BTreeMap::new() }
    }

    /// Look at a process, until the end that `look` is given: ETIME.
    pub(super) fn take(&mut self, pid: i32, look: impl FnOnce(&Deadline) -> nix::Result<()>) -> nix::Result<()> {
        let user = stat(format!("/proc/{pid}").as_str())?.st_uid;
        if user == self.own || user == 0 {
            return look(&Deadline::NEVER);
        }
        let turn = self.users.entry(user).or_insert(TURN);
        let left = self.left.min(*turn);
        if left.is_zero() {
            return Err(Errno::ETIME);
        }
        let begin = Instant::now();
        let looked = look(&Deadline::after(Some(left)));
        *turn = turn.saturating_sub(begin.elapsed());
        self.left = self.left.saturating_sub(begin.elapsed());
        looked
    }
}
