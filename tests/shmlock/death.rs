//! Death of holders. Rows H1 to H4, H17, M8.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::util::{noise, promised, rounds};

const DIED: &str = "its previous owner";

/// The command of a holder, which is its only child.
fn child_of(holder: &Running) -> Option<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", holder.pid());
    std::fs::read_to_string(children).ok()?.split(' ').next()?.parse().ok().map(Pid::from_raw)
}

/// M8: the lock stays with the command, and the next one is told.
#[test]
fn m8_h1_shmlock_is_killed_alone() {
    let t = Test::new();
    let l = t.name("l");
    let holder =
        t.cmd("shmlock").args([&l, "--", "sh", "-c", "echo >in; until [ -e stop ]; do sleep .01; done"]).spawn();
    wait_until("it is inside", || t.path("in").exists());
    holder.kill(Signal::SIGKILL);
    wait_until("it is dead", || holder.state() == 'Z');
    let shown = status(&t, &l);
    assert!(shown.starts_with("state: held\nholder: ") && shown.ends_with(" ended"), "{shown}");
    lock(&t, &["-n", &l, "--", "true"]).says(75, "is locked");
    let next = t.cmd("shmlock").args([&l, "--", "sh", "-c", "echo $IPCUTILS_OWNER_DIED"]).spawn();
    wait_for(&t, &l, "waiter: ");
    let begin = Instant::now();
    t.file("stop", "");
    let output = next.output();
    promised(begin, Duration::from_secs(2));
    assert_eq!((output.status, &*output.stdout), (0, &b"1\n"[..]));
    assert_eq!(output.stderr.matches(&format!("{l}: {DIED}, process {}, died", holder.pid())).count(), 1);
    assert_eq!(lock(&t, &[&l, "--", "sh", "-c", "echo .$IPCUTILS_OWNER_DIED"]).text(), ".");
}

#[test]
fn m8_with_close_the_lock_goes_with_shmlock() {
    let t = Test::new();
    let l = t.name("l");
    t.file("go", ""); // gone with the test
    let script = "echo $$ >in; while [ -e go ]; do sleep .01; done";
    let holder = t.cmd("shmlock").args(["--close", &l, "--", "sh", "-c", script]).spawn();
    wait_until("it is inside", || std::fs::read(t.path("in")).is_ok_and(|pid| !pid.is_empty()));
    holder.kill(Signal::SIGKILL);
    wait_until("it is dead", || holder.state() == 'Z');
    let output = lock(&t, &["-n", &l, "--", "true"]);
    assert!(output.status == 0 && output.stderr.contains(DIED), "{output:?}");
    let pid = std::fs::read_to_string(t.path("in")).unwrap();
    assert!(kill(Pid::from_raw(pid.trim().parse().unwrap()), None).is_ok());
}

/// H2 and H3: told again until somebody has ended properly, or said so.
#[test]
fn h1_h2_h3_the_next_is_told() {
    let t = Test::new();
    let l = t.name("l");
    let die = || assert_eq!(lock(&t, &[&l, "--", "sh", "-c", "kill -9 $$"]).status, 137);
    let told = |args: &[&str], status: i32| {
        let output = lock(&t, &[args, &[&l, "--", "sh", "-c", "echo .$IPCUTILS_OWNER_DIED; exit 4"]].concat());
        assert_eq!((output.status, output.stdout.as_slice()), (status, &b".1\n"[..]));
        assert!(output.stderr.contains(DIED), "{output:?}");
    };
    die();
    assert!(status(&t, &l).starts_with("state: died\ndied: "));
    // Readers are told and settle nothing.
    told(&["--shared"], 4);
    told(&["--shared"], 4);
    lock(&t, &["--strict", "--shared", &l, "--", "true"]).says(7, DIED);
    // A command that was not run has settled nothing.
    assert!(lock(&t, &[&l, "--", "./no-such-command"]).stderr.contains(DIED));
    // H3: the one who was told dies, too.
    assert!(lock(&t, &[&l, "--", "sh", "-c", "kill -9 $$"]).stderr.contains(DIED));
    lock(&t, &["--strict", &l, "--", "echo", "never"]).says(7, "shmlock --reset");
    // -E moves other statuses.
    lock(&t, &["--strict", "-E", "9", &l, "--", "echo", "never"]).says(7, DIED);
    told(&[], 4);
    lock(&t, &["--strict", &l, "--", "true"]).ok();
    die();
    lock(&t, &["--reset", &l]).ok();
    lock(&t, &["--strict", &l, "--", "true"]).ok();
    // What a shell inherited from a command that was told is not passed on.
    t.bash(&format!("IPCUTILS_OWNER_DIED=1 shmlock {l} -- sh -c '[ -z \"$IPCUTILS_OWNER_DIED\" ]'")).run().ok();
    // A reader's death is no matter.
    assert_eq!(lock(&t, &["--shared", &l, "--", "sh", "-c", "kill -9 $$"]).status, 137);
    lock(&t, &["--strict", &l, "--", "true"]).ok();
}

