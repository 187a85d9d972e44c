//! mqsend --spill: bodies beside the queue.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::libc::O_NONBLOCK;
use nix::sys::signal::Signal;

use crate::util::queues::{drain, empty, full, raw, send};
use crate::util::{AS_OTHER, Test, entries, wait_until};

/// The bodies in /dev/shm that begin with the reference of a message, or all.
fn bodies() -> Vec<String> {
    entries("/dev/shm").into_iter().filter(|name| name.starts_with("ipcutils.body.")).collect()
}

/// One that holds these bytes.
fn body_with(bytes: &[u8]) -> Option<String> {
    let read = |name: &String| {
        let mut is = Vec::new();
        // Another test has a FIFO there.
        let file = File::options().read(true).custom_flags(O_NONBLOCK).open(format!("/dev/shm/{name}"));
        file.and_then(|mut file| file.read_to_end(&mut is)).map(|_| is)
    };
    let has = |name: &String| read(name).is_ok_and(|is| is.get(2048..) == Some(bytes));
    bodies().into_iter().find(has)
}

fn both(t: &Test) -> [String; 2] {
    let key = t.key();
    t.cmd("mqrecv").args(["-c", "--drain", &key]).run().ok();
    [empty(t, "q"), key]
}

#[test]
fn l8_a_message_of_any_size() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        for size in [0, 1, 64, 65, 8193, 3_000_000] {
            let message: Vec<u8> = format!("{}{size}", t.name("")).bytes().cycle().take(size).collect();
            t.cmd("mqsend").args(["--spill", &queue]).stdin(message.clone()).run().ok();
            let spilled = size > if queue.starts_with('/') { 64 } else { 8192 };
            assert_eq!(body_with(&message).is_some(), spilled, "{size}");
            assert!(t.cmd("mqrecv").args([&queue]).run().ok() == message, "{size}");
            assert_eq!(body_with(&message), None);
            // For a command, and for one that answers lines.
            t.cmd("mqsend").args(["--spill=10", &queue]).stdin(message.clone()).run().ok();
            assert_eq!(body_with(&message).is_some(), size > 10, "{size}");
            for (options, expected) in [(&[][..], message.clone()), (&["-l"], [&message[..], b"\n"].concat())] {
                let served = t.cmd("mqserve").args(["--drain"]).args(options).args([&queue, "--", "cat"]).run();
                assert!(served.ok() == expected, "{size}");
                t.cmd("mqsend").args(["--spill=10", &queue]).stdin(message.clone()).run().ok();
            }
            t.cmd("mqrecv").args(["--drain", &queue]).run().ok();
            assert_eq!(body_with(&message), None);
        }
        // Each line by itself, and JSON has the length of the body.
        let lines = format!("short\n{}\n", "long".repeat(5000));
        t.cmd("mqsend").args(["-l", "--spill=9", &queue]).stdin(lines.clone()).run().ok();
        assert_eq!(t.cmd("mqrecv").args(["-l", "--drain", &queue]).run().ok(), lines.as_bytes());
        t.cmd("mqsend").args(["--spill=9", &queue, "ten bytes!"]).run().ok();
        assert!(t.cmd("mqrecv").args(["-J", &queue]).run().text().contains("\"length\":10,\"body\":\"ten bytes!\""));
    }
}

