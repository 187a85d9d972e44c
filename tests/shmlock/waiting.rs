//! Waiting for the lock. Rows H7, H8, H13, M4, M16.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::*;

#[test]
fn the_timeout() {
    let t = Test::new();
    let l = t.name("l");
    let holder = hold(&t, &[&l]);
    for (flags, status, least) in [
        (&["-n"][..], 75, 0),
        (&["-n", "-E", "0"], 0, 0),
        (&["-w", "0"], 124, 0),
        (&["-w", ".2"], 124, 200),
        (&["-w", "1.2s", "-E", "77"], 77, 1200),
        (&["--shared", "-w", ".1"], 124, 100),
    ] {
        let begin = Instant::now();
        let words = [flags, &[&l, "--", "echo", "never"]].concat();
        lock(&t, &words).says(status, "is locked");
        assert!(begin.elapsed() >= Duration::from_millis(least), "{flags:?}");
    }
    lock(&t, &["--reset", "-n", &l]).says(75, "is locked");
    lock(&t, &["--reset", "-w", ".1", &l]).says(124, "is locked");
    let waiter = t.cmd("shmlock").args(["-w", "1h", &l, "--", "echo", "late"]).spawn();
    wait_for(&t, &l, "waiter: ");
    holder.output().ok();
    assert_eq!(waiter.output().text(), "late");
}

/// H8: the same command twice is a wait for itself, which can be bounded.
#[test]
fn h8_locked_by_oneself() {
    let t = Test::new();
    let l = t.name("l");
    lock(&t, &[&l, "--", "shmlock", "-w", ".1", &l, "--", "true"]).says(124, "is locked");
}

#[test]
fn h7_a_stopped_holder_is_not_dead() {
    let t = Test::new();
    let l = t.name("l");
    let holder = hold(&t, &[&l]);
    holder.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || holder.state() == 'T');
    lock(&t, &["-w", "1.5", &l, "--", "true"]).says(124, "is locked");
    assert!(status(&t, &l).starts_with("state: held\n"));
    holder.kill(Signal::SIGCONT);
    holder.output().ok();
    lock(&t, &["--strict", "-n", &l, "--", "true"]).ok();
}

#[test]
fn h13_a_signal_ends_the_wait() {
    let t = Test::new();
    let l = t.name("l");
    let holder = hold(&t, &[&l]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL] {
        for flags in [&[][..], &["-w", "1h"], &["--shared"]] {
            let waiter = t.cmd("shmlock").args(flags).args([&l, "--", "echo", "never"]).spawn();
            wait_for(&t, &l, &format!("waiter: {} ", waiter.pid()));
            // It sleeps through a stop.
            waiter.kill(Signal::SIGSTOP);
            wait_until("it is stopped", || waiter.state() == 'T');
            waiter.kill(Signal::SIGCONT);
            waiter.kill(signal);
            let output = waiter.output();
            assert_eq!((output.status, &*output.stderr), (128 + signal as i32, ""));
        }
    }
    assert!(!status(&t, &l).contains("waiter"));
    holder.output().ok();
    lock(&t, &["--strict", "-n", &l, "--", "true"]).ok();
}

/// Who waits on a lock that was removed goes on to the new one.
#[test]
fn k17_removed_and_made_again() {
    let t = Test::new();
    let l = t.name("l");
    let old = hold(&t, &[&l]);
    let waiting: Vec<_> = [&["--shared"][..], &[]]
        .into_iter()
        .map(|flags| t.cmd("shmlock").args(flags).args([&l, "--", "echo", "in the new"]).spawn())
        .collect();
    wait_until("both wait", || status(&t, &l).matches("waiter").count() == 2);
    std::fs::remove_file(t.shm_path("l")).unwrap();
    let new = hold(&t, &[&l]);
    wait_until("both wait for the new one", || status(&t, &l).matches("waiter").count() == 2);
    // The old one is nobody's concern any more.
    old.output().ok();
    new.output().ok();
    for one in waiting {
        assert_eq!(one.output().text(), "in the new");
    }
}

#[test]
fn k17_removed_in_a_loop_there_are_never_two_holders_of_one() {
    let t = Test::new();
    let l = t.name("l");
    // Only the holder removes it, so that there is always one at a time.
    let script = "
        run() {
            for ((i = 0; i < 20; i++)); do
                shmlock $L -- sh -c 'mkdir inside && rmdir inside; rm $FILE' || echo failed
            done
        }
        run & run & run & run & wait";
    assert_eq!(t.bash(script).env("L", &l).env("FILE", t.shm_path("l")).run().text(), "");
}

#[test]
fn m16_a_hundred_waiters() {
    let t = Test::new();
    let l = t.name("l");
    let holder = hold(&t, &[&l]);
    let script = "for ((i = 0; i < 100; i++)); do shmlock $L -- sh -c 'echo x >>log' & done; wait";
    let waiters = t.bash(script).env("L", &l).spawn();
    wait_until("all wait", || status(&t, &l).matches("waiter").count() == 100);
    holder.output().ok();
    waiters.output().ok();
    assert_eq!(std::fs::read(t.path("log")).unwrap().len(), 200);
}
