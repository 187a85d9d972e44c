//! How a server ends.

use nix::sys::signal::Signal;

use super::{both, claims, serve};
use crate::util::queues::{SMALL, drain, empty, send};
use crate::util::{Running, Test, wait_until};

/// A server whose command has begun; it ends when there is a file `go`.
fn working(t: &Test, queue: &str) -> Running {
    send(t, &[queue, "x"]).ok();
    let script = "touch in; trap 'exit 9' TERM; until [ -e go ]; do sleep 0.01; done; echo done";
    let server = serve(t, &["--retry", "5", queue], script).spawn();
    wait_until("the command runs", || t.path("in").exists());
    server
}

#[test]
fn m4_a_signal_waits_for_the_command() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let server = working(&t, &queue);
            send(&t, &[&queue, "next"]).ok();
            server.kill(signal);
            wait_until("the signal is taken", || !server.proc("status").contains("SigPnd:\t0000000000000001"));
            t.file("go", "");
            let out = server.output();
            assert_eq!((out.status, &*out.stdout), (128 + signal as i32, &b"done\n"[..]), "{out:?}");
            // It took no other message, and left nothing.
            assert_eq!(drain(&t, &queue), "next\n");
            assert_eq!(claims(&queue), [""; 0]);
            t.bash("rm in go").run().ok();
        }
    }
}

#[test]
fn m4_a_second_signal_ends_the_command_too() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let server = working(&t, &queue);
    server.kill(Signal::SIGTERM);
    wait_until("the first is taken", || signals_are_taken(&server));
    server.kill(Signal::SIGINT);
    assert_eq!(server.output().status, 143);
    // That was no attempt.
    assert_eq!(claims(&queue).len(), 1);
    let out = serve(&t, &["--drain", &queue], "echo $IPCUTILS_ATTEMPT $(cat)").run();
    assert_eq!(out.stdout, b"1 x\n");
    assert_eq!(claims(&queue), [""; 0]);
}

fn signals_are_taken(server: &Running) -> bool {
    let status = server.proc("status");
    let pending = status.lines().filter_map(|line| line.strip_prefix("ShdPnd:\t").or(line.strip_prefix("SigPnd:\t")));
    pending.into_iter().all(|mask| u64::from_str_radix(mask, 16).unwrap() == 0)
}

#[test]
fn m4_a_signal_ends_one_that_is_idle() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        for jobs in ["1", "2"] {
            let server = t.cmd("mqserve").args(["-j", jobs, &queue, "--", "cat"]).spawn();
            wait_until("it has a claim", || claims(&queue).len().to_string() == jobs);
            server.wait_blocked();
            server.kill(Signal::SIGTERM);
            assert_eq!(server.output().status, 143);
            assert_eq!(claims(&queue), [""; 0]);
        }
    }
}

#[test]
fn m7_an_ignored_signal_stays_ignored() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    send(&t, &[&queue, "x"]).ok();
    let script = format!("trap '' HUP; exec mqserve --drain {queue} -- sh -c 'kill -HUP $PPID $$; echo alive'");
    assert_eq!(t.bash(&script).run().text(), "alive");
}

#[test]
fn b14_the_queue_is_removed() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let server = t.cmd("mqserve").args([&queue, "--", "cat"]).spawn();
        wait_until("it has a claim", || claims(&queue).len() == 1);
        server.wait_blocked();
        t.cmd("ipcunlink").args(["--force".to_owned(), format!("mq:{queue}")]).run().ok();
        server.output().says(6, "was removed");
        assert_eq!(claims(&queue), [""; 0]);
    }
}

#[test]
fn m5_a_command_that_cannot_be_run_loses_nothing() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = t.queue("q");
    let file = t.file("file", "no program");
    for (command, status) in [("no-such-command-at-all", 127), (file.to_str().unwrap(), 126)] {
        send(&t, &[&SMALL[..], &[&*queue, "x"]].concat()).ok();
        t.cmd("mqserve").args(["--retry", "0", &queue, "--", command]).run().fails(status);
        let out = serve(&t, &["--retry", "0", "--drain", &queue], "echo $IPCUTILS_ATTEMPT; cat").run();
        assert_eq!(out.stdout, b"1\nx");
    }
    assert_eq!(claims(&queue), [""; 0]);
}

#[test]
fn an_idle_server_sleeps() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let server = t.cmd("mqserve").args([&queue, "--", "cat"]).spawn();
        wait_until("it has a claim", || claims(&queue).len() == 1);
        server.wait_blocked();
        let before = server.sleeps();
        // It looks around once a second: a busy one would do so thousands of times.
        wait_until("it looks around", || server.sleeps() > before + 1);
        assert!(server.ticks() < 20, "{}", server.ticks());
    }
}

#[test]
fn events_as_json() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in super::both(&t) {
        let dead = crate::util::queues::empty(&t, "dead");
        send(&t, &[&queue, "good", "bad"]).ok();
        let args = ["--log", "json", "--retry", "1", "--dead", &dead, "--drain", &queue];
        let output = serve(&t, &args, "grep -q good").run();
        let lines: Vec<serde_json::Value> =
            output.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["taken", "done", "taken", "failed", "taken", "dead"], "{output:?}");
        assert_eq!(
            (&lines[0]["bytes"], &lines[0]["call"], &lines[4]["attempt"]),
            (&4.into(), &false.into(), &2.into())
        );
        assert!(lines[1]["seconds"].is_f64() && lines[3]["pause"] == 0.1, "{output:?}");
        assert_eq!(lines[5]["reason"], "the command ended with status 1");
        assert!(lines.iter().all(|line| line["time"].as_str().unwrap().ends_with('Z')), "{output:?}");
        crate::util::queues::drain(&t, &dead);
    }
}