/// Names, lengths and secrets of others: nothing of them is printed or removed, and the
/// next message is taken.
#[test]
fn l8_forged_references() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let victim = t.name("victim");
        t.bash(&format!("head -c 5000 /dev/zero | shmput {victim}")).run().ok();
        let mark = format!("secret content of {queue}");
        t.cmd("mqsend").args(["--spill=1", &queue, &mark]).run().ok();
        let body = body_with(mark.as_bytes()).expect("it is there");
        let path = format!("/dev/shm/{body}");
        let whole = std::fs::read(&path).unwrap();
        let reference = whole[..64].to_vec();
        // The true one, out of the way.
        t.cmd("mqrecv").args([&queue]).run().ok();
        assert_eq!(body_with(mark.as_bytes()), None);
        std::fs::write(&path, &whole).unwrap();
        let changed = |at: usize, bytes: &[u8]| {
            let mut forged = reference.clone();
            forged[at..at + bytes.len()].copy_from_slice(bytes);
            forged
        };
        let forged = [
            reference[..63].to_vec(),
            [&reference[..], b"x"].concat(),
            changed(8, &[9]),
            changed(12, &[9]),
            changed(16, b"../../../../"),
            changed(16, b"abcdefghijkl"),
            changed(32, &[reference[32] ^ 1]),
            changed(48, &(i64::MAX as u64).to_ne_bytes()),
            changed(48, &u64::MAX.to_ne_bytes()),
            changed(48, &1_u64.to_ne_bytes()),
            reference[..8].to_vec(),
        ];
        for message in &forged {
            // Not with --spill, which would send these bytes as a body.
            let mut sender = t.cmd("mqsend").args([&queue]).stdin(message.clone());
            if message.len() > 64 && queue.starts_with('/') {
                continue;
            }
            sender = sender.args([] as [&str; 0]);
            sender.run().ok();
            t.cmd("mqsend").args([&queue, "next"]).run().ok();
            let output = t.cmd("mqrecv").args(["--drain", "-l", &queue]).run();
            assert!([3, 8].contains(&output.status) && output.stdout == b"next\n", "{message:?}: {output:?}");
            assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
        // What is no body: a FIFO, a link, a directory, a truncated one, a larger one.
        let make = |how: &str| t.bash(&format!("rm -rf {path}; {how}")).run().ok();
        for how in [
            format!("mkfifo {path}"),
            format!("ln -s {victim} {path}"),
            format!("mkdir {path}"),
            format!("head -c 70 /dev/zero >{path}"),
            format!("echo more >{path}"),
        ] {
            make(&how);
            t.cmd("mqsend").args([&queue]).stdin(reference.clone()).run().ok();
            t.cmd("mqsend").args([&queue, "next"]).run().ok();
            let output = t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run();
            assert_eq!(output.stdout, b"next", "{how}: {output:?}");
            assert!(output.success() && output.stderr.contains("is dropped: "), "{how}: {output:?}");
        }
        make("true");
        // The same twice.
        std::fs::write(&path, &whole).unwrap();
        for _ in 0..2 {
            t.cmd("mqsend").args([&queue]).stdin(reference.clone()).run().ok();
        }
        let output = t.cmd("mqrecv").args(["--drain", "-l", &queue]).run();
        assert_eq!((output.status, &*output.stdout), (3, format!("{mark}\n").as_bytes()), "{output:?}");
        // A message that looks like one is sent as it is.
        t.cmd("mqsend").args(["--spill", &queue]).stdin(reference.clone()).run().ok();
        assert!(t.cmd("mqrecv").args([&queue]).run().ok() == reference);
    }
}

#[test]
fn l8_killed_at_any_call_no_body_is_lost() {
    let Some(t) = Test::with(&["POSIX queues", "strace"]) else { return };
    for queue in both(&t) {
        let mark = format!("body of {queue}");
        let traced = |words: &[&str]| t.cmd("strace").args(["-qq", "-o", "trace"]).args(words);
        let receive = ["mqrecv", "-n", &queue];
        t.cmd("mqsend").args(["--spill=1", &queue, &mark]).run().ok();
        traced(&receive).run().ok();
        let trace = std::fs::read_to_string(t.path("trace")).unwrap();
        let calls: Vec<_> =
            trace.lines().filter_map(|line| line.split_once('(')).map(|(call, _)| call.to_owned()).collect();
        let first = calls.iter().position(|call| call == "mq_timedreceive" || call == "msgrcv").unwrap();
        for at in first..calls.len() {
            t.cmd("mqsend").args(["--spill=1", &queue, &mark]).run().ok();
            let nth = calls[..=at].iter().filter(|call| *call == &calls[at]).count();
            let inject = format!("inject={}:signal=KILL:when={nth}", calls[at]);
            let killed = t.cmd("strace").args(["-qq", "-o", "/dev/null", "-e", &inject]).args(receive).run();
            let rest = t.cmd("mqrecv").args(["--drain", &queue]).run();
            let body = body_with(mark.as_bytes());
            let is_there = [&killed.stdout, &rest.stdout].iter().any(|out| **out == mark.as_bytes());
            assert!(is_there || body.is_some(), "lost at {} {nth}: {killed:?}", calls[at]);
            body.iter().for_each(|body| std::fs::remove_file(format!("/dev/shm/{body}")).unwrap());
        }
    }
}

