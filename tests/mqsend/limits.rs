//! The limits of POSIX queues: rows E6 to E8, E25 and M9.

use super::*;
use crate::util::NO_OTHERS;

/// What makes root one whom the limits bind.
fn bound() -> &'static str {
    if nix::unistd::geteuid().is_root() { "setpriv --bounding-set=-sys_resource" } else { "" }
}

#[test]
fn e6_above_the_ceilings() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for (option, name, limit, small) in [
        ("--max-messages", "msg_max", 10, "--message-size 8"),
        ("--message-size", "msgsize_max", 8192, "--max-messages 1"),
    ] {
        for asked in [limit + 1, i64::MAX] {
            for tool in ["mqsend", "mqrecv"] {
                let script = format!(
                    "{0} {tool} -c {option} {asked} -n /q </dev/null || s=$?
                    {0} mqsend -c {option} {limit} {small} /q x; exit $s",
                    bound()
                );
                let Some(run) = t.unshared("--ipc", &script) else { return };
                let why = format!("more than fs.mqueue.{name} allows, {limit} (sysctl fs.mqueue.{name}=N raises it)");
                run.run().says(9, &format!("{asked} is {why}"));
            }
        }
    }
}

#[test]
fn e6_m9_numbers_out_of_range() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    for option in ["--max-messages", "--message-size"] {
        for bad in ["0", "-1", "", "1x", "0x10", "18446744073709551616"] {
            for tool in ["mqsend", "mqrecv"] {
                t.cmd(tool).args(["-c", &format!("{option}={bad}"), "-n", &q]).run().fails(2);
            }
        }
    }
    assert!(t.left().is_empty());
}

#[test]
fn m9_a_plus_sign_is_no_number() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    send(&t, &["-p", "+1", &q, "x"]).fails(2);
    send(&t, &["-c", "--max-messages", "+1", &q, "x"]).fails(2);
    send(&t, &["-c", "--message-size", "+1", &q, "x"]).fails(2);
    t.cmd("mqrecv").args(["--count", "+1", &q]).run().fails(2);
}

/// The kernel says "too many open files".
#[test]
fn e7_the_bytes_of_a_users_queues() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = t.queue("q");
    let small = SMALL.join(" ");
    for tool in ["mqsend", "mqrecv"] {
        let said = t.bash(&format!("ulimit -q 100; {} {tool} {small} -n {q} </dev/null", bound())).run().fails(9);
        for words in ["RLIMIT_MSGQUEUE allows, 100 bytes", "ulimit -q"] {
            assert!(said.contains(words), "{said}");
        }
    }
    assert!(t.left().is_empty());
    // An existing one needs no room.
    empty(&t, "q");
    t.bash(&format!("ulimit -q 0; {} mqsend -c {q} hello", bound())).run().ok();
    assert_eq!(drain(&t, &q), "hello\n");
}

/// That is really too many open files, and the queue made before goes again.
#[test]
fn too_many_open_files() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (a, b) = (t.queue("a"), t.queue("b"));
    let run = t.bash(&format!("{NO_OTHERS}; ulimit -n 4; exec mqrecv {} -n {a} {b}", SMALL.join(" "))).run();
    run.says(9, &format!("{b}: too many open files"));
    assert!(t.left().is_empty(), "{:?}", t.left());
}

#[test]
fn e8_as_many_queues_as_there_may_be() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let small = SMALL.join(" ");
    // The namespace and its queues go with the script.
    let script = format!(
        "echo 1 >/proc/sys/fs/mqueue/queues_max
        {} bash -c 'mqsend {small} /a x && ! mqsend {small} /b x 2>said && ! mqrecv {small} /b 2>>said'
        [ \"$(mqrecv /a)\" = x ]
        cat said",
        bound()
    );
    let Some(run) = t.with_limits("", &script) else { return };
    let run = run.run();
    let words = "/b: there are as many queues as fs.mqueue.queues_max allows, 1; no disk is full \
                 (sysctl fs.mqueue.queues_max=N raises it)";
    assert_eq!(run.text(), format!("mqsend: {words}\nmqrecv: {words}"));
}

#[test]
fn e25_another_namespace_has_other_queues() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let q = empty(&t, "q");
    let script = format!("mqsend {q} x || [ $? = 3 ]; mqsend {} {q} inside; mqrecv {q}", SMALL.join(" "));
    let Some(run) = t.unshared("--ipc", &script) else { return };
    let output = run.run();
    assert_eq!((output.status, &*output.stdout), (0, &b"inside"[..]), "{output:?}");
    assert_eq!(output.stderr, format!("mqsend: {q}: does not exist (-c creates it)\n"));
    assert_eq!(drain(&t, &q), "");
}
