//! Senders and receivers that wait at System V queues: rows B14, B16, M4 and
//! M16, deadlines, signals and death.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::util::{Running, Test, entries, promised, rounds, wait_until};

/// A receiver's and a sender's command line, neither of which can go on: an
/// empty queue, and one whose msg_qbytes perl has shrunk to what is in it.
fn stuck(t: &Test) -> [Vec<String>; 2] {
    let (empty, full) = (t.key(), t.key());
    let shrink = format!(
        "$i = msgget({full}, 0); msgctl($i, 2, $d) or die $!;
        substr($d, 88, 8) = pack('L!', 10); msgctl($i, 1, $d) or die $!"
    );
    t.bash(&format!("mqsend -c -l {empty} </dev/null; mqsend -c {full} 0123456789")).run().ok();
    t.cmd("perl").args(["-e", &shrink]).run().ok();
    [vec!["mqrecv".into(), empty], vec!["mqsend".into(), full, "x".into()]]
}

/// Start one with these options, and wait until it waits.
fn start(t: &Test, line: &[String], options: &[&str]) -> Running {
    let running = t.cmd(&line[0]).args(options).args(&line[1..]).spawn();
    running.wait_blocked();
    running
}

fn remove(t: &Test, line: &[String]) {
    t.cmd("ipcunlink").args(["--force", &format!("mq:{}", line[1])]).run().ok();
}

#[test]
fn b14_removed_while_blocked() {
    let Some(t) = Test::with(&["perl"]) else { return };
    for options in [&[][..], &["-w", "1000"], &["-E", "9"]] {
        for line in stuck(&t) {
            let waiting = start(&t, &line, options);
            let begin = Instant::now();
            remove(&t, &line);
            waiting.output().says(6, &format!("{}: key:{}: was removed meanwhile", line[0], line[1]));
            promised(begin, Duration::from_secs(20));
        }
    }
}

#[test]
fn b14_removed_and_made_again_is_another() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let [line, _] = stuck(&t);
    let waiting = start(&t, &line, &["-f"]);
    t.bash(&format!("ipcunlink --force mq:{0} && mqsend -c {0} new", line[1])).run().ok();
    waiting.output().says(6, "was removed meanwhile");
    assert_eq!(t.cmd("mqrecv").args(&line[1..]).run().text(), "new");
}

#[test]
fn b14_removed_between_two_messages() {
    let t = Test::new();
    let key = t.key();
    let mut sender = t.cmd("mqsend").args(["-c", "-l", &key]).spawn_open();
    sender.write(b"1\n2\n");
    wait_until("it has sent", || t.cmd("mqrecv").args(["-n", &key]).run().stdout == b"2");
    remove(&t, &["mqsend".into(), key.clone()]);
    sender.write(b"3\n");
    sender.output().says(6, "was removed meanwhile; messages sent: 2");
}

#[test]
fn m16_many_receivers_and_one_removal() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let [line, _] = stuck(&t);
    let script = "for i in {1..200}; do mqrecv $0 2>>err & pids+=($!); done
        for pid in ${pids[*]}; do
            until read -r _ name state _ </proc/$pid/stat && [ \"$name $state\" = '(mqrecv) S' ]; do :; done
        done
        ipcunlink --force mq:$0
        for pid in ${pids[*]}; do wait $pid; echo $?; done | sort | uniq -c | xargs; grep -c 'was removed meanwhile$' err";
    // wait knows only children of the same shell.
    let script = script.replace("done | sort | uniq -c | xargs", "done >ends; sort ends | uniq -c | xargs");
    assert_eq!(t.cmd("bash").args(["-c", &script, &line[1]]).run().text(), "200 6\n200");
}

#[test]
fn b16_stop_and_continue_change_nothing() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let [receiver, sender] = stuck(&t);
    for options in [&[][..], &["-w", "1000"]] {
        let (receives, sends) = (start(&t, &receiver, options), start(&t, &sender, options));
        for _ in 0..3 {
            for one in [&receives, &sends] {
                one.kill(Signal::SIGSTOP);
                wait_until("it is stopped", || one.state() == 'T');
                one.kill(Signal::SIGCONT);
                one.wait_blocked();
            }
        }
        t.cmd("mqsend").args([&receiver[1], "hello"]).run().ok();
        assert_eq!(receives.output().text(), "hello");
        assert_eq!(t.cmd("mqrecv").args([&sender[1]]).run().text(), "0123456789");
        sends.output().ok();
        assert_eq!(t.cmd("mqrecv").args([&sender[1]]).run().text(), "x");
        t.cmd("mqsend").args([&sender[1], "0123456789"]).run().ok();
    }
}

/// The time that it is stopped counts, and a stop does not begin it anew.
#[test]
fn b16_stop_and_continue_leave_the_deadline() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let limit = Duration::from_secs(2);
    let lines = stuck(&t);
    let waiting: Vec<_> = lines.iter().map(|line| start(&t, line, &["-w", "2"])).collect();
    for one in &waiting {
        one.kill(Signal::SIGSTOP);
    }
    let stopped = Instant::now();
    wait_until("the deadline has passed", || stopped.elapsed() > limit);
    // They end before one that begins now.
    let later = t.cmd("mqrecv").args(["-w", "2", &lines[0][1]]).spawn();
    for one in waiting {
        one.kill(Signal::SIGCONT);
        one.output().says(124, "the timeout has passed");
    }
    assert_ne!(later.state(), 'Z');
}

