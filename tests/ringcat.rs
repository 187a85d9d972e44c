//! ringcat: where readers begin, how they end, and who reads beside them.

use nix::sys::signal::Signal;

use crate::util::rings::{cat, died, ends, path_of, position, put, status};
use crate::util::{Test, noise, rounds, said, wait_until};

mod foreign;
mod records;
mod torture;

#[test]
fn k13_where_a_late_reader_begins() {
    let t = Test::new();
    let r = t.name("r");
    let input = noise(13, 6000);
    put(&t, &["-s", "4096", &r], "").run().ok();
    let first = cat(&t, &["-f", "--count", "6000", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live"));
    let mut writer = t.cmd("ringput").args([&r]).spawn_open();
    writer.write(&input);
    assert!(first.output().ok() == input);
    wait_until("all is committed", || position(&t, &r) == 6000);
    let newest = cat(&t, &["--from", "newest", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live position=6000 lag=0"));
    writer.write(b"end");
    writer.output().ok();
    assert_eq!(newest.output().ok(), b"end");
    let oldest: usize = status(&t, &r, "oldest").parse().unwrap();
    let whole = [&input[..], b"end"].concat();
    assert!(cat(&t, &["--from", "oldest", &r]).run().ok() == whole[oldest..]);
    assert_eq!(oldest, 6003 - 4096, "nothing but what was written over is gone");
    assert!(cat(&t, &["--from", "5000", &r]).run().ok() == whole[5000..]);
    assert_eq!(cat(&t, &["--from", "6003", &r]).run().ok(), b"");
    cat(&t, &["--from", "6004", &r]).run().says(1, "position 6004 is past the end, 6003 bytes were committed");
    cat(&t, &["--from", "1", &r]).run().says(1, "position 1 is no longer there, the oldest is 1907");
    cat(&t, &["--from", "middle", &r]).run().says(2, "is no position");
}

#[test]
fn k3_a_name_goes_on_where_it_was() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &[&r], "abcdef").run().ok();
    for (count, expected) in [("2", "ab"), ("3", "cde"), ("1", "f")] {
        assert_eq!(cat(&t, &["--as", "n\n", "--count", count, &r]).run().ok(), expected.as_bytes());
    }
    assert_eq!(cat(&t, &["--as", "n\n", &r]).run().ok(), b"");
    assert_eq!(status(&t, &r, "reader"), "away position=6 lag=0 name=n\\x0a");
    let reader = cat(&t, &["-f", "--as", "n\n", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").starts_with("live"));
    cat(&t, &["--as", "n\n", &r]).run().says(75, "is being read as n\\x0a");
    cat(&t, &["-E", "9", "--as", "n\n", &r]).run().fails(9);
    for name in ["", &"x".repeat(49)] {
        cat(&t, &["--as", name, &r]).run().says(2, "1 to 48 bytes");
    }
    cat(&t, &["--count", "0", "--as", &"x".repeat(48), &r]).run().ok();
    drop(reader);
    let json = cat(&t, &["--status", "-J", &r]).run().text();
    assert!(json.contains(r#"{"name":"n\\x0a","live":false,"position":6,"lag":0,"lost":0}"#), "{json}");
}

#[test]
fn k6_k8_slots_of_the_dead_are_used_again_and_then_there_are_none() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &[&r], "x").run().ok();
    let readers: Vec<_> = (0..64).map(|_| cat(&t, &["-f", &r]).spawn()).collect();
    wait_until("all are there", || status(&t, &r, "reader").lines().count() == 64);
    cat(&t, &[&r]).run().says(9, "has 64 readers, and no slot for another");
    for reader in readers {
        reader.kill(Signal::SIGKILL);
        // Not waited for: a zombie is dead.
        std::mem::forget(reader);
    }
    wait_until("they are dead", || status(&t, &r, "reader").is_empty());
    assert_eq!(cat(&t, &[&r]).run().ok(), b"x");
    for i in 0..64 {
        cat(&t, &["--as", &i.to_string(), &r]).run().ok();
    }
    cat(&t, &[&r]).run().says(9, "has 64 readers");
    cat(&t, &["--as", "7", &r]).run().ok();
    cat(&t, &["--forget", "7", &r]).run().ok();
    assert_eq!(cat(&t, &[&r]).run().ok(), b"x");
}

#[test]
fn k5_a_stopped_reader_is_not_dead() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-s", "4096", &r], "").run().ok();
    let reader = cat(&t, &["-f", "--count", "20000", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live"));
    reader.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || reader.state() == 'T');
    let input = noise(5, 20_000);
    put(&t, &["-w", ".2", &r], input.clone()).run().says(124, "is full, and a reader is slow");
    reader.kill(Signal::SIGCONT);
    put(&t, &["--resume", &r], &input[position(&t, &r) as usize..]).run().ok();
    assert!(reader.output().ok() == input);
}

#[test]
fn stop_and_continue_change_nothing() {
    let t = Test::new();
    let r = t.name("r");
    let input = noise(14, 4 << 20);
    let reader = cat(&t, &["--wait", &r]).spawn();
    let writer = put(&t, &["-s", "64K", "--readers", "1", &r], input.clone()).spawn();
    for round in 0..rounds(5) {
        let process = if round % 2 == 0 { &reader } else { &writer };
        process.kill(Signal::SIGSTOP);
        wait_until("it is stopped or has ended", || "TZ".contains(process.state()));
        process.kill(Signal::SIGCONT);
    }
    assert!(reader.output().ok() == input);
    writer.output().ok();
}

#[test]
fn an_idle_pair_uses_no_cpu() {
    let t = Test::new();
    let r = t.name("r");
    let writer = t.cmd("ringput").args([&r]).spawn_open();
    let reader = cat(&t, &["--wait", &r]).spawn();
    wait_until("it is there", || t.shm_path("r").exists() && status(&t, &r, "reader").contains("live"));
    let pair = [&writer, &reader];
    pair.iter().for_each(|process| process.wait_blocked());
    let now = || pair.map(|process| process.sleeps());
    let (before, begin) = (now(), std::time::Instant::now());
    wait_until("some time", || begin.elapsed() > std::time::Duration::from_millis(1500));
    // By the time that has really passed: a busy machine wakes them later, not more often.
    let most = 2 + 6 * begin.elapsed().as_secs();
    for (now, before) in now().into_iter().zip(before) {
        assert!(now - before <= most, "woken {} times in {:?}", now - before, begin.elapsed());
    }
}

#[test]
fn a_name_that_no_reader_can_have_is_refused_before_there_is_a_ring() {
    let t = Test::new();
    let r = t.name("r");
    cat(&t, &["--wait", "--as", "", &r]).run().fails(2);
    cat(&t, &["--wait", "--as", &"x".repeat(1000), &r]).run().fails(2);
}

/// What is there, and not a byte more; a part of a line stays.
#[test]
fn what_is_there_is_drained() {
    let t = Test::new();
    let r = t.name("r");
    let mut writer = t.cmd("ringput").args([&r]).spawn_open();
    writer.write(b"one\ntwo");
    wait_until("all is committed", || t.shm_path("r").exists() && position(&t, &r) == 7);
    assert_eq!(cat(&t, &["--drain", "-l", "--as", "a", &r]).run().ok(), b"one\n");
    assert_eq!(cat(&t, &["--drain", "-l", "--as", "a", &r]).run().ok(), b"");
    assert_eq!(cat(&t, &["--drain", "--as", "a", &r]).run().ok(), b"two");
    let reader = cat(&t, &["-f", "--as", "b", &r]).spawn();
    wait_until("it reads", || status(&t, &r, "reader").contains("live"));
    cat(&t, &["--drain", "--as", "b", &r]).run().says(75, "is being read as b");
    reader.kill(Signal::SIGKILL);
    writer.output().ok();
    assert_eq!(cat(&t, &["--drain", &r]).run().ok(), b"one\ntwo");
    died(&t, &t.name("d"), b"part", &[]);
    assert_eq!(ends(cat(&t, &["--drain", &t.name("d")]).run(), 7, "died"), b"part");
    cat(&t, &["--drain", "-f", &r]).run().says(2, "cannot be used with");
}

/// A record is committed when its command ended with 0.
#[test]
fn k3_a_command_for_each_record() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-l", &r], "one\ntwo\nthree\n").run().ok();
    let each = |flags: &[&str], script: &str| {
        let name = ["--as", "a", "--exec"];
        cat(&t, &name).args(flags).args([&r, "--", "sh", "-c", script])
    };
    // The second is refused, and comes again.
    let refuses = "read line; [ $line != two ] || exit 9; echo got $line";
    assert_eq!(ends(each(&["-l"], refuses).run(), 9, ""), b"got one\n");
    assert_eq!(status(&t, &r, "reader"), "away position=4 lag=10 name=a");
    assert_eq!(each(&["-l"], "cat; cat /proc/self/fdinfo/0 | head -n 1 >&2").run().stdout, b"two\nthree\n");
    assert_eq!(status(&t, &r, "reader"), "away position=14 lag=0 name=a");
    // Killed in the middle, by whatever: nothing is lost.
    put(&t, &["-l", &r], "four\nfive\n").run().ok();
    assert_eq!(ends(each(&["-l"], "kill -KILL $$").run(), 137, ""), b"");
    let killed = each(&["-l"], "kill -KILL $PPID; sleep 1").spawn();
    assert_eq!(killed.output().status, 137);
    assert_eq!(each(&["-l"], "kill -TERM $PPID; sleep 1").run().status, 143);
    assert_eq!(each(&["-l", "--count", "1"], "cat").run().ok(), b"four\n");
    // The last may lack its end; it has none of another framing.
    put(&t, &[&t.name("z")], "a\0b").run().ok();
    let z = &t.name("z");
    assert_eq!(cat(&t, &["--exec", "-0", z, "--", "od", "-An", "-c"]).run().ok(), b"   a\n   b\n");
    let failed = ["--exec", "-l", z, "--", "/nonexistent"];
    cat(&t, &failed).run().says(127, "is no command that can be found");
    cat(&t, &["--exec", "-l", "/dev", "--", "true"]).run().fails(125);
    cat(&t, &["--exec", "-l", z]).run().says(2, "COMMAND");
    cat(&t, &["--exec", z, "--", "true"]).run().fails(125);
    // One that has no end in the ring is none.
    let long = t.name("l");
    put(&t, &["-s", "4096", &long], "").run().ok();
    let reader = cat(&t, &["-f", "--exec", "-l", "-w", "1h", &long, "--", "cat"]).spawn();
    wait_until("it reads", || status(&t, &long, "reader").contains("live"));
    let mut writer = t.cmd("ringput").args([&long]).spawn_open();
    writer.write(&[b'x'; 4096]);
    assert_eq!(ends(reader.output(), 125, "has a record that does not fit into the ring"), b"");
    writer.kill(Signal::SIGKILL);
}

#[test]
fn records_with_their_lengths() {
    let t = Test::new();
    let r = t.name("r");
    let frame = |record: &[u8]| [&(record.len() as u32).to_le_bytes(), record].concat();
    let records = [frame(b""), frame(b"a\nb\0c"), frame(&noise(7, 3000)), frame(&noise(8, 2000))];
    put(&t, &["-s", "4096", &r], "").run().ok();
    let reader = cat(&t, &["-B", "-f", "--as", "a", "--count", "4", &r]).spawn();
    wait_until("it reads", || status(&t, &r, "reader").contains("live"));
    put(&t, &["-B", &r], records.concat()).run().ok();
    assert!(reader.output().ok() == records.concat());
    // A new reader cannot tell where a record begins, but for the next one.
    assert_eq!(cat(&t, &["-B", &r]).run().ok(), b"");
    cat(&t, &["--forget", "a", &r]).run().ok();
    put(&t, &["-B", &r], records[1].clone()).run().ok();
    assert!(cat(&t, &["-B", &r]).run().ok() == records[1]);
    let each = ["-B", "--exec", &*r, "--", "cat"];
    assert_eq!(cat(&t, &each).run().ok(), b"a\nb\0c");
    // Whole records, of many writers too, or none.
    let m = t.name("m");
    put(&t, &["-B", "--many", &m], records[..2].concat()).run().ok();
    let cut = &records[1][..6];
    put(&t, &["-B", "--many", &m], [&records[1], cut].concat()).run().says(1, "ends within a record");
    put(&t, &["--end", &m], "").run().ok();
    assert!(cat(&t, &["-B", &m]).run().ok() == [&records[0][..], &records[1], &records[1]].concat());
    let too_long = frame(&noise(9, 4093));
    put(&t, &["-B", &r], too_long).run().says(9, "longer than the ring, which holds 4096 bytes");
    // Text has no lengths.
    put(&t, &[&t.name("t")], "some text").run().ok();
    cat(&t, &["-B", &t.name("t")]).run().says(8, "has no records with their lengths before them");
    cat(&t, &["-B", "-l", &r]).run().says(2, "cannot be used with");
}

/// What an overrun reader of records with lengths gets are records.
#[test]
fn k4_records_with_lengths_that_are_overwritten() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-B", "--overwrite", "-s", "4096", &r], "").run().ok();
    cat(&t, &["-B", "--as", "a", &r]).run().ok();
    let all: Vec<u8> = (0..1000u32).flat_map(|i| [4u32.to_le_bytes(), i.to_le_bytes()].concat()).collect();
    put(&t, &["-B", "--overwrite", &r], all.clone()).run().ok();
    let output = cat(&t, &["-B", "--as", "a", &r]).run();
    let words = format!("bytes lost: {}", all.len() - output.stdout.len());
    let read = ends(output, 1, &words);
    assert!(all.ends_with(&read) && read.len().is_multiple_of(8));
}

#[test]
fn progress_is_drawn_on_a_terminal() {
    let Some(t) = Test::with(&["script"]) else { return };
    let r = t.name("r");
    for command in
        [format!("head -c 3M /dev/zero | ringput -s 4M --progress {r}"), format!("ringcat --progress {r} >/dev/null")]
    {
        let shown = t.bash(&format!("script -qec '{command}' /dev/null </dev/null")).run().text();
        assert!(shown.contains("3.00 MiB"), "{shown}");
    }
    assert_eq!(cat(&t, &["--progress", &r]).run().ok().len(), 3 << 20);
}