#[test]
fn l8_without_room() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let script = "
        mount -t tmpfs -o size=64K tmpfs /dev/shm
        mqsend -c --max-messages 1 --message-size 64 /q one
        head -c 100K /dev/zero | mqsend -n --spill /q 2>error || echo $?
        grep -c 'no space left' error
        mqsend -n --spill=1 /q two 2>/dev/null || echo $?
        mqsend -w .05 --spill=1 /q two 2>/dev/null || echo $?
        ls -A /dev/shm | wc -l; mqrecv /q";
    if let Some(run) = t.unshared("--ipc --mount", script) {
        assert_eq!(run.run().text(), "9\n1\n75\n124\n0\none");
    }
}

/// Who may read a queue may read the body, and others may not.
#[test]
fn l8_another_user() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    if !t.second_user() {
        return;
    }
    let (open, closed) = (t.queue("open"), t.queue("closed"));
    for (queue, mode) in [(&open, "666"), (&closed, "622")] {
        let limits = ["--max-messages", "4", "--message-size", "64"];
        t.cmd("mqsend").args(["-c", "-m", mode]).args(limits).args([queue.as_str(), "x"]).run().ok();
        t.cmd("mqrecv").args([queue.as_str()]).run().ok();
        t.cmd("mqsend").args(["--spill=1", queue, &format!("body of {queue}")]).run().ok();
    }
    let other = |command: &str| t.bash(&format!("cd /; {AS_OTHER} {command}")).run();
    assert_eq!(other(&format!("mqrecv {open}")).text(), format!("body of {open}"));
    // In a directory like /tmp he cannot remove it; it is empty.
    assert_eq!(body_with(format!("body of {open}").as_bytes()), None);
    let body = body_with(format!("body of {closed}").as_bytes()).unwrap();
    other(&format!("cat /dev/shm/{body}")).fails(1);
    // He may send to root, who reads it.
    other(&format!("mqsend --spill=1 {closed} 'of the other'")).ok();
    assert_eq!(
        t.cmd("mqrecv").args(["-l", "--drain", &closed]).run().text(),
        format!("body of {closed}\nof the other")
    );
    for name in bodies() {
        let path = format!("/dev/shm/{name}");
        if std::fs::metadata(&path).is_ok_and(|is| is.len() == 0) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn l8_a_signal_while_the_queue_is_full_leaves_no_body() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let key = t.key();
    t.bash(&format!("head -c 8192 /dev/zero | mqsend -c {key}; head -c 8192 /dev/zero | mqsend {key}")).run().ok();
    for queue in [full(&t, "q"), key] {
        let body = format!("for a full queue, {queue}");
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let sender = t.cmd("mqsend").args(["--spill=1", &queue, &body]).spawn();
            wait_until("the body is there", || body_with(body.as_bytes()).is_some());
            sender.wait_blocked();
            sender.kill(signal);
            assert_eq!(sender.output().status, 128 + signal as i32);
            assert_eq!(body_with(body.as_bytes()), None);
        }
    }
}

