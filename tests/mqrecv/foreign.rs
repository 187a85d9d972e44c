//! The tools beside C and python's posix_ipc on one queue: rows E12, E24, E27
//! and E28.

use super::*;
use crate::util::compile::{compile, python_has};

/// make: a queue; send: standard input; recv: one message, with its priority and
/// the queue's attributes; notify: registered until its input ends.
const QUEUE_C: &str = r#"
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
static char body[70000];
int main(int argc, char **argv) {
    const char *verb = argv[1], *name = argv[2];
    struct mq_attr attr = {0};
    if (!strcmp(verb, "make")) attr.mq_maxmsg = atoi(argv[3]), attr.mq_msgsize = atoi(argv[4]);
    mqd_t q = mq_open(name, O_RDWR | (attr.mq_maxmsg ? O_CREAT | O_EXCL : 0), 0600, attr.mq_maxmsg ? &attr : NULL);
    if (q == (mqd_t)-1 || mq_getattr(q, &attr)) return perror(name), 1;
    if (!strcmp(verb, "send")) {
        size_t n = fread(body, 1, sizeof body, stdin);
        if (mq_send(q, body, n, atoi(argv[3]))) return perror("mq_send"), 1;
    } else if (!strcmp(verb, "recv")) {
        unsigned priority;
        ssize_t n = mq_receive(q, body, sizeof body, &priority);
        if (n < 0) return perror("mq_receive"), 1;
        printf("%u %ld %ld %ld:", priority, attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs);
        fwrite(body, 1, n, stdout);
    } else if (!strcmp(verb, "notify")) {
        struct sigevent event = {.sigev_notify = SIGEV_NONE};
        if (mq_notify(q, &event)) return perror("mq_notify"), 1;
        puts("registered");
        fflush(stdout);
        getchar();
    }
    return mq_close(q);
}
"#;

#[test]
fn c_and_ours_on_one_queue() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let Some(c) = compile(&t, "queue", QUEUE_C) else { return };
    let c = |args: &[&str]| t.cmd(c.to_str().unwrap()).args(args);
    let (ours, theirs) = (t.queue("ours"), t.queue("theirs"));
    t.bash(&format!("mqrecv --drain -c --max-messages 3 --message-size 100 {ours}")).run().ok();
    c(&["make", &theirs, "3", "100"]).run().ok();
    for q in [&ours, &theirs] {
        for content in [&b""[..], b"hello", b"\0\xff\n\0", &noise(1, 100)] {
            t.cmd("mqsend").args(["-p", "7", q]).stdin(content).run().ok();
            send(&t, &["-p", "6", q, "other"]).ok();
            let found = c(&["recv", q]).run().ok();
            assert_eq!(found, [&b"7 3 100 2:"[..], content].concat());
            assert_eq!(c(&["recv", q]).run().text(), "6 3 100 1:other");
            c(&["send", q, "32767"]).stdin(content).run().ok();
            c(&["send", q, "0"]).stdin("low").run().ok();
            assert_eq!(recv(&t, &[q]).ok(), content);
            let json = recv(&t, &["-J", q]).text();
            assert_eq!(json, format!(r#"{{"address":"{q}","priority":0,"length":3,"body":"low"}}"#));
        }
        // Both wait for each other.
        let receiver = c(&["recv", q]).spawn();
        receiver.wait_blocked();
        send(&t, &[q, "x"]).ok();
        assert_eq!(receiver.output().text(), "0 3 100 0:x");
        let receiver = blocked(&t, "mqrecv", &[q]);
        c(&["send", q, "1"]).stdin("y").run().ok();
        assert_eq!(receiver.output().text(), "y");
    }
    // E24: a queue that C has made is not as we would have made it.
    let note = t.cmd("mqsend").args(SMALL).args([&theirs, "x"]).run();
    assert_eq!(note.stderr, format!("mqsend: {theirs}: exists already, with room for 3 messages of 100 bytes\n"));
}

/// There is one registration for a queue, and we need none.
#[test]
fn e27_e28_beside_a_notification() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let Some(c) = compile(&t, "queue", QUEUE_C) else { return };
    let (q, other) = (empty(&t, "q"), empty(&t, "other"));
    let mut registered = t.cmd(c.to_str().unwrap()).args(["notify", &q]).spawn_open();
    registered.child.stdout.as_mut().unwrap().read_exact(&mut [0; 11]).unwrap();
    assert!(t.cmd(c.to_str().unwrap()).args(["notify", &q]).run().stderr.contains("busy"));
    recv(&t, &["-w", ".05", &q]).fails(124);
    let waiting = [blocked(&t, "mqrecv", &["--wait-only", &q]), blocked(&t, "mqrecv", &["--wait-only", &other, &q])];
    send(&t, &[&q, "x"]).ok();
    for one in waiting {
        one.output().ok();
    }
    assert_eq!(drain(&t, &q), "x\n");
    registered.output().ok();
}

const PYTHON: &str = r#"
import posix_ipc, sys
name = sys.argv[2]
if sys.argv[1] == "send":
    q = posix_ipc.MessageQueue(name, posix_ipc.O_CREX, max_messages=4, max_message_size=64)
    q.send(b"low\x00\xff", priority=1)
    q.send(b"", priority=5)
    q.send(b"high", priority=9)
else:
    q = posix_ipc.MessageQueue(name)
    while q.current_messages:
        print(*q.receive())
    print(q.max_messages, q.max_message_size, oct(q.mode) if hasattr(q, "mode") else "")
"#;

#[test]
fn python_and_ours_on_one_queue() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    if !python_has(&t, "posix_ipc") {
        return;
    }
    let python = |verb: &str, q: &str| t.cmd("python3").args(["-c", PYTHON, verb, q]).run().text();
    let (ours, theirs) = (empty(&t, "ours"), t.queue("theirs"));
    python("send", &theirs);
    assert_eq!(recv(&t, &["-0", "--drain", &theirs]).ok(), b"high\0\0low\0\xff\0");
    send(&t, &["-p", "2", &ours, "two", ""]).ok();
    t.cmd("mqsend").args(["-p", "3", &ours]).stdin("\0three").run().ok();
    let found = python("recv", &ours);
    assert!(found.starts_with("b'\\x00three' 3\nb'two' 2\nb'' 2\n4 64"), "{found}");
}
