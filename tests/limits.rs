//! Every tool under every limit of ulimit, at ten steps each: it does its work, or says
//! in one line which limit is hit, ends with 9 or 125, and leaves nothing. And limits of
//! its own: what others plant takes no time.

use std::time::{Duration, Instant};

use crate::util::queues::SMALL;
use crate::util::{AS_OTHER, Output, Test, promised};

/// What each tool does, as a script that prepares it, its words, and the status that it
/// ends with without a limit.
fn jobs(t: &Test) -> Vec<(String, Vec<String>, i32)> {
    let (ready, ring) = (t.name("ready"), t.name("ring"));
    let queue = t.queue("queue");
    let (key, set, message) = (t.key(), t.key(), t.key());
    let job = |before: String, words: &[&str], status| {
        (before, words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>(), status)
    };
    let mut all = vec![
        job(String::new(), &["ftok", "/"], 0),
        job(String::new(), &["shmput", &t.name("new")], 0),
        job(String::new(), &["shmput", &key], 0),
        job(format!("shmput {ready} </etc/passwd"), &["shmcat", &ready], 0),
        job(String::new(), &["ringput", "-s", "4096", &t.name("new")], 0),
        job(format!("ringput -s 4096 {ring} <<<x"), &["ringcat", &ring], 0),
        job(String::new(), &["mqsend", "-c", &message, "x"], 0),
        job(String::new(), &["mqrecv", "-c", "-n", &message], 75),
        job(String::new(), &["semop", "-c", "1", &t.name("sem"), "-1"], 0),
        job(String::new(), &["semop", "-c", "1", &set, "-1"], 0),
        job(String::new(), &["semop", "-c", "1", &t.name("sem"), "-1", "--", "true"], 0),
        job(String::new(), &["shmlock", &t.name("lock"), "--", "true"], 0),
        job(String::new(), &["shmwait", "-w", ".01", &t.name("lock")], 124),
        job(format!("shmlock {0} -- true", t.name("old")), &["shmwake", &t.name("old")], 0),
        job(String::new(), &["ipcls", "--kind", "shm,sem", "-J", "--name", &t.name("none")], 0),
        job(format!("echo x | shmput {ready}"), &["ipcunlink", "--dry-run", &format!("shm:{ready}")], 0),
    ];
    let made = format!("echo x | shmput {ready}");
    all.push(job(made, &["ipcset", "-m", "640", "--size", "5000", &format!("shm:{ready}")], 0));
    if !t.lacks("POSIX queues") {
        let words: Vec<_> = ["mqsend"].iter().chain(&SMALL).copied().chain([&*queue, "x"]).collect();
        all.push(job(String::new(), &words, 0));
    }
    all
}

/// Ended before its first instruction: by the kernel, or by the C library's loader.
fn never_ran(output: &Output) -> bool {
    let loader = ["error while loading shared libraries", "cannot allocate", "prlimit: failed to execute"];
    loader.iter().any(|words| output.stderr.contains(words)) || output.status == 137 && output.stderr.is_empty()
}

/// Run all jobs under a limit of prlimit(1), at each step.
fn under(limit: &str, as_other: &str, steps: [u64; 10]) {
    let jobs_of = |t: &Test| jobs(t);
    let count = jobs_of(&Test::new()).len();
    let mut refused = 0;
    for number in 0..count {
        for step in steps {
            let t = Test::new();
            let (before, words, status) = jobs_of(&t).swap_remove(number);
            t.bash(&format!("umask 0; {as_other} bash -c '{before}'")).run().ok();
            let left = t.left();
            let limited = format!("exec {as_other} prlimit --{limit}={step} -- \"$@\"");
            let output = t.cmd("bash").args(["-c", &limited, "bash"]).args(&words).stdin("input\n").run();
            let shown = format!("{limit} {step}: {output:?}");
            if output.status == status && (status != 0 || output.stderr.is_empty()) || never_ran(&output) {
                continue;
            }
            refused += 1;
            let expected = if words.contains(&"--".to_owned()) { [9, 125] } else { [9, 9] };
            assert!(expected.contains(&output.status), "{shown}");
            assert!(output.stderr.starts_with(&format!("{}: ", words[0])), "{shown}");
            assert!(output.stderr.lines().count() == 1, "{shown}");
            let named = ["ulimit -", "RLIMIT_", "sysctl ", "kernel."];
            assert!(named.iter().any(|name| output.stderr.contains(name)), "no limit is named: {shown}");
            assert_eq!(t.left(), left, "{shown}");
        }
    }
    // Otherwise it was no limit.
    assert!(refused > 0 || ["sigpending", "fsize", "msgqueue", "nproc"].contains(&limit), "{limit} refused nothing");
}

