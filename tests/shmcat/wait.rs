//! shmcat --wait: for what appears, what is filled, and not for ever.

use super::*;

/// Start one that waits, let the object appear, and have its content.
#[track_caller]
pub(super) fn appears(t: &Test, address: &str, how: &str, expected: &str) {
    let waiting = t.cmd("shmcat").args(["--wait", address]).spawn();
    waiting.wait_blocked();
    t.bash(how).run().ok();
    assert_eq!(waiting.output().text(), expected, "{how}");
}

#[test]
fn wait_for_what_appears_later() {
    let t = Test::new();
    t.file("content", "hello");
    for (i, address) in addresses(&t).iter().enumerate() {
        appears(&t, address, &format!("shmput {address} <content"), "hello");
        // Another that came in between does not count.
        if i != 1 {
            let how = format!("shmput {}x <content; shmput {0}y <content", t.name(format!("a{i}")));
            appears(
                &t,
                &t.name(format!("b{i}")),
                &format!("{how}; shmput {} <content", t.name(format!("b{i}"))),
                "hello",
            );
        }
    }
    let moved = t.name("moved");
    appears(&t, &moved, &format!("shmput {moved}.x <content; mv /dev/shm{moved}.x /dev/shm{moved}"), "hello");
    appears(&t, "file:made", "echo hello >x; mv x made", "hello");
    // A directory that is not there yet.
    appears(&t, "file:dir/f", "mkdir dir.x; echo hello >dir.x/f; mv dir.x dir", "hello");
    // What exists is not waited for.
    assert_eq!(cat(&t, &["--wait", "-w", "0", "file:made"]).text(), "hello");
    if !t.lacks("perl") {
        let key = t.key();
        let make = format!("perl -e '$i = shmget({key}, 5, 01600); defined $i or die'");
        appears(&t, &key, &make, "\0\0\0\0\0");
    }
}

/// cp creates and then writes: a reader may come in between, and has what was
/// there then.
#[test]
fn wait_for_what_cp_makes() {
    let t = Test::new();
    t.file("content", "hello");
    let name = t.name("copied");
    let waiting = t.cmd("shmcat").args(["--wait", &name]).spawn();
    waiting.wait_blocked();
    t.bash(&format!("cp content /dev/shm{name}")).run().ok();
    assert!(b"hello".starts_with(&waiting.output().ok()));
}

#[test]
fn wait_for_a_segment_that_is_being_filled() {
    let t = Test::new();
    let key = t.key();
    let content = noise(3, 100);
    let mut filler = t.cmd("shmput").args(["--size", "100", &key]).spawn_open();
    wait_until("it exists", || cat(&t, &[&key]).status == 75);
    filler.write(&content[..50]);
    cat(&t, &[&key]).says(75, "is being filled");
    cat(&t, &["-E", "42", &key]).says(42, "is being filled");
    cat(&t, &["--rm", &key]).says(75, "is being filled");
    cat(&t, &["--wait", "-w", ".05", &key]).says(124, "was not filled in time");
    cat(&t, &["--wait", "-w", "0", "-E", "0", &key]).says(0, "was not filled in time");
    let waiting = t.cmd("shmcat").args(["--wait", &key]).spawn();
    waiting.wait_blocked();
    filler.write(&content[50..]);
    filler.output().ok();
    assert_eq!(waiting.output().ok(), content);
}

#[test]
fn a_filler_that_died_is_noticed() {
    let t = Test::new();
    let key = t.key();
    let filler = t.cmd("shmput").args(["--size", "100", &key]).spawn_open();
    wait_until("it exists", || cat(&t, &[&key]).status == 75);
    let waiting = t.cmd("shmcat").args(["--wait", &key]).spawn();
    waiting.wait_blocked();
    filler.kill(Signal::SIGKILL);
    assert_eq!(filler.output().status, 137);
    // It has to be older than two seconds, and then nobody waits for it.
    waiting.output().says(8, "half filled");
    cat(&t, &[&key]).says(8, "ipcunlink shm:id:");
    put(&t, &key, b"again");
    assert_eq!(cat(&t, &[&key]).text(), "again");
}

#[test]
fn the_timeout() {
    let t = Test::new();
    for address in addresses(&t) {
        for (args, status, least) in [
            (&["-w", "0"][..], 124, 0),
            (&["-w", ".2"], 124, 200),
            (&["-w", "150ms"], 124, 150),
            (&["-w", "0", "-E", "7"], 7, 0),
            (&["--timeout=0.01", "--busy-status=255"], 255, 10),
        ] {
            let begin = Instant::now();
            let output = t.cmd("shmcat").args(["--wait", &address]).args(args).run();
            assert!(begin.elapsed() >= Duration::from_millis(least), "{args:?}");
            output.says(status, "did not appear in time");
        }
        // A timeout is one of a wait.
        cat(&t, &["-w", ".1", &address]).says(124, "did not appear in time");
        // -E moves two statuses and no other.
        cat(&t, &["-E", "7", &address]).says(3, "does not exist");
    }
    assert!(t.left().is_empty());
}

