//! Waiting, of both tools: rows E15, E18, E20 and M4.

use std::time::{Duration, Instant};

use super::*;
use crate::util::{Running, promised};

/// A way to wait: the tool, its arguments, and what it says while it does.
type Way = (&'static str, Vec<String>, &'static str);

/// Every path that blocks, each on a queue of its own.
fn ways(t: &Test) -> Vec<Way> {
    let (sender, twice) = (full(t, "sender"), full(t, "twice"));
    let [one, only, a, b] = ["one", "only", "a", "b"].map(|word| empty(t, word));
    vec![
        ("mqsend", vec![sender, "x".into()], "is full"),
        ("mqsend", vec![twice, "x".into(), "y".into()], "is full"),
        ("mqrecv", vec![one], "has no message"),
        ("mqrecv", vec!["--wait-only".into(), only], "has no message"),
        ("mqrecv", vec![a, b], "has no message"),
    ]
}

fn start(t: &Test, flags: &[&str], (tool, args, _): &Way) -> Running {
    t.cmd(tool).args(flags).args(args).spawn()
}

#[test]
fn e14_e15_the_timeout() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for way in ways(&t) {
        for (flags, status, least) in [
            (&["-n"][..], 75, 0),
            (&["--nonblock", "--busy-status=0"], 0, 0),
            (&["-n", "-E", "42"], 42, 0),
            (&["-w", "0"], 124, 0),
            (&["-w", ".2"], 124, 200),
            (&["-w", "150ms", "-E", "255"], 255, 150),
            (&["--timeout=0.000001"], 124, 0),
        ] {
            let begin = Instant::now();
            let output = start(&t, flags, &way).output();
            assert!(begin.elapsed() >= Duration::from_millis(least), "{way:?} {flags:?}");
            output.says(status, way.2);
        }
    }
    let queue = t.queue("absent");
    for tool in ["mqsend", "mqrecv"] {
        // -E moves two statuses and no other.
        t.cmd(tool).args(["-E", "42", "-n", &queue]).run().says(3, "does not exist");
        t.cmd(tool).args(["-w", "-1", &queue]).run().fails(2);
    }
}

#[test]
fn what_comes_in_time_ends_the_wait() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (q, room) = (empty(&t, "q"), full(&t, "room"));
    for flags in [&[][..], &["-w", "1h"]] {
        let receiver = start(&t, flags, &("mqrecv", vec![q.clone()], ""));
        receiver.wait_blocked();
        send(&t, &[&q, "hello"]).ok();
        assert_eq!(receiver.output().text(), "hello");
        let sender = start(&t, flags, &("mqsend", vec![room.clone(), "5".into()], ""));
        sender.wait_blocked();
        assert_eq!(recv(&t, &[&room]).text(), "1");
        sender.output().ok();
        assert_eq!(drain(&t, &room), "2\n3\n4\n5\n");
        full(&t, "room");
    }
}

/// The kernel wakes nobody, and the name is free at once: what is there under
/// it then is another queue.
#[test]
fn e18_removed_while_blocked() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let ways = ways(&t);
    let waiting: Vec<_> = ways.iter().map(|way| start(&t, &[], way)).collect();
    waiting.iter().for_each(Running::wait_blocked);
    let begin = Instant::now();
    let queues: Vec<_> = ["sender", "twice", "one", "only", "b"].iter().map(|word| t.queue(word)).collect();
    for queue in &queues {
        t.cmd("ipcunlink").args(["--force", &format!("mq:{queue}")]).run().ok();
        t.cmd("mqsend").args(SMALL).args([queue, "new"]).run().ok();
    }
    for one in waiting {
        one.output().says(6, "was removed meanwhile");
    }
    promised(begin, Duration::from_secs(5));
    for queue in queues {
        assert_eq!(drain(&t, &queue), "new\n");
    }
}

/// A long timeout and a loop that has waited before notice it too.
#[test]
fn e18_removed_while_following() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let timed = blocked(&t, "mqrecv", &["-w", "1h", &q]);
    send(&t, &[&q, "a"]).ok();
    assert_eq!(timed.output().text(), "a");
    let mut follower = blocked(&t, "mqrecv", &["-f", "-l", &q]);
    for _ in 0..3 {
        send(&t, &[&q, "x"]).ok();
        follower.child.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    }
    follower.wait_blocked();
    let mut sender = t.cmd("mqsend").args(["-l", "-w", "1h", &q]).spawn_open();
    sender.wait_blocked();
    let begin = Instant::now();
    t.cmd("ipcunlink").args(["--force", &format!("mq:{q}")]).run().ok();
    follower.output().says(6, "was removed meanwhile");
    promised(begin, Duration::from_secs(5));
    // The kernel would still take messages, which nobody receives.
    sender.write(b"1\n2\n3\n4\n5\n");
    sender.output().says(6, "was removed meanwhile; messages sent: 0");
}

