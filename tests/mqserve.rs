//! mqserve: what a command gets, and what becomes of its message.

use std::path::Path;

use crate::util::queues::{SMALL, drain, empty, send};
use crate::util::{Run, Test, entries, wait_until};

mod claims;
mod ends;
mod killed;
mod lines;

/// mqserve with these arguments, and a script as its command.
fn serve<'t>(t: &'t Test, args: &[&str], script: &str) -> Run<'t> {
    t.cmd("mqserve").args(args).args(["--", "bash", "-c", script])
}

/// The claims in /dev/shm that are of this queue.
fn claims(queue: &str) -> Vec<String> {
    // A claim says the whole address.
    let queue = if queue.starts_with("0x") { format!("key:{queue}") } else { queue.to_owned() };
    let of_it = |name: &String| {
        let content = std::fs::read(Path::new("/dev/shm").join(name)).unwrap_or_default();
        name.starts_with("ipcutils.claim.")
            && content.get(64..).is_some_and(|address| address.starts_with(format!("{queue}\0").as_bytes()))
    };
    entries("/dev/shm").into_iter().filter(of_it).collect()
}

/// A queue of each kind.
fn both(t: &Test) -> [String; 2] {
    let key = t.key();
    t.cmd("mqrecv").args(["-c", "--drain", &key]).run().ok();
    [empty(t, "q"), key]
}

#[test]
fn a_message_is_the_input_of_the_command() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        for message in [&b""[..], b"\0", b"a\0\xff\n", &[7; 64]] {
            t.cmd("mqsend").args([&queue]).stdin(message).run().ok();
            let read = t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().ok();
            assert_eq!(read, message);
        }
        // It can seek, and sees no other descriptor.
        send(&t, &[&queue, "line"]).ok();
        let list = "cd /proc/$$/fd; echo *";
        let others = t.bash(&format!("bash -c '{list}'")).run().text();
        let out = serve(&t, &["--drain", &queue], &format!("tail -c 2; echo; {list}")).run().text();
        assert_eq!(out, format!("ne\n{others}"));
        assert_eq!(claims(&queue), [""; 0]);
    }
}

#[test]
fn the_environment_tells_of_the_message() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let [posix, sysv] = both(&t);
    send(&t, &["-p", "7", &posix, ""]).ok();
    send(&t, &["-t", "9", &sysv, ""]).ok();
    let print = "env | sed -n 's/^IPCUTILS_//p' | sort";
    for (queue, expected) in [(posix, "ATTEMPT=1\nPRIORITY=7"), (sysv, "ATTEMPT=1\nTYPE=9")] {
        let serve = serve(&t, &["--drain", &queue], print);
        let names = ["PRIORITY", "TYPE", "ATTEMPT", "CALLER", "DEADLINE"];
        let serve = names.iter().fold(serve, |serve, name| serve.env(&format!("IPCUTILS_{name}"), "old"));
        assert_eq!(serve.run().text(), expected);
    }
}

#[test]
fn what_fails_is_tried_again_and_then_goes_to_the_dead() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let [posix, sysv] = both(&t);
    for (queue, dead, number) in [(&posix, &sysv, "-p"), (&sysv, &posix, "-t")] {
        send(&t, &[number, "5", queue, "bad"]).ok();
        send(&t, &[queue, "good"]).ok();
        let script = "read -r word; echo $word $IPCUTILS_ATTEMPT; [ $word = good ]";
        let out = serve(&t, &["--retry", "2", "--dead", dead, "--drain", queue], script).run();
        let mut lines: Vec<_> = str::from_utf8(&out.stdout).unwrap().lines().collect();
        // Others do not wait for its pauses.
        assert_eq!(lines.pop(), Some("bad 3"));
        lines.sort_unstable();
        assert_eq!(lines, ["bad 1", "bad 2", "good 1"]);
        assert!(out.success() && out.stderr.lines().count() == 3, "{out:?}");
        let went = "a message went to ";
        assert!(out.stderr.contains(went) && out.stderr.contains("the command ended with status 1"), "{out:?}");
        let number = serve(&t, &["--drain", dead], "echo $IPCUTILS_PRIORITY$IPCUTILS_TYPE; cat").run().text();
        assert_eq!(number, "5\nbad");
        assert_eq!(claims(queue), [""; 0]);
    }
}

