//! shmwake: rows H11 and H12, and what its option promises.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::util::locks::{hold, lock, status, wait_for};
use crate::util::{Test, promised, wait_until};

#[test]
fn at_least_one_or_all() {
    let t = Test::new();
    let l = t.name("l");
    t.cmd("shmwake").args([&l]).run().says(3, "does not exist");
    assert!(t.left().is_empty());
    lock(&t, &[&l, "--", "true"]).ok();
    // Nobody sleeps, and nothing is kept.
    t.cmd("shmwake").args([&l]).run().ok();
    t.cmd("shmwake").args(["--all", &l]).run().ok();
    t.cmd("shmwait").args(["-n", &l]).run().says(75, "had no wake-up");
    let waiting: Vec<_> = (0..5).map(|_| t.cmd("shmwait").args([&l]).spawn()).collect();
    wait_until("all sleep", || status(&t, &l).matches("sleeper").count() == 5);
    let begin = Instant::now();
    t.cmd("shmwake").args(["--all", &l]).run().ok();
    for one in waiting {
        one.output().ok();
    }
    promised(begin, Duration::from_secs(5));
}

/// It takes no mutex: a holder that is stopped is not in its way.
#[test]
fn waking_never_waits() {
    let t = Test::new();
    let l = t.name("l");
    let holder = hold(&t, &[&l]);
    let dead = t.cmd("shmwait").args([&l]).spawn();
    wait_for(&t, &l, "sleeper: ");
    holder.kill(Signal::SIGSTOP);
    dead.kill(Signal::SIGKILL);
    let waiting = t.cmd("shmwait").args([&l]).spawn();
    wait_for(&t, &l, &format!("sleeper: {} ", waiting.pid()));
    t.cmd("shmwake").args([&l]).run().ok();
    waiting.output().ok();
    holder.kill(Signal::SIGCONT);
    holder.output().ok();
}

#[test]
fn usage() {
    let t = Test::new();
    for args in [&[][..], &["0x2a"], &["l"], &["/l", "/m"], &["-n", "/l"]] {
        t.cmd("shmwake").args(args).run().fails(2);
    }
}
