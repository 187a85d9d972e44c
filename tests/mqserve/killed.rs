//! Nothing is lost, whatever is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{both, claims, serve};
use crate::util::queues::{drain, empty, send};
use crate::util::{Run, Test, noise, rounds, wait_until};

/// A command that appends its message in one call.
const APPEND: &str = "read -r message || :; echo \"$message\" >> out";

/// The server under strace, which kills it when it makes this call for the nth time.
fn traced<'t>(t: &'t Test, queue: &str, kill: Option<&(String, usize)>) -> Run<'t> {
    let inject = kill.map(|(call, at)| format!("inject={call}:signal=KILL:when={at}"));
    let strace = t.cmd("strace").args(["-qq", "-o"]).args([t.path("trace")]);
    let strace = strace.args(inject.iter().flat_map(|inject| ["-e", inject]));
    strace.args(["mqserve", "--drain", queue, "--", "bash", "-c", APPEND])
}

/// The calls that a server makes from its first receipt on, each with its count.
fn calls_from_receipt(trace: &str) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    let calls = trace.lines().filter_map(|line| line.split_once('(')).filter(|(call, _)| !call.contains(' '));
    let counted: Vec<_> = calls
        .map(|(call, _)| {
            let count = counts.entry(call.to_owned()).or_insert(0);
            *count += 1;
            (call.to_owned(), *count)
        })
        .collect();
    let first = counted.iter().position(|(call, _)| call == "mq_timedreceive" || call == "msgrcv");
    counted[first.expect("it receives")..].to_vec()
}

#[test]
fn l1_kill_9_at_every_call_of_the_server() {
    let Some(t) = Test::with(&["POSIX queues", "strace"]) else { return };
    for queue in both(&t) {
        send(&t, &[&queue, "whole"]).ok();
        traced(&t, &queue, None).run().ok();
        let calls = calls_from_receipt(&std::fs::read_to_string(t.path("trace")).unwrap());
        let step = if rounds(1) == 1 { 3 } else { 1 };
        let mut killed = 0;
        for call in calls.iter().step_by(step) {
            let _ = std::fs::remove_file(t.path("out"));
            send(&t, &[&queue, "whole"]).ok();
            killed += usize::from(traced(&t, &queue, Some(call)).run().status == 137);
            serve(&t, &["--drain", &queue], APPEND).run();
            let out = std::fs::read_to_string(t.path("out")).unwrap_or_default();
            assert!(out.lines().any(|line| line == "whole"), "lost at {call:?}: {out:?}");
            assert_eq!(claims(&queue), [""; 0], "at {call:?}");
        }
        // How many calls of the same name come first depends on what else is in /dev/shm.
        assert!(killed > calls.len() / step / 2, "{killed} of {calls:?}");
    }
}

#[test]
fn torture_l1_killed_at_random_nothing_is_lost() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for (i, queue) in both(&t).into_iter().enumerate() {
        let dead = empty(&t, "dead");
        let serve = |args: &[&str]| serve(&t, &[args, &["--retry", "99", "--dead", &dead, &queue]].concat(), APPEND);
        let mut sent = BTreeSet::new();
        let pauses = noise(i as u64, rounds(100));
        for (round, pause) in pauses.into_iter().enumerate() {
            for word in ["a", "b"] {
                let message = format!("{round}{word}");
                send(&t, &["-n", &queue, &message]).ok();
                sent.insert(message);
            }
            let jobs = if pause % 2 == 0 { "1" } else { "2" };
            let mut server = serve(&["-j", jobs]).spawn();
            std::thread::sleep(Duration::from_micros(u64::from(pause) * 100));
            server.kill(Signal::SIGKILL);
            server.end();
            // The queue is small.
            if round % 2 == 1 {
                serve(&["--drain"]).run();
            }
        }
        // The kernel kills the workers of a dead server a little later.
        wait_until("all is done", || {
            serve(&["--drain"]).run();
            claims(&queue).is_empty()
        });
        let out = std::fs::read_to_string(t.path("out")).unwrap();
        std::fs::remove_file(t.path("out")).unwrap();
        // Killed in the very instant of a receipt: that is told, and the message is kept.
        let cut = drain(&t, &dead);
        let done: BTreeSet<_> = out.lines().chain(cut.lines()).map(str::to_owned).collect();
        assert!(sent.is_subset(&done), "lost: {:?}", sent.difference(&done));
        assert_eq!(claims(&queue), [""; 0]);
    }
}
