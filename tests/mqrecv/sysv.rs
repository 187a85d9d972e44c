//! mqrecv and System V queues: rows B3, B6 to B12, B15 and B23, what its options
//! promise, and other languages at the other end.

use crate::util::compile::{compile, python_has};
use crate::util::queues::{blocked, recv};
use crate::util::{Test, noise, said, wait_until};

/// All messages of a queue in one line, which empties it.
fn drain(t: &Test, address: &str) -> String {
    recv(t, &["--drain", "-l", address]).text().replace('\n', " ")
}

/// A queue with the messages of row B8: types 5, 3, 9, 3, 1.
fn mixed(t: &Test) -> String {
    let key = t.key();
    let script = "for m in 5a 3b 9c 3d 1e; do mqsend -c -t ${m%?} $0 ${m#?} || exit; done";
    t.cmd("bash").args(["-c", script, &key]).run().ok();
    key
}

#[test]
fn b3_an_empty_message_is_not_no_message() {
    let t = Test::new();
    let key = t.key();
    t.cmd("mqsend").args(["-c", &key, "", "", ""]).run().ok();
    assert_eq!(recv(&t, &["-n", &key]).ok(), b"");
    assert_eq!(recv(&t, &["-n", "-l", &key]).ok(), b"\n");
    assert_eq!(recv(&t, &["-w", "0", "-0", &key]).ok(), b"\0");
    recv(&t, &["-n", &key]).fails(75);
    recv(&t, &["-w", "0", &key]).fails(124);
}

/// A message of a time when msgmax was larger comes out whole.
#[test]
fn b6_larger_than_the_present_msgmax() {
    let t = Test::new();
    let script = "cd /proc/sys/kernel; echo 300000 >msgmax; echo 2000000 >msgmnb; cd - >/dev/null
        head -c 299999 /dev/urandom >big
        for i in 1 2 3 4 5 6; do mqsend -c -t 5 0x1 <big; done
        echo 8192 >/proc/sys/kernel/msgmax
        for how in '' '-n -t 5' '-w 9 --up-to 9' '--except 1' '--count 1' --drain; do
            mqrecv $how 0x1 | cmp - big || echo $how
        done
        tail -n +2 /proc/sysvipc/msg | awk '{ print $4, $5 }'";
    let Some(run) = t.with_limits("", script) else { return };
    assert_eq!(run.run().text(), "0 0");
}

/// The kernel says EINVAL to a copy of it: nobody has removed the queue.
#[test]
fn b6_b11_no_peek_at_what_is_larger_than_the_present_msgmax() {
    let t = Test::new();
    let script = "echo 9000 >/proc/sys/kernel/msgmax; head -c 8500 /dev/zero | mqsend -c 0x1
        echo 8192 >/proc/sys/kernel/msgmax; mqrecv --peek 0x1 || s=$?
        [ $(mqrecv 0x1 | wc -c) = 8500 ] && exit $s";
    let Some(run) = t.with_limits("", script) else { return };
    let message = run.run().fails(9);
    assert!(message.contains("kernel.msgmax") || message.contains("CONFIG_CHECKPOINT_RESTORE"), "{message}");
}

#[test]
fn b7_the_first_of_a_type() {
    let t = Test::new();
    let key = mixed(&t);
    assert_eq!(recv(&t, &["-t", "3", &key]).ok(), b"b");
    recv(&t, &["-n", "-t", "4", &key]).says(75, "has no such message");
    assert_eq!(drain(&t, &key), "a c d e");
    let key = mixed(&t);
    assert_eq!(recv(&t, &["-t", "3", "--drain", "-l", &key]).ok(), b"b\nd\n");
    assert_eq!(drain(&t, &key), "a c e");
}

#[test]
fn b8_the_lowest_type_up_to() {
    let t = Test::new();
    let key = mixed(&t);
    assert_eq!(recv(&t, &["--up-to", "4", &key]).ok(), b"e");
    assert_eq!(recv(&t, &["--up-to", "4", &key]).ok(), b"b");
    recv(&t, &["-n", "--up-to", "2", &key]).fails(75);
    assert_eq!(drain(&t, &key), "a c d");
    let key = mixed(&t);
    assert_eq!(recv(&t, &["--up-to", "5", "--drain", "-l", &key]).ok(), b"e\nb\nd\na\n");
    assert_eq!(drain(&t, &key), "c");
}

