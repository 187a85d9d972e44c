//! Rows F: POSIX named semaphores.

use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{blocked, semop, values};
use crate::util::holders::wait_for_line;
use crate::util::{Test, wait_until};

/// The file of the semaphore "sem".
fn file(t: &Test) -> PathBuf {
    PathBuf::from(format!("/dev/shm/sem.{}", &t.name("sem")[1..]))
}

#[track_caller]
fn new(t: &Test, value: &str) -> String {
    let name = t.name("sem");
    semop(t, &["-x", "-c", value, &name]).ok();
    name
}

#[test]
fn f1_f2_the_largest_value() {
    let t = Test::new();
    semop(&t, &["-c", "2147483648", &t.name("sem")]).fails(2);
    let name = new(&t, "2147483647");
    semop(&t, &[&name, "+1"]).says(9, "more than 2147483647, the largest");
    semop(&t, &[&name, "+1", "--", "true"]).says(125, "more than 2147483647, the largest");
    assert_eq!(values(&t, &name), "2147483647");
    semop(&t, &[&name, "-1"]).ok();
    semop(&t, &[&name, "+1"]).ok();
    // It is set in one step, however far away the value is, and whoever wrote it.
    semop(&t, &["--set", "5", &name]).ok();
    assert_eq!(values(&t, &name), "5");
    let file =
        std::fs::File::options().write(true).open(t.shm_path("sem").with_file_name(format!("sem.{}", &name[1..])));
    file.unwrap().write_all_at(&[0xff; 4], 0).unwrap();
    semop(&t, &["--set", "7", &name]).ok();
    assert_eq!(values(&t, &name), "7");
}

#[test]
fn f3_f4_names() {
    let t = Test::new();
    let longest = t.name("x".repeat(252 - t.name("").len()));
    assert_eq!(longest.len(), 252);
    semop(&t, &["-c", "1", &longest, "-1"]).ok();
    for (name, words) in [
        (&*format!("{longest}x"), "at most 251 bytes"),
        ("/a/b", "has one slash"),
        ("//a", "has one slash"),
        ("/", "at least one byte"),
        ("/..", "is not a name"),
    ] {
        semop(&t, &["-c", "1", name, "-1"]).says(2, words);
    }
}

#[test]
fn what_a_posix_semaphore_cannot_do() {
    let t = Test::new();
    let name = new(&t, "3");
    for (ops, why) in [
        (&["=0"][..], "cannot be waited for to be zero, as nobody who takes wakes a waiter"),
        (&["-2"], "is taken one at a time, as no call takes several or none"),
        (&["-1", "-1"], "takes one OP at a time, as no call performs several or none"),
        (&["-1", "+1"], "takes one OP at a time"),
        (&["1:-1"], "has one element, number 0"),
    ] {
        semop(&t, &[&[&*name], ops].concat()).says(2, why);
        let refused = semop(&t, &[&[&*name], ops, &["--", "true"]].concat()).fails(125);
        assert!(refused.contains(why) && refused.ends_with("(use a System V set, key:N)"), "{refused}");
    }
    // What is given is given one by one, at once.
    semop(&t, &[&name, "+2"]).ok();
    assert_eq!(values(&t, &name), "5");
    assert_eq!(semop(&t, &[&name, "+3", "--", "semop", "--get", &name]).text(), "8");
    assert_eq!(values(&t, &name), "5");
    semop(&t, &["--set", "3", &name]).ok();
    semop(&t, &["-c", "1,2", &name]).says(2, "is one value");
    semop(&t, &["--set", "1,2", &name]).says(2, "is one value");
    assert_eq!(values(&t, &name), "3");
}

#[test]
fn f5_without_a_command_nothing_comes_back() {
    let t = Test::new();
    let name = new(&t, "1");
    t.bash(&format!("semop {name} -1; kill -9 $$")).run();
    semop(&t, &["-w", ".2", &name, "-1"]).fails(124);
    semop(&t, &["--set", "1", &name]).ok();
    semop(&t, &[&name, "-1"]).ok();
}

