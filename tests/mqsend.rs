//! mqsend: rows E1 to E5, E9, E11 to E13, E23 and M3, and what its options
//! promise; waiting is in mqrecv/waiting.rs, for both tools.

mod create;
mod limits;
mod spill;
mod sysv;
mod sysv_limits;

use nix::sys::signal::Signal;

use crate::util::queues::{SMALL, drain, empty, send};
use crate::util::{AS_OTHER, Output, Test, noise, rounds, wait_until};

#[test]
fn e1_e2_e3_e5_bad_names() {
    let t = Test::new();
    let slash = "a POSIX name has one slash, at its beginning";
    for (name, words) in [
        ("", "is no address"),
        ("queue", "is no address"),
        ("/", "at least one byte after the slash"),
        ("/a/b", slash),
        ("//a", slash),
        ("/.", "is not a name"),
        ("/..", "is not a name"),
        ("5", "say id:5 or key:5"),
        ("file:x", "no message queue is a file"),
    ] {
        for tool in ["mqsend", "mqrecv"] {
            t.cmd(tool).args(SMALL).args(["-n", name]).run().says(2, words);
        }
    }
}

#[test]
fn e4_the_longest_name() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let longest = t.queue("x".repeat(256 - t.name("").len()));
    assert_eq!(longest.len(), 256);
    t.cmd("mqsend").args(SMALL).args([&longest, "hello"]).run().ok();
    assert_eq!(drain(&t, &longest), "hello\n");
    send(&t, &["-c", &format!("{longest}x"), "hello"]).says(2, "at most 255 bytes after the slash");
}

#[test]
fn each_argument_is_a_message() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    t.cmd("mqsend").args([&q, "a b", "", "-", "é"]).stdin("not read").run().ok();
    assert_eq!(drain(&t, &q), "a b\n\n-\né\n");
    send(&t, &[&q, "--", "-x", "--"]).ok();
    assert_eq!(drain(&t, &q), "-x\n--\n");
    // Names and messages are bytes.
    t.bash(&format!("mqsend {q} $'\\xff\\x01\\n'")).run().ok();
    assert_eq!(t.cmd("mqrecv").args([&q]).run().ok(), b"\xff\x01\n");
}

#[test]
fn e13_standard_input_is_one_message() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    for content in [&b""[..], b"\n", b"a\nb\n", b"\0\xff\0", &noise(1, 64)] {
        t.cmd("mqsend").args([&q]).stdin(content).run().ok();
        assert_eq!(t.cmd("mqrecv").args([&q]).run().ok(), content);
        t.cmd("mqrecv").args(["-n", &q]).run().says(75, "has no message");
    }
    // One that comes in parts.
    let mut sender = t.cmd("mqsend").args([&q]).spawn_open();
    sender.write(b"hel");
    sender.wait_blocked();
    sender.write(b"lo");
    sender.output().ok();
    assert_eq!(drain(&t, &q), "hello\n");
}

#[test]
fn lines_and_records() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    for (flag, input, expected) in [
        ("-l", "", ""),
        ("-l", "\n", "|"),
        ("-l", "a\n\nb\n", "a||b|"),
        ("-l", "a\0\nb", "a\0|b|"),
        ("-0", "a\n\0\0b", "a\n||b|"),
        ("--lines", "é\r\n", "é\r|"),
        ("--null", "\0", "|"),
    ] {
        t.cmd("mqsend").args([flag, &q]).stdin(input).run().ok();
        let mut found = String::new();
        while let Output { status: 0, stdout, .. } = t.cmd("mqrecv").args(["-n", &q]).run() {
            found += &format!("{}|", String::from_utf8(stdout).unwrap());
        }
        assert_eq!(found, expected, "{flag} {input:?}");
    }
    for flags in [&["-l", "-0"][..], &["-l", "--", "x"], &["-0", "--", "x"]] {
        let (options, message) = flags.split_at(flags.iter().position(|&f| f == "--").unwrap_or(flags.len()));
        t.cmd("mqsend").args(options).args([&q]).args(message.iter().skip(1)).run().fails(2);
    }
    assert_eq!(drain(&t, &q), "");
}

