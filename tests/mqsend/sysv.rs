//! mqsend and System V queues: rows B1 to B3, B13, B17 to B21 and B23, and
//! what its options promise.

use std::time::{Duration, Instant};

use crate::util::queues::send;
use crate::util::{AS_OTHER, Test, noise, sysvipc, wait_until};

/// All messages of a queue, a line each, which empties it.
pub(super) fn drain(t: &Test, address: &str) -> String {
    t.cmd("mqrecv").args(["--drain", "-l", address]).run().text()
}

/// A new queue with nothing in it.
pub(super) fn empty(t: &Test) -> String {
    let key = t.key();
    t.cmd("mqsend").args(["-c", "-l", &key]).run().ok();
    key
}

/// What the kernel lists of the queue with this key: permissions and messages.
pub(super) fn listed(key: &str) -> Option<(String, usize)> {
    let key = i32::from_str_radix(&key[2..], 16).unwrap().to_string();
    sysvipc("msg").into_iter().find(|row| row[0] == key).map(|row| (row[2].clone(), row[4].parse().unwrap()))
}

/// Set msg_qbytes, which is the twelfth long of the structure, with perl.
pub(super) fn resize(t: &Test, key: &str, bytes: usize) {
    let script = format!(
        "$i = msgget({key}, 0); msgctl($i, 2, $d) or die $!;
        substr($d, 88, 8) = pack('L!', {bytes}); msgctl($i, 1, $d) or die $!"
    );
    t.cmd("perl").args(["-e", &script]).run().ok();
}

#[test]
fn b1_types_that_are_none_are_refused() {
    let t = Test::new();
    let key = t.key();
    for word in ["0", "-1", "-9223372036854775808", "9223372036854775808", "", "x", "1x", "0x1", " 1", "1.0"] {
        send(&t, &["-c", &format!("--type={word}"), &key, "a"]).says(2, "--type");
    }
    send(&t, &["-c", "-t", "0", &key, "a"]).says(2, "is no number from 1 to 9223372036854775807");
    assert!(t.left().is_empty());
}

#[test]
fn m9_a_number_with_a_plus_sign_is_refused() {
    let t = Test::new();
    let key = t.key();
    send(&t, &["-c", "-t", "+1", &key, "a"]).says(2, "--type");
    assert!(t.left().is_empty());
}

#[test]
fn b2_types_from_1_to_the_largest_long() {
    let t = Test::new();
    let key = empty(&t);
    for kind in ["1", "2147483648", "9223372036854775807"] {
        send(&t, &["-t", kind, &key, "x"]).ok();
        let json = t.cmd("mqrecv").args(["-J", "-t", kind, &key]).run().text();
        assert!(json.contains(&format!("\"type\":{kind},")), "{json}");
    }
    send(&t, &[&key, "x"]).ok();
    assert_eq!(t.cmd("mqrecv").args(["-n", "-t", "1", &key]).run().text(), "x");
}

#[test]
fn b3_empty_messages() {
    let t = Test::new();
    let key = empty(&t);
    assert_eq!(listed(&key).unwrap().1, 0);
    t.cmd("mqsend").args([&key]).run().ok();
    send(&t, &[&key, ""]).ok();
    t.cmd("mqsend").args(["-l", &key]).stdin("\n").run().ok();
    assert_eq!(listed(&key).unwrap().1, 3);
    t.cmd("mqsend").args(["-0", &key]).run().ok();
    assert_eq!(drain(&t, &key), "");
    assert_eq!(listed(&key).unwrap().1, 0);
}

#[test]
fn b13_full_and_not_waited_for() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = empty(&t);
    resize(&t, &key, 10);
    send(&t, &[&key, "0123456789"]).ok();
    for (args, status, least) in [
        (&["-n"][..], 75, 0),
        (&["-w", "0"], 124, 0),
        (&["-w", ".15"], 124, 150),
        (&["--timeout=120ms"], 124, 120),
        (&["-n", "-E", "7"], 7, 0),
        (&["-w", "0", "-E", "0"], 0, 0),
    ] {
        let begin = Instant::now();
        let output = t.cmd("mqsend").args(args).args([&key, "x"]).run();
        assert!(begin.elapsed() >= Duration::from_millis(least), "{args:?}");
        output.says(status, &format!("mqsend: key:{key}: is full"));
    }
    assert_eq!(drain(&t, &key), "0123456789");
}

#[test]
fn b17_a_small_message_passes_a_large_one_that_waits() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = empty(&t);
    resize(&t, &key, 1000);
    send(&t, &[&key, &"a".repeat(900)]).ok();
    let large = t.cmd("mqsend").args([&key, &"b".repeat(200)]).spawn();
    large.wait_blocked();
    send(&t, &["-n", &key, "small"]).ok();
    send(&t, &["-n", &key, &"c".repeat(96)]).says(75, "is full");
    assert_eq!(t.cmd("mqrecv").args([&key]).run().ok(), [b'a'; 900]);
    large.output().ok();
    assert_eq!(drain(&t, &key), format!("small\n{}", "b".repeat(200)));
}

