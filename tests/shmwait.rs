//! shmwait: rows H11 to H14, and what its options promise.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::util::locks::{hold, lock, status, wait_for};
use crate::util::{Output, Running, Test, promised, rounds, wait_until};

fn wait(t: &Test, args: &[&str]) -> Output {
    t.cmd("shmwait").args(args).run()
}

fn wake(t: &Test, args: &[&str]) {
    t.cmd("shmwake").args(args).run().ok();
}

/// One that sleeps.
fn sleeper(t: &Test, l: &str, args: &[&str]) -> Running {
    let running = t.cmd("shmwait").args(args).spawn();
    wait_for(t, l, &format!("sleeper: {} ", running.pid()));
    running
}

#[test]
fn a_wake_up_runs_the_command() {
    let t = Test::new();
    let l = t.name("l");
    let one = t.cmd("shmwait").args([&l, "--", "sh", "-c", "echo one; exit 3"]).spawn();
    wait_for(&t, &l, "sleeper: ");
    wake(&t, &[&l]);
    let output = one.output();
    assert_eq!((output.status, output.stdout.as_slice(), &*output.stderr), (3, &b"one\n"[..], ""));
    // Under the lock, and without a command without it.
    let holder = hold(&t, &[&l]);
    let (with, without) = (sleeper(&t, &l, &[&l, "--", "echo", "with"]), sleeper(&t, &l, &[&l]));
    wake(&t, &["--all", &l]);
    without.output().ok();
    wait_for(&t, &l, &format!("waiter: {} ", with.pid()));
    holder.output().ok();
    assert_eq!(with.output().text(), "with");
    assert_eq!(status(&t, &l), "state: free");
}

#[test]
fn until_a_fact_holds() {
    let t = Test::new();
    let l = t.name("l");
    // It holds already: nobody needs to wake.
    assert_eq!(wait(&t, &["--until", "true", &l, "--", "echo", "at once"]).text(), "at once");
    wait(&t, &["--until", "true", "-n", &l]).ok();
    let waiting = sleeper(&t, &l, &["--until", "[ -e fact ]", &l, "--", "cat", "fact"]);
    // A wake-up alone is no fact.
    for _ in 0..3 {
        wake(&t, &[&l]);
        wait_for(&t, &l, "sleeper: ");
    }
    lock(&t, &[&l, "--", "sh", "-c", "echo it is so >fact"]).ok();
    wake(&t, &[&l]);
    assert_eq!(waiting.output().text(), "it is so");
    // The lock is free while it sleeps, and held while predicate and command run.
    let inside = format!("shmlock -n {l} -- true 2>/dev/null; [ $? = 75 ]");
    wait(&t, &["--until", &inside, &l, "--", "sh", "-c", &inside]).ok();
    // Of the lock's descriptor the predicate gets nothing, the command one.
    let none = format!("! readlink /proc/self/fd/* | grep -q {l}");
    wait(&t, &["--until", &none, &l, "--", "sh", "-c", &format!("readlink /proc/$$/fd/* | grep -q {l}")]).ok();
}

#[test]
fn a_predicate_that_cannot_run() {
    let t = Test::new();
    let l = t.name("l");
    for (predicate, status, words) in [
        ("no-such-command", 127, "cannot be found"),
        ("/", 126, "cannot be executed"),
        ("kill -9 $$", 125, "killed by signal 9"),
    ] {
        let output = wait(&t, &["--until", predicate, &l, "--", "echo", "never"]);
        assert_eq!((output.status, output.stdout.len()), (status, 0), "{output:?}");
        assert!(output.stderr.contains(words), "{output:?}");
    }
    assert_eq!(wait(&t, &["--until", "kill -9 $$", &l]).status, 1);
    // Neither of them has died inside.
    lock(&t, &["--strict", "-n", &l, "--", "true"]).ok();
    let output = wait(&t, &["--until=-x", "-n", &l]);
    assert!(output.status == 127 && output.stderr.contains("cannot be found"), "{output:?}");
}