#[test]
fn a_line_goes_out_when_it_is_whole() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let mut sender = t.cmd("mqsend").args(["-l", &q]).spawn_open();
    let next = || t.cmd("mqrecv").args(["-w", "1h", &q]).run().text();
    sender.write(b"first\nsec");
    assert_eq!(next(), "first");
    t.cmd("mqrecv").args(["-n", &q]).run().fails(75);
    sender.write(b"ond\nlast");
    assert_eq!(next(), "second");
    sender.output().ok();
    assert_eq!(next(), "last");
}

#[test]
fn many_lines_go_through_a_small_queue() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let script = "seq 20000 | mqsend -l $Q & mqrecv -l --count 20000 $Q | cmp - <(seq 20000) && wait $!";
    t.bash(script).env("Q", &q).run().ok();
}

#[test]
fn e9_a_message_that_is_too_long() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let (fits, long) = ("x".repeat(64), "x".repeat(65));
    let words = "longer than this queue's 64 bytes (make the queue anew with a larger --message-size)";
    send(&t, &[&q, &long]).says(9, words);
    t.cmd("mqsend").args([&q]).stdin(&*long).run().says(9, words);
    // Far longer than what is read at once.
    t.cmd("mqsend").args([&q]).stdin(noise(1, 1 << 20)).run().says(9, words);
    assert_eq!(drain(&t, &q), "");
    send(&t, &[&q, &fits]).ok();
    t.cmd("mqsend").args([&q]).stdin(&*fits).run().ok();
    assert_eq!(drain(&t, &q), format!("{fits}\n{fits}\n"));
}

/// The caller can resume after the ones that went out.
#[test]
fn e9_a_failure_says_how_many_went_out() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let long = "x".repeat(65);
    for (flag, end) in [("-l", "\n"), ("-0", "\0")] {
        for last in ["", end] {
            let run = t.cmd("mqsend").args([flag, &q]).stdin(format!("a{end}b{end}{long}{last}")).run();
            let said = run.fails(9);
            for words in ["64 bytes", "larger --message-size", "messages sent: 2"] {
                assert!(said.contains(words), "{words:?} not in {said:?}");
            }
            assert_eq!(drain(&t, &q), "a\nb\n");
        }
    }
    send(&t, &[&q, "a", &long, "b"]).says(9, "messages sent: 1");
    assert_eq!(drain(&t, &q), "a\n");
    // Full is a failure too.
    t.cmd("mqsend").args(["-l", "-n", &q]).stdin("1\n2\n3\n4\n5\n").run().says(75, "is full; messages sent: 4");
    t.cmd("mqsend").args(["-0", "-w", ".01", &q]).stdin("5").run().says(124, "; messages sent: 0");
    assert_eq!(drain(&t, &q), "1\n2\n3\n4\n");
    t.bash(&format!("mqsend -l {q} </")).run().says(1, "standard input: Is a directory; messages sent: 0");
}

#[test]
fn e11_priorities() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    send(&t, &["-p", "32767", &q, "high"]).ok();
    send(&t, &["--priority=0", &q, "low"]).ok();
    for bad in ["32768", "-1", "", "1x", "0x1", "4294967296"] {
        send(&t, &[&format!("--priority={bad}"), &q, "x"]).fails(2);
    }
    send(&t, &["-t", "1", &q, "x"]).says(2, "messages of POSIX queues have a priority, -p, and no type");
    send(&t, &["-t", "1", "-p", "1", &q, "x"]).fails(2);
    send(&t, &["-p", "1", "key:1", "x"]).says(2, "messages of System V have a type, -t, and no priority");
    let json = t.cmd("mqrecv").args(["-J", "--drain", &q]).run().text();
    let expected = |priority: u32, length: u32, body: &str| {
        format!(r#"{{"address":"{q}","priority":{priority},"length":{length},"body":"{body}"}}"#)
    };
    assert_eq!(json, format!("{}\n{}", expected(32767, 4, "high"), expected(0, 3, "low")));
}

#[test]
fn e12_highest_priority_first() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    t.bash(&format!("mqsend {q} a; mqsend -p 5 {q} b c; mqsend -p 1 {q} d")).run().ok();
    assert_eq!(drain(&t, &q), "b\nc\nd\na\n");
}