#[test]
fn b18_absent_present_and_exclusive() {
    let t = Test::new();
    let key = t.key();
    send(&t, &[&key, "a"]).says(3, "does not exist");
    assert!(t.left().is_empty());
    send(&t, &["-x", &key, "a"]).ok();
    send(&t, &["-x", &key, "b"]).says(4, "exists already");
    send(&t, &["-c", "-x", &key, "b"]).says(4, "exists already");
    send(&t, &["-c", &key, "c"]).ok();
    assert_eq!(drain(&t, &key), "a\nc");
}

/// What an identifier names exists, so it cannot be made.
#[test]
fn b18_exclusive_by_identifier_sends_nothing() {
    let t = Test::new();
    let key = empty(&t);
    let id = t.bash(&format!("ipcs -q | awk '$1 == \"{key}\" {{ print $2 }}'")).run().text();
    send(&t, &[&format!("id:{id}"), "a"]).ok();
    let output = send(&t, &["-x", &format!("id:{id}"), "b"]);
    assert_eq!(drain(&t, &key), "a", "{output:?}");
    assert!([2, 4].contains(&output.status), "{output:?}");
}

#[test]
fn b19_the_permissions_decide() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    for (mode, sends, receives) in [("600", 5, 5), ("622", 0, 5), ("644", 5, 0), ("666", 0, 0)] {
        let key = t.key();
        t.bash(&format!("umask 0; mqsend -c -m {mode} {key} one two")).run().ok();
        let status = |command: &str| t.bash(&format!("cd /; {AS_OTHER} {command} >/dev/null")).run().status;
        assert_eq!(status(&format!("mqsend {key} x")), sends, "{mode}");
        assert_eq!(status(&format!("mqrecv {key}")), receives, "{mode}");
        assert_eq!(status(&format!("mqrecv --peek {key}")), receives, "{mode}");
        let remove = t.bash(&format!("cd /; {AS_OTHER} ipcunlink mq:{key}")).run();
        remove.says(5, "permission denied");
        assert_eq!(listed(&key).unwrap().1, 2 + usize::from(sends == 0) - usize::from(receives == 0));
    }
}

/// Root reads whatever it likes, so this is another's own queue.
#[test]
fn b19_a_queue_that_one_can_only_write_to() {
    let t = Test::new();
    let root = nix::unistd::geteuid().is_root();
    if root && !t.second_user() {
        return;
    }
    let run = |command: String| t.bash(&format!("cd /; {} {command}", if root { AS_OTHER } else { "" })).run();
    let key = t.key();
    run(format!("mqsend -c -m 200 {key} a")).ok();
    run(format!("mqsend {key} b")).ok();
    for option in ["", "--peek", "--drain"] {
        run(format!("mqrecv {option} {key}")).says(5, "permission denied");
    }
    assert_eq!(listed(&key), Some(("200".to_owned(), 2)));
    run(format!("ipcunlink mq:{key}")).ok();
}

#[test]
fn b20_a_mode_is_exact_and_the_default_obeys_the_umask() {
    let t = Test::new();
    for (umask, mode, expected) in
        [("077", "-m 666", "666"), ("0", "-m 622", "622"), ("0", "", "600"), ("477", "", "200")]
    {
        let key = t.key();
        t.bash(&format!("umask {umask}; mqsend -c {mode} {key} x")).run().ok();
        assert_eq!(listed(&key).unwrap().0, expected, "umask {umask}, {mode}");
        if expected == "200" && !nix::unistd::geteuid().is_root() {
            // Its owner may not read it.
            continue;
        }
        let key = t.key();
        let receiver = t.bash(&format!("umask {umask}; exec mqrecv -c {mode} {key}")).spawn();
        wait_until("the queue exists", || listed(&key).is_some());
        assert_eq!(listed(&key).unwrap().0, expected, "umask {umask}, {mode}");
        drop(receiver);
    }
    send(&t, &["-c", "-m", "888", &t.key(), "x"]).says(2, "is no mode");
}

#[test]
fn b21_identifiers_do_not_come_back() {
    let t = Test::new();
    let script = "for i in {1..30}; do id=$(mqsend private: x) && ipcunlink mq:$id && echo $id; done";
    let output = t.bash(script).run().text();
    let ids: std::collections::BTreeSet<_> = output.lines().collect();
    assert_eq!(ids.len(), 30, "{output}");
}

#[test]
fn b23_bytes_in_are_bytes_out() {
    let t = Test::new();
    let key = empty(&t);
    for body in [&b"\0"[..], b"\n", b"a\0b\n\xff", b"\xff\xfe\0\0\n", &noise(23, 5000)] {
        t.cmd("mqsend").args([&key]).stdin(body).run().ok();
        assert!(t.cmd("mqrecv").args([&key]).run().ok() == body, "{body:?}");
    }
    for (option, end) in [("-l", b'\n'), ("-0", 0)] {
        let mut input = noise(24, 6000);
        input.push(end);
        t.cmd("mqsend").args([option, &key]).stdin(&*input).run().ok();
        let records = input.iter().filter(|&&byte| byte == end).count();
        assert_eq!(listed(&key).unwrap().1, records);
        assert!(t.cmd("mqrecv").args(["--drain", option, &key]).run().ok() == input, "{option}");
    }
    t.bash(&format!("mqsend {key} $'\\xff\\n' 'b c'")).run().ok();
    assert_eq!(t.cmd("mqrecv").args(["--drain", "-0", &key]).run().ok(), b"\xff\n\0b c\0");
}

