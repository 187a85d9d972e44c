//! mqcall: requests and their answers.

use nix::sys::signal::Signal;

use crate::util::queues::{empty, raw, send};
use crate::util::{Run, Running, Test, noise, rounds, wait_until};

/// A server that runs this script for each call.
fn server(t: &Test, queue: &str, script: &str) -> Running {
    t.cmd("mqserve").args(["-j", "2", queue, "--", "bash", "-c", script]).spawn()
}

fn call<'t>(t: &'t Test, args: &[&str]) -> Run<'t> {
    t.cmd("mqcall").args(args)
}

fn both(t: &Test) -> [String; 2] {
    let key = t.key();
    t.cmd("mqrecv").args(["-c", "--drain", &key]).run().ok();
    [empty(t, "q"), key]
}

#[test]
fn input_output_errors_and_status_are_those_of_the_command() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let _server = server(&t, &queue, "cat; echo error >&2; exit 5");
        for request in [&b""[..], b"\0", b"a\0\xff\n"] {
            let out = call(&t, &[&queue]).stdin(request).run();
            assert_eq!((out.status, &*out.stdout, &*out.stderr), (5, request, "error\n"));
        }
        let out = call(&t, &[&queue, "a b", "-x"]).run();
        assert_eq!((out.status, &*out.stdout), (5, &b"a b-x"[..]));
        let out = call(&t, &["-l", &queue]).stdin("1\n2\n\n3").run();
        assert_eq!((out.status, &*out.stdout), (5, &b"123"[..]));
        assert_eq!(call(&t, &["-0", &queue]).stdin("1\n\x002").run().stdout, b"1\n2");
    }
}

#[test]
fn large_requests_and_answers() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let _server = server(&t, &queue, "cat");
    let large = noise(17, 5_000_001);
    for args in [&[&*queue][..], &["--retry", "1", &queue]] {
        assert_eq!(call(&t, args).stdin(large.clone()).run().ok(), large);
    }
}

#[test]
fn the_command_knows_its_caller_and_its_deadline() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let _server = server(&t, &queue, "echo $IPCUTILS_CALLER $IPCUTILS_DEADLINE");
    let script = format!("echo $$ $UID; date +%s; exec mqcall -w 1000 {queue} x");
    let out = t.bash(&script).run().text();
    let words: Vec<_> = out.split_whitespace().collect();
    let [pid, uid, now, caller, caller_uid, deadline] = words[..] else { panic!("{out}") };
    assert_eq!((pid, uid), (caller, caller_uid));
    let left = deadline.parse::<f64>().unwrap() - now.parse::<f64>().unwrap();
    assert!((900.0..=1001.0).contains(&left), "{left}");
    assert_eq!(call(&t, &[&queue, "x"]).run().text().split_whitespace().count(), 2);
}

#[test]
fn an_answer_is_streamed() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let _server = server(&t, &queue, "echo first; until [ -e go ]; do sleep 0.01; done; echo last");
    let mut caller = call(&t, &[&queue, "x"]).spawn();
    crate::util::holders::wait_for_line(&mut caller);
    t.file("go", "");
    assert_eq!(caller.output().ok(), b"last\n");
}

#[test]
fn nobody_serves_it() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        call(&t, &["-w", "0.1", &queue, "x"]).run().says(124, "no server has taken the call");
        assert_eq!(call(&t, &["-w", "0", "-E", "9", &queue, "x"]).run().status, 9);
        // Nobody waits for them any more.
        t.cmd("mqserve").args(["--drain", &queue, "--", "touch", "begun"]).run().ok();
        assert!(!t.path("begun").exists());
        // One that comes later.
        let caller = call(&t, &[&queue, "x"]).spawn();
        caller.wait_blocked();
        let server = t.cmd("mqserve").args(["--count", "1", &queue, "--", "cat"]).spawn();
        assert_eq!(caller.output().ok(), b"x");
        server.output().ok();
        let caller = call(&t, &[&queue, "x"]).spawn();
        caller.wait_blocked();
        t.cmd("ipcunlink").args(["--force", &format!("mq:{queue}")]).run().ok();
        if queue.starts_with('/') {
            caller.output().says(6, "was removed");
        }
    }
    call(&t, &[&t.name("none"), "x"]).run().says(3, "does not exist");
    call(&t, &["-l", &t.name("none"), "x"]).run().says(2, "standard input");
    let short = t.queue("short");
    t.cmd("mqrecv").args(["-c", "--max-messages", "1", "--message-size", "63", "--drain", &short]).run().ok();
    call(&t, &[&short, "x"]).run().says(9, "63 bytes");
}