/// 1,000 messages against a model: the queue is filled, then partly emptied, so
/// that what is in it is of all ages.
#[test]
fn e12_order_of_1000_random_messages() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    let mut random = noise(12, 10_000).into_iter().map(usize::from);
    let mut below = |limit: usize| random.next().unwrap() % limit;
    let (mut queue, mut sent) = (Vec::<(usize, usize)>::new(), 0);
    let (mut script, mut expected) = (String::from("set -e\n"), String::new());
    while sent < 1000 || !queue.is_empty() {
        while sent < 1000 && queue.len() < 10 {
            let priority = [0, 1, 2, 7, 32767][below(5)];
            let some = sent..(sent + 1 + below(4)).min(sent + 10 - queue.len()).min(1000);
            script += &format!(
                "mqsend -n -c --max-messages 10 --message-size 16 -p {priority} $Q {{{}..{}}}\n",
                some.start,
                some.end - 1
            );
            sent = some.end;
            queue.extend(some.map(|number| (priority, number)));
        }
        queue.sort_by_key(|&(priority, number)| (std::cmp::Reverse(priority), number));
        let taken = queue.drain(..(1 + below(10)).min(queue.len()));
        script += &format!("mqrecv -n -l --count {} $Q\n", taken.len());
        expected.extend(taken.map(|(_, number)| format!("{number}\n")));
    }
    let found = t.bash(&script).env("Q", &q).run().ok();
    assert_eq!(String::from_utf8(found).unwrap(), expected);
}

#[test]
fn m3_closed_descriptors() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    t.bash(&format!("mqsend {q} <&-")).run().says(1, "standard input: is closed");
    t.bash(&format!("mqsend {q} a <&- >&- 2>&-")).run().ok();
    // What cannot be put out is not taken.
    t.bash(&format!("mqrecv {q} >&-")).run().says(1, "standard output: is closed");
    assert_eq!(t.bash(&format!("mqrecv {q} <&- 2>&-")).run().ok(), b"a");
}

/// At any moment: what is in the queue is a first part of what was to be sent,
/// in whole messages.
#[test]
fn e23_sender_killed() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    t.bash(&format!("mqrecv --drain -c --max-messages 8 --message-size 4096 {q}")).run().ok();
    for round in 0..rounds(60) {
        let messages: Vec<Vec<u8>> =
            (0..8).map(|i| noise((round * 8 + i) as u64, 4096).into_iter().map(|byte| byte | 1).collect()).collect();
        let sender = t.cmd("mqsend").args(["-0", &q]).stdin(messages.join(&0)).spawn();
        let (begin, moment) = (std::time::Instant::now(), 12 * u128::from(noise(round as u64, 1)[0]));
        wait_until("the moment", || begin.elapsed().as_micros() >= moment);
        sender.kill(Signal::SIGKILL);
        let status = sender.output().status;
        let found = t.cmd("mqrecv").args(["--drain", &q]).run().ok();
        assert!(
            messages.concat().starts_with(&found) && found.len().is_multiple_of(4096),
            "round {round}: {}",
            found.len()
        );
        assert!(status == 137 || status == 0 && found.len() == 8 * 4096, "{status}");
    }
}

#[test]
fn what_follows_the_address_is_a_message() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    for message in ["-n", "-p9", "--help", "-5"] {
        send(&t, &[&q, message]).ok();
        assert_eq!(drain(&t, &q), format!("{message}\n"));
    }
    send(&t, &[&q, "--", "--"]).ok();
    assert_eq!(drain(&t, &q), "--\n");
}

#[test]
fn e18_sent_to_a_queue_made_anew() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let mut sender = t.cmd("mqsend").args(["-l", &q]).spawn_open();
    sender.write(b"one\n");
    assert_eq!(t.cmd("mqrecv").args([&q]).run().text(), "one");
    t.cmd("ipcunlink").args(["--force", &format!("mq:{q}")]).run().ok();
    empty(&t, "q");
    sender.write(b"two\nthree\n");
    sender.output().says(6, "was removed meanwhile; messages sent: 1");
    assert_eq!(drain(&t, &q), "");
}
