//! mqrecv: rows E10, E13, E14, E19, E22, M1 and M2, and what its options promise.

mod foreign;
mod sysv;
mod sysv_waiting;
mod waiting;

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use crate::util::queues::{SMALL, blocked, drain, empty, full, recv, send};
use crate::util::{Test, noise, rounds, said, wait_until};

#[test]
fn one_message_with_nothing_added() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = full(&t, "q");
    assert_eq!(recv(&t, &[&q]).ok(), b"1");
    assert_eq!(recv(&t, &["-l", &q]).ok(), b"2\n");
    assert_eq!(recv(&t, &["-0", &q]).ok(), b"3\0");
    assert_eq!(recv(&t, &["--null", "--drain", &q]).ok(), b"4\0");
    full(&t, "q");
    assert_eq!(recv(&t, &["--drain", &q]).ok(), b"1234");
}

#[test]
fn e13_e14_an_empty_message_is_not_no_message() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    recv(&t, &["-n", &q]).says(75, &format!("mqrecv: {q}: has no message"));
    recv(&t, &["-w", "0", &q]).says(124, "has no message, and the timeout has passed");
    for (flags, expected) in [(&[][..], &b""[..]), (&["-l"], b"\n"), (&["-0"], b"\0"), (&["-n"], b""), (&["-w0"], b"")]
    {
        send(&t, &[&q, ""]).ok();
        assert_eq!(t.cmd("mqrecv").args(flags).args([&q]).run().ok(), expected, "{flags:?}");
    }
    send(&t, &[&q, ""]).ok();
    let json = recv(&t, &["-J", &q]).ok();
    assert_eq!(json, format!("{{\"address\":\"{q}\",\"priority\":0,\"length\":0,\"body\":\"\"}}\n").as_bytes());
    recv(&t, &["-n", &q]).fails(75);
}

#[test]
fn e10_a_short_message_of_a_queue_for_long_ones() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    t.bash(&format!("mqsend -c --max-messages 2 --message-size 8K {q} x")).run().ok();
    assert_eq!(recv(&t, &[&q]).ok(), b"x");
    let longest = noise(10, 8192);
    t.cmd("mqsend").args([&q]).stdin(&*longest).run().ok();
    assert!(recv(&t, &[&q]).ok() == longest);
}

#[test]
fn drain_and_count() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = full(&t, "q");
    assert_eq!(recv(&t, &["-l", "--count", "3", &q]).ok(), b"1\n2\n3\n");
    assert_eq!(recv(&t, &["-l", "--drain", &q]).ok(), b"4\n");
    // An empty queue is drained, and that is no failure.
    assert_eq!(recv(&t, &["--drain", &q]).ok(), b"");
    // What was received is put out, whatever ended it.
    for (flag, status) in [(&["-n"][..], 75), (&["-w", ".01"], 124), (&["-n", "-E", "9"], 9)] {
        send(&t, &[&q, "a", "b"]).ok();
        let output = t.cmd("mqrecv").args(["-l", "--count=3"]).args(flag).args([&q]).run();
        assert_eq!((output.status, &*output.stdout), (status, &b"a\nb\n"[..]));
        assert!(output.stderr.contains("has no message"), "{output:?}");
    }
    let counting = blocked(&t, "mqrecv", &["-l", "--count", "6", &q]);
    full(&t, "q");
    send(&t, &[&q, "5", "6"]).ok();
    assert_eq!(counting.output().ok(), b"1\n2\n3\n4\n5\n6\n");
}

#[test]
fn what_posix_queues_do_not_have_is_refused() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = full(&t, "q");
    let no_type = "messages of POSIX queues have no type";
    let together = "System V queues cannot be waited for together";
    for (args, words) in [
        (&["--peek", &*q][..], "a POSIX queue cannot be looked into"),
        (&["-t", "1", &q], no_type),
        (&["--except", "1", &q], no_type),
        (&["--up-to", "1", &q], no_type),
        (&[&q, "key:1"], together),
        (&["0x1", &q], together),
        (&["--wait-only", "key:1"], "System V cannot wait without taking a message"),
        (&["-n", "-w", "1", &q], "cannot be used with"),
        (&["-f", "--drain", &q], "cannot be used with"),
        (&["-f", "--count", "1", &q], "cannot be used with"),
        (&["--drain", "--count", "1", &q], "cannot be used with"),
        (&["--drain", "-w", "1", &q], "cannot be used with"),
        (&["-l", "-0", &q], "cannot be used with"),
        (&["-J", "-l", &q], "cannot be used with"),
        (&["-J", "-0", &q], "cannot be used with"),
        (&["--wait-only", "-f", &q], "cannot be used with"),
        (&["--count", "-1", &q], "-1"),
        (&["--count", "", &q], "--count"),
        (&["-w", "1x", &q], "is no duration"),
        (&["-E", "256", &q], "is no exit status"),
        (&["-m", "9", &q], "is no mode"),
        (&[], "required"),
    ] {
        recv(&t, args).says(2, words);
    }
    assert_eq!(drain(&t, &q), "1\n2\n3\n4\n");
}