#[test]
fn f6_f7_what_was_planted_is_no_semaphore() {
    let t = Test::new();
    let (name, path) = (t.name("sem"), file(&t));
    let refused = |words: &str| {
        for args in
            [&[&*name, "-1"][..], &[&name, "+1"], &["--get", &name], &["-c", "1", &name, "-1"], &["--set", "1", &name]]
        {
            semop(&t, args).says(8, words);
        }
        semop(&t, &[&name, "-1", "--", "true"]).says(125, words);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    };
    for content in [&b""[..], b"x", &[0; 31]] {
        std::fs::write(&path, content).unwrap();
        refused("which is no semaphore");
    }
    for content in [[0; 32], [255; 32]] {
        std::fs::write(&path, content).unwrap();
        refused("is corrupt, or was made by another C library");
    }
    symlink("/etc/passwd", &path).unwrap();
    refused("is a symbolic link");
    t.cmd("mkfifo").args([&path]).run().ok();
    refused("is a FIFO");
    std::fs::create_dir(&path).unwrap();
    refused("is a directory");
    let victim = t.shm_path("victim");
    std::fs::write(&victim, [0; 32]).unwrap();
    std::fs::hard_link(&victim, &path).unwrap();
    refused("has a second name");
    assert_eq!(std::fs::read(&victim).unwrap(), [0; 32]);
}

#[test]
fn f6_scribbled_values_harm_nobody() {
    let t = Test::new();
    let (name, path) = (new(&t, "1"), file(&t));
    let whole = std::fs::read(&path).unwrap();
    let write = |at: usize, bytes: &[u8]| {
        let mut content = whole.clone();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        std::os::unix::fs::FileExt::write_all_at(
            &std::fs::File::options().write(true).open(&path).unwrap(),
            &content,
            0,
        )
        .unwrap();
    };
    // More than the largest value, and as many waiters as there can be.
    write(0, &[255; 8]);
    semop(&t, &[&name, "+1"]).says(9, "the largest");
    semop(&t, &["-n", &name, "-1"]).ok();
    write(0, &[0, 0, 0, 0, 255, 255, 255, 255]);
    semop(&t, &["-w", ".1", &name, "-1"]).fails(124);
    semop(&t, &[&name, "+1"]).ok();
    semop(&t, &["-n", &name, "-1"]).ok();
    write(12, &[255; 20]);
    semop(&t, &["-n", &name, "-1"]).ok();
}

#[test]
fn f8_removed_while_waiting() {
    let t = Test::new();
    for (command, status) in [(&[][..], 6), (&["--", "true"], 125)] {
        for made_anew in [false, true] {
            let name = new(&t, "0");
            let waits = blocked(&t, &[&[&*name, "-1"], command].concat());
            t.cmd("ipcunlink").args(["--force", &format!("sem:{name}")]).run().ok();
            if made_anew {
                semop(&t, &["-c", "1", &name]).ok();
            }
            waits.output().says(status, "was removed meanwhile");
            if made_anew {
                assert_eq!(values(&t, &name), "1");
                t.cmd("ipcunlink").args([format!("sem:{name}")]).run().ok();
            }
        }
    }
}

#[test]
fn f9_m4_signals_while_waiting() {
    let t = Test::new();
    let name = new(&t, "0");
    for command in [&[][..], &["--", "echo", "run"]] {
        let waits = blocked(&t, &[&["-w", "1000", &name, "-1"], command].concat());
        for _ in 0..3 {
            waits.kill(Signal::SIGSTOP);
            wait_until("it is stopped", || waits.state() == 'T');
            waits.kill(Signal::SIGCONT);
            waits.wait_blocked();
        }
        semop(&t, &[&name, "+1"]).ok();
        waits.output().ok();
    }
    super::wait_for(&t, &name, "1");
    semop(&t, &[&name, "-1"]).ok();
    let waits = blocked(&t, &["-w", "2", &name, "-1"]);
    waits.kill(Signal::SIGSTOP);
    let stopped = Instant::now();
    wait_until("the deadline has passed", || stopped.elapsed() > Duration::from_secs(2));
    // One that begins now waits longer.
    let later = t.cmd("semop").args(["-w", "2", &name, "-1"]).spawn();
    waits.kill(Signal::SIGCONT);
    waits.output().says(124, "the timeout has passed");
    assert_ne!(later.state(), 'Z');
    drop(later);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let waits = blocked_again(&t, &name);
        waits.kill(signal);
        let output = waits.output();
        assert_eq!((output.status, output.stderr.as_str()), (128 + signal as i32, ""));
    }
}

/// One more that waits; those who were killed are still counted.
fn blocked_again(t: &Test, name: &str) -> crate::util::Running {
    let waits = t.cmd("semop").args([name, "-1"]).spawn();
    wait_until("it waits", || waits.name() == "semop" && waits.state() == 'S');
    waits
}

#[test]
fn timeouts() {
    let t = Test::new();
    let name = new(&t, "0");
    for command in [&[][..], &["--", "true"]] {
        for (timeout, least) in [("0", 0), (".2", 200), ("150ms", 150), ("1.2", 1200)] {
            let begin = Instant::now();
            semop(&t, &[&["-w", timeout, &name, "-1"], command].concat()).says(124, "and the timeout has passed");
            assert!(begin.elapsed() >= Duration::from_millis(least), "{timeout}");
        }
    }
    assert!(semop(&t, &["--get", "-J", &name]).text().contains("\"waiting\":0"));
}

