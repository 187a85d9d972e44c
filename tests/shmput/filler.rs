//! shmput, System V: a segment that is being filled, and one whose filler has
//! died. Rows D7, D10, D11, M4.

use crate::shmput::sysv::{HOLDER_C, row};
use crate::shmput::{content, put};
use crate::util::compile::compile;
use crate::util::sysv::{HALF_FILLED, set as sysv_set};
use crate::util::{AS_OTHER, Running, Test, said, wait_until};
use nix::sys::signal::Signal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether the segment is older than the 2 s that a filler is given.
fn is_old(key: &str) -> bool {
    let since = UNIX_EPOCH + Duration::from_secs(row(key).unwrap().changed + 2);
    SystemTime::now() > since
}

pub(crate) fn wait_old(key: &str) {
    wait_until("the segment is older than 2 s", || is_old(key));
}

/// A shmput in the middle of filling a segment of 1 MiB.
fn filler(t: &Test, key: &str) -> Running {
    let mut filler =
        t.cmd("env").args(["--default-signal=INT", "shmput", "--size", "1M", "-m", "640", key]).spawn_open();
    filler.write(b"half");
    wait_until("it is being filled", || row(key).is_some_and(|row| row.perms == "11" && row.attached == 1));
    filler
}

#[test]
fn d7_d11_attached_by_another_it_is_not_recycled() {
    let t = Test::new();
    let Some(holder) = compile(&t, "holder", HOLDER_C) else { return };
    let key = t.key();
    let mut held = t.cmd(holder.to_str().unwrap()).args([&key, "9", "1768973173"]).spawn_open();
    wait_until("it is attached", || row(&key).is_some_and(|row| row.perms == "11" && row.attached == 1));
    wait_until("its maker is dead", || held.state() == 'Z');
    wait_old(&key);
    let id = row(&key).unwrap().id;
    t.cmd("shmcat").args([&key]).run().says(75, "is being filled");
    put(&t, &[&key], "x").run().says(4, "is being filled");
    assert_eq!(row(&key).unwrap().id, id);
    drop(held.child.stdin.take());
    wait_until("it is detached", || row(&key).unwrap().attached == 0);
    t.cmd("shmcat").args([&key]).run().says(8, "half filled");
    put(&t, &[&key], "x").run().ok();
    assert_eq!(content(&t, &key), b"x");
}

/// Another program may choose any mode, and has data in its segment.
#[test]
fn d10_no_mode_proves_that_a_segment_is_a_dead_filler() {
    let Some(t) = Test::with(&["perl"]) else { return };
    for (mode, reads) in [("0", None), ("011", Some(8)), ("0611", Some(8))] {
        let key = t.key();
        let create = format!("perl -e '$id = shmget({key}, 7, 01600); shmwrite($id, \"foreign\", 0, 7) or die'");
        t.bash(&create).run().ok();
        let id = row(&key).unwrap().id;
        sysv_set(&t, "", &key, &format!("mode=0{mode}")).ok();
        wait_old(&key);
        put(&t, &[&key], "x").run().says(4, "exists already");
        assert_eq!(row(&key).unwrap().id, id);
        match reads {
            // Nor is it proof of being whole: it is neither read nor removed.
            Some(status) => t.cmd("shmcat").args([&key]).run().says(status, "perhaps half filled"),
            None if nix::unistd::geteuid().is_root() => assert_eq!(content(&t, &key), b"foreign"),
            None => t.cmd("shmcat").args([&key]).run().says(5, "permission denied"),
        }
        // The cure that the message names.
        t.cmd("ipcset").args(["-m", "0600", &format!("shm:id:{id}")]).run().ok();
        assert_eq!(content(&t, &key), b"foreign");
    }
}

#[test]
fn d10_what_another_user_left_is_not_recycled() {
    let Some(t) = Test::with(&["perl"]) else { return };
    if !t.second_user() {
        return;
    }
    let key = t.key();
    t.bash(&format!("{AS_OTHER} perl -e 'defined shmget({key}, 7, 01600) or die'")).run().ok();
    // Root is its owner now, and the other user its creator.
    sysv_set(&t, AS_OTHER, &key, &format!("uid=0 {HALF_FILLED}")).ok();
    wait_old(&key);
    let id = row(&key).unwrap().id;
    put(&t, &[&key], "x").run().says(4, "half filled by a process that died");
    assert_eq!(row(&key).unwrap().id, id);
}

