//! What a command gets, and what comes of it: rows M5 to M8.

use nix::sys::signal::Signal;

use super::{both, semop, set, values, wait_for};
use crate::util::compile::compile;
use crate::util::{Test, wait_until};

#[test]
fn m5_the_status_is_that_of_the_command() {
    let t = Test::new();
    for address in both(&t, "1") {
        for status in ["0", "1", "2", "75", "77", "124", "125", "126", "127", "255"] {
            let output = semop(&t, &["-E", "9", &address, "-1", "--", "sh", "-c", &format!("exit {status}")]);
            assert_eq!((output.status.to_string().as_str(), output.stderr.as_str()), (status, ""));
            wait_for(&t, &address, "1");
        }
        for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGPIPE, Signal::SIGBUS] {
            let kill = format!("ulimit -c 0; kill -{} $$", signal as i32);
            assert_eq!(semop(&t, &[&address, "-1", "--", "sh", "-c", &kill]).status, 128 + signal as i32);
            wait_for(&t, &address, "1");
        }
        let file = t.file("no-program", "x");
        // A directory of the PATH that we may not search would be another failure.
        let script = format!("semop=$(command -v semop); PATH=/usr/bin:/bin; $semop {address} -1 -- no-such-command");
        t.bash(&script).run().says(127, "is no command that can be found");
        semop(&t, &[&address, "-1", "--", file.to_str().unwrap()]).says(126, "cannot be executed");
        semop(&t, &[&address, "-1", "--", "/"]).says(126, "cannot be executed");
        wait_for(&t, &address, "1");
        // Its own failures are not taken for the command's.
        semop(&t, &[&address, "-1"]).ok();
        semop(&t, &["-n", &address, "-1", "--", "true"]).says(75, "has too little to take");
        semop(&t, &["-w", ".1", &address, "-1", "--", "true"]).says(124, "the timeout has passed");
        semop(&t, &["-w", ".1", "-E", "9", &address, "-1", "--", "true"]).says(9, "the timeout has passed");
        semop(&t, &["-x", "-c", "1", &address, "-1", "--", "true"]).says(125, "exists already");
    }
}

/// A new set goes again, unless somebody uses it by then.
#[test]
fn m5_a_command_that_cannot_be_executed_leaves_nothing_new() {
    let t = Test::new();
    let file = t.file("no-program", "x");
    for address in [t.name("s"), t.key()] {
        for create in ["-c", "-xc"] {
            semop(&t, &[create, "1", &address, "-1", "--", "no-such-command"]).fails(127);
            semop(&t, &[create, "1", &address, "-1", "--", file.to_str().unwrap()]).fails(126);
            assert!(t.left().is_empty());
        }
    }
    let set = t.key();
    semop(&t, &["-c", "1,0,5", &set, "0:-1", "1:+2", "--", "no-such-command"]).fails(127);
    semop(&t, &["-c", "1,0,5", &set, "0:-1u", "--", "no-such-command"]).fails(127);
    assert!(t.left().is_empty());
    // What is not to be undone was done.
    semop(&t, &["-c", "1,0,5", &set, "0:-1u", "2:-5", "--", "no-such-command"]).fails(127);
    assert_eq!(values(&t, &set), "1 0 0");
}

#[test]
fn m5_it_is_the_process_itself_or_its_child() {
    let t = Test::new();
    for address in both(&t, "1") {
        // A POSIX semaphore is waited for to be given back.
        let same = if address.starts_with('/') { "$PPID" } else { "$$" };
        let script = format!("semop $0 -1 -- sh -c 'echo {same}' & echo $!; wait");
        let pids = t.cmd("bash").args(["-c", &script, &address]).run().text();
        let (one, other) = pids.split_once('\n').unwrap();
        assert_eq!(one, other);
        // No child that it did not make itself.
        let children = "read x </proc/$$/task/$$/children; echo $x";
        wait_for(&t, &address, "1");
        assert_eq!(semop(&t, &[&address, "-1", "--", "sh", "-c", children]).text(), "");
        wait_for(&t, &address, "1");
        assert_eq!(t.cmd("semop").args([&address, "-1", "--", "cat"]).stdin("input").run().text(), "input");
        wait_for(&t, &address, "1");
    }
}

