//! ringput: streams, their ends, and what stands in a writer's way.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::util::rings::{cat, died, ends, path_of, position, put, status, store, sum};
use crate::util::{AS_OTHER, Test, noise, promised, wait_until};

mod away;
mod input;
mod many;
mod names;

#[test]
fn bytes_in_are_bytes_out() {
    let t = Test::new();
    for (i, input) in [vec![], vec![0], b"\xff\0no newline".to_vec(), noise(1, 3_000_000)].iter().enumerate() {
        for ring in [t.name(i), format!("file:{}", t.path(&format!("r{i}")).display())] {
            let reader = cat(&t, &["--wait", &ring]).spawn();
            let writer = put(&t, &["-s", "64K", &ring], input.clone()).spawn();
            assert!(reader.output().ok() == *input);
            writer.output().ok();
            t.cmd("ipcunlink").args([format!("ring:{ring}")]).run().ok();
        }
    }
    let file = t.file("input", "from a file");
    let ring = t.name("f");
    t.cmd("ringput").args([Path::new(&ring), &file]).run().ok();
    assert_eq!(cat(&t, &[&ring]).run().ok(), b"from a file");
    assert_eq!(cat(&t, &[&ring]).run().ok(), b"from a file", "an ended ring can be read again");
}

#[test]
fn k10_around_the_end_of_the_ring() {
    let t = Test::new();
    let r = t.name("r");
    // Exactly full, without a reader; a byte more does not fit.
    for (length, status) in [(4095, 0), (4096, 0), (4097, 75)] {
        let input = noise(length, length as usize);
        let output = put(&t, &["-n", "-s", "4096", "--restart", &r], input.clone()).run();
        assert_eq!(output.status, status, "{output:?}");
        let read = cat(&t, &[&r]).run();
        assert_eq!(read.status, if status == 0 { 0 } else { 7 });
        assert!(read.stdout == input[..input.len().min(4096)]);
    }
    // Records that span the end, that fill the ring, and that cannot fit.
    let lines: String = (0..2000).map(|i| format!("{}\n", "x".repeat(i % 97))).collect();
    let reader = cat(&t, &["-f", "--count", &lines.len().to_string(), "--from", "newest", &r]).spawn();
    wait_until("the reader is there", || status(&t, &r, "reader").contains("live"));
    put(&t, &["-l", "--restart", &r], lines.clone()).run().ok();
    assert_eq!(String::from_utf8(reader.output().ok()).unwrap(), lines);
    let exact = [noise(1, 4095).iter().map(|byte| byte | 128).collect(), b"\n".to_vec()].concat();
    put(&t, &["-l", &r], &*exact).run().ok();
    assert!(cat(&t, &[&r]).run().ok() == exact);
    let long = [b"short\n".to_vec(), vec![b'x'; 4096], b"\n".to_vec()].concat();
    put(&t, &["-l", &r], &*long).run().says(9, "longer than the ring, which holds 4096 bytes");
    assert_eq!(ends(cat(&t, &[&r]).run(), 7, "died"), b"short\n");
    put(&t, &["-s", "4095", &r], "").run().says(2, "at least 4096");
}

#[test]
fn k11_positions_wrap_around() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-s", "4096", &r], "").run().ok();
    let file = std::fs::File::options().read(true).write(true).open(t.shm_path("r")).unwrap();
    // first, head, limit, promise, consumed and start: ten bytes before the end of all
    // numbers; and the sums of the stream and of its end.
    let at = 0u64.wrapping_sub(10);
    let words = |state: &[u8], positions: &[u64]| {
        let positions = positions.iter().flat_map(|at| at.to_ne_bytes());
        sum(&[state, &1u32.to_ne_bytes()].concat().into_iter().chain(positions).collect::<Vec<_>>())
    };
    store(&file, &[(24, at), (64, at), (72, at), (96, at), (256, at), (384, at)]);
    store(&file, &[(392, words(b"o1we", &[at])), (400, words(b"e1we", &[at, at, at]))]);
    let input = noise(11, 100_000);
    let reader = cat(&t, &["-f", "--as", "x", "--count", "100000", &r]).spawn();
    wait_until("the reader is there", || status(&t, &r, "reader").contains("live"));
    put(&t, &[&r], input.clone()).run().ok();
    assert!(reader.output().ok() == input);
    assert_eq!(position(&t, &r), 100_000);
    assert_eq!(status(&t, &r, "reader"), "away position=100000 lag=0 name=x");
    assert!(cat(&t, &["--from", "95910", &r]).run().ok() == input[95_910..]);
}

