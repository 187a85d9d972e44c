//! Rows C: System V sets.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{blocked, semop, set, values};
use crate::util::{Test, rounds, wait_until};

#[test]
fn c1_c3_sets_that_cannot_be() {
    let t = Test::new();
    let key = t.key();
    semop(&t, &["-c", "32768", &key]).says(2, "at most 32767");
    semop(&t, &["-c", "1,2", &key, "2:-1"]).says(2, "no element 2 in a set of 2");
    semop(&t, &["--get", &key]).says(3, "does not exist");
    semop(&t, &["-c", "32767", &key]).ok();
    assert_eq!(values(&t, &key), "32767");
    let script = "
        echo '3 7 2 4' >/proc/sys/kernel/sem
        semop -c 1,1,1,1 0x1 && exit 1; echo $?
        semop -c 1,2,3 0x1; semop --get 0x1 | xargs   # more than SEMOPM
        semop -c 1,1,1 0x2; semop -c 1,1 0x3 && exit 1; echo $?
        semop -c 1 0x3; semop -c 0 0x4 && exit 1; echo $?
        echo '3 99 2 3' >/proc/sys/kernel/sem
        semop -c 0 0x4 && exit 1; echo $?
        semop 0x1 +1 1:+1 2:+1 && exit 1; echo $?
        semop --get 0x1 | xargs";
    let Some(run) = t.with_limits("", &format!("set +e\n{script}")) else { return };
    let output = run.run();
    let said: Vec<_> = output.stderr.lines().collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "9\n1 2 3\n9\n9\n9\n9\n1 2 3\n", "{output:?}");
    for (said, words) in said.iter().zip([
        "SEMMSL allows in a set, 3 (sysctl kernel.sem='N 7 2 4'",
        "SEMMNS allows, 7; no disk is full (sysctl kernel.sem='3 N 2 4'",
        "SEMMNS allows, 7",
        "SEMMNI allows, 3; no disk is full (sysctl kernel.sem='3 99 2 N'",
        "3 OPs are more than SEMOPM allows in one call, 2 (sysctl kernel.sem='3 99 N 3'",
    ]) {
        assert!(said.contains(words), "{words}: {output:?}");
    }
    assert_eq!(said.len(), 5);
}

#[test]
fn c2_an_existing_set_of_another_size() {
    let t = Test::new();
    let key = set(&t, "5,6");
    for other in ["1", "1,2,3"] {
        semop(&t, &["-c", other, &key, "-1"]).says(8, "exists with 2 elements");
    }
    semop(&t, &["-c", "1,1", &key, "-1"]).ok();
    assert_eq!(values(&t, &key), "4 6");
    semop(&t, &["-x", "-c", "1,1", &key]).says(4, "exists already");
    let number: u32 = u32::from_str_radix(&key[2..], 16).unwrap();
    semop(&t, &[&format!("key:{number}"), "1:-6"]).ok();
    assert_eq!(values(&t, &key), "4 0");
}

#[test]
fn c4_c8_a_value_that_would_be_too_large() {
    let t = Test::new();
    let key = set(&t, "32767,1");
    for options in [&["-n"][..], &[]] {
        let line = [options, &[&key, "+1"]].concat();
        semop(&t, &line).says(9, "more than 32767, the largest");
        semop(&t, &[&line[..], &["--", "true"]].concat()).says(125, "more than 32767, the largest");
        semop(&t, &[options, &[&key, "1:-1", "+1"]].concat()).says(9, "more than 32767");
    }
    assert_eq!(values(&t, &key), "32767 1");
}

#[test]
fn c5_an_element_that_is_not_there() {
    let t = Test::new();
    let key = set(&t, "1,1,1");
    semop(&t, &[&key, "-1", "3:+1"]).says(1, "no element 3, the set has 3 elements (they are counted from 0)");
    semop(&t, &[&key, "-1", "65535:+1"]).says(1, "no element 65535");
    semop(&t, &[&key, "-1", "3:+1", "--", "true"]).says(125, "no element 3");
    assert_eq!(values(&t, &key), "1 1 1");
}