/// A user namespace may lack the group that marks a segment.
#[test]
fn where_no_mark_can_be_set_a_dead_filler_is_not_recycled() {
    let t = Test::new();
    let script = "echo whole | shmput 0x1; shmcat 0x1
        shmput --size 1M 0x2 < <(echo half; kill -STOP $BASHPID) & pid=$!
        until [ \"$(awk '$1 == 2 { print $3 $7 }' /proc/sysvipc/shm)\" = 111 ]; do :; done
        kill -KILL $pid; wait $pid 2>/dev/null
        until shmcat 0x2 2>said; [ $? = 8 ]; do sleep .1; done; cat said
        echo x | shmput 0x2; echo $?; ipcset -m 600 shm:0x2; shmcat 0x2 | wc -c";
    if !t.bash("unshare -r --ipc --pid --fork --mount-proc true").run().success() {
        return said("not tested: not permitted here: unshare -r --ipc --pid");
    }
    let output = t.bash("unshare -r --ipc --pid --fork --mount-proc bash -c \"$SCRIPT\"").env("SCRIPT", script).run();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!((lines[0], &lines[2..]), ("whole", &["4", "1048576"][..]), "{stdout}{}", output.stderr);
    assert!(lines[1].contains("is perhaps half filled: its mode is 0011"), "{stdout}");
    assert!(output.stderr.contains("perhaps half filled by a process that died"), "{}", output.stderr);
}

#[test]
fn a_dead_filler_is_found_and_recycled() {
    let t = Test::new();
    let key = t.key();
    let half = filler(&t, &key);
    let id = row(&key).unwrap().id;
    let by_id = format!("id:{id}");
    for address in [&key, &by_id] {
        t.cmd("shmcat").args([address]).run().says(75, "is being filled");
        put(&t, &["-i", address], "x").run().says(75, "is being filled");
        put(&t, &[address], "x").run().says(4, "is being filled");
    }
    t.cmd("shmcat").args(["-E", "33", &key]).run().fails(33);
    // Not waited for: a zombie is dead, too.
    half.kill(Signal::SIGKILL);
    wait_until("it is dead", || half.state() == 'Z');
    let young = t.cmd("shmcat").args([&key]).run();
    if !is_old(&key) {
        young.says(75, "is being filled");
    }
    assert_eq!(row(&key).unwrap().perms, "11");
    wait_old(&key);
    for address in [&key, &by_id] {
        t.cmd("shmcat").args([address]).run().says(8, "the process that filled it is dead");
        put(&t, &["-i", address], "x").run().says(8, &format!("ipcunlink shm:id:{id}"));
    }
    put(&t, &[&key], "recycled").run().ok();
    assert_eq!(content(&t, &key), b"recycled");
    let row = row(&key).unwrap();
    assert_eq!((row.size, &*row.perms), (8, "600"));
    assert_ne!(row.id, id);
    t.cmd("shmcat").args([&by_id]).run().fails(3);
}

#[test]
fn a_stopped_filler_is_not_dead() {
    let t = Test::new();
    let key = t.key();
    let mut half = filler(&t, &key);
    half.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || half.state() == 'T');
    wait_old(&key);
    t.cmd("shmcat").args([&key]).run().says(75, "is being filled");
    put(&t, &[&key], "x").run().says(4, "is being filled");
    half.kill(Signal::SIGCONT);
    half.write(b" and half");
    half.output().ok();
    let expected = [&b"half and half"[..], &[0; (1 << 20) - 13]].concat();
    assert!(content(&t, &key) == expected);
    assert_eq!(row(&key).unwrap().perms, "640");
}

#[test]
fn a_filler_that_lives_long_is_not_dead() {
    let t = Test::new();
    let key = t.key();
    let half = filler(&t, &key);
    wait_old(&key);
    t.cmd("shmcat").args([&key]).run().says(75, "is being filled");
    put(&t, &[&key], "x").run().says(4, "is being filled");
    half.output().ok();
    assert!(content(&t, &key).starts_with(b"half\0"));
}

#[test]
fn readers_wait_for_it_to_be_filled() {
    let t = Test::new();
    let key = t.key();
    let half = filler(&t, &key);
    t.cmd("shmcat").args(["--wait", "-w", "100ms", &key]).run().says(124, "was not filled in time");
    let reader = t.cmd("shmcat").args(["--wait", &key]).spawn_open();
    reader.wait_blocked();
    half.output().ok();
    assert!(reader.output().ok() == [&b"half"[..], &[0; (1 << 20) - 4]].concat());
}

#[test]
fn removed_while_it_is_filled() {
    let t = Test::new();
    let key = t.key();
    let half = filler(&t, &key);
    t.bash(&format!("ipcrm -M {key}")).run().ok();
    half.output().says(6, "was removed meanwhile");
    assert!(t.left().is_empty());
}

#[test]
fn m4_a_signal_half_way_removes_the_segment() {
    let t = Test::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let key = t.key();
        let half = filler(&t, &key);
        half.kill(signal);
        let ended = half.output();
        assert_eq!((ended.status, &*ended.stderr), (128 + signal as i32, ""));
        assert!(row(&key).is_none());
    }
    let half = t.cmd("shmput").args(["--size", "1M", "private:"]).spawn_open();
    wait_until("it is being filled", || !t.left().is_empty());
    half.kill(Signal::SIGTERM);
    let ended = half.output();
    assert_eq!((ended.status, &*ended.stdout, &*ended.stderr), (143, &b""[..], ""));
    assert!(t.left().is_empty());
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let t = Test::new();
    let key = t.key();
    let half = t.cmd("env").args(["--ignore-signal=TERM", "shmput", "--size", "4", &key]).spawn_open();
    wait_until("it is being filled", || row(&key).is_some_and(|row| row.perms == "11"));
    half.kill(Signal::SIGTERM);
    half.output().ok();
    assert_eq!(content(&t, &key), [0; 4]);
}