#[test]
fn k9_a_second_writer_waits_or_is_refused() {
    let t = Test::new();
    let r = t.name("r");
    let mut first = t.cmd("ringput").args([&r]).spawn_open();
    first.write(b"one");
    wait_until("the first is there", || t.shm_path("r").exists() && position(&t, &r) == 3);
    for flags in [&["-n"][..], &["-n", "--resume"], &["-n", "--restart"], &["-n", "--many", "-l"]] {
        t.cmd("ringput").args(flags).args([&r]).run().says(75, "has a writer already");
    }
    t.cmd("ringput").args(["-n", "--end", &r]).run().says(75, "has a writer already");
    t.cmd("ringput").args(["-w", ".1", &r]).run().says(124, "has a writer already, and the timeout has passed");
    let second = put(&t, &[&r], "two").spawn();
    second.wait_blocked();
    let reader = cat(&t, &[&r]).spawn();
    reader.wait_blocked();
    first.output().ok();
    assert_eq!(reader.output().ok(), b"one");
    second.output().ok();
    assert_eq!(cat(&t, &[&r]).run().ok(), b"two");
    assert_eq!(status(&t, &r, "generation"), "2");
}

#[test]
fn a_new_stream_waits_until_the_last_was_read() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &[&r], "first").run().ok();
    assert_eq!(cat(&t, &["--as", "a", "--count", "2", &r]).run().ok(), b"fi");
    put(&t, &["-n", &r], "second").run().says(75, "a reader is away (ringcat --as a");
    let waiting = put(&t, &[&r], "second").spawn();
    waiting.wait_blocked();
    assert_eq!(cat(&t, &["--as", "a", &r]).run().ok(), b"rst");
    waiting.output().ok();
    // Who had read all of the last stream goes on with this one.
    assert_eq!(cat(&t, &["--as", "a", &r]).run().ok(), b"second");
    // A name can be given up, once nobody reads as it.
    let reader = cat(&t, &["-f", "--as", "a", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").starts_with("live"));
    cat(&t, &["--forget", "a", &r]).run().says(75, "is being read as a");
    drop(reader);
    cat(&t, &["--forget", "a", &r]).run().ok();
    cat(&t, &["--forget", "a", &r]).run().says(3, "has no reader of the name a");
}

#[test]
fn k12_a_writer_without_an_end_is_told_from_an_end() {
    let t = Test::new();
    let r = t.name("r");
    died(&t, &r, b"part", &[]);
    assert_eq!(ends(cat(&t, &[&r]).run(), 7, "its writer died"), b"part");
    assert_eq!(ends(cat(&t, &["-n", &r]).run(), 7, "its writer died"), b"part");
    put(&t, &[&r], "").run().says(7, "--resume goes on after byte 4, --restart begins anew");
    put(&t, &["--many", "-l", &r], "").run().says(7, "its last writer died");
    assert_eq!(status(&t, &r, "writer"), "died");
    put(&t, &["--resume", &r], "ner").run().ok();
    assert_eq!(cat(&t, &[&r]).run().ok(), b"partner");
    // One that was ended can be gone on with, too.
    put(&t, &["--resume", &r], "s").run().ok();
    assert_eq!(cat(&t, &[&r]).run().ok(), b"partners");
    assert_eq!(status(&t, &r, "generation"), "1");
    died(&t, &t.name("s"), b"old", &[]);
    put(&t, &["--restart", &t.name("s")], "new").run().ok();
    assert_eq!(cat(&t, &[&t.name("s")]).run().ok(), b"new");
    // The end may also be marked afterwards.
    died(&t, &t.name("c"), b"enough", &[]);
    t.cmd("ringput").args(["--end", &t.name("c")]).run().ok();
    assert_eq!(cat(&t, &[&t.name("c")]).run().ok(), b"enough");
}

#[test]
fn k12_readers_that_wait_notice_a_death_within_two_seconds() {
    let t = Test::new();
    let r = t.name("r");
    let mut writer = t.cmd("ringput").args([&r]).spawn_open();
    writer.write(b"part");
    let plain = cat(&t, &["--wait", &r]).spawn();
    let follow = cat(&t, &["--wait", "-f", "--count", "8", &r]).spawn();
    wait_until("both have read", || {
        t.shm_path("r").exists() && status(&t, &r, "reader").matches("position=4 lag=0").count() == 2
    });
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if signal == Signal::SIGTERM {
            // Of a stopped writer it is not known that it will not go on.
            writer.kill(Signal::SIGSTOP);
            wait_until("it is stopped", || writer.state() == 'T');
            writer.kill(Signal::SIGCONT);
            continue;
        }
        writer.kill(signal);
    }
    let begin = std::time::Instant::now();
    assert_eq!(ends(plain.output(), 7, "its writer died"), b"part");
    promised(begin, Duration::from_secs(2));
    put(&t, &["--resume", &r], "ners").run().ok();
    assert_eq!(follow.output().ok(), b"partners");
}