#[test]
fn c6_too_many_at_once() {
    let t = Test::new();
    let many = "semop -c 0 0x1; ops() { head -n $1 < <(yes +1); }
        semop 0x1 $(ops 500); semop 0x1 $(ops 501) || [ $? = 9 ]; semop --get 0x1";
    let Some(run) = t.unshared("--ipc", many) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (0, &b"500\n"[..]), "{output:?}");
    assert!(output.stderr.contains("501 OPs are more than SEMOPM allows in one call, 500"), "{output:?}");
}

#[test]
fn c7_all_or_nothing_on_three_elements() {
    let t = Test::new();
    let key = set(&t, "1,1,0");
    let line = [&*key, "0:-1", "1:-1", "2:-1"];
    semop(&t, &[&["-n"], &line[..]].concat()).says(75, "has too little to take");
    semop(&t, &[&["-n"], &line[..], &["1:=0"]].concat()).says(75, "does not permit all of it now");
    semop(&t, &[&["-w", ".1"], &line[..]].concat()).says(124, "and the timeout has passed");
    assert_eq!(values(&t, &key), "1 1 0");
    let waits = blocked(&t, &line);
    assert_eq!(values(&t, &key), "1 1 0");
    // Taken away before the third comes: it goes on waiting.
    semop(&t, &["-n", &key, "1:-1", "2:+1"]).ok();
    assert_eq!(values(&t, &key), "1 0 1");
    semop(&t, &[&key, "1:+1"]).ok();
    waits.output().ok();
    assert_eq!(values(&t, &key), "0 0 0");
}

#[test]
fn c9_waiting_for_zero() {
    let t = Test::new();
    let key = set(&t, "1");
    semop(&t, &["-n", &key, "=0"]).says(75, "is not zero");
    let waits = blocked(&t, &[&key, "=0"]);
    semop(&t, &[&key, "-1"]).ok();
    waits.output().ok();
    semop(&t, &["-n", &key, "=0"]).ok();
    semop(&t, &["-n", &key, "=0", "--", "true"]).ok();
    assert_eq!(values(&t, &key), "0");
}

#[test]
fn c10_of_a_hundred_racers_one_wins() {
    let t = Test::new();
    let key = set(&t, "0");
    let script = "for i in {1..100}; do semop -n $0 =0 +1 2>>err && echo won & done; wait";
    assert_eq!(t.cmd("bash").args(["-c", script, &key]).run().text(), "won");
    assert_eq!(std::fs::read_to_string(t.path("err")).unwrap().lines().count(), 99);
}

#[test]
fn c11_timeouts() {
    let t = Test::new();
    let key = set(&t, "0");
    for (timeout, least) in [("0", 0), (".2", 200), ("150ms", 150), ("0.000001", 0)] {
        let begin = Instant::now();
        semop(&t, &["-w", timeout, &key, "-1"]).says(124, "and the timeout has passed");
        assert!(begin.elapsed() >= Duration::from_millis(least), "{timeout}");
    }
    for timeout in ["9223372036s", "9999999999999", "106751991167d"] {
        let waits = blocked(&t, &["-w", timeout, &key, "-1"]);
        semop(&t, &[&key, "+1"]).ok();
        waits.output().ok();
    }
}

#[test]
fn c12_removed_while_blocked() {
    let t = Test::new();
    for (value, op) in [("0", "-1"), ("1", "=0")] {
        for options in [&[][..], &["-w", "100"]] {
            for command in [&[][..], &["--", "true"]] {
                let key = set(&t, value);
                let waits = blocked(&t, &[options, &[&key, op], command].concat());
                t.cmd("ipcunlink").args(["--force", &format!("sem:{key}")]).run().ok();
                let status = if command.is_empty() { 6 } else { 125 };
                waits.output().says(status, "was removed meanwhile");
                semop(&t, &[&key, op]).says(3, "does not exist");
            }
        }
    }
}