/// It writes to a file all that a process inherits.
const PROBE: &str = r#"
open S, "/proc/self/status"; my @found = grep /^(Sig(Blk|Ign|Cgt)|Umask|Threads|NoNewPrivs)/, <S>; close S;
opendir D, "/proc/self/fd";
for (sort { $a <=> $b } readdir D) {
    my $l = readlink "/proc/self/fd/$_"; push @found, "$_ $l\n" if defined $l && $l !~ m{^/proc/};
}
closedir D;
open O, ">", $ARGV[0]; print O @found, getpgrp, " ", $ENV{PWD}, "\n";
"#;

#[test]
fn m6_m7_descriptors_mask_and_dispositions_are_those_given() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let script = r#"
        exec 7<probe 8>>log
        for before in '' '--ignore-signal=PIPE,XFSZ,BUS,HUP,INT' '--block-signal=USR1,TERM,BUS,RTMAX' \
            '--default-signal --ignore-signal=CHLD,SEGV --block-signal=PIPE'; do
            for with in '' '<&-' '</dev/null 2>&-' '<&- 2>&-' '9<&7 7<&-' '>&-' '<&- >&- 2>&-'; do
                eval "env $before perl probe plain $with"
                eval "env $before semop $ADDRESS -1 -- perl probe held $with"
                diff plain held || { echo "$before $with"; exit 1; }
                grep -q '^SigIgn' plain || exit 1
                until semop -n $ADDRESS -1 2>/dev/null; do :; done
                semop $ADDRESS +1
            done
        done"#;
    t.file("probe", PROBE);
    for address in both(&t, "1") {
        let run = t.cmd("bash").args(["-c", script]).env("ADDRESS", &address);
        assert_eq!(run.run().text(), "");
    }
}

#[test]
fn m7_nohup_and_traps_keep_working() {
    let t = Test::new();
    for address in both(&t, "1") {
        let script = "trap '' HUP; semop $0 -1 -- sh -c 'kill -HUP $$; echo alive'";
        assert_eq!(t.cmd("bash").args(["-c", script, &address]).run().text(), "alive");
        wait_for(&t, &address, "1");
        let script = "nohup semop $0 -1 -- sh -c 'kill -HUP $$; echo alive' 2>/dev/null";
        assert_eq!(t.cmd("bash").args(["-c", script, &address]).run().text(), "alive");
        wait_for(&t, &address, "1");
    }
}

/// Nobody but the command holds the pipe: the reader sees its end at once.
#[test]
fn m6_a_pipeline_ends_with_its_command() {
    let t = Test::new();
    for address in both(&t, "2") {
        let script = "semop $0 -1 -- sleep 1000 & semop $0 -1 -- echo hello | cat; kill $!; wait $! || true";
        assert_eq!(t.cmd("bash").args(["-c", script, &address]).run().text(), "hello");
        wait_for(&t, &address, "2");
    }
}

/// Other threads work on when the first has ended, and hold on.
#[test]
fn a_command_of_many_threads_holds_until_the_last_has_ended() {
    let t = Test::new();
    let source = r#"
        #include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        static void *work(void *x) { char c; puts("on"); fflush(stdout); return read(0, &c, 1), _exit(0), x; }
        int main(void) { pthread_t t; pthread_create(&t, 0, work, 0); pthread_exit(0); }"#;
    let Some(program) = compile(&t, "threads", source) else { return };
    for address in both(&t, "1") {
        let mut held = t.cmd("semop").args([&address, "-1", "--", program.to_str().unwrap()]).spawn_open();
        let child = |pid: &nix::unistd::Pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ended = || held.state() == 'Z' || held.children().iter().any(|pid| child(pid).contains(") Z "));
        wait_until("its first thread has ended", ended);
        assert_eq!(values(&t, &address), "0");
        held.write(b"x");
        held.output().ok();
        wait_for(&t, &address, "1");
    }
}

#[test]
fn m8_nested_commands_each_hold() {
    let t = Test::new();
    let key = set(&t, "1,1");
    let [_, name] = both(&t, "1");
    let line = [&*key, "0:-1", "--", "semop", &name, "-1", "--", "semop", &key, "1:-1", "--", "semop", "--get", &key];
    assert_eq!(semop(&t, &line).text(), "0\n0");
    assert_eq!(values(&t, &key), "1 1");
    wait_for(&t, &name, "1");
}