#[test]
fn the_timeout() {
    let t = Test::new();
    let l = t.name("l");
    for (flags, status, least) in [
        (&["-n"][..], 75, 0),
        (&["-n", "-E", "9"], 9, 0),
        (&["-w", "0"], 124, 0),
        (&["-w", ".2"], 124, 200),
        (&["-w", "1.3", "-E", "8"], 8, 1300),
    ] {
        for rest in [&[][..], &["--until", "false"], &["--until", "false", "--", "true"]] {
            let begin = Instant::now();
            let (options, command) = rest.split_at(rest.len().min(2));
            wait(&t, &[flags, options, &[&l], command].concat()).says(status, "had no wake-up");
            assert!(begin.elapsed() >= Duration::from_millis(least), "{flags:?}");
        }
    }
    let holder = hold(&t, &[&l]);
    wait(&t, &["-w", ".1", "--until", "true", &l]).says(124, "is locked");
    wait(&t, &["-n", "--until", "true", &l]).says(75, "is locked");
    holder.output().ok();
}

/// H13: by the signal, at once, with the lock free.
#[test]
fn h13_m4_a_signal_ends_the_wait() {
    let t = Test::new();
    let l = t.name("l");
    // One that is there stays.
    t.cmd("shmlock").args([&l, "--", "true"]).run().ok();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL] {
        for args in [&[&*l][..], &["--until", "false", &l, "--", "true"], &["-w", "1h", &l]] {
            let waiting = sleeper(&t, &l, args);
            waiting.kill(Signal::SIGSTOP);
            wait_until("it is stopped", || waiting.state() == 'T');
            waiting.kill(Signal::SIGCONT);
            waiting.kill(signal);
            let output = waiting.output();
            assert_eq!((output.status, &*output.stderr), (128 + signal as i32, ""));
        }
        // While the predicate runs: it gets the signal, then the tool.
        let predicate = "trap 'echo told; exit 0' TERM INT HUP; echo >in; until [ -e out ]; do sleep .01; done";
        let waiting = t.cmd("shmwait").args(["--until", predicate, &l, "--", "echo", "never"]).spawn();
        wait_until("the predicate runs", || t.path("in").exists());
        waiting.kill(signal);
        let killed = signal == Signal::SIGKILL;
        if killed {
            wait_until("it is dead", || waiting.state() == 'Z');
            t.file("out", "");
        }
        let output = waiting.output();
        let said = if killed { &b""[..] } else { b"told\n" };
        assert_eq!((output.status, output.stdout.as_slice()), (128 + signal as i32, said));
        t.bash("rm -f in out").run().ok();
        wait_until("the lock is free", || status(&t, &l) == "state: free");
    }
}

/// H11: a killed waiter takes no wake-up with it, and hangs nobody.
#[test]
fn h11_waiters_killed_and_all_woken() {
    let t = Test::new();
    let l = t.name("l");
    lock(&t, &[&l, "--", "true"]).ok();
    for round in 0..rounds(4) {
        let start = |_| {
            let until = format!("[ -e go{round} ]");
            t.cmd("shmwait").args(["--until", &until, "-w", "1h", &l, "--", "true"]).spawn()
        };
        let old: Vec<_> = (0..10).map(start).collect();
        wait_for(&t, &l, "sleeper: ");
        old.iter().for_each(|one| one.kill(Signal::SIGKILL));
        let new: Vec<_> = (0..10).map(start).collect();
        old.into_iter().for_each(|one| drop(one.output()));
        lock(&t, &["-w", "1h", &l, "--", "touch", &format!("go{round}")]).ok();
        wake(&t, &["--all", &l]);
        for one in new {
            one.output().ok();
        }
        assert_eq!(status(&t, &l), "state: free");
    }
}