#[test]
fn several_queues_in_the_order_of_the_command_line() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queues = ["a", "b", "c"].map(|word| empty(&t, word));
    let [a, b, c] = queues.each_ref().map(String::as_str);
    send(&t, &[c, "c1"]).ok();
    send(&t, &["-p", "9", b, "b1", "b2"]).ok();
    send(&t, &[a, "a1"]).ok();
    assert_eq!(recv(&t, &["-l", a, b, c]).text(), "a1");
    assert_eq!(recv(&t, &["-l", "--count", "2", c, b, a]).text(), "c1\nb1");
    send(&t, &[c, "c2"]).ok();
    let json = recv(&t, &["-J", "--drain", a, b, c]).text();
    let expected = format!(
        r#"{{"address":"{b}","priority":9,"length":2,"body":"b2"}}
{{"address":"{c}","priority":0,"length":2,"body":"c2"}}"#
    );
    assert_eq!(json, expected);
    recv(&t, &["-n", a, b, c]).says(75, "has no message");
    // One that is missing is noticed before anything is taken.
    let absent = t.queue("absent");
    send(&t, &[a, "a2"]).ok();
    recv(&t, &[a, &absent]).says(3, &absent);
    assert_eq!(drain(&t, a), "a2\n");
}

#[test]
fn several_queues_whichever_is_next() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queues = ["a", "b", "c"].map(|word| empty(&t, word));
    let args: Vec<_> = ["-l", "--count", "4"].into_iter().chain(queues.iter().map(String::as_str)).collect();
    let mut receiver = t.cmd("mqrecv").args(&args).spawn();
    for i in [1, 2, 0, 2] {
        receiver.wait_blocked();
        send(&t, &[&queues[i], &i.to_string()]).ok();
        let mut line = [0; 2];
        receiver.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(line, [b'0' + i as u8, b'\n']);
    }
    receiver.output().ok();
}

#[test]
fn wait_only_takes_nothing() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (a, b) = (empty(&t, "a"), empty(&t, "b"));
    recv(&t, &["--wait-only", "-n", &a]).says(75, "has no message");
    recv(&t, &["--wait-only", "-w", ".05", &a, &b]).says(124, "has no message, and the timeout has passed");
    let (one, both) = (blocked(&t, "mqrecv", &["--wait-only", &b]), blocked(&t, "mqrecv", &["--wait-only", &a, &b]));
    // An empty message is one.
    send(&t, &[&b, ""]).ok();
    assert_eq!((one.output().ok(), both.output().ok()), (vec![], vec![]));
    for _ in 0..2 {
        assert_eq!(recv(&t, &["--wait-only", "-n", &b]).ok(), b"");
    }
    assert_eq!(drain(&t, &b), "\n");
    // It needs no standard output.
    full(&t, "a");
    t.bash(&format!("mqrecv --wait-only {a} >&-")).run().ok();
    for flag in ["-l", "-0", "-J", "--drain", "-f", "--peek"] {
        recv(&t, &["--wait-only", flag, &a]).fails(2);
    }
}