#[test]
fn a_dead_letter_queue_that_refuses_it() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (queue, dead) = (empty(&t, "q"), t.queue("dead"));
    t.cmd("mqrecv").args(["-c", "--max-messages", "1", "--message-size", "2", "--drain", &dead]).run().ok();
    let serve = || {
        let args = ["--retry", "0", "--dead", &dead, "--drain", &queue, "--", "false"];
        let out = t.cmd("mqserve").args(args).run();
        assert!(out.success(), "{out:?}");
        out.stderr
    };
    send(&t, &[&queue, "long", "a", "b"]).ok();
    let said = serve();
    assert!(said.contains("the message is longer than this queue's 2 bytes"), "{said}");
    assert!(said.contains("is full"), "{said}");
    assert_eq!(claims(&queue).len(), 2);
    // The next server has room for one of them.
    assert_eq!(drain(&t, &dead), "a\n");
    serve();
    assert_eq!((drain(&t, &dead), claims(&queue).len()), ("b\n".to_owned(), 1));
    let claim = &claims(&queue)[0];
    assert_eq!(t.cmd("shmcat").args(["--offset", "2048", &format!("/{claim}")]).run().text(), "long");
    t.cmd("ipcunlink").args([format!("shm:/{claim}")]).run().ok();
}

#[test]
fn a_command_that_takes_too_long() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    send(&t, &[&queue, "x"]).ok();
    let timeout = ["--timeout", "0.2", "--retry", "1", "--drain", &queue];
    // What it started goes with it, and so does one that ignores SIGTERM.
    let script = "[ $IPCUTILS_ATTEMPT = 1 ] || trap '' TERM; sleep 1000 & echo $! >> pids; while :; do wait; done";
    let out = serve(&t, &timeout, script).run();
    assert!(out.success() && out.stderr.contains("the command took longer than 200ms"), "{out:?}");
    for pid in std::fs::read_to_string(t.path("pids")).unwrap().lines() {
        wait_until("the command's child has ended", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.contains("(sleep)") || stat.contains(") Z ")
        });
    }
    serve(&t, &["--retry", "2", "--drain", &queue], "true").run();
    assert_eq!(claims(&queue), [""; 0]);
}

#[test]
fn several_at_once() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        send(&t, &[&queue, "1", "2", "3"]).ok();
        // Each of them waits for the others.
        let script = "i=$(cat); touch in.$i; until [ -e in.1 -a -e in.2 -a -e in.3 ]; do sleep 0.01; done; echo $i";
        let out = serve(&t, &["-j", "3", "--count", "3", &queue], script).run().text();
        let mut lines: Vec<_> = out.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["1", "2", "3"]);
        for i in 1..=3 {
            std::fs::remove_file(t.path(&format!("in.{i}"))).unwrap();
        }
        // One of them says that there is nothing, for all.
        t.cmd("mqserve").args(["-j", "0", "-n", &queue, "--", "cat"]).run().says(75, "has no message");
        t.cmd("mqserve").args(["-j", "2", "-w", "0.1", &queue, "--", "cat"]).run().says(124, "timeout");
        assert_eq!(claims(&queue), [""; 0]);
    }
}

#[test]
fn a_queue_is_made_or_missing() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (queue, dead) = (t.queue("q"), t.queue("dead"));
    t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().says(3, "does not exist");
    t.cmd("mqserve").args(SMALL).args(["--dead", &dead, "--drain", &queue, "--", "cat"]).run().ok();
    t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().ok();
    send(&t, &["-n", &dead, "x"]).ok();
    t.cmd("mqserve").args(["private:", "--", "cat"]).run().says(2, "say id:N");
    t.cmd("mqserve").args([&queue]).run().fails(2);
}