#[test]
fn c13_m4_a_signal_ends_the_wait() {
    let t = Test::new();
    let key = set(&t, "0");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        for args in [&[&key, "-1"][..], &["-w", "100", &key, "-1", "--", "true"]] {
            let waits = blocked(&t, args);
            waits.kill(signal);
            let output = waits.output();
            assert_eq!((output.status, output.stderr.as_str()), (128 + signal as i32, ""));
        }
    }
    semop(&t, &[&key, "+1"]).ok();
    assert_eq!(values(&t, &key), "1");
}

#[test]
fn c14_stop_and_continue() {
    let t = Test::new();
    let key = set(&t, "0");
    for options in [&[][..], &["-w", "1000"]] {
        let waits = blocked(&t, &[options, &[&key, "-1"]].concat());
        for _ in 0..3 {
            waits.kill(Signal::SIGSTOP);
            wait_until("it is stopped", || waits.state() == 'T');
            waits.kill(Signal::SIGCONT);
            waits.wait_blocked();
        }
        semop(&t, &[&key, "+1"]).ok();
        waits.output().ok();
    }
    // The deadline stays, and the time that it is stopped counts.
    let limit = Duration::from_secs(2);
    let waits = blocked(&t, &["-w", "2", &key, "-1"]);
    waits.kill(Signal::SIGSTOP);
    let stopped = Instant::now();
    wait_until("the deadline has passed", || stopped.elapsed() > limit);
    // One that begins now waits longer.
    let later = t.cmd("semop").args(["-w", "2", &key, "-1"]).spawn();
    waits.kill(Signal::SIGCONT);
    waits.output().says(124, "the timeout has passed");
    assert_ne!(later.state(), 'Z');
}

#[test]
fn c14_c24_removed_while_it_is_stopped() {
    let t = Test::new();
    let key = set(&t, "0");
    let id = t.bash(&format!("ipcs -s | awk '$1 == \"{key}\" {{ print $2 }}'")).run().text();
    let waits = t.cmd("semop").args([&format!("id:{id}"), "-1"]).spawn();
    wait_until("it waits", || semop(&t, &["--get", "-J", &key]).text().contains("\"waiting\":1"));
    waits.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || waits.state() == 'T');
    t.bash(&format!("ipcunlink --force sem:{key}; semop -c 1 {key}")).run().ok();
    waits.kill(Signal::SIGCONT);
    // The new set has another identifier, and keeps its value.
    waits.output().says(6, "was removed meanwhile");
    semop(&t, &[&format!("id:{id}"), "+1"]).says(3, "does not exist");
    assert_eq!(values(&t, &key), "1");
}

#[test]
fn c15_c16_c17_kill_9_gives_back_and_children_do_not_keep() {
    let t = Test::new();
    let key = set(&t, "2,0");
    // The command's background child works on; its copies of exec hold.
    let script = "exec bash -c 'sleep 1000 >/dev/null 2>&1 & echo $!; exec cat'";
    let mut held = t.cmd("semop").args([&key, "0:-2", "1:+3", "--", "bash", "-c", script]).spawn_open();
    let mut child = String::new();
    let mut stdout = std::io::BufReader::new(held.child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut child).unwrap();
    wait_until("exec", || held.name() == "cat");
    assert_eq!(values(&t, &key), "0 3");
    held.kill(Signal::SIGKILL);
    held.end();
    // At once, and though the child is there.
    assert_eq!(values(&t, &key), "2 0");
    t.bash(&format!("kill {child}")).run().ok();
}

#[test]
fn c15_a_killed_waiter_takes_nothing() {
    let t = Test::new();
    let key = set(&t, "0");
    let waits = blocked(&t, &[&key, "-1"]);
    waits.kill(Signal::SIGKILL);
    waits.output();
    semop(&t, &[&key, "+1"]).ok();
    assert_eq!(values(&t, &key), "1");
}