/// H11: the one who was woken is killed; another takes it up.
#[test]
fn h11_a_wake_up_given_to_a_dead_one() {
    let t = Test::new();
    let l = t.name("l");
    let script = "mkdir got";
    for _ in 0..rounds(3) {
        let waiting: Vec<_> =
            (0..3).map(|_| sleeper(&t, &l, &["--until", "[ -e fact ]", &l, "--", "sh", "-c", script])).collect();
        // Stopped, the first cannot run when it is woken.
        waiting[0].kill(Signal::SIGSTOP);
        wait_until("it is stopped", || waiting[0].state() == 'T');
        t.file("fact", "");
        wake(&t, &[&l]);
        waiting[0].kill(Signal::SIGKILL);
        let begin = Instant::now();
        wait_until("another has it", || t.path("got").exists());
        promised(begin, Duration::from_secs(3));
        waiting.iter().for_each(|one| one.kill(Signal::SIGKILL));
        drop(waiting);
        t.bash("rm -r got fact").run().ok();
        lock(&t, &["--reset", &l]).ok();
    }
}

/// H14: with one producer and one consumer a lost wake-up would be a wait of a
/// second or for ever.
#[test]
fn h14_no_wake_up_is_lost() {
    let t = Test::new();
    let l = t.name("l");
    let script = "
        : >buffer
        put() { shmwait --until '[ ! -s buffer ]' -w 1h $L -- sh -c \"echo $1 >buffer\" && shmwake $L; }
        get() { shmwait --until '[ -s buffer ]' -w 1h $L -- sh -c 'cat buffer; : >buffer' && shmwake $L; }
        (for ((i = 0; i < ROUNDS; i++)); do put $i || exit; done) &
        for ((i = 0; i < ROUNDS; i++)); do get || exit; done | cmp - <(seq 0 $((ROUNDS - 1))); s=$?
        wait $! && exit $s";
    t.bash(script).env("L", &l).env("ROUNDS", rounds(100).to_string()).run().ok();
}

#[test]
fn k17_removed_while_asleep() {
    let t = Test::new();
    let l = t.name("l");
    let waiting = [&[&*l][..], &["--until", "false", &l]].map(|args| sleeper(&t, &l, args));
    let begin = Instant::now();
    assert_eq!(t.cmd("ipcunlink").args(["--force", &format!("lock:{l}")]).run().status, 0);
    lock(&t, &[&l, "--", "true"]).ok();
    for one in waiting {
        one.output().says(6, "was removed or replaced");
    }
    promised(begin, Duration::from_secs(5));
}

/// The death of the last holder is told to predicate and command, once settled
/// to nobody.
#[test]
fn h1_the_previous_owner_died() {
    let t = Test::new();
    let l = t.name("l");
    assert_eq!(lock(&t, &[&l, "--", "sh", "-c", "kill -9 $$"]).status, 137);
    let told = "[ \"$IPCUTILS_OWNER_DIED\" = 1 ]";
    // A predicate settles nothing.
    wait(&t, &["-n", "--until", told, &l]).ok();
    wait(&t, &["-n", "--until", "false", &l]).says(75, "had no wake-up");
    let output = wait(&t, &["--until", told, &l, "--", "sh", "-c", told]);
    assert!(output.status == 0 && output.stderr.contains("its previous owner"), "{output:?}");
    wait(&t, &["--until", "[ -z \"$IPCUTILS_OWNER_DIED\" ]", &l, "--", "true"]).ok();
}

#[test]
fn m16_many_sleepers_and_one_wake_up() {
    let t = Test::new();
    let l = t.name("l");
    let script = "for ((i = 0; i < 100; i++)); do shmwait $L & done; wait";
    let all = t.bash(script).env("L", &l).spawn();
    wait_until("the lock is there", || t.shm_path("l").exists());
    wait_until("all sleep", || status(&t, &l).matches("sleeper").count() == 100);
    wake(&t, &["--all", &l]);
    all.output().ok();
}