#[test]
fn json_bodies() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let all: Vec<u8> = (0..64).collect();
    let bodies: [&[u8]; 8] = [
        b"plain",
        b"\"quotes\\ and\n\t\x01\x7f/",
        "é\u{2028}\u{1f600}".as_bytes(),
        b"\0",
        &all,
        b"\xff",
        b"a\xc3",
        b"\xed\xa0\x80",
    ];
    let mut lines = String::new();
    for (i, body) in bodies.iter().enumerate() {
        t.cmd("mqsend").args(["-p", &i.to_string(), &q]).stdin(*body).run().ok();
        lines += &String::from_utf8(recv(&t, &["--json", &q]).ok()).unwrap();
    }
    // One line each, and text only where it is text.
    assert_eq!(lines.lines().count(), bodies.len());
    for (line, body) in lines.lines().zip(bodies) {
        assert_eq!(line.contains("\"body\":"), std::str::from_utf8(body).is_ok(), "{line}");
        assert_eq!(line.contains("\"base64\":"), std::str::from_utf8(body).is_err(), "{line}");
    }
    assert!(lines.contains(&format!(r#"{{"address":"{q}","priority":5,"length":1,"base64":"/w=="}}"#)), "{lines}");
    let perl = r#"use JSON::PP; use MIME::Base64; use Encode; while (<STDIN>) {
        my $m = decode_json($_);
        my $body = defined $m->{body} ? encode("UTF-8", $m->{body}) : decode_base64($m->{base64});
        length $body == $m->{length} or die "length of $_"; $m->{priority} == $. - 1 or die "priority of $_";
        print join(",", unpack("C*", $body)), "\n" }"#;
    if !t.bash("perl -MJSON::PP -MMIME::Base64 -e 1").run().success() {
        return said("not tested: no perl with JSON::PP");
    }
    let found = t.cmd("perl").args(["-e", perl]).stdin(lines).run().ok();
    let expected: String =
        bodies.iter().map(|body| body.iter().map(u8::to_string).collect::<Vec<_>>().join(",") + "\n").collect();
    assert_eq!(String::from_utf8(found).unwrap(), expected);
}

/// The pipe is held open, and each message is seen when it comes.
#[test]
fn follow_goes_on() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = full(&t, "q");
    let mut follower = t.cmd("mqrecv").args(["-f", "-l", &q]).spawn();
    let mut read = |expected: &str| {
        let mut line = vec![0; expected.len()];
        follower.child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    };
    read("1\n2\n3\n4\n");
    for line in ["a", "", "c"] {
        send(&t, &[&q, line]).ok();
        read(&format!("{line}\n"));
    }
    follower.wait_blocked();
    follower.kill(Signal::SIGTERM);
    let output = follower.output();
    assert_eq!((output.status, &*output.stderr, output.stdout.len()), (143, "", 0));
}

#[test]
fn m1_a_closed_pipe_ends_it_quietly() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let mut follower = blocked(&t, "mqrecv", &["-f", &q]);
    drop(follower.child.stdout.take());
    // Another test may be forking, with that end of the pipe, until it has executed.
    wait_until("a message cannot be written", || {
        send(&t, &["-n", &q, "a"]);
        follower.state() == 'Z'
    });
    t.cmd("mqrecv").args(["--drain", &q]).run();
    assert_eq!(follower.end().signal(), Some(Signal::SIGPIPE as i32));
    let mut said = String::new();
    follower.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    // With the signal ignored it is a failure that counts what is lost.
    send(&t, &[&q, "a", "b"]).ok();
    let script = format!("trap '' PIPE; mkfifo p; exec 3<>p 4>p 3<&-; mqrecv --drain {q} >&4");
    t.bash(&script).run().says(1, "standard output: Broken pipe; messages taken from the queue and lost: 2");
}

#[test]
fn m2_what_cannot_be_written_is_counted() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    for (flags, lost) in [("", 1), ("-l", 1), ("-J", 1), ("--count 2", 2), ("-f", 3), ("--drain -0", 3)] {
        t.cmd("mqsend").args(SMALL).args([&q, "a", "b", "c"]).run().ok();
        let words = format!("standard output: No space left on device; messages taken from the queue and lost: {lost}");
        t.bash(&format!("exec mqrecv {flags} {q} >/dev/full")).run().says(1, &words);
        assert_eq!(drain(&t, &q).lines().count(), 3 - lost);
    }
}

/// Two messages of four fit the file.
#[test]
fn m2_what_was_written_is_not_lost() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    let long = |letter: &str| letter.repeat(400);
    let messages = ["a", "b", "c", "d"].map(long);
    t.cmd("mqsend").args(["-c", "--max-messages=4", "--message-size=400", &q]).args(&messages).run().ok();
    let run = t.bash(&format!("ulimit -f 1; mqrecv --drain {q} >out")).run();
    run.says(1, "standard output: File too large; messages taken from the queue and lost: 2");
    assert!(messages.concat().as_bytes().starts_with(&std::fs::read(t.path("out")).unwrap()));
}

#[test]
fn e19_removed_twice() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = full(&t, "q");
    let remove = || t.cmd("ipcunlink").args([format!("mq:{q}")]).run();
    remove().ok();
    remove().says(3, "does not exist");
    recv(&t, &["-n", &q]).says(3, "does not exist");
}