#[test]
fn b9_the_first_of_another_type() {
    let t = Test::new();
    let key = mixed(&t);
    assert_eq!(recv(&t, &["--except", "5", &key]).ok(), b"b");
    assert_eq!(recv(&t, &["--except", "4", &key]).ok(), b"a");
    assert_eq!(recv(&t, &["--except", "3", "--drain", "-l", &key]).ok(), b"c\ne\n");
    recv(&t, &["-n", "--except", "3", &key]).fails(75);
    assert_eq!(drain(&t, &key), "d");
}

#[test]
fn b10_the_ends_of_the_range() {
    let t = Test::new();
    let key = mixed(&t);
    let max = "9223372036854775807";
    t.cmd("mqsend").args(["-t", max, &key, "z"]).run().ok();
    assert_eq!(recv(&t, &["--except", max, &key]).ok(), b"a");
    assert_eq!(recv(&t, &["--up-to", max, "--count", "5", "-l", &key]).ok(), b"e\nb\nd\nc\nz\n");
    t.cmd("mqsend").args(["-t", max, &key, "z"]).run().ok();
    for option in ["--type", "--except", "--up-to"] {
        for word in ["0", "-1", "-9223372036854775808", "9223372036854775808", "", "x", "3x"] {
            recv(&t, &["-n", &format!("{option}={word}"), &key]).says(2, option);
        }
    }
    recv(&t, &["-t", "3", "--except", "3", &key]).fails(2);
    recv(&t, &["--up-to", "3", "--except", "3", &key]).fails(2);
    assert_eq!(recv(&t, &["-t", max, &key]).ok(), b"z");
}

/// Whether this kernel copies messages; where it does not, that is said.
fn peeks(t: &Test, key: &str) -> bool {
    let output = recv(t, &["--peek", "-n", key]);
    if !output.stderr.contains("CONFIG_CHECKPOINT_RESTORE") {
        return true;
    }
    output.fails(1);
    said("not tested: this kernel copies no messages");
    false
}

#[test]
fn b11_peek_leaves_the_message() {
    let t = Test::new();
    let key = mixed(&t);
    if !peeks(&t, &key) {
        return;
    }
    for _ in 0..2 {
        assert_eq!(recv(&t, &["--peek", &key]).ok(), b"a");
    }
    assert_eq!(recv(&t, &["--peek", "--count", "3", "-l", &key]).ok(), b"a\nb\nc\n");
    assert_eq!(recv(&t, &["--peek", "--drain", "-0", &key]).ok(), b"a\0b\0c\0d\0e\0");
    let types = recv(&t, &["--peek", "--drain", "-J", &key]).text();
    let types: Vec<_> = types.lines().map(|line| line.split(&[':', ','][..]).nth(4).unwrap()).collect();
    assert_eq!(types, ["5", "3", "9", "3", "1"]);
    for (option, status) in [("-n", 75), ("-w0", 124), ("-w.05", 124)] {
        let short = recv(&t, &["--peek", "--count", "6", "-l", option, &key]);
        assert_eq!((short.status, &*short.stdout), (status, &b"a\nb\nc\nd\ne\n"[..]), "{short:?}");
    }
    for refused in ["-f", "-t3", "--except=3", "--up-to=3", "--wait-only"] {
        recv(&t, &["--peek", refused, &key]).fails(2);
    }
    assert_eq!(drain(&t, &key), "a b c d e");
    recv(&t, &["--peek", "-n", &key]).says(75, "has no such message");
    recv(&t, &["--peek", "-w", ".05", &key]).says(124, "the timeout has passed");
    assert_eq!(recv(&t, &["--peek", "--drain", &key]).ok(), b"");
    let waiting = blocked(&t, "mqrecv", &["--peek", &key]);
    t.cmd("mqsend").args([&key, "late"]).run().ok();
    assert_eq!(waiting.output().ok(), b"late");
    let waiting = blocked(&t, "mqrecv", &["--peek", "--count", "2", &key]);
    t.cmd("ipcunlink").args([format!("mq:{key}")]).run().ok();
    let output = waiting.output();
    assert_eq!((output.status, &*output.stdout), (6, &b"late"[..]), "{output:?}");
}

#[test]
fn b12_nothing_there_and_not_waited_for() {
    let t = Test::new();
    let key = mixed(&t);
    for (args, status) in [
        (&["-n"][..], 75),
        (&["-n", "-E", "9"], 9),
        (&["--nonblock", "--busy-status", "0"], 0),
        (&["-w", "0"], 124),
        (&["-w", "0", "-E", "3"], 3),
    ] {
        let output = t.cmd("mqrecv").args(["-t", "8"]).args(args).args([&key]).run();
        output.says(status, &format!("mqrecv: key:{key}: has no such message"));
    }
    assert_eq!(drain(&t, &key), "a b c d e");
    assert_eq!(recv(&t, &["--drain", &key]).ok(), b"");
    recv(&t, &["-n", "-w", "1", &key]).fails(2);
}