/// The time that it is stopped counts, and a stop does not end the wait.
#[test]
fn stop_and_continue_leave_the_deadline() {
    let t = Test::new();
    let (begin, limit) = (Instant::now(), Duration::from_secs(3));
    let waiting: Vec<_> =
        addresses(&t).iter().map(|address| t.cmd("shmcat").args(["--wait", "-w", "3", address]).spawn()).collect();
    for _ in 0..3 {
        for one in &waiting {
            one.wait_blocked();
            one.kill(Signal::SIGSTOP);
            wait_until("it is stopped", || one.state() == 'T');
            one.kill(Signal::SIGCONT);
        }
    }
    for one in &waiting {
        one.wait_blocked();
        one.kill(Signal::SIGSTOP);
    }
    wait_until("the deadline has passed", || begin.elapsed() > limit + Duration::from_millis(200));
    // They end before one that begins now.
    let later = t.cmd("shmcat").args(["--wait", "-w", "3", &t.name("seg")]).spawn();
    for one in waiting {
        one.kill(Signal::SIGCONT);
        one.output().says(124, "did not appear in time");
    }
    assert_ne!(later.state(), 'Z');
}

#[test]
fn a_signal_ends_the_wait() {
    let t = Test::new();
    for address in addresses(&t) {
        for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
            let waiting = t.cmd("shmcat").args(["--wait", "-E", "9", &address]).spawn();
            waiting.wait_blocked();
            waiting.kill(signal);
            let output = waiting.output();
            assert_eq!((output.status, output.stderr.as_str(), output.stdout.len()), (status, "", 0), "{address}");
        }
    }
}

/// Without inotify there are only looks in steps.
#[test]
fn wait_without_inotify() {
    let t = Test::new();
    let name = t.name("seg");
    let script = format!(
        "echo 0 >/proc/sys/user/max_inotify_instances
        shmcat --wait {name} & pid=$!
        until [ $(cut -d' ' -f3 /proc/$pid/stat) = S ]; do :; done
        echo hello | shmput {name}; wait $pid"
    );
    let flags = if nix::unistd::geteuid().is_root() { "--user --map-root-user" } else { "--user" };
    let Some(run) = t.unshared(flags, &script) else { return };
    assert_eq!(run.run().text(), "hello");
}

#[test]
fn wait_for_a_size() {
    let t = Test::new();
    for address in [t.name("a"), "file:b".to_owned()] {
        let path = if address.starts_with('/') { t.shm_path("a") } else { t.path("b") };
        cat(&t, &["--size", "1", "-w", ".1", &address]).says(124, "did not appear in time");
        std::fs::write(&path, "").unwrap();
        cat(&t, &["--size", "1", "-w", ".1", &address]).says(124, "did not become that long in time");
        let waiting = t.cmd("shmcat").args(["--size", "5", &address]).spawn();
        waiting.wait_blocked();
        std::fs::write(&path, "1234").unwrap();
        cat(&t, &["--size", "5", "-w", "0", &address]).says(124, "that long");
        t.cmd("shmput").args([&address]).stdin("12345").run().ok();
        assert_eq!(waiting.output().text(), "12345");
        assert_eq!(cat(&t, &["--size", "5", "-w", "0", &address]).text(), "12345");
    }
}

#[test]
fn wait_for_the_next_change() {
    let t = Test::new();
    let watching = |address: &str| {
        let watching = t.cmd("shmcat").args(["--changed", address]).spawn();
        let inotify = |fd: &String| {
            let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", watching.pid())).unwrap_or_default();
            link.to_string_lossy().contains("inotify")
        };
        let fds = || crate::util::entries(format!("/proc/{}/fd", watching.pid()));
        wait_until("it watches", || watching.state() == 'S' && fds().iter().any(inotify));
        watching
    };
    for address in [t.name("a"), "file:b".to_owned()] {
        let path = if address.starts_with('/') { t.shm_path("a") } else { t.path("b") };
        let path = path.display();
        for (how, content) in [
            ("echo -n one | shmput $A", "one"),
            ("echo -n two | shmput $A", "two"),
            ("echo -n T | shmput -i $A", "Two"),
            (&*format!("echo -n W | dd of='{path}' bs=1 seek=1 conv=notrunc 2>/dev/null"), "TWo"),
            (&*format!("truncate -s 1 '{path}'"), "T"),
        ] {
            let waiting = watching(&address);
            // Neither a look nor another name is a change.
            t.bash("shmcat $A 2>/dev/null; echo x | shmput ${A}x; ipcunlink shm:${A}x").env("A", &address).run();
            t.bash(how).env("A", &address).run().ok();
            let now = waiting.output();
            // A store is seen before or after the others of one command.
            assert!(now.success() && now.stdout == content.as_bytes(), "{how}: {now:?}");
        }
        cat(&t, &["--changed", "-w", ".1", &address]).says(124, "did not change in time");
    }
    cat(&t, &["--changed", "0x1"]).says(2, "the kernel reports no change of a System V segment");
}

#[test]
fn rings_and_locks_are_not_written_but_with_raw() {
    let t = Test::new();
    let (ring, lock) = (t.name("r"), t.name("l"));
    t.bash(&format!("echo x | ringput -n --size 4K {ring}; shmlock {lock} true")).run();
    cat(&t, &[&ring]).says(8, &format!("is a ring (ringcat {ring} reads it)"));
    cat(&t, &[&lock]).says(8, &format!("is a lock (shmlock --status {lock} shows it)"));
    assert_eq!(cat(&t, &["--raw", &format!("shm:{lock}")]).ok().len(), 4096);
}
