//! Who gives a POSIX semaphore back, and when nobody does.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{blocked, semop, values, wait_for};
use crate::util::{NO_OTHERS, Running, Test, entries, wait_until};

/// The guardians of a semaphore.
fn guardians(name: &str) -> Vec<Pid> {
    let pids = entries("/proc").into_iter().filter_map(|entry| entry.parse().ok());
    let read = |pid: i32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let is = |pid: &i32| read(*pid, "comm") == "semop-guard\n" && read(*pid, "cmdline").contains(name);
    pids.filter(is).map(Pid::from_raw).collect()
}

/// A semaphore that a command holds, and its guardian.
fn held(t: &Test, name: &str) -> (Running, Pid) {
    semop(t, &["-c", "1", name]).ok();
    let held = t.cmd("semop").args([name, "-1", "--", "sleep", "1000"]).spawn();
    wait_until("it runs", || held.runs("sleep"));
    assert_eq!(values(t, name), "0");
    let guardians = guardians(name);
    assert_eq!(guardians.len(), 1);
    (held, guardians[0])
}

#[track_caller]
pub fn wait_none(name: &str) {
    wait_until("no guardian is left", || guardians(name).is_empty());
}

#[test]
fn m8_the_guardian_is_apart() {
    let t = Test::new();
    let name = t.name("sem");
    let (held, guardian) = held(&t, &name);
    let proc = |file: &str| format!("/proc/{guardian}/{file}");
    // What it watches, and what it closes when it has given back.
    let link = |fd: &String| std::fs::read_link(proc(&format!("fd/{fd}"))).unwrap().display().to_string();
    let mut links: Vec<_> = entries(proc("fd")).iter().map(link).collect();
    links.sort();
    assert!(matches!(&links[..], [pidfd, pipe] if pidfd.contains("pidfd") && pipe.starts_with("pipe:")), "{links:?}");
    assert_eq!(std::fs::read_link(proc("cwd")).unwrap().to_str(), Some("/"));
    let stat = std::fs::read_to_string(proc("stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split_whitespace().collect();
    // Parent, group and session.
    assert_ne!(fields[1], held.pid().to_string());
    assert_eq!((fields[2], fields[3]), (&*guardian.to_string(), &*guardian.to_string()));
    // What ends a job does not end it.
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE, Signal::SIGUSR1] {
        kill(guardian, signal).unwrap();
    }
    held.kill(Signal::SIGKILL);
    held.output();
    wait_for(&t, &name, "1");
    wait_none(&name);
}

#[test]
fn m8_killed_itself_it_gives_nothing_back() {
    let t = Test::new();
    let name = t.name("sem");
    let (held, guardian) = held(&t, &name);
    kill(guardian, Signal::SIGKILL).unwrap();
    wait_none(&name);
    held.kill(Signal::SIGKILL);
    held.output();
    // As documented, and mended as documented.
    semop(&t, &["-w", ".3", &name, "-1"]).fails(124);
    semop(&t, &[&name, "+1"]).ok();
    semop(&t, &["-n", &name, "-1"]).ok();
}

#[test]
fn m8_killed_while_it_waits_the_tool_says_so() {
    let t = Test::new();
    let name = t.name("sem");
    semop(&t, &["-c", "0", &name]).ok();
    let waits = blocked(&t, &[&name, "-1", "--", "true"]);
    for guardian in guardians(&name) {
        kill(guardian, Signal::SIGKILL).unwrap();
    }
    waits.output().says(125, "the process that was to give it back has failed");
}

#[test]
fn m8_killed_while_it_waits_nothing_is_taken() {
    let t = Test::new();
    let name = t.name("sem");
    semop(&t, &["-c", "0", &name]).ok();
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM] {
        let waits = blocked(&t, &[&name, "-1", "--", "true"]);
        waits.kill(signal);
        assert_eq!(waits.output().status, 128 + signal as i32);
        wait_none(&name);
        semop(&t, &[&name, "+1"]).ok();
        semop(&t, &["-n", &name, "-1"]).ok();
    }
    assert!(semop(&t, &["--get", "-J", &name]).text().contains("\"waiting\":0"));
}

#[test]
fn what_was_given_is_taken_back() {
    let t = Test::new();
    let name = t.name("sem");
    semop(&t, &["-c", "0", &name]).ok();
    assert_eq!(semop(&t, &[&name, "+1", "--", "semop", "--get", &name]).text(), "1");
    wait_for(&t, &name, "0");
    // If somebody has it, nothing is.
    semop(&t, &[&name, "+1", "--", "semop", &name, "-1"]).ok();
    wait_none(&name);
    assert_eq!(values(&t, &name), "0");
}

#[test]
fn removed_and_made_anew_the_new_one_gets_nothing() {
    let t = Test::new();
    let name = t.name("sem");
    let (held, _) = held(&t, &name);
    t.cmd("ipcunlink").args(["--force", &format!("sem:{name}")]).run().ok();
    semop(&t, &["-c", "5", &name]).ok();
    held.kill(Signal::SIGTERM);
    held.output();
    wait_none(&name);
    assert_eq!(values(&t, &name), "5");
}

#[test]
fn truncated_while_it_is_held() {
    let t = Test::new();
    let name = t.name("sem");
    let (held, _) = held(&t, &name);
    let file = format!("/dev/shm/sem.{}", &name[1..]);
    std::fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    held.kill(Signal::SIGTERM);
    held.output();
    wait_none(&name);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
}

#[test]
fn without_a_guardian_nothing_is_taken() {
    let t = Test::new();
    let Some(as_other) = t.unprivileged() else { return };
    let name = t.name("sem");
    t.bash(&format!("umask 0; semop -m 666 -c 1 {name}")).run().ok();
    let script = format!("{as_other} bash -c 'ulimit -u 0; exec semop {name} -1 -- echo run'");
    t.bash(&script).run().says(125, "no process can be made that would give it back");
    let script = format!("{NO_OTHERS}; ulimit -n 6; exec semop $0 -1 -- echo run");
    t.cmd("bash").args(["-c", &script, &name]).run().says(125, "no process can be made that would give it back");
    assert_eq!(values(&t, &name), "1");
}