#[test]
fn l1_the_server_dies_in_the_middle() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let begun = || wait_until("the command runs", || t.path("in").exists());
        let mut first = server(&t, &queue, "echo half; touch in; sleep 1000");
        let caller = call(&t, &[&queue, "x"]).spawn();
        begun();
        first.kill(Signal::SIGKILL);
        first.end();
        let out = caller.output();
        assert!(out.status == 7 && out.stderr.contains("the server died in the middle"), "{out:?}");
        // Its call is not answered to anybody; nothing of it is left.
        t.cmd("mqserve").args(["--drain", &queue, "--", "touch", "again"]).run();
        assert!(!t.path("again").exists());
        t.bash("rm in").run().ok();
        let mut first = server(&t, &queue, "echo half; touch in; sleep 1000");
        let caller = call(&t, &["--retry", "1", &queue, "x"]).spawn();
        begun();
        first.kill(Signal::SIGKILL);
        first.end();
        let _second = server(&t, &queue, "cat; echo $IPCUTILS_ATTEMPT");
        assert_eq!(caller.output().ok(), b"x2\n");
        t.bash("rm in").run().ok();
    }
}

#[test]
fn a_command_that_takes_too_long() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let server = t.cmd("mqserve").args(["--timeout", "0.2", &queue, "--", "sleep", "1000"]).spawn();
    let out = call(&t, &[&queue, "x"]).run();
    assert_eq!((out.status, out.stderr.is_empty()), (124, true));
    server.kill(Signal::SIGTERM);
    let out = server.output();
    assert!(out.stderr.contains("is dropped: the command took longer than 200ms"), "{out:?}");
}

#[test]
fn l2_a_caller_that_is_gone() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let _server = server(&t, &queue, "echo $$ > in; exec sleep 1000");
    for how in ["killed", "timeout"] {
        let mut caller = call(&t, &["-w", if how == "killed" { "1000" } else { "2" }, &queue, "x"]).spawn();
        wait_until("the command runs", || std::fs::read(t.path("in")).is_ok_and(|pid| pid.ends_with(b"\n")));
        let pid = std::fs::read_to_string(t.path("in")).unwrap();
        if how == "killed" {
            caller.kill(Signal::SIGKILL);
            caller.end();
        } else {
            caller.output().says(124, "the command has not ended");
        }
        wait_until("the command is ended", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            !stat.contains("(sleep)") || stat.contains(") Z ")
        });
        std::fs::remove_file(t.path("in")).unwrap();
    }
}

#[test]
fn l2_a_stopped_caller_holds_nobody_up() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let caller = call(&t, &[&queue, "stopped"]).spawn();
    caller.wait_blocked();
    caller.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || caller.state() == 'T');
    let server = t.cmd("mqserve").args(["--retry", "1000", &queue, "--", "cat"]).spawn();
    assert_eq!(call(&t, &[&queue, "other"]).run().ok(), b"other");
    caller.kill(Signal::SIGCONT);
    assert_eq!(caller.output().ok(), b"stopped");
    server.kill(Signal::SIGTERM);
    assert!(server.output().stderr.contains("its caller does not answer"));
}