#[test]
fn f10_an_existing_one_keeps_value_and_mode() {
    let t = Test::new();
    let (name, path) = (new(&t, "2"), file(&t));
    let note = semop(&t, &["-c", "9", "-m", "666", &name, "-1"]);
    note.says(0, &format!("exists already, with mode 0600 (ipcset -m 0666 sem:{name} changes it)"));
    assert_eq!(values(&t, &name), "1");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    semop(&t, &["-x", "-c", "9", &name]).says(4, "exists already");
    t.bash(&format!("ipcunlink sem:{name}; umask 077; semop -m 640 -c 1 {name}")).run().ok();
    assert_eq!(mode(), 0o640);
}

#[test]
fn f12_truncated_under_a_waiter() {
    let t = Test::new();
    for (command, status) in [(&[][..], 8), (&["--", "true"], 125)] {
        for size in [0, 4] {
            let name = new(&t, "0");
            let waits = blocked(&t, &[&[&*name, "-1"], command].concat());
            std::fs::File::options().write(true).open(file(&t)).unwrap().set_len(size).unwrap();
            waits.output().says(status, "was truncated");
            t.cmd("ipcunlink").args(["--force", &format!("sem:{name}")]).run().ok();
        }
    }
}

#[test]
fn permissions_of_the_file_decide() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let other = |args: &str| t.bash(&format!("{} semop {args}", crate::util::AS_OTHER)).run();
    for (mode, get, op) in [("600", false, false), ("644", true, false), ("666", true, true)] {
        let name = t.name(mode);
        t.bash(&format!("umask 0; semop -m {mode} -c 5 {name}")).run().ok();
        for (allowed, before, after) in
            [(get, "--get", ""), (op, "", "-1"), (op, "", "+1"), (op, "-c 1", ""), (op, "", "-1 -- true")]
        {
            let output = other(&format!("{before} {name} {after}"));
            let status = if after.contains("true") { 125 } else { 5 };
            if allowed { drop(output.ok()) } else { output.says(status, "permission denied") }
        }
    }
}

/// Nobody sees a value between the old and the new one.
#[test]
fn set_is_one_store() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let name = new(&t, "0");
    let watch = "open my $f, '<', shift or die; $| = 1; my $v = 0; print qq(ready\\n);
        until ($v == 2147483647) { sysseek $f, 0, 0; sysread $f, my $b, 8; $v = unpack 'L', $b;
            $v == 0 || $v == 2147483647 or die qq(saw $v\\n) } print qq(all\\n)";
    let mut watcher = t.cmd("perl").args(["-e", watch]).args([file(&t)]).spawn();
    wait_for_line(&mut watcher);
    semop(&t, &["--set", "2147483647", &name]).ok();
    assert_eq!(watcher.output().text(), "all");
    assert_eq!(values(&t, &name), "2147483647");
}

/// Nobody else is there: each finds what the one before has given back.
#[test]
fn one_after_another_none_finds_it_missing() {
    let t = Test::new();
    let name = new(&t, "1");
    let script = format!(
        "for ((i = 0; i < {}; i++)); do semop -n $0 -1 true || echo $i; [ $(semop --get $0) = 1 ] || echo late; done
        semop -n $0 -1 ./no-such-command 2>/dev/null; semop --get $0
        semop -n $0 -1 sh -c 'kill -9 $$'; semop --get $0",
        300 * crate::util::rounds(1)
    );
    let run = t.cmd("bash").args(["-c", &script, &name]).run();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "1\n1\n", "{run:?}");
}

/// What ends semop ends the command, and what ends the command ends semop.
#[test]
fn m4_signals_of_semop_and_its_command() {
    let t = Test::new();
    let name = new(&t, "1");
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let held = t.cmd("semop").args([&*name, "-1", "sleep", "1000"]).spawn();
        wait_until("it runs", || held.runs("sleep"));
        let command = held.children()[0];
        held.kill(signal);
        // By the signal itself, so that a shell knows.
        assert_eq!(held.output().status, 128 + signal as i32);
        wait_until("the command has ended", || nix::sys::signal::kill(command, None).is_err());
        super::wait_for(&t, &name, "1");
    }
    let script = "trap 'exit 3' TERM; echo in; while :; do sleep .01; done";
    let mut held = t.cmd("semop").args([&*name, "-1", "sh", "-c", script]).spawn_open();
    crate::util::holders::wait_for_line(&mut held);
    held.kill(Signal::SIGTERM);
    assert_eq!(held.output().status, 3);
    assert_eq!(values(&t, &name), "1");
}