#[test]
fn m4_b16_a_signal_ends_the_wait() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let lines = stuck(&t);
    for options in [&["-E", "9"][..], &["-w", "1000"]] {
        for line in &lines {
            for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGALRM] {
                let waiting = start(&t, line, options);
                waiting.kill(signal);
                let output = waiting.output();
                let expected = (128 + signal as i32, "", 0);
                assert_eq!((output.status, output.stderr.as_str(), output.stdout.len()), expected, "{line:?}");
            }
        }
    }
    // Nothing half done: each queue has what it had.
    t.cmd("mqrecv").args(["-n", &lines[0][1]]).run().fails(75);
    assert_eq!(t.cmd("mqrecv").args(["--drain", &lines[1][1]]).run().text(), "0123456789");
}

#[test]
fn the_timeout() {
    let Some(t) = Test::with(&["perl"]) else { return };
    for line in stuck(&t) {
        for (args, status, least) in [
            (&["-w", ".2"][..], 124, 200),
            (&["-w", "150ms"], 124, 150),
            (&["-w", "0.000001"], 124, 0),
            (&["--timeout=0.01", "--busy-status=255"], 255, 10),
        ] {
            let begin = Instant::now();
            let output = t.cmd(&line[0]).args(args).args(&line[1..]).run();
            assert!(begin.elapsed() >= Duration::from_millis(least), "{args:?}");
            output.says(status, ", and the timeout has passed");
        }
        for word in ["", "-1", "+1", "x", "1x", "nan"] {
            t.cmd(&line[0]).args([&format!("--timeout={word}")]).args(&line[1..]).run().says(2, "is no duration");
        }
    }
}

/// Longer than some clocks can tell.
#[test]
fn the_longest_timeouts_wait() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let [line, _] = stuck(&t);
    for timeout in ["100d", "9223372036s", "9999999999999", "106751991167d"] {
        let waiting = start(&t, &line, &["-w", timeout]);
        t.cmd("mqsend").args([&line[1], timeout]).run().ok();
        assert_eq!(waiting.output().text(), timeout);
    }
}

/// The first shot of a timer may come before the call is entered.
#[test]
fn tiny_timeouts_never_hang() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let n = rounds(300);
    let script = "n=$1; shift; for ((i = 0; i < n; i++)); do
            \"$1\" -w .00$((i % 2))$((RANDOM % 10))1 \"${@:2}\" 2>/dev/null; [ $? = 124 ] || echo $i $?
        done";
    let [receiver, sender] = stuck(&t);
    // Both at once.
    let run = |line: &[String], n: usize| t.cmd("bash").args(["-c", script, "tiny", &n.to_string()]).args(line).spawn();
    for running in [run(&receiver, n), run(&sender, n / 3)] {
        assert_eq!(running.output().text(), "");
    }
}

#[test]
fn the_last_real_time_signal_ignored_or_blocked_at_the_start() {
    let Some(t) = Test::with(&["perl"]) else { return };
    for line in stuck(&t) {
        for how in [&["--ignore-signal=64"][..], &["--block-signal=64"], &["--ignore-signal=64", "--block-signal=64"]] {
            let begin = Instant::now();
            let run = t.cmd("env").args(how).args([&line[0], "-w", ".05"]).args(&line[1..]).run();
            assert!(begin.elapsed() >= Duration::from_millis(50), "{how:?}");
            run.says(124, "the timeout has passed");
        }
    }
}

/// Neither swallowed nor taken for our own timer.
#[test]
fn an_alarm_from_before_exec_ends_the_wait() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let lines = stuck(&t);
    let with = |options: &'static [&'static str]| lines.iter().map(move |line| (line, options));
    let all: Vec<_> = with(&[])
        .chain(with(&["-w", "1000"]))
        .map(|(line, options)| {
            let perl = t.cmd("perl").args(["-e", "alarm 1; exec @ARGV", &line[0]]);
            perl.args(options).args(&line[1..]).spawn()
        })
        .collect();
    for one in all {
        let output = one.output();
        assert_eq!((output.status, output.stderr.as_str()), (142, ""), "{output:?}");
    }
}

/// timer_create(2) says EAGAIN, which tells a user nothing.
#[test]
fn without_a_timer_the_limit_is_named() {
    let Some(t) = Test::with(&["perl"]) else { return };
    for line in stuck(&t) {
        let script = "ulimit -i 0; exec \"$0\" -w .1 \"$@\"";
        let message = t.cmd("bash").args(["-c", script]).args(&line).run().fails(9);
        assert!(message.contains("ulimit -i") || message.contains("RLIMIT_SIGPENDING"), "{message}");
    }
}

