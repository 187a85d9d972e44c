//! Whether a process that left its number somewhere is still there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use crate::sys;

/// The effective user of this process.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// What a number says of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// There is none, or a zombie.
    Ended,
    /// There is one, which began then.
    Began(SystemTime),
    /// Nothing: the number is 0, of another PID namespace, or /proc is silent.
    Unknown,
}

impl Life {
    /// Whether a process of that number that was alive at `then` has ended since.
    pub fn ended_since(self, then: SystemTime) -> bool {
        match self {
            Life::Ended => true,
            Life::Began(began) => began > then + Duration::from_secs(1),
            Life::Unknown => false,
        }
    }
}

/// Look for the process `pid`.
pub fn life(pid: i32) -> Life {
    if pid <= 0 {
        return Life::Unknown;
    }
    match sys::process::ended(pid) {
        Ok(true) | Err(Errno::ESRCH) => Life::Ended,
        _ => began(pid).map_or(Life::Unknown, Life::Began),
    }
}

/// Whether the process `pid` that was alive at `then` has ended since.
///
/// A zombie has ended. A number that was given to a younger process is not the
/// same process: the start times are compared (proc_pid_stat(5), field 22;
/// both clocks tick in whole seconds or hundredths, so a second of doubt counts
/// as alive). A number of 0, from another PID namespace, says nothing: alive.
pub fn ended_since(pid: i32, then: SystemTime) -> bool {
    life(pid).ended_since(then)
}

fn began(pid: i32) -> Option<SystemTime> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, field 2, may itself hold spaces and brackets.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let hz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let since_boot = Duration::from_millis(ticks * 1000 / u64::try_from(hz).ok()?);
    UNIX_EPOCH.checked_add(Duration::from_secs(boot()?) + since_boot)
}

/// When the system was started, in seconds since the epoch.
fn boot() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k7_a_zombie_has_ended_and_a_reused_number_is_another_process() {
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let pid = child.id() as i32;
        while !ended_since(pid, SystemTime::now()) {
            std::thread::yield_now(); // it is a zombie from then on
        }
        child.wait().expect("wait");
        assert!(ended_since(pid, SystemTime::now()));
        let me = std::process::id() as i32;
        assert!(!ended_since(me, SystemTime::now()));
        assert!(ended_since(me, SystemTime::now() - Duration::from_secs(3600 * 24 * 365)));
        assert!(!ended_since(0, SystemTime::now()));
    }
}
