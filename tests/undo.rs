//! A failed command leaves nothing: what -c, or a tool that makes what is absent, has
//! made for it goes again, whatever ends it.

use nix::sys::signal::Signal;

use crate::util::queues::SMALL;
use crate::util::{NO_OTHERS, Test, wait_until};

/// The commands that make something and wait for what does not come, without the flags
/// that end the wait.
fn waits(t: &Test) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    let (key, set) = (t.key(), t.key());
    let mut all = vec![
        words(&["semop", "-c", "0", &t.name("s"), "-1"]),
        words(&["semop", "-c", "0", &t.name("t"), "-1", "--", "true"]),
        words(&["semop", "-c", "0,1", &set, "-1"]),
        words(&["mqrecv", "-c", &key]),
        words(&["shmwait", &t.name("l")]),
        words(&["shmwait", &t.name("m"), "--", "true"]),
        words(&["shmwait", "--until", "false", &t.name("n")]),
        words(&["ringput", "--readers", "1", &t.name("r")]),
    ];
    if !t.lacks("POSIX queues") {
        for queues in [&["a"][..], &["b", "c"]] {
            let queues: Vec<_> = queues.iter().map(|word| t.queue(word)).collect();
            all.push([words(&["mqrecv"]), words(&SMALL), queues].concat());
        }
    }
    all
}

#[test]
fn a_wait_in_vain() {
    let t = Test::new();
    for command in waits(&t) {
        for (flags, status) in [(&["-n"][..], 75), (&["-w", "0"], 124), (&["-w", ".05"], 124)] {
            if flags == ["-n"] && command[0] == "shmwait" {
                continue; // which has waits alone
            }
            t.cmd(&command[0]).args(flags).args(&command[1..]).run().fails(status);
            assert!(t.left().is_empty(), "{command:?} {flags:?} left {:?}", t.left());
        }
    }
}

#[test]
fn a_wait_that_a_signal_ends() {
    let t = Test::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        for command in waits(&t) {
            let running = t.cmd(&command[0]).args(&command[1..]).spawn_open();
            wait_until("it has made something", || !t.left().is_empty());
            running.wait_blocked();
            running.kill(signal);
            let output = running.output();
            assert_eq!((output.status, &*output.stderr), (128 + signal as i32, ""), "{command:?}");
            assert!(t.left().is_empty(), "{command:?} left {:?}", t.left());
        }
    }
}

#[test]
fn what_was_there_or_is_used_stays() {
    let t = Test::new();
    let (s, l) = (t.name("s"), t.name("l"));
    t.cmd("semop").args(["-c", "0", &s]).run().ok();
    t.cmd("shmlock").args([&l, "--", "true"]).run().ok();
    let before = t.left();
    t.cmd("semop").args(["-n", "-c", "0", &s, "-1"]).run().fails(75);
    t.cmd("shmwait").args(["-w", "0", &l]).run().fails(124);
    t.cmd("shmlock").args([&l, "--", "/no/such/command"]).run().fails(127);
    assert_eq!(t.left(), before);
    // One has made it, and two wait: the last of them does not have it for itself alone.
    let n = t.name("n");
    let one = t.cmd("semop").args(["-c", "0", &n, "-1"]).spawn();
    wait_until("it is made", || t.cmd("semop").args(["--get", &n]).run().success());
    let two = t.cmd("semop").args(["-c", "0", &n, "-1"]).spawn();
    [&one, &two].iter().for_each(|running| running.wait_blocked());
    let waiting = || t.cmd("semop").args(["--get", "-J", &n]).run().text().contains("\"waiting\":2");
    wait_until("both wait", waiting);
    one.kill(Signal::SIGTERM);
    assert_eq!(one.output().status, 143);
    t.cmd("semop").args([&n, "+1"]).run().ok();
    two.output().ok();
}

#[test]
fn a_command_that_cannot_be_run() {
    let t = Test::new();
    for l in [t.name("l"), "file:l".to_owned()] {
        for command in ["/no/such/command", "/"] {
            let status = if command == "/" { 126 } else { 127 };
            t.cmd("shmlock").args([&l, "--", command]).run().fails(status);
            assert!(t.left().is_empty() && !t.path("l").exists());
        }
    }
}

#[test]
fn a_limit_of_descriptors() {
    let t = Test::new();
    let queue = t.queue("q");
    let key = t.key();
    let small = SMALL.join(" ");
    let commands = [
        format!("semop -c 1 {} -1 -- true", t.name("s")),
        format!("semop -c 1 {} -1", t.name("s")),
        format!("semop -c 1 {key} -1 -- true"),
        format!("mqrecv {small} -n {queue}"),
        format!("mqsend {small} {queue}"),
        format!("shmlock {} -- true", t.name("l")),
        format!("shmwait -w 0 {}", t.name("l")),
        format!("ringput {}", t.name("r")),
    ];
    let mut refused = 0;
    for command in &commands {
        for limit in 4..14 {
            let script = format!("{NO_OTHERS}; ulimit -n {limit}; exec {command}");
            let output = t.bash(&script).run();
            // The queue's end is its own: there is nothing to receive.
            if output.success() || [75, 124].contains(&output.status) {
                break;
            }
            refused += 1;
            let loader = output.stderr.contains("error while loading shared libraries");
            assert!([9, 125].contains(&output.status) || loader, "{limit}: {output:?}");
            assert!(t.left().is_empty(), "{limit}: {command} left {:?}", t.left());
        }
        for object in t.left() {
            t.bash(&format!("rm -f /dev/shm/{object}; ipcunlink {object} 2>/dev/null || true")).run().ok();
        }
    }
    assert!(refused > commands.len(), "{refused}");
}

#[test]
fn a_mode_that_its_maker_may_not_use() {
    let t = Test::new();
    let Some(as_other) = t.unprivileged() else { return };
    for command in [
        format!("semop -c 1 {} -1", t.name("s")),
        format!("semop -c 1 {} -1", t.key()),
        format!("shmlock {} -- true", t.name("l")),
        format!("shmlock --shared {} -- true", t.name("l")),
        format!("shmwait -w 0 {}", t.name("l")),
    ] {
        let output = t.bash(&format!("umask 0777; exec {as_other} {command}")).run();
        let message = output.stderr.clone();
        output.says(if command.ends_with("true") { 125 } else { 5 }, "its own maker may not");
        assert!(message.contains("choose a mode and a umask"), "{message}");
        assert!(t.left().is_empty(), "{command} left {:?}", t.left());
    }
}