#[test]
fn readers_are_waited_for() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-n", "--readers", "1", &r], "x").run().says(75, "has fewer than 1 readers; bytes committed: 0");
    // A try that committed nothing may be repeated.
    put(&t, &["-w", ".1", "--readers", "1", &r], "x").run().says(124, "has fewer than 1 readers");
    let writer = put(&t, &["--readers", "2", &r], "all").spawn();
    writer.wait_blocked();
    let one = cat(&t, &["-f", "--count", "3", &r]).spawn();
    one.wait_blocked();
    let two = cat(&t, &["-f", "--count", "3", &r]).spawn();
    writer.output().ok();
    assert_eq!((one.output().ok(), two.output().ok()), (b"all".to_vec(), b"all".to_vec()));
}

#[test]
fn k4_a_slow_reader_holds_the_writer_back() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-s", "4096", &r], "").run().ok();
    let input = noise(4, 8192);
    let writer = put(&t, &[&r], input.clone()).spawn();
    wait_until("it is full", || position(&t, &r) == 4096);
    assert!(cat(&t, &["--count", "1000", &r]).run().ok() == input[..1000]);
    wait_until("what was read made room", || position(&t, &r) == 5096);
    assert!(cat(&t, &[&r]).run().ok() == input[1000..]);
    writer.output().ok();
}

#[test]
fn k4_overwritten_bytes_are_counted() {
    let t = Test::new();
    let r = t.name("r");
    let lines: String = (0..10_000).map(|i| format!("{i:09}\n")).collect();
    // A reader with a name that is away is overrun.
    put(&t, &["--overwrite", "-s", "4096", &r], "").run().ok();
    cat(&t, &["--as", "a", &r]).run().ok();
    put(&t, &["--overwrite", &r], lines.clone()).run().ok();
    let output = cat(&t, &["--as", "a", &r]).run();
    let words = format!("bytes lost: {}", lines.len() - output.stdout.len());
    let read = ends(output, 1, &words);
    assert!(read.len() >= 3000 && lines.as_bytes().ends_with(&read), "{}", read.len());
    // A new one begins with what there is; by lines, with a whole one.
    assert!(lines.as_bytes().ends_with(&cat(&t, &[&r]).run().ok()));
    let read = String::from_utf8(cat(&t, &["-l", &r]).run().ok()).unwrap();
    assert!(lines.ends_with(&read) && read.len().is_multiple_of(10) && read.len() >= 3000, "{read}");
    // The policy is the stream's.
    put(&t, &["--resume", &r], lines.clone()).run().ok();
    cat(&t, &["--forget", "a", &r]).run().ok();
    put(&t, &["-n", &r], "x").run().ok();
    put(&t, &["--resume", "--overwrite", &r], "").run().says(1, "was begun by a writer that waits");
}

