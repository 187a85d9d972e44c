//! The command: its status, what it inherits, and signals. Rows M4 to M7, H5.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::*;
use crate::util::NO_OTHERS;

#[test]
fn m5_the_status_of_the_command() {
    let t = Test::new();
    let l = t.name("l");
    let status = |script: &str| lock(&t, &[&l, "--", "sh", "-c", script]);
    for code in [0, 1, 7, 75, 124, 125, 255] {
        let output = status(&format!("exit {code}"));
        assert_eq!((output.status, &*output.stderr), (code, ""));
    }
    lock(&t, &[&l, "--", "./no-such-command"]).says(127, "shmlock: ./no-such-command: is no command that can be found");
    lock(&t, &[&l, "--", "/"]).says(126, "shmlock: /: cannot be executed");
    t.file("script", "echo words: \"$@\"");
    lock(&t, &[&l, "--", "./script"]).says(126, "cannot be executed: Permission denied");
    t.bash("chmod +x script").run().ok();
    // Without #! it is the shell's, as of execvp(3), and as many words as fit.
    assert_eq!(lock(&t, &[&l, "--", "./script", "a b", "--", ""]).text(), "words: a b -- ");
    assert_eq!(t.bash("shmlock $L -- ./script $(seq 20000) | wc -w").env("L", &l).run().text(), "20001");
    // It was run by nobody, so nobody died.
    assert_eq!(super::status(&t, &l), "state: free");
    for signal in [1, 2, 9, 15, 34, 64] {
        assert_eq!(status(&format!("kill -{signal} $$")).status, 128 + signal);
        if matches!(signal, 2 | 15) {
            // Its user wanted that.
            assert_eq!(super::status(&t, &l), "state: free");
            let strict = format!("kill -{signal} $$");
            assert_eq!(lock(&t, &["--strict", &l, "--", "sh", "-c", &strict]).status, 128 + signal);
        }
        assert!(super::status(&t, &l).starts_with("state: died\n"));
        lock(&t, &["--reset", &l]).ok();
    }
    // -E moves what is the tool's own, not the command's.
    assert_eq!(lock(&t, &["-E", "9", &l, "--", "sh", "-c", "exit 75"]).status, 75);
}

/// What a command may see of the tool: nothing but the lock's descriptor.
#[test]
fn m6_m7_the_command_is_as_if_started_directly() {
    let t = Test::new();
    let l = t.name("l");
    let look = "grep -E \"^Sig[BIC]\" /proc/self/status; readlink /proc/self/fd/* | grep -v ^/proc | sed s/pipe:.*/pipe/; umask; pwd; env | sort | grep -v ^_";
    for before in [
        "",
        "trap '' INT QUIT HUP TERM USR1; ",
        "trap '' CHLD BUS PIPE XFSZ; ",
        "exec 5</etc/passwd 7>&1; ",
        "exec <&-; ",
        "exec >out <&- 2>&-; ",
        &format!("{NO_OTHERS}; ulimit -n 10; "),
    ] {
        for blocked in ["", "env --block-signal=TERM,CHLD,USR1 "] {
            let run = |tool: &str| {
                let script = format!("rm -f out; {before}exec {blocked}{tool} sh -c '{look}'");
                let output = t.bash(&script).run();
                let file = std::fs::read_to_string(t.path("out")).unwrap_or_default();
                (output.status, String::from_utf8(output.stdout).unwrap() + &file + &output.stderr)
            };
            let direct = run("");
            assert_eq!(run(&format!("shmlock --close {l} --")), direct, "{before}{blocked}");
            let (status, inherited) = run(&format!("shmlock {l} --"));
            let mut lines: Vec<_> = inherited.lines().collect();
            let name = format!("/dev/shm{l}");
            let own = lines.iter().position(|line| *line == name).unwrap_or_else(|| panic!("{inherited}"));
            lines.remove(own);
            assert_eq!((status, lines.join("\n")), (direct.0, direct.1.trim_end().to_owned()), "{before}{blocked}");
        }
    }
}

/// Wait until the command of a holder has set its traps.
fn trapping(t: &Test, l: &str, args: &[&str], traps: &str) -> Running {
    let script = format!("{traps}; echo ready >ready; while :; do sleep .01; done");
    let holder = t.cmd("shmlock").args(args).args([l, "--", "sh", "-c", &script]).spawn();
    wait_until("it is ready", || t.path("ready").exists());
    std::fs::remove_file(t.path("ready")).unwrap();
    holder
}

#[test]
fn m4_signals_are_passed_on() {
    let t = Test::new();
    let l = t.name("l");
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGALRM, "ALRM"),
    ] {
        // The command decides what it means.
        let holder = trapping(&t, &l, &[], &format!("trap 'echo {name}; exit 33' {name}"));
        holder.kill(signal);
        let output = holder.output();
        assert_eq!((output.status, &*output.stderr, output.stdout), (33, "", format!("{name}\n").into_bytes()));
        assert_eq!(status(&t, &l), "state: free");
        // Without a trap it dies of it, inside. An interruption is no death, but with
        // --strict.
        if matches!(signal, Signal::SIGINT | Signal::SIGTERM) {
            let holder = trapping(&t, &l, &[], ":");
            holder.kill(signal);
            assert_eq!(holder.output().status, 128 + signal as i32);
            wait_for(&t, &l, "state: free");
        }
        let holder = trapping(&t, &l, &["--strict"], ":");
        holder.kill(signal);
        assert_eq!(holder.output().status, 128 + signal as i32);
        // Its last sleep may hold the lock a little longer.
        wait_for(&t, &l, "state: died");
        lock(&t, &["--reset", &l]).ok();
    }
}

