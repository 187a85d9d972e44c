//! Death at any moment, and races; longer in `make torture`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::guardian::wait_none;
use super::{semop, set, values, wait_for};
use crate::util::{Test, promised, rounds, wait_until};

/// Twenty who make, take and give back, in rounds, two rounds at a time; two that
/// hold at once say so.
fn race(t: &Test, addresses: [&str; 2], rounds: usize) {
    let script = r#"
        holder='read x <$0; [ -z "$x" ] || echo "two: $x"
            echo $$ >$0; read y <$0; [ "$y" = $$ ] || echo "two: $y"; : >$0'
        lane() {
            : >held.$2
            for ((i = 0; i < ROUNDS; i++)); do
                pids=
                for j in {1..20}; do semop -c 1 $1 -1 -- sh -c "$holder" held.$2 & pids+=" $!"; done
                for p in $pids; do wait $p || echo "status $?"; done
                until [ $(semop --get $1) = 1 ]; do :; done
                ipcunlink --force sem:$1
            done
            echo done
        }
        lane $0 a & lane $1 b & wait"#;
    let run = t.cmd("bash").args(["-c", script]).args(addresses).env("ROUNDS", (rounds / 2).to_string());
    assert_eq!(run.run().text(), "done\ndone");
}

#[test]
fn c22_twenty_creators_and_never_two_holders() {
    let t = Test::new();
    race(&t, [&t.key(), &t.key()], rounds(200));
}

#[test]
fn f11_twenty_creators_of_a_posix_one() {
    let t = Test::new();
    race(&t, [&t.name("a"), &t.name("b")], rounds(20));
}

#[test]
fn c15_kill_9_at_any_moment_gives_back() {
    let t = Test::new();
    let key = set(&t, "3");
    for round in 0..rounds(60) {
        let running = t.cmd("semop").args([&key, "-3", "--", "sleep", "1000"]).spawn();
        let begin = Instant::now();
        let moment = Duration::from_micros(100 * (round as u64 % 60));
        wait_until("the moment", || begin.elapsed() >= moment);
        running.kill(Signal::SIGKILL);
        running.output();
        assert_eq!(values(&t, &key), "3");
    }
}

/// Of the tool, of the command, and of what is between them.
#[test]
fn m8_kill_9_at_any_moment_gives_back() {
    let t = Test::new();
    let name = t.name("sem");
    semop(&t, &["-c", "1", &name]).ok();
    for round in 0..rounds(60) {
        let running = t.cmd("semop").args([&name, "-1", "--", "sleep", "1000"]).spawn();
        let begin = Instant::now();
        let moment = Duration::from_micros(100 * (round as u64 % 60));
        wait_until("the moment", || begin.elapsed() >= moment);
        running.kill(Signal::SIGKILL);
        running.output();
        // Not before the guardian, if there is one, has done what it does.
        wait_none(&name);
        wait_for(&t, &name, "1");
    }
}

/// One of five is killed at some instant; the others end in time, all with a set
/// that is whole or with the message.
#[test]
fn c22_a_creator_that_is_killed_at_any_instant() {
    for round in 0..rounds(40) {
        let t = Test::new();
        let key = t.key();
        let mut broken = false;
        let line = ["-c", "1", &key, "-1", "--", "true"];
        let begin = Instant::now();
        let mut all: Vec<_> = (0..5).map(|_| t.cmd("semop").args(line).spawn()).collect();
        let first = all.remove(0);
        let moment = Duration::from_micros(50 * (round as u64 % 40));
        wait_until("the moment", || begin.elapsed() >= moment);
        first.kill(Signal::SIGKILL);
        first.output();
        for one in all {
            let output = one.output();
            if output.status != 0 {
                output.says(125, "semop --set 1 key:");
                broken = true;
            }
        }
        promised(begin, Duration::from_secs(20));
        if !broken {
            wait_for(&t, &key, "1");
        }
        t.cmd("ipcunlink").args([format!("sem:{key}")]).run().ok();
    }
}
