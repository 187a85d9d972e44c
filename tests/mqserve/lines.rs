//! mqserve -l: a command that is started once and answers lines.

use super::{both, claims, serve};
use crate::util::queues::{drain, empty, send};
use crate::util::{Running, Test, wait_until};

/// It says which process answers, and which line.
const SAYS: &str = "while IFS= read -r line; do echo \"$$ $line\"; done";

fn server(t: &Test, queue: &str, script: &str) -> Running {
    serve(t, &["-l", queue], script).spawn()
}

fn calls(t: &Test, queue: &str, lines: &str) -> crate::util::Output {
    t.cmd("mqcall").args(["-l", queue]).stdin(lines).run()
}

#[test]
fn each_line_is_answered_by_one_process() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        for message in ["a", "b\n", ""] {
            send(&t, &[&queue, message]).ok();
        }
        let text = serve(&t, &["-l", "--drain", &queue], SAYS).run().text();
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert!(lines.iter().all(|(pid, _)| *pid == lines[0].0), "{text}");
        assert_eq!(lines.iter().map(|(_, line)| *line).collect::<Vec<_>>(), ["a", "b", ""]);
        assert_eq!(claims(&queue), [""; 0]);
    }
}

/// Short and long ones, more than are on their way at once, in order, from two callers.
#[test]
fn l3_calls_of_lines_get_their_own_answers() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let _server = serve(&t, &["-l", "-j", "2", &queue], "sed -u 's/^/=/'").spawn();
        let long = "x".repeat(300_000);
        let line = |mark: &str, i: usize| format!("{mark}{}\n", if i == 250 { long.clone() } else { i.to_string() });
        let callers = ["a", "b"].map(|mark| {
            let input: String = (0..500).map(|i| line(mark, i)).collect();
            (mark, t.cmd("mqcall").args(["-l", &queue]).stdin(input).spawn())
        });
        for (mark, caller) in callers {
            let expected: String = (0..500).map(|i| format!("={}", line(mark, i))).collect();
            assert!(caller.output().ok() == expected.as_bytes(), "{mark}");
        }
        // One that runs a command for each call gets the same.
        assert_eq!(t.cmd("mqcall").args([&queue, "one", "two"]).run().text(), "=one\n=two");
    }
}

#[test]
fn l5_a_command_that_answers_lines_and_does_not() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let script = "while read -r line; do case $line in
            end) exit 3 ;; kill) kill -9 $$ ;; silent) exec 1>&-; exit ;; late) sleep 1000 ;; two) printf '1\\n2\\n' ;;
            *) echo \"$line\" ;; esac; done";
        let server = serve(&t, &["-l", "--timeout", "4", &queue], script).spawn();
        for (line, status) in [("end", 3), ("kill", 137), ("silent", 1), ("late", 124), ("two", 1)] {
            let output = calls(&t, &queue, line);
            assert_eq!((output.status, &*output.stdout), (status, &b""[..]), "{line}: {output:?}");
            // The next one starts it anew.
            assert_eq!(calls(&t, &queue, "fine").text(), "fine");
        }
        // As work they are tried again; then they are kept, or go to the dead.
        server.kill(nix::sys::signal::Signal::SIGTERM);
        let dead = empty(&t, "dead");
        send(&t, &[&queue, "end", "fine"]).ok();
        let drained = serve(&t, &["-l", "--drain", "--retry", "1", "--dead", &dead, &queue], script).run();
        assert_eq!((drained.status, drained.stdout.as_slice()), (0, &b"fine\n"[..]), "{drained:?}");
        assert!(drained.stderr.contains("the command ended with status 3, without an answer"), "{drained:?}");
        assert_eq!(drain(&t, &dead), "end\n");
        assert_eq!(claims(&queue), [""; 0]);
    }
}

#[test]
fn l6_a_message_that_is_no_line() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let dead = empty(&t, "dead");
        send(&t, &[&queue, "two\nlines"]).ok();
        let drained = serve(&t, &["-l", "--drain", "--dead", &dead, &queue], SAYS).run();
        assert!(drained.success() && drained.stderr.contains("more than one line"), "{drained:?}");
        assert_eq!(drain(&t, &dead), "two\nlines\n");
        let _server = server(&t, &queue, SAYS);
        assert_eq!(t.cmd("mqcall").args([&queue, "two\nlines"]).run().status, 8);
        let long = "y\n".repeat(100_000);
        assert_eq!(t.cmd("mqcall").args([&queue]).stdin(long).run().status, 8);
    }
}

/// The server dies in the middle of several calls of one caller.
#[test]
fn l1_the_server_of_lines_dies() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        let script = "while read -r line; do [ \"$line\" != slow ] || { touch in; sleep 1000; }; echo \"$line\"; done";
        for (retry, status, answer) in [("0", 7, ""), ("1", 0, "slow\nquick\n")] {
            let begun = || wait_until("the command has the line", || t.path("in").exists());
            let mut first = server(&t, &queue, script);
            let caller = t.cmd("mqcall").args(["-l", "--retry", retry, &queue]).stdin("slow\nquick\n").spawn();
            begun();
            first.kill(nix::sys::signal::Signal::SIGKILL);
            first.end();
            std::fs::remove_file(t.path("in")).unwrap();
            let _next = server(&t, &queue, "while read -r line; do echo \"$line\"; done");
            let output = caller.output();
            assert_eq!((output.status, &*output.stdout), (status, answer.as_bytes()), "{output:?}");
        }
    }
}