/// Each of many receivers has one message, and none has another's.
#[test]
fn at_most_once() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let receivers: Vec<_> = (0..8).map(|_| blocked(&t, "mqrecv", &[&q])).collect();
    send(&t, &[&q, "0", "1", "2", "3", "4", "5", "6", "7"]).ok();
    let found: BTreeSet<_> = receivers.into_iter().map(|receiver| receiver.output().text()).collect();
    assert_eq!(found.into_iter().collect::<String>(), "01234567");
}

/// At any moment: messages may be lost with the receiver, none is seen twice
/// or in part. Each line carries its own check.
#[test]
fn e22_receiver_killed() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let line = |number: usize| format!("{number} {}", number * 7919);
    let lines: String = (0..rounds(60) * 100).map(|number| line(number) + "\n").collect();
    let sender = t.cmd("mqsend").args(["-l", &q]).stdin(lines).spawn();
    let mut last = None;
    let mut check = |output: Vec<u8>| {
        for found in String::from_utf8(output).unwrap().split_terminator('\n') {
            let number = found.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(found, line(number));
            assert!(Some(number) > last, "{number} after {last:?}");
            last = Some(number);
        }
    };
    for round in 0..rounds(60) {
        let receiver = t.cmd("mqrecv").args(["-l", "--count", "50", &q]).spawn();
        let (begin, moment) = (std::time::Instant::now(), 12 * u128::from(noise(round as u64, 1)[0]));
        wait_until("the moment", || begin.elapsed().as_micros() >= moment);
        receiver.kill(Signal::SIGKILL);
        check(receiver.output().stdout);
    }
    sender.kill(Signal::SIGKILL);
    assert!(matches!(sender.output().status, 0 | 137));
    check(recv(&t, &["-l", "--drain", &q]).ok());
    // The queue is as good as new.
    send(&t, &[&q, "hello"]).ok();
    assert_eq!(drain(&t, &q), "hello\n");
}

#[test]
fn a_message_is_cut_and_its_number_told() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for (q, number, what) in [(t.queue("q"), "-p5", "priority 5"), (t.key(), "-t5", "type 5")] {
        let full = |q: &str| if q.starts_with('/') { q.to_owned() } else { format!("key:{q}") };
        let send = || t.cmd("mqsend").args(["-c", number, &q, "hello world"]).run().ok();
        let recv = |args: &[&str]| t.cmd("mqrecv").args(args).args([&q]).run();
        send();
        let got = recv(&["-v", "--truncate", "5"]);
        assert_eq!((got.status, &*got.stdout), (0, &b"hello"[..]));
        let told = format!(
            "mqrecv: {0}: {what}, 11 bytes\nmqrecv: {0}: a message of 11 bytes, of which 6 were cut\n",
            full(&q)
        );
        assert_eq!(got.stderr, told);
        send();
        assert_eq!(recv(&["--truncate", "11"]).text(), "hello world");
        send();
        let json: serde_json::Value = serde_json::from_slice(&recv(&["-J", "--truncate", "5"]).stdout).unwrap();
        assert_eq!((&json["body"], &json["length"], &json["cut"]), (&"hello".into(), &11.into(), &6.into()));
        recv(&["-qn"]).fails_in_silence(75);
    }
}

#[test]
fn a_queue_is_waited_for_and_made_empty() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for q in [t.queue("q"), t.key()] {
        t.cmd("mqrecv").args(["--wait", "-w", ".1", &q]).run().says(124, "does not exist, and the timeout has passed");
        let waiting = t.cmd("mqrecv").args(["--wait", &q]).spawn();
        waiting.wait_blocked();
        // Made, and nothing sent; once only.
        t.cmd("mqsend").args(["-c", "-x", &q]).run().ok();
        t.cmd("mqsend").args(["-x", &q]).run().says(4, "exists already");
        assert_ne!(waiting.state(), 'Z');
        t.cmd("mqsend").args([&q, "first"]).run().ok();
        assert_eq!(waiting.output().text(), "first");
        t.cmd("mqrecv").args(["-n", &q]).run().fails(75);
        t.cmd("ipcunlink").args([format!("mq:{q}")]).run().ok();
        t.cmd("mqsend").args(["-x", &q]).stdin("not empty").run().ok();
        assert_eq!(t.cmd("mqrecv").args(["-n", &q]).run().text(), "not empty");
    }
}
