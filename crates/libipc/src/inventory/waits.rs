//! Who sleeps in the kernel on an object: /proc/PID/task/TID/syscall of proc_pid_syscall(5),
//! which tells the call and its arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{self, c_long};

use super::holders::{Backing, Namespace, backing_at, backing_of};
use super::turns::Turns;
use crate::base::error::errno_of;
use crate::base::wait::Deadline;
use crate::fs::entry::names;

/// A process that sleeps in a system call on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its number in our PID namespace.
    pub pid: i32,
    /// The call.
    pub call: Call,
}

/// A call of the kernel in which a process can sleep on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It waits for a System V semaphore.
    Operate,
    /// It waits for room in a System V queue.
    Send,
    /// It waits for a message in a System V queue.
    Receive,
    /// It waits for room in a POSIX queue.
    TimedSend,
    /// It waits for a message in a POSIX queue.
    TimedReceive,
    /// It waits for a word in memory to change.
    Futex,
}

/// What can be waited on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A System V semaphore set of our IPC namespace.
    Set(i32),
    /// A System V queue of our IPC namespace.
    Queue(i32),
    /// What a descriptor or an address of the process means.
    Held(Backing),
}

/// Who waits on what.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiters: BTreeMap<Subject, Vec<Waiter>>,
    /// Processes whose calls may not be looked at.
    pub(super) unread: BTreeSet<i32>,
}

/// A call that waits, and where its first argument leads.
enum Place {
    Set,
    Queue,
    Descriptor,
    Address,
}

const CALLS: [(c_long, Call, Place); 7] = [
    (libc::SYS_semop, Call::Operate, Place::Set),
    (libc::SYS_semtimedop, Call::Operate, Place::Set),
    (libc::SYS_msgsnd, Call::Send, Place::Queue),
    (libc::SYS_msgrcv, Call::Receive, Place::Queue),
    (libc::SYS_mq_timedsend, Call::TimedSend, Place::Descriptor),
    (libc::SYS_mq_timedreceive, Call::TimedReceive, Place::Descriptor),
    (libc::SYS_futex, Call::Futex, Place::Address),
];

/// The operations of futex(2) that wait, without their flags; linux/futex.h.
const WAITING_OPERATIONS: [u64; 4] = [0, 6, 9, 11];
const FUTEX_OPERATION: u64 = 0x7f;

impl Waits {
    /// Look at the threads of these processes.
    pub(super) fn of(pids: &[i32], turns: &mut Turns) -> Self {
        let mut all = Waits::default();
        let namespace = Namespace::ours();
        for &pid in pids {
            let looked = turns.take(pid, |end| all.look_at(pid, &namespace, end));
            if matches!(looked, Err(Errno::EACCES | Errno::EPERM | Errno::ETIME)) {
                all.unread.insert(pid);
            }
        }
        all
    }

    /// Who was found to wait on it.
    pub(super) fn on(&self, subject: Subject) -> &[Waiter] {
        self.waiters.get(&subject).map_or(&[], Vec::as_slice)
    }

    fn look_at(&mut self, pid: i32, ours: &Namespace, end: &Deadline) -> nix::Result<()> {
        let dir = format!("/proc/{pid}/task");
        for thread in names(Path::new(&dir))? {
            if end.passed() {
                return Err(Errno::ETIME);
            }
            let line = match std::fs::read_to_string(Path::new(&dir).join(thread).join("syscall")) {
                Ok(line) => line,
                Err(error) => match errno_of(&error) {
                    errno @ (Errno::EACCES | Errno::EPERM) => return Err(errno),
                    _ => continue,
                },
            };
            if let Some((subject, call)) = sleeping(&line).and_then(|sleep| subject_of(pid, sleep, ours)) {
                let waiters = self.waiters.entry(subject).or_default();
                if waiters.last().is_none_or(|last| last.pid != pid) {
                    waiters.push(Waiter { pid, call });
                }
            }
        }
        Ok(())
    }
}

/// The call in which a thread sleeps, and its first argument.
fn sleeping(line: &str) -> Option<(&'static (c_long, Call, Place), u64)> {
    let mut words = line.split_ascii_whitespace();
    let number: c_long = words.next()?.parse().ok()?;
    let call = CALLS.iter().find(|(call, ..)| *call == number)?;
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (first, second) = (argument()?, argument()?);
    let waits = !matches!(call.2, Place::Address) || WAITING_OPERATIONS.contains(&(second & FUTEX_OPERATION));
    waits.then_some((call, first))
}

fn subject_of(
    pid: i32,
    ((_, call, place), first): (&'static (c_long, Call, Place), u64),
    ours: &Namespace,
) -> Option<(Subject, Call)> {
    let subject = match place {
        Place::Set if ours.has(pid) => Subject::Set(first as i32),
        Place::Queue if ours.has(pid) => Subject::Queue(first as i32),
        Place::Set | Place::Queue => return None,
        Place::Descriptor => Subject::Held(backing_of(pid, first as i32)?),
        Place::Address => match backing_at(pid, first)? {
            // Identifiers of another namespace mean other segments.
            Backing::Segment(_) if !ours.has(pid) => return None,
            backing => Subject::Held(backing),
        },
    };
    Some((subject, *call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_calls() {
        let call = |line: &str| sleeping(line).map(|((_, name, _), first)| (*name, first));
        let line = |number: c_long, rest: &str| format!("{number} {rest}");
        assert_eq!(
            call(&line(libc::SYS_semtimedop, "0xc8007 0x1 0x1 0x0 0x0 0x0 0x7f 0x7f")),
            Some((Call::Operate, 0xc8007))
        );
        assert_eq!(call(&line(libc::SYS_futex, "0x7f00 0x80 0x0 0x0 0x0 0x0 0x7f 0x7f")), Some((Call::Futex, 0x7f00)));
        // It wakes, and does not wait.
        assert_eq!(call(&line(libc::SYS_futex, "0x7f00 0x81 0x0 0x0 0x0 0x0 0x7f 0x7f")), None);
        for none in ["", "running", "-1 0x7f 0x7f", &line(libc::SYS_read, "0x0 0x1"), &line(libc::SYS_semop, "")] {
            assert_eq!(call(none), None, "{none}");
        }
    }
}
