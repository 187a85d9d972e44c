//! mqsend and the limits of System V queues: rows B4, B5 and B22.

use super::sysv::{empty, listed, resize};
use crate::util::queues::send;
use crate::util::{Test, noise};

/// What a new namespace has; a machine may have another.
const MSGMAX: usize = 8192;

#[test]
fn b4_as_large_as_msgmax_and_a_byte_more() {
    let t = Test::new();
    t.file("in", noise(4, 3 * MSGMAX));
    let script = "head -c 8192 in >fits; mqsend -c 0x1 <fits; mqrecv 0x1 | cmp - fits
        head -c 8193 in | mqsend 0x1 || echo $?; mqsend 0x1 <in || echo $?
        mqsend -n 0x1 a $(printf %08193d 0) b || echo $?; mqrecv --drain -l 0x1";
    let Some(run) = t.unshared("--ipc", script) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (0, &b"9\n9\n9\na\n"[..]), "{output:?}");
    let said: Vec<_> = output.stderr.lines().collect();
    assert_eq!(said.len(), 3, "{output:?}");
    for line in &said {
        assert!(line.contains("0x00000001: the message is longer than kernel.msgmax allows, 8192 bytes"), "{line}");
        assert!(line.ends_with("(sysctl kernel.msgmax=N raises it)"), "{line}");
    }
    assert!(said[2].contains("messages sent: 1"), "{output:?}");
}

/// The same of records: the limit and its cure are named there too.
#[test]
fn b4_a_record_too_long_names_the_limit() {
    let t = Test::new();
    for (option, end) in [("-l", "\n"), ("-0", "\0")] {
        t.file("in", ["a", &"x".repeat(MSGMAX + 1), "b", ""].join(end));
        let script = format!("mqsend -c {option} 0x1 <in || s=$?; [ $(mqrecv --drain 0x1) = a ]; exit $s");
        let Some(run) = t.unshared("--ipc", &script) else { return };
        let message = run.run().fails(9);
        for words in ["kernel.msgmax", "8192", "sysctl", "messages sent: 1"] {
            assert!(message.contains(words), "{words:?} in {message}");
        }
    }
}

#[test]
fn b5_empty_messages_fill_a_queue() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = empty(&t);
    resize(&t, &key, 100);
    let run = t.cmd("mqsend").args(["-l", "-n", &key]).stdin("\n".repeat(150)).run();
    run.says(75, "is full; messages sent: 100");
    send(&t, &["-n", &key, ""]).says(75, "is full");
    assert_eq!(listed(&key).unwrap().1, 100);
    assert_eq!(t.bash(&format!("mqrecv --drain -0 {key} | wc -c")).run().text(), "100");
}

#[test]
fn b22_msgmni_is_named_with_its_value_and_cure() {
    let t = Test::new();
    let script = "echo 1 >/proc/sys/kernel/msgmni; mqsend -c 0x1 x; mqsend -c 0x1 y
        mqsend private: x || echo $?; mqrecv -c 0x2 || echo $?; mqsend -c 0x2 x || exit";
    let Some(run) = t.with_limits("", script) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (9, &b"9\n9\n"[..]), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 3, "{output:?}");
    for line in output.stderr.lines() {
        assert!(line.contains("kernel.msgmni allows, 1; no disk is full (sysctl kernel.msgmni=N raises it)"), "{line}");
    }
}

#[test]
fn b22_msg_qbytes_is_named_with_its_value_and_cure() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = empty(&t);
    resize(&t, &key, 100);
    send(&t, &[&key, &"x".repeat(100)]).ok();
    for args in [&["-n"][..], &[], &["-w", "9"]] {
        let output = t.cmd("mqsend").args(args).args([&key]).stdin("x".repeat(101)).run();
        output.says(9, "the message is longer than this queue's msg_qbytes, 100 bytes (");
    }
    t.cmd("mqsend").args(["-l", &key]).stdin("x".repeat(101)).run().says(9, "msg_qbytes");
    let cure = t.cmd("mqsend").args([&key]).stdin("x".repeat(101)).run().fails(9);
    let cure = cure.split_once("bytes (").unwrap().1.strip_suffix(" raises it)").unwrap().to_owned();
    t.cmd("mqrecv").args([&key]).run().ok();
    t.bash(&cure).run().ok();
    t.cmd("mqsend").args([&key]).stdin("x".repeat(101)).run().ok();
}

/// The kernel says EINVAL both for a removed queue and for a long message.
#[test]
fn b22_msgmax_lowered_while_a_sender_runs() {
    let t = Test::new();
    let script = "mqsend -c -l 0x1 </dev/null; mkfifo p; mqsend -l 0x1 <p & exec 3>p; echo one >&3
        mqrecv 0x1; echo 10 >/proc/sys/kernel/msgmax; echo longer than that >&3; exec 3>&-; wait $!";
    let Some(run) = t.with_limits("", script) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (9, &b"one"[..]), "{output:?}");
    assert!(output.stderr.contains("kernel.msgmax"), "{output:?}");
}

#[test]
fn a_failure_says_how_many_went_out_and_the_caller_resumes() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = empty(&t);
    resize(&t, &key, 2);
    let script = format!(
        "printf '1\\n2\\n3\\n4\\n5' >in; sent=0; > out
        until tail -n +$((sent + 1)) in | mqsend -n -l {key} 2>err; do
            let sent+=$(grep -o 'messages sent: [0-9]*' err | cut -d' ' -f3)
            mqrecv --drain -l {key} >>out
        done
        mqrecv --drain -l {key} >>out; tr '\\n' . <out"
    );
    assert_eq!(t.bash(&script).run().text(), "1.2.3.4.5.");
}

/// Longer than a message of a POSIX queue can ever be.
#[test]
fn b4_a_message_above_16_mib_stays_whole() {
    let t = Test::new();
    let script = "sysctl -qw kernel.msgmax=33554432 kernel.msgmnb=33554432
        head -c 20M /dev/urandom >in; mqsend -c 0x1 <in; mqrecv 0x1 | cmp - in
        head -c 20M /dev/zero | tr '\\0' x >in; echo >>in; mqsend -l 0x1 <in; mqrecv -l 0x1 | cmp - in
        mqsend -n 0x1 end; mqrecv 0x1";
    let Some(run) = t.with_limits("", script) else { return };
    assert_eq!(run.run().text(), "end");
}