#[test]
fn b15_a_removed_identifier() {
    let t = Test::new();
    let id = t.bash("id=$(mqsend private: x) && ipcunlink mq:$id && echo $id").run().text();
    for id in [&*id, "id:2147483647", "id:0x7fffffff"] {
        let output = recv(&t, &[id]);
        assert!(output.status == 3 && output.stderr.contains("does not exist") || id.contains('x'), "{output:?}");
        t.cmd("mqsend").args(["-c", id, "x"]).run().fails(output.status);
    }
    recv(&t, &["-n", &t.key()]).says(3, "does not exist");
    recv(&t, &["--drain", "ftok:missing"]).says(3, "does not exist");
}

#[test]
fn count_and_what_came_before_a_failure() {
    let t = Test::new();
    let key = mixed(&t);
    assert_eq!(recv(&t, &["--count", "0", &key]).ok(), b"");
    assert_eq!(recv(&t, &["--count", "2", &key]).ok(), b"ab");
    let output = recv(&t, &["--count", "9", "-n", "-l", &key]);
    assert_eq!((output.status, &*output.stdout), (75, &b"c\nd\ne\n"[..]), "{output:?}");
    recv(&t, &["--count", "-1", &key]).fails(2);
    recv(&t, &["--drain", "--count", "1", &key]).fails(2);
    recv(&t, &["--drain", "-f", &key]).fails(2);
}

#[test]
fn json_has_type_length_and_body() {
    let t = Test::new();
    let key = t.key();
    let script = "printf 'a\\0\"\\n\\xc3\\xa9' | mqsend -c -t 7 $0 && printf '\\xff\\0' | mqsend $0 && mqsend $0 ''";
    t.cmd("bash").args(["-c", script, &key]).run().ok();
    let head = format!("{{\"address\":\"key:{key}\",\"type\":");
    let expected = format!(
        "{head}7,\"length\":6,\"body\":\"a\\u0000\\\"\\né\"}}\n\
         {head}1,\"length\":2,\"base64\":\"/wA=\"}}\n{head}1,\"length\":0,\"body\":\"\"}}\n"
    );
    assert_eq!(String::from_utf8(recv(&t, &["-J", "--drain", &key]).ok()).unwrap(), expected);
    recv(&t, &["-J", "-l", &key]).fails(2);
    recv(&t, &["-0", "-l", &key]).fails(2);
}

#[test]
fn what_system_v_cannot_do_is_refused_clearly() {
    let t = Test::new();
    let key = mixed(&t);
    recv(&t, &["--wait-only", &key]).says(2, "System V cannot wait without taking a message (use --peek");
    for pair in [[&*key, &*t.key()], [&key, &t.name("q")], [&t.name("q"), &key]] {
        recv(&t, &pair).says(2, "System V queues cannot be waited for together");
    }
    recv(&t, &["-c", "private:"]).says(2, "say id:N");
    recv(&t, &["file:x"]).says(2, "no message queue is a file");
    assert_eq!(drain(&t, &key), "a b c d e");
}

#[test]
fn m2_what_cannot_be_written_is_counted() {
    let t = Test::new();
    let key = mixed(&t);
    t.bash(&format!("mqrecv {key} >/dev/full"))
        .run()
        .says(1, "No space left on device; messages taken from the queue and lost: 1");
    t.bash(&format!("mqrecv --count 2 {key} >/dev/full")).run().says(1, "lost: 2");
    t.bash(&format!("mqrecv --follow {key} >/dev/full")).run().says(1, "lost: 2");
    t.cmd("mqsend").args([&key, "stays"]).run().ok();
    t.bash(&format!("mqrecv {key} >&-")).run().says(1, "standard output: is closed");
    assert_eq!(drain(&t, &key), "stays");
}

/// Nothing was taken, so nothing may be called lost.
#[test]
fn m2_a_peek_that_cannot_be_written_loses_nothing() {
    let t = Test::new();
    let key = mixed(&t);
    if !peeks(&t, &key) {
        return;
    }
    let message = t.bash(&format!("mqrecv --peek {key} >/dev/full")).run().fails(1);
    assert_eq!(drain(&t, &key), "a b c d e");
    assert!(message.contains("No space left on device") && !message.contains("lost"), "{message}");
}

