//! What is known of processes by their numbers; each is looked up once.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use crate::base::text::printable;
use crate::process::life::{self, Life};

/// Lives and program names, by process number.
#[derive(Debug, Default)]
pub(super) struct Lives {
    lives: BTreeMap<i32, Life>,
    programs: BTreeMap<i32, Option<String>>,
}

impl Lives {
    /// Whether the process that had this number at `then` has ended, if that can be
    /// known.
    pub(super) fn gone(&mut self, pid: i32, then: SystemTime) -> Option<bool> {
        let life = *self.lives.entry(pid).or_insert_with(|| life::life(pid));
        (life != Life::Unknown).then(|| life.ended_since(then))
    }

    /// The number, and the name of the program if one is known.
    pub(super) fn named(&mut self, pid: i32) -> String {
        match self.programs.entry(pid).or_insert_with(|| program(pid)) {
            Some(program) => format!("{pid} ({program})"),
            None => pid.to_string(),
        }
    }
}

/// The name of the program that a process runs, made printable: proc_pid_comm(5).
pub fn program(pid: i32) -> Option<String> {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    Some(printable(OsStr::from_bytes(comm)))
}