/// A length without memory behind it costs its sender nothing, and would cost the receiver
/// all he has.
#[test]
fn l8_a_sparse_body() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    send(&t, &["--spill=1", &queue, "a true body"]).ok();
    let path = format!("/dev/shm/{}", body_with(b"a true body").expect("it is there"));
    let mut reference = raw(&queue);
    let good = std::fs::read(&path).unwrap();
    for length in [1_u64 << 40, 1 << 30, 12] {
        reference[48..56].copy_from_slice(&length.to_ne_bytes());
        std::fs::write(&path, [&reference[..], &good[64..2048]].concat()).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(2048 + length).unwrap();
        t.cmd("mqsend").args([&queue]).stdin(&reference[..]).run().ok();
        let out = t.cmd("mqrecv").args(["--drain", &queue]).run();
        // The last one is within its page, and no lie.
        let (status, size) = if length == 12 { (0, 12) } else { (8, 0) };
        assert_eq!((out.status, out.stdout.len()), (status, size), "{out:?}");
        assert_eq!(out.stderr.contains("has no memory behind its length"), size == 0, "{out:?}");
    }
    assert!(std::fs::metadata(&path).is_err());
}

#[test]
fn l8_a_dead_letter_has_its_body() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let dead = empty(&t, "dead");
        let body = format!("a body that nobody wants, longer than sixty-four bytes, of {queue}");
        send(&t, &["--spill=1", &queue, &body]).ok();
        let before = body_with(body.as_bytes());
        let serve = || {
            let out = t.cmd("mqserve").args(["--retry", "0", "--dead", &dead, "--drain", &queue, "--", "false"]).run();
            assert!(out.success() && out.stderr.contains("a message went to"), "{out:?}");
        };
        serve();
        let after = body_with(body.as_bytes());
        // It is the dead-letter queue's own.
        assert!(after.is_some() && after != before);
        assert_eq!(drain(&t, &dead), format!("{body}\n"));
        assert_eq!(body_with(body.as_bytes()), None);
        // What fits goes as any other.
        send(&t, &["--spill=1", &queue, "short"]).ok();
        serve();
        assert_eq!(raw(&dead), b"short");
        assert_eq!(body_with(b"short"), None);
    }
}

#[test]
fn l8_whoever_may_read_the_queue_may_read_the_body() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    if !t.second_user() {
        return;
    }
    let sysv = t.key();
    let to = |user: u32, command: &str| {
        t.bash(&format!("cd /; setpriv --reuid {user} --regid {user} --clear-groups {command}")).run()
    };
    for (word, make, posix) in [("q", "--max-messages 2 --message-size 64", true), ("", "", false)] {
        let queue = if posix { t.queue(word) } else { sysv.clone() };
        let make = |mode: &str, owner: &str| {
            t.bash(&format!("mqsend -x -m {mode} {make} {queue} </dev/null; ipcset --owner {owner} mq:{queue}"))
                .run()
                .ok();
        };
        let remove = || t.bash(&format!("ipcunlink mq:{queue}")).run().ok();
        let body = format!("body for {queue}");
        let there = || body_with(body.as_bytes()).map(|name| format!("/dev/shm/{name}"));
        // Sender, mode and owner of the queue; who reads, and who does not.
        for (sender, mode, owner, reader, other) in [
            (0, "640", ":65534", 65534, 65533),
            (0, "600", "65534:65534", 65534, 65533),
            (65533, "622", "65534:65534", 65534, 65532),
            (65533, "642", "0:65534", 65534, 65532),
            (65533, "666", "0:0", 65534, 0),
        ] {
            make(mode, owner);
            let case = format!("{queue} {sender} {mode} {owner}");
            to(sender, &format!("mqsend --spill=1 {queue} '{body}'")).ok();
            let path = there().unwrap();
            if other != 0 {
                to(other, &format!("cat {path}")).fails(1);
            }
            let out = to(reader, &format!("mqrecv {queue}"));
            assert_eq!(String::from_utf8_lossy(&out.stdout), body, "{case}: {out:?}");
            // He may remove his own alone; what he may write he empties.
            match there() {
                None => assert_eq!(out.status, 0, "{case}"),
                Some(path) => assert!(out.status == 5 && std::fs::remove_file(path).is_ok(), "{case}: {out:?}"),
            }
            remove();
        }
    }
    for name in bodies() {
        let path = format!("/dev/shm/{name}");
        if std::fs::metadata(&path).is_ok_and(|is| is.len() == 0 && [0, 65533].contains(&is.uid())) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