/// Calls that fail where nobody expects it: randomness, and closing a directory.
#[test]
fn randomness_and_closing_that_fail_are_no_fault_of_the_program() {
    let Some(t) = Test::with(&["strace"]) else { return };
    let (a, b) = (t.name("a"), t.name("b"));
    t.cmd("shmput").args([&a]).stdin("old").run().ok();
    // The first files are closed by the C library's loader.
    for inject in ["getrandom:error=ENOSYS", "close:error=EIO:when=6+"] {
        let run = |words: &[&str], input: &str| {
            let traced = ["-qq", "-o", "/dev/null", "-e", &format!("inject={inject}")];
            t.cmd("strace").args(traced).args(words).stdin(input).run()
        };
        run(&["shmput", &a], "new").ok();
        assert_eq!(run(&["shmcat", &a], "").ok(), b"new");
        run(&["shmput", &b], "b").ok();
        assert_eq!(run(&["shmcat", "--rm", &b], "").ok(), b"b");
        let listed = run(&["ipcls", "-A", "--kind", "shm", "--name", &a], "").text();
        assert_eq!(listed, format!("shm:{a}"));
        run(&["ipcls", &format!("shm:{a}")], "").ok();
        run(&["ipcunlink", "--dry-run", &format!("shm:{a}")], "").text();
    }
    assert_eq!(t.left().len(), 1);
}

/// What other users plant: many objects, many rings, temporary names, a process with
/// thousands of mappings. Our own are listed and judged, and nothing takes long.
#[test]
fn a_hostile_machine() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let script = format!(
        r#"
        ringput -s 4096 -m 644 /template <<<x
        {AS_OTHER} bash -c 'cd /dev/shm; umask 0
            for i in {{1..3000}}; do : >planted-$i; done
            tee $(printf "ring-%s " {{1..1000}}) <template >/dev/null
            for a in {{a..z}}{{a..z}}; do : >.ipcutils.abcdefghij$a; done
            exec 9<template; exec sleep 1000' &
        other=$!
        until [ -e /dev/shm/.ipcutils.abcdefghijzz ]; do :; done
        for i in {{1..100}}; do echo $i | shmput /own-$i; done
        exec 8</dev/shm/own-7
        ipcls --mine --raw --no-headings -o address,state --kind shm,ring
        kill $other
        exit 0"#
    );
    let Some(run) = t.unshared("--mount --ipc", &script) else { return };
    let begin = Instant::now();
    let text = run.run().text();
    promised(begin, Duration::from_secs(30));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.starts_with("shm:/own-")).count(), 100, "{text}");
    assert!(lines.contains(&"shm:/own-7 in-use") && lines.contains(&"ring:/template in-use"), "{text}");
}

const KIB: u64 = 1024;

#[test]
fn ulimit_v() {
    under("as", "", [4000, 5000, 6000, 6500, 7000, 7500, 8000, 9000, 12_000, 20_000].map(|step| step * KIB));
}

#[test]
fn ulimit_d() {
    under("data", "", [200, 300, 400, 500, 600, 700, 800, 1000, 2000, 8000].map(|step| step * KIB));
}

#[test]
fn ulimit_s() {
    under("stack", "", [64, 96, 128, 160, 192, 224, 256, 512, 1024, 8192].map(|step| step * KIB));
}

#[test]
fn ulimit_n() {
    under("nofile", "", [3, 4, 5, 6, 7, 8, 9, 10, 12, 16]);
}

#[test]
fn ulimit_u() {
    let t = Test::new();
    // Root has no limit of processes.
    if t.second_user() {
        under("nproc", AS_OTHER, [0, 1, 2, 3, 4, 5, 8, 16, 64, 1024]);
    }
}

#[test]
fn ulimit_i() {
    under("sigpending", "", [0, 1, 2, 3, 4, 5, 8, 16, 64, 1024]);
}

#[test]
fn ulimit_q() {
    under("msgqueue", "", [0, 1, 64, 256, 512, 1024, 2048, 4096, 65_536, 1 << 19]);
}

#[test]
fn ulimit_f() {
    under("fsize", "", [0, 1, 8, 31, 32, 512, 4095, 4096, 8192, 1 << 20]);
}
