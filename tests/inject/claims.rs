//! A claim is what `shmput -x` has created, and `shmcat --rm` takes it. Both are killed at
//! each of their system calls, while others create and take under the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Call, calls, some};
use crate::util::{Output, Run, Test, entries, rounds, wait_until, with_own_shm_dir};

#[derive(Default)]
struct Book {
    /// Contents whose creator ended with status 0.
    claimed: Mutex<BTreeSet<usize>>,
    /// How many times each was taken with status 0.
    taken: Mutex<BTreeMap<usize, usize>>,
    /// Contents that a reader wrote out before it was killed.
    written: Mutex<BTreeSet<usize>>,
    next: AtomicUsize,
}

impl Book {
    /// Create the next content.
    fn put(&self, command: Run<'_>) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let output = command.stdin(format!("{number}\n")).run();
        assert!([0, 4, 137].contains(&output.status), "{output:?}");
        if output.status == 0 {
            self.claimed.lock().unwrap().insert(number);
        }
        output.status == 0
    }

    /// What came out of a `shmcat --rm`.
    fn read(&self, output: &Output) {
        assert!([0, 3, 6, 137].contains(&output.status), "{output:?}");
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let Some(text) = text.strip_suffix('\n') else { return };
        let number = text.parse().unwrap();
        match output.status {
            0 => *self.taken.lock().unwrap().entry(number).or_default() += 1,
            137 => drop(self.written.lock().unwrap().insert(number)),
            // It says itself that another has it.
            _ => {}
        }
    }
}

/// The system calls of a tool.
fn calls_of(run: Run<'_>, t: &Test) -> Vec<Call> {
    let trace = t.path("trace");
    run.run().ok();
    some(calls(&String::from_utf8_lossy(&std::fs::read(trace).unwrap()), false))
}

#[test]
fn g9_claims_of_killed_processes_are_neither_lost_nor_doubled() {
    with_own_shm_dir(claims_of_killed_processes);
}

fn claims_of_killed_processes() {
    let Some(t) = Test::with(&["strace"]) else { return };
    let name = t.name("claim");
    let (put, take) = (["shmput", "-x", &name], ["shmcat", "--rm", &name]);
    let traced = |tool: &[&str]| t.cmd("strace").args(["-D", "-qq", "-o", "trace"]).args(tool);
    let puts = calls_of(traced(&put).stdin("0\n"), &t);
    let takes = calls_of(traced(&take), &t);
    let killed = |tool: &[&str], (call, nth): &Call| {
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let trace = format!("trace={call}");
        t.cmd("strace").args(["-D", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]).args(tool)
    };
    let book = Book { next: AtomicUsize::new(1), ..Book::default() };
    let done = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    // A test is no Sync: each thread has one of its own, for the same name.
    std::thread::scope(|scope| {
        let (book, done, put, take) = (&book, &done, &put, &take);
        for _ in 0..2 {
            scope.spawn(move || {
                let t = Test::new();
                while !done.load(Ordering::Relaxed) {
                    book.put(t.cmd(put[0]).args(&put[1..]));
                }
            });
            scope.spawn(move || {
                let t = Test::new();
                while !done.load(Ordering::Relaxed) {
                    book.read(&t.cmd(take[0]).args(&take[1..]).run());
                }
            });
        }
        for _ in 0..rounds(1) {
            for call in &takes {
                book.read(&killed(take, call).run());
            }
            for call in &puts {
                book.put(killed(put, call));
            }
            let left = entries("/dev/shm").into_iter().filter(|name| name.starts_with(".ipcutils."));
            seen.extend(left);
        }
        done.store(true, Ordering::Relaxed);
    });
    // A dead remover's object may have its place back only now. Others' names go, too.
    wait_until("no temporary names", || {
        t.bash("shmput $N </dev/null; ipcunlink shm:$N").env("N", t.name("sweep")).run().ok();
        seen.retain(|name| std::path::Path::new("/dev/shm").join(name).exists());
        seen.is_empty()
    });
    book.read(&t.cmd(take[0]).args(&take[1..]).run());
    let (claimed, taken) = (book.claimed.into_inner().unwrap(), book.taken.into_inner().unwrap());
    let written = book.written.into_inner().unwrap();
    let lost: Vec<_> =
        claimed.iter().filter(|number| !taken.contains_key(number) && !written.contains(number)).collect();
    let doubled: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
    assert!(lost.is_empty() && doubled.is_empty(), "of {}: lost {lost:?}, doubled {doubled:?}", claimed.len());
    assert!(claimed.len() > 10 && taken.len() > 10, "{} claims, {} taken", claimed.len(), taken.len());
    assert!(t.left().is_empty(), "{:?}", t.left());
}
