//! Queues made, found, permitted and denied: rows E17, E21 and E24.

use nix::mqueue::{MQ_OFlag, mq_close, mq_open};
use nix::sys::stat::{Mode, fstat};

use super::*;

#[test]
fn create_and_exclusive() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    for tool in ["mqsend", "mqrecv"] {
        t.cmd(tool).args([&q]).run().says(3, "does not exist");
        t.cmd(tool).args(["-n", &q]).run().says(3, "does not exist");
    }
    assert!(t.left().is_empty());
    t.cmd("mqsend").args(SMALL).args([&q, "a"]).run().ok();
    t.cmd("mqsend").args(SMALL).args([&q, "b"]).run().ok();
    t.cmd("mqsend").args(SMALL).args(["-x", &q, "c"]).run().says(4, "exists already");
    send(&t, &["-x", &q, "c"]).says(4, "exists already");
    assert_eq!(drain(&t, &q), "a\nb\n");
    t.cmd("ipcunlink").args([format!("mq:{q}")]).run().ok();
    // -x alone creates, and what is left out is the system's default.
    send(&t, &["-x", "--max-messages", "1", &q, "d"]).ok();
    send(&t, &["-n", &q, "e"]).says(75, "is full");
    t.cmd("ipcunlink").args([format!("mq:{q}")]).run().ok();
    // That of a namespace of its own, as a machine's may be larger than its user may have.
    let script = "default=$(cat /proc/sys/fs/mqueue/msgsize_default)
        mqsend -c --max-messages 1 /q 2>said < <(head -c $((default + 1)) /dev/zero) || [ $? = 9 ]
        grep -q \"this queue's $default bytes\" said; mqrecv -n /q || [ $? = 3 ]";
    if let Some(run) = t.unshared("--ipc", script) {
        run.run().says(0, "mqrecv: /q: does not exist");
    }
}

#[test]
fn e24_an_existing_queue_with_other_attributes() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let other = ["-c", "--max-messages", "2", "--message-size", "128"];
    for (tool, last) in [("mqsend", &["a"][..]), ("mqsend", &["b"]), ("mqrecv", &[])] {
        let verbose = (tool == "mqrecv").then_some("-v");
        let note = t.cmd(tool).args(other).args(verbose).args([&q]).args(last).run();
        assert_eq!(note.status, 0);
        let of_message = if tool == "mqrecv" { format!("mqrecv: {q}: priority 0, 1 bytes\n") } else { String::new() };
        let limits = format!("{tool}: {q}: exists already, with room for 4 messages of 64 bytes\n");
        assert_eq!(note.stderr, limits + &of_message);
    }
    send(&t, &[&q, &"x".repeat(65)]).says(9, "longer than this queue's 64 bytes");
    // Nothing to say where they agree, or of a queue that is new.
    for quiet in [&q, &t.queue("new")] {
        assert_eq!(t.cmd("mqsend").args(SMALL).args(["-m", "600", quiet, "c"]).run().stderr, "");
    }
    assert_eq!(drain(&t, &q), "b\nc\n");
}

#[test]
fn e21_the_mode_and_the_umask() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for (umask, flags, expected) in [
        ("022", "", 0o600),
        ("000", "", 0o600),
        ("000", "-m 0666", 0o666),
        ("077", "", 0o600),
        ("077", "-m 666", 0o666),
        ("777", "--mode=0640", 0o640),
    ] {
        for tool in ["mqsend", "mqrecv --drain"] {
            let q = t.queue("q");
            t.bash(&format!("umask {umask}; {tool} {} {flags} {q}", SMALL.join(" "))).run().ok();
            let queue = mq_open(q.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None).unwrap();
            assert_eq!(fstat(&queue).unwrap().st_mode & 0o777, expected, "{tool} {umask} {flags}");
            mq_close(queue).unwrap();
            t.cmd("ipcunlink").args([format!("mq:{q}")]).run().ok();
        }
    }
    for bad in ["", "8", "1777", "+600", "u=rw"] {
        t.cmd("mqsend").args(SMALL).args(["-m", bad, &t.queue("q"), "x"]).run().fails(2);
    }
    assert!(t.left().is_empty());
}