#[test]
fn k17_k18_removed_and_made_again_is_another() {
    let t = Test::new();
    for (word, again) in [("a", false), ("b", true)] {
        let r = t.name(word);
        let idle = t.cmd("ringput").args([&r]).spawn_open();
        let reader = cat(&t, &["--wait", &r]).spawn();
        wait_until("both are there", || t.shm_path(word).exists() && status(&t, &r, "reader").contains("live"));
        let full = t.name(format!("{word}-full"));
        put(&t, &["-s", "4096", &full], "").run().ok();
        let writer = put(&t, &[&full], noise(1, 5000)).spawn();
        wait_until("it is full", || position(&t, &full) == 4096);
        let second = put(&t, &[&r], "").spawn();
        second.wait_blocked();
        for ring in [&r, &full] {
            t.cmd("ipcunlink").args(["--force", &format!("ring:{ring}")]).run().ok();
            if again {
                put(&t, &[ring], "another").run().ok();
            }
        }
        reader.output().says(6, "was removed or replaced meanwhile");
        writer.output().says(6, "was removed or replaced meanwhile; bytes committed: 4096");
        second.output().says(6, "was removed or replaced meanwhile");
        // It waits for its input alone.
        wait_until("the idle writer ends", || idle.state() == 'Z');
        idle.output().says(6, "was removed or replaced meanwhile; bytes committed: 0");
        if again {
            assert_eq!(cat(&t, &[&r]).run().ok(), b"another");
        }
    }
}

#[test]
fn what_is_no_ring_is_refused() {
    let t = Test::new();
    let s = t.name("s");
    t.cmd("shmput").args([&s]).stdin("a segment").run().ok();
    for tool in ["ringput", "ringcat"] {
        t.cmd(tool).args([&s]).run().says(8, "is no ring");
        t.cmd(tool).args(["key:1"]).run().says(2, "no ring is a System V object (say /name or file:PATH)");
        t.cmd(tool).args(["file:."]).run().says(8, "is a directory");
        t.cmd(tool).args([&format!("ring:{s}")]).run().says(8, "is no ring");
        t.cmd(tool).args([&format!("shm:{s}")]).run().says(2, "is the address of a segment, and no ring");
    }
    cat(&t, &[&t.name("absent")]).run().says(3, "does not exist");
    cat(&t, &["--wait", "-n", &t.name("absent")]).run().says(75, "does not exist yet");
    cat(&t, &["--wait", "-w", ".1", &t.name("absent")]).run().says(124, "does not exist yet");
    put(&t, &["--position", &t.name("absent")], "").run().says(3, "does not exist");
    put(&t, &[&format!("/sem.{}", &t.name("x")[1..])], "").run().says(8, "POSIX semaphore");
    // A ring is neither replaced nor removed as a segment.
    let r = t.name("r");
    put(&t, &[&r], "x").run().ok();
    t.cmd("shmput").args([&r]).run().says(8, "is a ring");
    t.cmd("ipcunlink").args([format!("shm:{r}")]).run().says(8, "is a ring");
}

#[test]
fn g6_memory_is_reserved_or_refused() {
    let t = Test::new();
    let script = "mount -t tmpfs -o size=1M tmpfs /dev/shm
        ringput -s 2M /r </dev/null; echo $?; ls -A /dev/shm
        ringput -s 64K /r </dev/null && echo fits";
    let Some(run) = t.unshared("--mount", &format!("set +e; {script}")) else { return };
    let output = run.run();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "9\nfits\n");
    assert!(output.stderr.contains("no space left: its file system has 1048576 bytes"), "{}", output.stderr);
    put(&t, &["-s", "8388607T", &t.name("r")], "").run().fails(9);
}