#[test]
fn c18_c19_c20_what_undo_does() {
    let t = Test::new();
    // Given back by hand as well: twice, as documented.
    let key = set(&t, "1");
    semop(&t, &[&key, "-1", "--", "semop", &key, "+1"]).ok();
    assert_eq!(values(&t, &key), "2");
    // Set meanwhile: what was to be undone is forgotten.
    semop(&t, &[&key, "-1", "--", "semop", "--set", "0", &key]).ok();
    assert_eq!(values(&t, &key), "0");
    // Never below 0.
    semop(&t, &[&key, "+3", "--", "semop", &key, "-2"]).ok();
    assert_eq!(values(&t, &key), "0");
    // Never above the largest.
    semop(&t, &["--set", "32767", &key]).ok();
    semop(&t, &[&key, "-1", "--", "semop", &key, "+1"]).ok();
    assert_eq!(values(&t, &key), "32767");
}

#[test]
fn c21_more_to_undo_than_the_kernel_keeps() {
    let t = Test::new();
    let key = set(&t, "0");
    // The same process all along: exec keeps what is to be undone.
    let inner = format!("semop {key} -30000; exec semop {key} +30000 -- true");
    semop(&t, &[&key, "+30000", "--", "bash", "-c", &inner]).says(125, "would have more than 32767 to undo");
    assert_eq!(values(&t, &key), "0");
}

#[test]
fn c25_permissions() {
    let t = Test::new();
    let Some(as_other) = t.unprivileged() else { return };
    let run = |script: &str| t.bash(&format!("umask 0; {as_other} bash -c '{script}'")).run();
    let key = t.key();
    // A mode that not even its maker may use leaves no set.
    run(&format!("semop -m 0 -c 1 {key}")).says(5, "leave the owner 0600");
    run(&format!("semop --get {key}")).says(3, "does not exist");
    run(&format!("umask 077; semop -m 666 -c 1 {key}")).ok();
    assert_eq!(t.bash(&format!("ipcs -s | awk '$1 == \"{key}\" {{ print $4 }}'")).run().text(), "666");
    if !t.second_user() {
        return;
    }
    for (mode, op, get) in [("600", false, false), ("644", false, true), ("622", true, false), ("666", true, true)] {
        let key = t.key();
        t.bash(&format!("umask 0; semop -m {mode} -c 1 {key}")).run().ok();
        let run = |args: &str| t.bash(&format!("{as_other} semop {args}")).run();
        let check = |allowed: bool, args: String| match allowed {
            true => drop(run(&args).ok()),
            false => run(&args).says(5, "permission denied"),
        };
        check(op, format!("{key} -1"));
        check(op, format!("-c 1 {key} +1"));
        check(get, format!("--get {key}"));
        check(op, format!("--set 0 {key}"));
        // To wait for zero takes the permission to read.
        t.cmd("semop").args(["--set", "0", &key]).run().ok();
        check(get, format!("-n {key} =0"));
        t.bash(&format!("{as_other} ipcunlink sem:{key}")).run().says(5, "permission denied");
    }
}

#[test]
fn c27_the_last_process() {
    let t = Test::new();
    let key = set(&t, "1,1");
    let held = t.cmd("semop").args([&key, "1:-1", "--", "sleep", "1000"]).spawn();
    let last = format!("\"last_pid\":{}}}", held.pid());
    wait_until("its number", || semop(&t, &["--get", "-J", &key]).text().contains(&last));
}

#[test]
fn m16_many_waiters_and_one_removal() {
    let t = Test::new();
    let key = set(&t, "0");
    let script = "for ((i = 0; i < $1; i++)); do semop $0 -1 2>>err & pids+=($!); done
        until semop --get -J $0 | grep -q \"\\\"waiting\\\":$1,\"; do :; done
        ipcunlink --force sem:$0
        for pid in ${pids[*]}; do wait $pid; echo $?; done >ends; sort ends | uniq -c | xargs";
    let n = if rounds(1) == 1 { "300" } else { "1000" };
    assert_eq!(t.cmd("bash").args(["-c", script, &key, n]).run().text(), format!("{n} 6"));
}
