//! Whether a process whose number was recorded still exists.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use crate::base::text::printable;
use crate::sys;

/// The effective user of this process.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// What is known of a process by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It does not exist, or is a zombie.
    Ended,
    /// It exists, and began then.
    Began(SystemTime),
    /// Nothing: the number is 0, as of a process of another PID namespace, or /proc
    /// does not say.
    Unknown,
}

impl Life {
    /// Whether the process that had this number at `then` has ended since.
    pub fn ended_since(self, then: SystemTime) -> bool {
        match self {
            Life::Ended => true,
            Life::Began(began) => began > then + Duration::from_secs(1),
            Life::Unknown => false,
        }
    }
}

/// What is known of the process `pid`: pidfd_open(2), proc_pid_stat(5).
pub fn life(pid: i32) -> Life {
    if pid <= 0 {
        return Life::Unknown;
    }
    match sys::process::ended(pid) {
        Ok(true) | Err(Errno::ESRCH) => Life::Ended,
        _ => began(pid).map_or(Life::Unknown, Life::Began),
    }
}

/// Whether the process that had the number `pid` at `then` has ended since.
///
/// - A zombie has ended.
/// - If a younger process has the number now, the old one has ended: the start time
///   is compared with `then` (proc_pid_stat(5), field 22). The clocks tick in seconds
///   and hundredths, so a second of doubt counts as alive.
/// - The number 0, of another PID namespace, says nothing, and counts as alive.
pub fn ended_since(pid: i32, then: SystemTime) -> bool {
    life(pid).ended_since(then)
}

/// The words of a process, printable and not too long: proc_pid_cmdline(5).
pub fn command_line(pid: u32) -> Option<String> {
    const LONGEST: usize = 200;
    let mut words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    words.truncate(words.iter().rposition(|&byte| byte != 0)? + 1);
    let cut = words.len() > LONGEST;
    words.truncate(LONGEST);
    words.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Some(printable(OsStr::from_bytes(&words)) + if cut { "..." } else { "" })
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