#[test]
fn k19_two_users_with_a_mode_that_allows_it() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let (open, closed) = (t.name("open"), t.name("closed"));
    t.bash(&format!("umask 0; ringput -m 666 {open} </dev/null; ringput {closed} </dev/null; chgrp 65534 /dev/shm{open}; chmod 660 /dev/shm{open}")).run().ok();
    let other = |args: &str| t.bash(&format!("{AS_OTHER} {args}"));
    let reader = other(&format!("ringcat -f --count 5 {open}")).spawn();
    wait_until("the other user reads", || status(&t, &open, "reader").contains("live"));
    put(&t, &[&open], "hello").run().ok();
    assert_eq!(reader.output().ok(), b"hello");
    other(&format!("ringput --readers 1 -n {open}")).run().fails(75);
    let back = cat(&t, &["-f", "--count", "4", "--from", "newest", &open]).spawn();
    wait_until("we read", || status(&t, &open, "reader").contains("live"));
    other(&format!("ringput --restart {open}")).stdin("back").run().ok();
    assert_eq!(back.output().ok(), b"back");
    for tool in ["ringput", "ringcat", "ringcat --status"] {
        other(&format!("{tool} {closed}")).run().says(5, "permission denied");
    }
    // Who may only read can look.
    t.bash(&format!("chmod 644 /dev/shm{closed}")).run().ok();
    other(&format!("ringcat --status {closed}")).run().ok();
    other(&format!("ringcat {closed}")).run().says(5, "permission denied");
}

#[test]
fn m2_m4_signals_and_failures_leave_no_end() {
    let t = Test::new();
    let r = t.name("r");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut writer = t.cmd("ringput").args(["--restart", &r]).spawn_open();
        writer.write(b"some");
        wait_until("it is committed", || {
            t.shm_path("r").exists() && status(&t, &r, "position") == "4" && status(&t, &r, "writer") == "live"
        });
        let reader = cat(&t, &[&r]).spawn();
        wait_until("it is read", || status(&t, &r, "reader") == "live position=4 lag=0");
        writer.kill(signal);
        assert_eq!(writer.output().status, 128 + signal as i32);
        assert_eq!(ends(reader.output(), 7, "died"), b"some");
        let reader = cat(&t, &["-f", &r]).spawn();
        wait_until("it waits", || status(&t, &r, "reader") == "live position=4 lag=0");
        reader.kill(signal);
        assert_eq!(ends(reader.output(), 128 + signal as i32, ""), b"some");
    }
    t.bash(&format!("ringcat {r} >/dev/full")).run().says(1, "standard output: No space left");
    // More than a pipe takes.
    let big = t.name("big");
    put(&t, &["-s", "4M", &big], "x\n".repeat(1_500_000)).run().ok();
    assert_eq!(t.bash(&format!("ringcat {big} | head -n 1; echo ${{PIPESTATUS[0]}}")).run().text(), "x\n141");
    t.bash(&format!("ringcat {r} >&-")).run().says(1, "standard output: is closed");
    t.bash(&format!("ringput {r} <&-")).run().says(1, "standard input: is closed");
    t.bash(&format!("ringput {r} .")).run().says(1, "Is a directory");
    t.bash(&format!("ringput {r} absent")).run().says(1, "absent: does not exist");
}

#[test]
fn ipcls_says_that_the_writer_of_a_ring_died() {
    let t = Test::new();
    let r = t.name("r");
    let state = || t.cmd("ipcls").args(["-o", "state,use", "--no-headings", &format!("ring:{r}")]).run().text();
    died(&t, &r, b"part", &["-s", "4K"]);
    let words = || state().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(), "died 0% died");
    let reader = cat(&t, &["-f", "--as", "x", "--count", "5", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader") == "live position=4 lag=0 name=x");
    assert_eq!(words(), "in-use 0% died");
    reader.kill(Signal::SIGKILL);
    reader.output();
    assert_eq!(words(), "idle 0% died", "a name comes back");
    cat(&t, &["--forget", "x", &r]).run().ok();
    put(&t, &["--resume", &r], "").run().ok();
    assert_eq!(words(), "idle 0% ended");
}