#[test]
fn e21_another_user_is_denied() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    if !t.second_user() {
        return;
    }
    let q = empty(&t, "q");
    let other = |command: &str| t.bash(&format!("{AS_OTHER} {command}")).env("Q", &q).run();
    for command in ["mqsend $Q x", "mqsend -c $Q x", "mqrecv -n $Q", "mqrecv -c -n $Q", "ipcunlink mq:$Q"] {
        other(command).says(5, "permission denied");
    }
    t.cmd("ipcunlink").args([format!("mq:{q}")]).run().ok();
    // Permitted to send and receive is not permitted to remove.
    t.bash(&format!("umask 0; mqsend {} -m 666 {q} hello", SMALL.join(" "))).run().ok();
    other("mqsend $Q world").ok();
    assert_eq!(other("mqrecv $Q").text(), "hello");
    other("ipcunlink mq:$Q").says(5, "permission denied");
    assert_eq!(drain(&t, &q), "world\n");
}

#[test]
fn e17_a_queue_for_one_direction() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let Some(user) = t.unprivileged() else { return };
    let small = SMALL.join(" ");
    let script = format!(
        "{user} mqsend {small} -m 200 $IN a; {user} mqsend $IN b; {user} mqrecv -n $IN; echo $?
        {user} mqrecv --drain {small} -m 400 $OUT; {user} mqrecv -n $OUT; echo $?; {user} mqsend $OUT a; echo $?"
    );
    let (input, output) = (t.queue("in"), t.queue("out"));
    let run = t.bash(&script).env("IN", &input).env("OUT", &output).run();
    let denied = |tool: &str, q: &str| format!("{tool}: {q}: permission denied");
    let lines: Vec<_> = run.stderr.lines().collect();
    // Where the kernel says it: to whom it belongs, and its mode.
    assert!(matches!(lines[..], [_, _, _]) && lines[0].starts_with(&denied("mqrecv", &input)), "{run:?}");
    assert_eq!(lines[1], format!("mqrecv: {output}: has no message"));
    let mine = "; it belongs to nobody, and its mode is 0400";
    assert!(lines[2] == denied("mqsend", &output) + mine || lines[2] == denied("mqsend", &output), "{run:?}");
    assert_eq!(run.stdout, b"5\n75\n5\n");
}

#[test]
fn a_failed_create_leaves_no_queue() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    let small = SMALL.join(" ");
    let long = "x".repeat(65);
    for (what, status) in [
        (format!("$Q {long}"), 9),
        (format!("$Q <<<{long}"), 9),
        (format!("-l $Q <<<{long}"), 9),
        ("$Q <&-".into(), 1),
        ("$Q </".into(), 1),
        ("-t 1 $Q x".into(), 2),
    ] {
        t.bash(&format!("mqsend {small} {what}")).env("Q", &q).run().fails(status);
        assert!(t.left().is_empty(), "{what}");
    }
    // What went out stays, and so its queue.
    t.cmd("mqsend").args(SMALL).args([&q, "a", &long]).run().says(9, "messages sent: 1");
    assert_eq!(drain(&t, &q), "a\n");
    // A queue that was there stays too.
    t.cmd("mqsend").args(SMALL).args([&q, &long]).run().fails(9);
    assert_eq!(drain(&t, &q), "");
}

/// Its maker may not open it for reading, and can yet remove it.
#[test]
fn a_failed_create_leaves_no_queue_for_sending_alone() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let Some(user) = t.unprivileged() else { return };
    let q = t.queue("q");
    let command = format!("{user} mqsend {} -m 200 {q} {}", SMALL.join(" "), "x".repeat(65));
    t.bash(&command).run().says(9, "64 bytes");
    t.bash(&format!("{user} mqsend {q} hello")).run().says(3, "does not exist");
}

/// The input stays open: a tool that read it first would wait.
#[test]
fn what_this_kind_of_queue_cannot_be_is_refused_before_anything_is_read() {
    let t = Test::new();
    let key = t.key();
    for (tool, args, words) in [
        ("mqsend", &["-c", "file:/x"][..], "file:/x: "),
        ("mqsend", &["-c", "--max-messages", "3", &key], "kernel.msgmnb"),
        ("mqsend", &["-c", "--message-size", "3", &key], "kernel.msgmax"),
        ("mqsend", &["-l", "-t", "2", "/queue"], "type"),
        ("mqsend", &["-l", "-p", "2", &key], "priority"),
        ("shmput", &["key:no"], "key:no"),
        ("ringput", &[&key], "ring"),
        ("ringput", &["-l", "id:1"], "ring"),
    ] {
        let running = t.cmd(tool).args(args).spawn_open();
        wait_until("it has refused", || running.state() == 'Z');
        let message = running.output().fails(2);
        assert!(message.contains(words), "{tool} {args:?}: {message}");
    }
}
