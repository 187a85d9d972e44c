//! Barriers: N arrive and N go, whoever dies.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{both, semop, set, values};
use crate::util::{Running, Test, rounds, wait_until};

/// A barrier of each interface.
fn barriers(t: &Test) -> [String; 2] {
    let [_, name] = both(t, "0");
    [set(t, "0,0"), name]
}

/// One that has arrived, as far as can be seen: it sleeps.
fn arrived(t: &Test, address: &str, count: &str) -> Running {
    let running = t.cmd("semop").args(["--barrier", count, address]).spawn();
    running.wait_blocked();
    running
}

#[test]
fn n_arrive_and_n_go_again_and_again() {
    let t = Test::new();
    for address in barriers(&t) {
        semop(&t, &["--barrier", "1", &address]).ok();
        for _ in 0..3 {
            let (one, other) = (arrived(&t, &address, "3"), arrived(&t, &address, "3"));
            assert_ne!((one.state(), other.state()), ('Z', 'Z'));
            semop(&t, &["--barrier", "3", &address]).ok();
            one.output().ok();
            other.output().ok();
            assert!(values(&t, &address).split(' ').all(|value| value == "0"));
        }
    }
}

#[test]
fn who_waits_in_vain_has_not_arrived() {
    let t = Test::new();
    for address in barriers(&t) {
        semop(&t, &["-n", "--barrier", "2", &address]).says(75, "not all have arrived");
        semop(&t, &["-w", ".1", "--barrier", "2", &address]).says(124, "not all have arrived");
        semop(&t, &["-q", "-n", "-E", "9", "--barrier", "2", &address]).fails_in_silence(9);
        // Those are not counted.
        let one = arrived(&t, &address, "2");
        semop(&t, &["-n", "--barrier", "2", &address]).ok();
        one.output().ok();
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let one = arrived(&t, &address, "2");
            one.kill(signal);
            one.output();
            semop(&t, &["-n", "--barrier", "2", &address]).fails(75);
        }
    }
}

#[test]
fn what_is_no_barrier() {
    let t = Test::new();
    let (key, name) = (set(&t, "0"), t.name("gone"));
    semop(&t, &["--barrier", "2", &key]).says(8, "needs a set of 2 elements, this one has 1");
    semop(&t, &["--barrier", "2", &name]).says(3, "-c VALUE");
    for count in ["0", "-1", "32768", "x", ""] {
        semop(&t, &[&format!("--barrier={count}"), &key]).fails(2);
    }
    semop(&t, &["--barrier", "2", &key, "-1"]).says(2, "cannot be used with");
    for address in barriers(&t) {
        let one = arrived(&t, &address, "2");
        t.cmd("ipcunlink").args(["--force", &format!("sem:{address}")]).run().ok();
        one.output().says(6, "was removed meanwhile");
    }
}

/// One that dies between the others' going leaves its ticket, which nobody may have.
#[test]
fn a_ticket_of_the_dead_is_removed() {
    let t = Test::new();
    let [key, name] = barriers(&t);
    semop(&t, &["--set", "0,1", &key]).ok();
    semop(&t, &["--set", "1", &name]).ok();
    for address in [key, name] {
        semop(&t, &["-w", "30", "--barrier", "1", &address]).ok();
        semop(&t, &["-w", ".1", "--barrier", "2", &address]).fails(124);
    }
}

/// Twenty in each round, and others that come and are killed at any moment: every round
/// ends, and no process runs ahead of another by more than a round.
#[test]
fn torture_of_barriers() {
    let t = Test::new();
    let (rounds, count) = if rounds(1) == 1 { (6, 8) } else { (200, 20) };
    for address in barriers(&t) {
        let script =
            format!("for ((i = 0; i < {rounds}; i++)); do echo $i; semop --barrier {count} {address} || exit; done");
        let all: Vec<_> = (0..count).map(|_| t.bash(&script).spawn()).collect();
        for all in all {
            let lines = all.output().text();
            assert_eq!(lines.lines().count(), rounds);
        }
        assert!(values(&t, &address).split(' ').all(|value| value == "0"));
        // Those that are killed: the others are as many as are needed, or are helped.
        for round in 0..rounds {
            let mut all: Vec<_> =
                (0..count).map(|_| t.cmd("semop").args(["--barrier", &count.to_string(), &address]).spawn()).collect();
            let begin = Instant::now();
            let moment = Duration::from_micros(300 * (round as u64 % 50));
            wait_until("the moment", || begin.elapsed() >= moment);
            let victim = all.swap_remove(round % count);
            victim.kill(Signal::SIGKILL);
            victim.output();
            let helper = t.cmd("semop").args(["-w", "2", "--barrier", &count.to_string(), &address]).spawn();
            let went: Vec<_> = all.into_iter().map(|one| one.output().status).collect();
            // The victim may have gone, or have been replaced by the helper.
            assert!(went.iter().all(|status| *status == 0), "{went:?}");
            assert!(matches!(helper.output().status, 0 | 124));
        }
        semop(&t, &["-w", "30", "--barrier", "1", &address]).ok();
    }
}