#[test]
fn m7_a_signal_ignored_at_the_start_stays_ignored() {
    let t = Test::new();
    let l = t.name("l");
    let script = format!(
        "trap '' HUP INT TERM; shmlock {l} -- sh -c 'echo >ready; until [ -e stop ]; do sleep .01; done; exit 5' & p=$!
        until [ -e ready ]; do sleep .01; done
        for s in HUP INT TERM HUP INT TERM; do kill -$s $p; done
        echo >stop; wait $p"
    );
    assert_eq!(t.bash(&script).run().status, 5);
    assert_eq!(status(&t, &l), "state: free");
}

/// The terminal's own signals reach the command by themselves, once.
#[test]
fn m4_a_terminal() {
    let Some(t) = Test::with(&["python3"]) else { return };
    let script = r#"
import os, pty, sys
def run(*words):
    pid, tty = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    return pid, tty
rest = b""
def read_until(tty, word):
    global rest
    while word not in rest:
        rest += os.read(tty, 1000)
    rest = rest.split(word, 1)[1]
lock = sys.argv[1]
# Ctrl-C: the trap runs once.
pid, tty = run("shmlock", lock, "--", "sh", "-c",
    "trap 'echo caught; n=$((n+1))' INT; echo ready; until [ \"$n\" ]; do sleep .01; done; sleep .3; exit $((n+40))")
read_until(tty, b"ready")
os.write(tty, b"\x03")
read_until(tty, b"caught")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 41
# Ctrl-Z stops both, and both go on.
pid, tty = run("bash", "--norc", "-i", "-c",
    "set -m; shmlock %s -- sh -c 'echo ready; cat'; echo stopped $?; shmlock --status %s | head -n 1; fg; echo ended $?" % (lock, lock))
read_until(tty, b"ready")
os.write(tty, b"\x1a")
read_until(tty, b"stopped 148")
read_until(tty, b"state: held")
os.write(tty, b"\x04")
read_until(tty, b"ended 0")
os.waitpid(pid, 0)
"#;
    let l = t.name("l");
    t.cmd("python3").args(["-c", script, &l]).run().ok();
    assert_eq!(status(&t, &l), "state: free");
}

/// M6 and H5: what is left in the background keeps the lock, with --close not.
#[test]
fn m6_a_command_that_leaves_something_behind() {
    let t = Test::new();
    let l = t.name("l");
    let leave = |args: &[&str]| {
        t.file("go", "");
        let script = "(while [ -e go ]; do sleep .01; done) >/dev/null 2>&1 </dev/null & exit 3";
        let output = t.cmd("shmlock").args(args).args([&l, "--", "sh", "-c", script]).run();
        assert_eq!((output.status, &*output.stderr), (3, ""));
    };
    leave(&[]);
    // It ended properly, and is still there.
    assert_eq!(status(&t, &l), "state: held");
    lock(&t, &["-n", &l, "--", "true"]).says(75, "is locked");
    std::fs::remove_file(t.path("go")).unwrap();
    lock(&t, &["-w", "1h", &l, "--", "true"]).ok();
    leave(&["--close"]);
    lock(&t, &["-n", &l, "--", "true"]).ok();
}

#[test]
fn m6_h5_the_lock_stays_over_an_exec() {
    let t = Test::new();
    let l = t.name("l");
    let mut holder = t.cmd("shmlock").args([&l, "--", "sh", "-c", "exec sh -c 'exec cat'"]).spawn_open();
    holder.write(b"x");
    wait_until("cat runs", || {
        let children = format!("/proc/{0}/task/{0}/children", holder.pid());
        let child = std::fs::read_to_string(children).unwrap_or_default();
        std::fs::read_to_string(format!("/proc/{}/comm", child.trim())).is_ok_and(|name| name == "cat\n")
    });
    lock(&t, &["-n", &l, "--", "true"]).says(75, "is locked");
    holder.output().ok();
    lock(&t, &["-n", &l, "--", "true"]).ok();
}

#[test]
fn m3_descriptors_closed_at_the_start() {
    let t = Test::new();
    let l = t.name("l");
    t.bash(&format!("shmlock {l} -- true <&- >&- 2>&-")).run().ok();
    assert_eq!(t.left().len(), 1);
    assert_eq!(t.bash(&format!("shmlock {l} -- ./no-such-command <&- >&- 2>&-")).run().status, 127);
    assert_eq!(std::fs::metadata(t.shm_path("l")).unwrap().len(), 4096);
    assert_eq!(status(&t, &l), "state: free");
}

/// A wait for the command neither spins nor hides its end.
#[test]
fn the_end_of_the_command_is_noticed_at_once() {
    let t = Test::new();
    let l = t.name("l");
    // Other children, inherited ones, end meanwhile.
    let begin = Instant::now();
    t.bash(&format!("(sleep .05 & sleep .1 & exec shmlock {l} -- sleep .2)")).run().ok();
    assert!(begin.elapsed() >= Duration::from_millis(200));
    t.bash(&format!("trap '' CHLD; exec shmlock {l} -- true")).run().ok();
}