/// The time that it is stopped counts, and a stop does not end the wait.
#[test]
fn e20_stop_and_continue_leave_the_deadline() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let ways = ways(&t);
    let (begin, limit) = (Instant::now(), Duration::from_secs(3));
    let waiting: Vec<_> = ways.iter().map(|way| start(&t, &["-w", "3"], way)).collect();
    for _ in 0..3 {
        for one in &waiting {
            one.wait_blocked();
            one.kill(Signal::SIGSTOP);
            wait_until("it is stopped", || one.state() == 'T');
            one.kill(Signal::SIGCONT);
        }
    }
    for one in &waiting {
        one.wait_blocked();
        one.kill(Signal::SIGSTOP);
    }
    wait_until("the deadline has passed", || begin.elapsed() > limit + Duration::from_millis(200));
    // They end before one that begins now.
    let later = start(&t, &["-w", "3"], &ways[2]);
    for (one, way) in waiting.into_iter().zip(&ways) {
        one.kill(Signal::SIGCONT);
        one.output().says(124, way.2);
    }
    assert_ne!(later.state(), 'Z');
}

#[test]
fn e20_stop_and_continue_without_a_deadline() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let receiver = blocked(&t, "mqrecv", &[&q]);
    for signal in [Signal::SIGSTOP, Signal::SIGCONT, Signal::SIGWINCH] {
        receiver.kill(signal);
        let state = if signal == Signal::SIGSTOP { 'T' } else { 'S' };
        wait_until("the signal has come", || receiver.state() == state);
    }
    // What comes while it is stopped is received afterwards, once.
    receiver.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || receiver.state() == 'T');
    send(&t, &[&q, "a", "b"]).ok();
    receiver.kill(Signal::SIGCONT);
    let mut found = [receiver.output().text(), drain(&t, &q)].concat();
    found.retain(|c| c != '\n');
    assert_eq!(found, "ab");
}

#[test]
fn m4_a_signal_ends_the_wait_at_once() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for way in ways(&t) {
        for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
            let waiting = start(&t, &["-w", "1h", "-E", "9"], &way);
            waiting.wait_blocked();
            let begin = Instant::now();
            waiting.kill(signal);
            let output = waiting.output();
            assert_eq!((output.status, &*output.stderr, output.stdout.len()), (status, "", 0), "{way:?}");
            promised(begin, Duration::from_secs(5));
        }
    }
    for queue in ["sender", "twice"] {
        assert_eq!(drain(&t, &t.queue(queue)), "1\n2\n3\n4\n");
    }
}

/// The timer's signal is the last one; others may have left it as they like.
#[test]
fn the_timers_signal_ignored_or_blocked() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for how in ["--ignore-signal=RTMAX", "--block-signal=RTMAX"] {
        let ways = ways(&t);
        let mut waiting = Vec::new();
        for (tool, args, words) in &ways {
            t.cmd("env").args([how, tool, "-w", ".05"]).args(args).run().says(124, words);
            waiting.push(t.cmd("env").args([how, tool]).args(args).spawn());
        }
        for (one, way) in waiting.iter().zip(&ways) {
            wait_until("env runs it", || one.name() == way.0);
            one.wait_blocked();
            // Not even ours, from outside, ends a wait.
            if how.starts_with("--ignore") {
                t.bash(&format!("kill -s RTMAX {}", one.pid())).run().ok();
            }
        }
        for word in ["sender", "twice", "one", "only", "a"] {
            t.cmd("ipcunlink").args(["--force", &format!("mq:{}", t.queue(word))]).run().ok();
        }
        for one in waiting {
            one.output().says(6, "was removed meanwhile");
        }
    }
}

/// However long it waits, it neither spins nor collects descriptors.
#[test]
fn a_wait_is_quiet() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let ways = ways(&t);
    let waiting: Vec<_> = ways.iter().map(|way| start(&t, &[], way)).collect();
    waiting.iter().for_each(Running::wait_blocked);
    let now = |one: &Running| (one.descriptors(), one.ticks(), one.sleeps());
    let before: Vec<_> = waiting.iter().map(now).collect();
    for ((one, way), (descriptors, ticks, sleeps)) in waiting.iter().zip(&ways).zip(before) {
        wait_until("it has looked twice", || one.sleeps() >= sleeps + 2);
        one.wait_blocked();
        assert_eq!(one.descriptors(), descriptors, "{way:?}");
        // In hundredths of a second of the processor, whatever else has it.
        let used = one.ticks() - ticks;
        assert!(used < 50, "{way:?}: {used}");
    }
}

/// Each message that another takes first is no new wait.
#[test]
fn e15_of_several_queues_the_deadline_stays() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (a, b) = (empty(&t, "a"), empty(&t, "b"));
    let thieves: Vec<_> = (0..3).map(|_| blocked(&t, "mqrecv", &["-f", &b])).collect();
    let waiting = t.cmd("mqrecv").args(["-w", "1", &a, &b]).spawn();
    wait_until("it ends, though messages come and go", || {
        send(&t, &[&b, "x"]).ok();
        waiting.state() == 'Z'
    });
    let output = waiting.output();
    assert!(output.status == 124 || output.stdout == b"x", "{output:?}");
    drop(thieves);
}

/// What was taken is written before a signal ends it.
#[test]
fn m4_a_signal_loses_nothing_that_was_taken() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let script = format!(
        "seq 1000000 | mqsend -l {q} & sender=$!
        mqrecv -f -l {q} >taken & receiver=$!
        until [ -s taken ]; do :; done
        kill $receiver; wait $receiver; [ $? = 143 ] || exit 1
        next=$(mqrecv {q}); kill $sender
        [ $(tail -n 1 taken) = $((next - 1)) ]"
    );
    t.bash(&script).run().ok();
}