#[test]
fn m1_a_closed_pipe_ends_it_quietly() {
    let t = Test::new();
    let key = mixed(&t);
    let script = format!("mqrecv -f {key} | head -c 5; echo \" ${{PIPESTATUS[0]}}\"");
    let running = t.bash(&script).spawn();
    wait_until("it ends", || {
        // Not waited for: the receiver may be gone between two of these.
        let _ = t.cmd("mqsend").args(["-n", &key, "x"]).run();
        running.state() == 'Z'
    });
    let output = running.output();
    assert_eq!((output.stderr.as_str(), &*output.stdout), ("", &b"abcde 141\n"[..]));
}

/// send and recv take a type, and send its text from standard input.
const QUEUE_C: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
static struct { long type; char text[8192]; } m;
int main(int argc, char **argv) {
    int id = msgget(strtoul(argv[2], NULL, 0), IPC_CREAT | 0600);
    long type = strtol(argv[3], NULL, 0), n;
    if (argv[1][0] == 's') {
        m.type = type;
        n = fread(m.text, 1, sizeof m.text, stdin);
        return msgsnd(id, &m, n, 0) ? perror("msgsnd"), 1 : 0;
    }
    n = msgrcv(id, &m, sizeof m.text, type, 0);
    if (n < 0) return perror("msgrcv"), 1;
    printf("%ld:", m.type);
    return fwrite(m.text, 1, n, stdout) != (size_t)n;
}
"#;

/// Both ways, with a program that does "send KEY TYPE <body" and "recv KEY TYPE".
fn both_ways(t: &Test, program: &[&str]) {
    let key = t.key();
    let other = |verb, kind| t.cmd(program[0]).args(&program[1..]).args([verb, &*key, kind]);
    for body in [&b"hello"[..], b"", b"\0\xff\n\0", &noise(7, 4000)] {
        t.cmd("mqsend").args(["-c", "-t", "77", &key]).stdin(body).run().ok();
        assert!(other("recv", "-99").run().ok() == [b"77:", body].concat(), "{program:?}");
        other("send", "1234567890").stdin(body).run().ok();
        assert!(recv(t, &["-t", "1234567890", &key]).ok() == body, "{program:?}");
    }
    recv(t, &["-n", &key]).fails(75);
    // Each wakes the other.
    let waiting = blocked(t, "mqrecv", &["-l", &key]);
    other("send", "1").stdin("wake").run().ok();
    assert_eq!(waiting.output().ok(), b"wake\n");
}

#[test]
fn interop_with_c() {
    let t = Test::new();
    let Some(c) = compile(&t, "queue", QUEUE_C) else { return };
    both_ways(&t, &[c.to_str().unwrap()]);
}

#[test]
fn interop_with_perl() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let script = "($v, $k, $t) = @ARGV; $i = msgget(hex $k, 01600); defined $i or die $!; binmode STDIN;
        if ($v eq 'send') { local $/; msgsnd($i, pack('l! a*', $t, scalar(<STDIN>) // ''), 0) or die $! }
        else { msgrcv($i, $m, 8192, $t, 0) or die $!; ($t, $b) = unpack 'l! a*', $m; print \"$t:$b\" }";
    both_ways(&t, &["perl", "-e", script]);
}

#[test]
fn interop_with_python_sysv_ipc() {
    let t = Test::new();
    if !python_has(&t, "sysv_ipc") {
        return;
    }
    let script = "import sys, sysv_ipc
v, k, t = sys.argv[1], int(sys.argv[2], 0), int(sys.argv[3])
q = sysv_ipc.MessageQueue(k, sysv_ipc.IPC_CREAT, max_message_size=8192)
if v == 'send': q.send(sys.stdin.buffer.read(), type=t)
else: b, t = q.receive(type=t); sys.stdout.buffer.write(b'%d:' % t + b)";
    both_ways(&t, &["python3", "-c", script]);
}

#[test]
fn beside_ipcmk_ipcs_and_ipcrm() {
    let t = Test::new();
    let script =
        "id=$(ipcmk -Q | sed 's/.*: //') && mqsend id:$id 12345 678 && ipcs -q -i $id | grep -oE '(cbytes|qnum)=[0-9]+'
        mqrecv id:$id; ipcrm -q $id; mqrecv id:$id 2>&1; echo \" $?\"";
    let shown = t.bash(script).run().text();
    assert!(shown.starts_with("cbytes=8\nqnum=2\n12345mqrecv: id:"), "{shown}");
    assert!(shown.ends_with("does not exist\n 3"), "{shown}");
}