#[test]
fn every_address() {
    let t = Test::new();
    t.keyed(t.path("f"), 7);
    let key = t.key();
    let number = i32::from_str_radix(&key[2..], 16).unwrap();
    let ways = [key.clone(), format!("key:{key}"), format!("key:{number}"), format!("key:0{number:o}")];
    for address in &ways {
        send(&t, &["-c", address, "x"]).ok();
    }
    assert_eq!(drain(&t, &key), "x\nx\nx\nx");
    let script = "mqsend -c ftok:f:7 hello && mqrecv $(ftok f 7); ipcunlink mq:ftok:f:7";
    assert_eq!(t.bash(script).run().text(), "hello");
    for (address, words) in
        [("5", "say id:5 or key:5"), ("key:0", "private:"), ("file:f", "no message queue is a file")]
    {
        send(&t, &["-c", address, "x"]).says(2, words);
    }
}

#[test]
fn options_of_posix_are_refused() {
    let t = Test::new();
    let key = empty(&t);
    send(&t, &["-p", "1", &key, "x"]).says(2, "a type, -t, and no priority");
    for tool in ["mqsend", "mqrecv"] {
        for option in ["--max-messages=5", "--message-size=5"] {
            let new = t.key();
            t.cmd(tool).args(["-c", option, &new]).run().says(2, "kernel.msgmax and kernel.msgmnb");
            assert_eq!(listed(&new), None);
            // Neither is it passed over where nothing is made.
            t.cmd(tool).args(["-n", option, &key]).run().fails(2);
        }
    }
    assert_eq!(listed(&key).unwrap().1, 0);
}

#[test]
fn private_prints_its_identifier() {
    let t = Test::new();
    let script = "id=$(mqsend -m 640 -t 3 private: a b) && mqrecv -t 3 -l --count 2 $id
        grep -cE \" ${id#id:} +640 \" /proc/sysvipc/msg; ipcunlink mq:$id; echo $id";
    let output = t.bash(script).run().text();
    let (lines, id) = output.rsplit_once('\n').unwrap();
    assert_eq!(lines, "a\nb\n1");
    assert!(id.strip_prefix("id:").is_some_and(|id| id.parse::<i32>().is_ok()), "{id}");
}

/// Of its own namespace, where each queue left is ours.
#[test]
fn m1_m2_private_that_failed_leaves_none() {
    let t = Test::new();
    for (script, status) in [
        ("mqsend private: x >/dev/full", 1),
        ("mqsend private: x >&-", 1),
        ("mkfifo p; exec 3<>p 4>p 3<&-; mqsend private: x >&4", 141),
        ("head -c 100000 /dev/zero | mqsend private: >/dev/null", 9),
        ("head -c 100000 /dev/zero | mqsend -l private: >/dev/null", 9),
        ("mqsend private: <&- >/dev/null", 1),
    ] {
        let script = format!("{{ {script}; }} || echo $?; tail -n +2 /proc/sysvipc/msg");
        let Some(run) = t.unshared("--ipc", &script) else { return };
        let output = run.run();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(stdout, format!("{status}\n"), "{script}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), usize::from(status != 141), "{output:?}");
    }
}

#[test]
fn a_failed_creator_leaves_no_queue() {
    let t = Test::new();
    let key = t.key();
    let long = "mqsend -c 0x1 < <(head -c 8193 /dev/zero) || s=$?; tail -n +2 /proc/sysvipc/msg; exit $s";
    if let Some(run) = t.unshared("--ipc", long) {
        run.run().fails(9);
    }
    t.bash(&format!("mqsend -c {key} <&-")).run().says(1, "standard input: is closed");
    t.bash(&format!("mqsend -c -l {key} <.")).run().says(1, "Is a directory");
    assert!(t.left().is_empty());
}

#[test]
fn a_failed_creator_leaves_the_messages_of_others() {
    let t = Test::new();
    // It makes no queue before it has a message for it.
    let script = "mkfifo p; mqsend -c -l 0x1 <p & exec 3>p
        until [ \"$(cut -d' ' -f2-3 /proc/$!/stat)\" = '(mqsend) S' ]; do :; done
        mqsend 0x1 early || echo $?; mqsend -c 0x1 another
        head -c 8193 /dev/zero >&3; exec 3>&-; wait $! || echo $?
        mqrecv --drain -l 0x1";
    let Some(run) = t.unshared("--ipc", script) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (0, &b"3\n9\nanother\n"[..]), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 2, "{output:?}");
}
