//! Streams of many writers.

use std::time::Instant;

use super::*;

#[test]
fn records_of_many_writers_are_never_torn_or_mixed() {
    let t = Test::new();
    let r = t.name("r");
    let script = format!(
        "for w in a b c d; do
            (for ((i = 0; i < 3000; i++)); do printf '%s%d:%0*d\\n' $w $i $((i % 200 + 1)) 0; done) | ringput -s 8K --many -l {r} & pids+=\" $!\"
        done
        ringcat --wait -l {r} >out & reader=$!
        wait $pids; ringput --end {r}; wait $reader; wc -l <out
        for w in a b c d; do grep ^$w out | cut -d: -f1 | cmp - <(seq -f $w%.0f 0 2999) && echo in order; done
        grep -vcE '^[a-d][0-9]+:0+$' out"
    );
    let output = t.bash(&script).run();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines, "12000\nin order\nin order\nin order\nin order\n0\n", "{}", output.stderr);
}

#[test]
fn the_end_is_marked_by_close_alone() {
    let t = Test::new();
    let r = t.name("r");
    let many = |input: &str| put(&t, &["--many", "-l", &r], input).run();
    many("one\ntwo").ok();
    assert_eq!(status(&t, &r, "writer"), "open many");
    assert_eq!(ends(cat(&t, &["-n", &r]).run(), 75, "has no more bytes yet"), b"one\ntwo\n");
    many("three\n").ok();
    put(&t, &[&r], "").run().says(7, "the stream of its many writers has no end");
    let mut late = t.cmd("ringput").args(["--many", "-l", &r]).spawn_open();
    late.write(b"four\n");
    wait_until("it is committed", || position(&t, &r) == 19);
    for _ in 0..2 {
        t.cmd("ringput").args(["--end", &r]).run().ok();
    }
    assert_eq!(cat(&t, &[&r]).run().ok(), b"one\ntwo\nthree\nfour\n");
    late.write(b"five\n");
    late.output().says(6, "its stream was closed meanwhile");
    // The next one begins a stream.
    many("anew\n").ok();
    t.cmd("ringput").args(["--end", &r]).run().ok();
    assert_eq!(cat(&t, &[&r]).run().ok(), b"anew\n");
    put(&t, &["--many", &r], "").run().says(2, "required");
    put(&t, &["--end", "--many", "-l", &r], "").run().says(2, "cannot be used with");
}

#[test]
fn k1_one_of_many_writers_killed_while_it_appends() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["--many", "-0", "-s", "4096", &r], "").run().ok();
    // It waits for room for its second record, as the one that appends.
    let first = noise(1, 3000).iter().map(|byte| byte | 1).collect::<Vec<_>>();
    let both = [&first[..], &[0], &first[..], &[0]].concat();
    let writer = put(&t, &["--many", "-0", &r], both).spawn();
    wait_until("the first is there", || position(&t, &r) == 3001);
    writer.wait_blocked();
    let other = put(&t, &["--many", "-0", &r], "small\0").spawn();
    other.wait_blocked();
    writer.kill(Signal::SIGKILL);
    other.output().ok();
    t.cmd("ringput").args(["--end", &r]).run().ok();
    assert!(cat(&t, &[&r]).run().ok() == [&first[..], b"\0small\0"].concat());
}

#[test]
fn two_of_many_that_wait_for_readers_write_one_stream() {
    let t = Test::new();
    for (i, flags) in [&["--many", "-l"][..], &["-l"]].iter().enumerate() {
        let r = t.name(i);
        put(&t, &[*flags, &[r.as_str()]].concat(), "a\nb\n").run().ok();
        if flags.contains(&"--many") {
            t.cmd("ringput").args(["--end", &r]).run().ok();
        }
        assert_eq!(cat(&t, &["--as", "n", "-l", "--count", "1", &r]).run().ok(), b"a\n");
        let writers = ["c\n", "d\n"].map(|line| {
            let writer = put(&t, &["--many", "-l", &r], line).spawn();
            writer.wait_blocked();
            writer
        });
        assert_eq!(cat(&t, &["--as", "n", &r]).run().ok(), b"b\n");
        for writer in writers {
            writer.output().ok();
        }
        t.cmd("ringput").args(["--end", &r]).run().ok();
        let read = cat(&t, &["--as", "n", &r]).run().ok();
        assert!(read == b"c\nd\n" || read == b"d\nc\n", "{}", read.escape_ascii());
    }
}

#[test]
fn no_patience_is_needed_for_another_that_appends() {
    let t = Test::new();
    let r = t.name("r");
    let script = format!(
        "ringput --many -l {r} </dev/null; ringcat -l {r} >out & reader=$!
        for w in a b c d; do
            (for ((i = 0; i < 20; i++)); do seq 2000 | ringput --many -l -n {r} || echo $?; done) & pids+=\" $!\"
        done
        wait $pids; ringput --end {r}; wait $reader; wc -l <out"
    );
    assert_eq!(t.bash(&script).run().text(), "160000");
    // But for one that waits, as the ring is full.
    let full = t.name("full");
    let writer = put(&t, &["--many", "-l", "-s", "4096", &full], "line\n".repeat(1000)).spawn();
    wait_until("it is full", || t.shm_path("full").exists() && position(&t, &full) == 4095);
    writer.wait_blocked();
    let begin = Instant::now();
    put(&t, &["--many", "-l", "-n", &full], "one\n").run().says(75, "another writer appends to it");
    put(&t, &["--many", "-l", "-w", "0.1", &full], "one\n").run().says(124, "another writer appends to it");
    promised(begin, Duration::from_secs(4));
    writer.kill(Signal::SIGKILL);
}