#[test]
fn a_receiver_of_one_type_sleeps_through_others() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let [line, _] = stuck(&t);
    for (option, other, wanted) in [("--type=5", "4", "5"), ("--except=5", "5", "6"), ("--up-to=5", "6", "5")] {
        let waiting = start(&t, &line, &[option, "-w", "1000"]);
        t.cmd("mqsend").args(["-t", other, &line[1], "other"]).run().ok();
        waiting.wait_blocked();
        t.cmd("mqsend").args(["-t", wanted, &line[1], "wanted"]).run().ok();
        assert_eq!(waiting.output().text(), "wanted", "{option}");
        assert_eq!(t.cmd("mqrecv").args([&line[1]]).run().text(), "other", "{option}");
    }
}

/// Messages are put out before the next is waited for.
#[test]
fn follow_gives_each_message_at_once() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let [line, _] = stuck(&t);
    let mut waiting = start(&t, &line, &["-f", "-l"]);
    let mut stdout = std::io::BufReader::new(waiting.child.stdout.take().unwrap());
    for i in 0..5 {
        t.cmd("mqsend").args([&line[1], &i.to_string()]).run().ok();
        let mut got = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut got).unwrap();
        assert_eq!(got, format!("{i}\n"));
    }
    waiting.wait_blocked();
}

/// Senders and receivers die at any moment: what comes out is whole, in order
/// and comes once.
#[test]
fn kill_9_leaves_messages_whole_and_at_most_once() {
    let t = Test::new();
    let key = t.key();
    let script = "mqsend -c -l $0 </dev/null
        for ((i = 0; i < $1; i++)); do
            seq -f \"$i-%.0f-$(printf %900s x | tr ' ' x)\" 9999999 2>/dev/null |
                timeout -s KILL .0$((RANDOM % 5 + 1)) mqsend -l $0 & sender=$!
            timeout -s KILL .0$((RANDOM % 3 + 1)) mqrecv -l -f $0 >out.$i.a
            timeout -s KILL .0$((RANDOM % 3 + 1)) mqrecv -l -f $0 >out.$i.b
            wait $sender
        done 2>/dev/null
        # One that was killed may still be on its way out, with a message.
        until grep -qx last out.y; do
            mqsend -n $0 last
            mqrecv --drain -l $0 >>out.y
        done 2>/dev/null";
    let n = rounds(15);
    t.cmd("bash").args(["-c", script, &key, &n.to_string()]).run().ok();
    let body = format!("-{}", "x".repeat(900));
    let mut seen = BTreeSet::new();
    for file in entries(t.path("")).into_iter().filter(|name| name.starts_with("out.")) {
        let text = std::fs::read_to_string(t.path(&file)).unwrap();
        let mut before = (0, 0);
        // The write of one that was killed may have ended anywhere.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n') && *line != "last\n") {
            let number = line.trim_end().strip_suffix(&body).and_then(|number| number.split_once('-'));
            let (round, count) = number.unwrap_or_else(|| panic!("{file}: not whole: {line:?}"));
            let now: (u32, u32) = (round.parse().unwrap(), count.parse().unwrap());
            assert!(now > before, "{file}: {now:?} after {before:?}");
            assert!(seen.insert(now), "{file}: twice: {now:?}");
            before = now;
        }
    }
    let last = std::fs::read_to_string(t.path("out.y")).unwrap();
    assert!(last.ends_with("last\n"), "{last}");
    assert!(!seen.is_empty());
}

/// The signal comes after the kernel has given the message out, and before msgrcv(2)
/// has returned.
#[test]
fn m4_a_signal_in_the_call_that_takes_loses_nothing() {
    let Some(t) = Test::with(&["strace"]) else { return };
    let key = t.key();
    // In msgrcv as long as strace lives.
    let script = format!(
        "mqsend -c {key} first; mqrecv {key} >/dev/null; exec 2>/dev/null
        strace -I1 -o log -e trace=msgrcv -e inject=msgrcv:delay_exit=1000000000:when=3 mqrecv -l {key} >out & tracer=$!
        until grep -q ENOMSG log; do :; done
        read -r receiver </proc/$tracer/task/$tracer/children
        mqsend {key} second
        until [ $(ipcls --no-headings -o messages mq:{key}) = 0 ]; do :; done
        kill $receiver; kill $tracer; wait $tracer
        while [[ -e /proc/$receiver && $(</proc/$receiver/stat) != *') Z '* ]]; do :; done; cat out"
    );
    assert_eq!(t.bash(&script).run().text(), "second");
}

#[test]
fn m4_a_signal_ends_a_wait_that_has_begun_or_begins() {
    let t = Test::new();
    let key = t.key();
    let script = format!(
        "mqsend -c {key} first; mqrecv {key} >/dev/null
        for i in $(seq 30); do mqrecv -f {key} & kill $!; wait $!; echo $?; done | sort | uniq -c | xargs
        mqrecv {key} & receiver=$!
        until [[ $(</proc/$receiver/wchan) = *msgrcv* || $(</proc/$receiver/stat) = *') S '* ]]; do :; done
        kill -INT $receiver; kill -TERM $receiver; wait $receiver; echo $?"
    );
    let text = t.bash(&script).run().text();
    assert!(text == "30 143\n143" || text == "30 143\n130", "{text}");
}
