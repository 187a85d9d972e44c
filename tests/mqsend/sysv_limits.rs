//! mqsend and the limits of System V queues: rows B4, B5 and B22.

use super::sysv::{drain, empty, listed, resize, send, setting};
use crate::util::{Test, noise};

#[test]
fn b4_as_large_as_msgmax_and_a_byte_more() {
    let t = Test::new();
    let key = empty(&t);
    let max = setting("msgmax");
    let body = noise(4, max);
    t.cmd("mqsend").args([&key]).stdin(&*body).run().ok();
    assert!(t.cmd("mqrecv").args([&key]).run().ok() == body);
    let refused =
        format!("{key}: the message is longer than kernel.msgmax allows, {max} bytes (sysctl kernel.msgmax=N");
    t.cmd("mqsend").args([&key]).stdin(vec![b'x'; max + 1]).run().says(9, &refused);
    t.cmd("mqsend").args([&key]).stdin(vec![b'x'; 3 * max]).run().says(9, &refused);
    send(&t, &["-n", &key, "a", &"x".repeat(max + 1), "b"]).says(9, "messages sent: 1");
    assert_eq!(drain(&t, &key), "a");
}

/// The same of records: the limit and its cure are named there too.
#[test]
fn b4_a_record_too_long_names_the_limit() {
    let t = Test::new();
    let key = empty(&t);
    for (option, end) in [("-l", "\n"), ("-0", "\0")] {
        let input = ["a", &"x".repeat(setting("msgmax") + 1), "b", ""].join(end);
        let message = t.cmd("mqsend").args([option, &key]).stdin(input).run().fails(9);
        assert_eq!(drain(&t, &key), "a");
        for words in ["kernel.msgmax", &setting("msgmax").to_string(), "sysctl", "messages sent: 1"] {
            assert!(message.contains(words), "{words:?} in {message}");
        }
    }
}

#[test]
fn b5_empty_messages_fill_a_queue() {
    let t = Test::new();
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
    let Some(run) = t.unshared("--ipc", script) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (9, &b"9\n9\n"[..]), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 3, "{output:?}");
    for line in output.stderr.lines() {
        assert!(line.contains("kernel.msgmni allows, 1; no disk is full (sysctl kernel.msgmni=N raises it)"), "{line}");
    }
}

#[test]
fn b22_msg_qbytes_is_named_with_its_value_and_cure() {
    let t = Test::new();
    let key = empty(&t);
    resize(&t, &key, 100);
    send(&t, &[&key, &"x".repeat(100)]).ok();
    for args in [&["-n"][..], &[], &["-w", "9"]] {
        let output = t.cmd("mqsend").args(args).args([&key]).stdin("x".repeat(101)).run();
        output.says(9, "the message is longer than this queue's msg_qbytes, 100 bytes (");
    }
    t.cmd("mqsend").args([&key]).stdin("x".repeat(101)).run().says(9, "kernel.msgmnb");
    t.cmd("mqsend").args(["-l", &key]).stdin("x".repeat(101)).run().says(9, "msg_qbytes");
}

/// The kernel says EINVAL both for a removed queue and for a long message.
#[test]
fn b22_msgmax_lowered_while_a_sender_runs() {
    let t = Test::new();
    let script = "mqsend -c -l 0x1 </dev/null; mkfifo p; mqsend -l 0x1 <p & exec 3>p; echo one >&3
        mqrecv 0x1; echo 10 >/proc/sys/kernel/msgmax; echo longer than that >&3; exec 3>&-; wait $!";
    let Some(run) = t.unshared("--ipc", script) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (9, &b"one"[..]), "{output:?}");
    assert!(output.stderr.contains("kernel.msgmax"), "{output:?}");
}

#[test]
fn a_failure_says_how_many_went_out_and_the_caller_resumes() {
    let t = Test::new();
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