/// The holder, or its command, or both, killed at any instant: never two
/// inside, the next one is in, and told if the section was begun.
#[test]
fn h1_h11_kill_9_at_any_instant() {
    let t = Test::new();
    let l = t.name("l");
    // Two lines a section, written by two processes that the lock keeps apart.
    let section = "echo begin $$ >>log; sleep .00$((RANDOM % 5)); echo end $$ >>log";
    // Of a machine that is busy the instants are further apart.
    let begin = Instant::now();
    lock(&t, &[&l, "--", "bash", "-c", section]).ok();
    let whole = begin.elapsed();
    let mut told = 0;
    for round in 0..rounds(100) {
        let random = noise(round as u64 + 1, 2);
        let holder = t.cmd("shmlock").args([&l, "--", "bash", "-c", section]).spawn();
        let waiters: Vec<_> =
            (0..2).map(|_| t.cmd("shmlock").args(["-w", "1h", &l, "--", "bash", "-c", section]).spawn()).collect();
        let (begin, moment) = (Instant::now(), whole * u32::from(random[0]) / 256);
        wait_until("the moment", || begin.elapsed() >= moment);
        holder.kill(Signal::SIGKILL);
        if random[1].is_multiple_of(2)
            && let Some(command) = child_of(&holder)
        {
            let _ = kill(command, Signal::SIGKILL);
        }
        waiters[0].kill(Signal::SIGKILL);
        let begin = Instant::now();
        for waiter in waiters.into_iter().skip(1) {
            let output = waiter.output();
            assert_eq!(output.status, 0, "{output:?}");
            told += usize::from(output.stderr.contains(DIED));
        }
        // Commands of the dead may go on inside; then nobody else is.
        let last = lock(&t, &["-w", "1h", &l, "--", "true"]);
        assert_eq!(last.status, 0, "{last:?}");
        told += usize::from(last.stderr.contains(DIED));
        promised(begin, Duration::from_secs(20));
    }
    let log = std::fs::read_to_string(t.path("log")).unwrap();
    let mut inside = None;
    for line in log.lines() {
        let (word, pid) = line.split_once(' ').unwrap();
        // After a begin comes its own end, or, if it was killed, another's begin.
        match word {
            "begin" => inside = Some(pid),
            _ => assert_eq!(inside.take(), Some(pid), "two were inside:\n{log}"),
        }
    }
    if told == 0 {
        said(&format!("not tested: that the next one is told, as none of {} died inside", rounds(100)));
    }
}

/// The next one in: within 2 s of the death (`make torture`), and told.
#[test]
fn h1_the_next_one_is_in_within_two_seconds() {
    let t = Test::new();
    let l = t.name("l");
    for _ in 0..rounds(10) {
        let holder = hold(&t, &[&l]);
        let command = child_of(&holder).unwrap();
        let next = t.cmd("shmlock").args([&l, "--", "sh", "-c", "echo $IPCUTILS_OWNER_DIED"]).spawn();
        wait_for(&t, &l, "waiter: ");
        let begin = Instant::now();
        holder.kill(Signal::SIGKILL);
        let _ = kill(command, Signal::SIGKILL);
        let output = next.output();
        promised(begin, Duration::from_secs(2));
        assert_eq!((output.status, output.stdout.as_slice()), (0, &b"1\n"[..]));
        assert!(output.stderr.contains(DIED), "{output:?}");
    }
}

/// H17: nobody ever sees a lock that is not complete, and of many makers one
/// makes it.
#[test]
fn h17_made_by_many_at_once() {
    let t = Test::new();
    let script = "
        for ((i = 0; i < ROUNDS; i++)); do
            for j in 1 2 3 4 5 6 7 8; do shmlock $L$i -- mkdir $i-$j & done
            for j in 1 2 3 4 5 6 7 8; do shmlock -n --shared $L$i -- true || [ $? = 75 ] || echo failed; done 2>/dev/null
            wait; ls -d $i-* | wc -l; rm $FILE$i
        done | sort -u";
    let run = t.bash(script).env("L", t.name("l")).env("FILE", t.shm_path("l")).env("ROUNDS", rounds(10).to_string());
    assert_eq!(run.run().text(), "8");
    assert!(t.left().is_empty(), "{:?}", t.left());
}