#[test]
fn l3_each_gets_its_own_answer_whatever_is_killed() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let requests: Vec<_> = (0..8).map(|i| format!("request {i} {}", "x".repeat(i * 1000))).collect();
        let all = || -> Vec<Running> {
            let one = |request| call(&t, &["--retry", "1000", &queue, request]).spawn();
            requests.iter().map(|request| one(request)).collect()
        };
        let pauses = noise(3, rounds(20));
        for batch in pauses.chunks(5) {
            let callers = all();
            for pause in batch {
                let args = ["-j", "2", "--retry", "1000", &queue, "--", "cat"];
                let mut server = t.cmd("mqserve").args(args).spawn();
                std::thread::sleep(std::time::Duration::from_micros(u64::from(*pause) * 100));
                server.kill(Signal::SIGKILL);
                server.end();
            }
            let _server = t.cmd("mqserve").args(["--retry", "1000", &queue, "--", "cat"]).spawn();
            for (caller, request) in callers.into_iter().zip(&requests) {
                let out = String::from_utf8(caller.output().ok()).unwrap();
                assert!(out.starts_with(request) && out.matches("request").count() == 1, "{request}: {out}");
            }
        }
    }
}

/// One that connects to each socket of a caller it finds, and says something.
const INTRUDER: &str = "import socket, sys, time
while True:
    for line in open('/proc/net/unix'):
        if '@ipcutils.call.' in line and line.split()[3] == '00010000':
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(5)
            s.connect('\\0' + line.split('@')[1].strip())
            s.sendall(b'x' * 16)
            print(len(s.recv(16)), flush=True)
            sys.exit()
    time.sleep(0.01)";

#[test]
fn l4_who_does_not_know_the_secret_gets_nothing() {
    let Some(t) = Test::with(&["POSIX queues", "python3"]) else { return };
    let script = "mqsend -c --max-messages 4 --message-size 64 /example '' && mqrecv /example
        mqcall /example x & python3 -c \"$INTRUDER\"
        mqserve --count 1 /example -- cat; wait";
    // Sockets of other callers are not ours to try.
    let Some(run) = t.unshared("--ipc --mount --net", script) else { return };
    assert_eq!(run.env("INTRUDER", INTRUDER).run().ok(), b"0\nx");
}

#[test]
fn l7_corrupt_calls() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    call(&t, &["-w", "0", &queue, "x"]).run().fails(124);
    let good = raw(&queue);
    assert_eq!(good.len(), 64);
    // It is no message for people.
    t.cmd("mqsend").args([&queue]).stdin(&good[..]).run().ok();
    send(&t, &[&queue, "next"]).ok();
    let out = t.cmd("mqrecv").args([&queue]).run();
    assert!(out.status == 8 && out.stderr.contains("has a call of mqcall"), "{out:?}");
    assert_eq!(out.stdout, b"next");
    let mut server = t.cmd("mqserve").args([&queue, "--", "sh", "-c", "echo done >&2; cat"]).spawn_open();
    drop(server.child.stdin.take());
    // Not its first bytes: then it is work.
    let places = noise(11, rounds(100));
    for (i, place) in places.iter().enumerate() {
        let mut bad = good.clone();
        bad[8 + usize::from(*place) % 56] ^= 1 << (i % 8);
        t.cmd("mqsend").args([&queue]).stdin(bad).run().ok();
    }
    for length in [8, 9, 63] {
        t.cmd("mqsend").args([&queue]).stdin(&good[..length]).run().ok();
    }
    assert_eq!(call(&t, &[&queue, "whole"]).run().stdout, b"whole");
    server.kill(Signal::SIGTERM);
    let out = server.output();
    // It has run the command for the one call alone, whose caller got the words.
    assert!(out.stdout.is_empty() && !out.stderr.contains("done"), "{out:?}");
    assert!(out.stderr.contains("it is a corrupt call: it has another length"), "{out:?}");
}

#[test]
fn l9_work_and_calls_in_one_queue() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    send(&t, &[&queue, "work"]).ok();
    let server = t.cmd("mqserve").args(["--count", "2", &queue, "--", "cat"]).spawn();
    assert_eq!(call(&t, &[&queue, "call"]).run().ok(), b"call");
    assert_eq!(server.output().ok(), b"work");
}
