//! ringcat -l and -0: whole records, and where they begin and end.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn lines_and_counts() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &[&r], "one\ntwo\n\nlast").run().ok();
    assert_eq!(cat(&t, &["-l", &r]).run().ok(), b"one\ntwo\n\nlast");
    for (count, expected) in [("0", ""), ("1", "one\n"), ("3", "one\ntwo\n\n"), ("4", "one\ntwo\n\nlast")] {
        assert_eq!(cat(&t, &["-l", "--count", count, &r]).run().ok(), expected.as_bytes());
    }
    assert_eq!(cat(&t, &["--count", "6", &r]).run().ok(), b"one\ntw");
    // A part of a line is not the end of it, unless the stream's end was marked.
    died(&t, &t.name("d"), b"whole\npart", &[]);
    assert_eq!(ends(cat(&t, &["-l", "--as", "x", &t.name("d")]).run(), 7, "died"), b"whole\n");
    put(&t, &["--resume", &t.name("d")], " two\n").run().ok();
    assert_eq!(cat(&t, &["-l", "--as", "x", &t.name("d")]).run().ok(), b"part two\n");
    // One longer than the ring is passed on; so is one that the writer must wait behind.
    let long = "x".repeat(10_000) + "\nshort\n";
    let reader = cat(&t, &["-l", "--wait", &t.name("l")]).spawn();
    put(&t, &["-s", "4096", &t.name("l")], long.clone()).run().ok();
    assert_eq!(reader.output().ok(), long.as_bytes());
    let records = [vec![b'x'; 1500], vec![0], vec![b'y'; 3000], vec![0]].concat();
    let reader = cat(&t, &["-l", "--wait", &t.name("m")]).spawn();
    put(&t, &["-0", "-s", "4096", &t.name("m")], records.clone()).run().ok();
    assert!(reader.output().ok() == records);
}

/// A last record without its end may be longer than what is copied at once.
#[test]
fn a_last_line_is_written_whole() {
    let t = Test::new();
    let r = t.name("r");
    let input = ["first\n", &"x".repeat(600_000)].concat();
    put(&t, &[&r], input.clone()).run().ok();
    assert!(cat(&t, &["-l", "--as", "n", &r]).run().ok() == input.as_bytes());
    assert_eq!(status(&t, &r, "reader"), "away position=600006 lag=0 name=n");
}

/// From the middle of a line on, in a ring that holds lines of an earlier lap.
#[test]
fn k13_a_late_reader_of_lines_begins_with_a_whole_one() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-s", "4096", &r], "").run().ok();
    let first = cat(&t, &["-f", "--as", "first", &r]).spawn();
    let mut writer = t.cmd("ringput").args([&r]).spawn_open();
    writer.write(&"old\n".repeat(1500).into_bytes());
    writer.write(b"aaa");
    wait_until("all is committed", || position(&t, &r) == 6003);
    let late = cat(&t, &["-l", "--from", "newest", "--as", "late", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live position=6003 lag=0 name=late"));
    writer.write(b"bbb\nccc");
    wait_until("it has left the rest of a line behind", || {
        status(&t, &r, "reader").contains("live position=6007 lag=3 name=late")
    });
    writer.write(b"ddd\n");
    writer.output().ok();
    assert_eq!(late.output().ok(), b"cccddd\n");
    first.kill(Signal::SIGTERM);
    first.output();
}

/// A writer that waits for another reader does not make this one pass on a part.
#[test]
fn k4_a_line_is_not_torn_for_a_reader_that_is_slower() {
    let t = Test::new();
    let r = t.name("r");
    let lines: Vec<String> = [1000, 1000, 3000].map(|len| "x".repeat(len) + "\n").into();
    put(&t, &["-s", "4096", &r], "").run().ok();
    cat(&t, &["--as", "slow", &r]).run().ok();
    let fast = cat(&t, &["-f", "-l", "--count", "3", "--as", "fast", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live"));
    let writer = put(&t, &[&r], lines.concat()).spawn();
    wait_until("the fast one has whole lines", || {
        status(&t, &r, "reader").contains("live position=2002 lag=2094 name=fast")
    });
    // Longer than either waits before it looks again.
    let begin = Instant::now();
    wait_until("they have waited", || begin.elapsed() > Duration::from_millis(1300));
    cat(&t, &["--forget", "slow", &r]).run().ok();
    assert!(fast.output().ok() == lines.concat().as_bytes());
    writer.output().ok();
}

/// A record of one stream and one of the next are two.
#[test]
fn k12_a_follower_of_lines_keeps_streams_apart() {
    let t = Test::new();
    let (a, b) = (t.name("a"), t.name("b"));
    put(&t, &[&a], "a\nb").run().ok();
    assert_eq!(cat(&t, &["-f", "-l", "--count", "2", &a]).run().ok(), b"a\nb");
    let reader = cat(&t, &["-f", "-l", "--count", "4", &a]).spawn();
    wait_until("all is read", || status(&t, &a, "reader").contains("live position=3 lag=0"));
    put(&t, &[&a], "x\n").run().ok();
    put(&t, &[&a], "y").run().ok();
    assert_eq!(reader.output().ok(), b"a\nb\nx\ny");
    // One that begins with the end of a stream misses nothing of the next.
    let reader = cat(&t, &["-f", "-l", "--from", "newest", "--count", "1", &a]).spawn();
    wait_until("it is there", || status(&t, &a, "reader").contains("live"));
    put(&t, &[&a], "z\n").run().ok();
    assert_eq!(reader.output().ok(), b"z\n");
    // A part of a dead writer's line, which nobody will continue.
    died(&t, &b, b"a\nbc", &[]);
    let reader = cat(&t, &["-f", "-l", "--count", "2", &b]).spawn();
    wait_until("the line is read", || status(&t, &b, "reader").contains("live position=2 lag=2"));
    put(&t, &["--restart", &b], "x\n").run().ok();
    let lines = reader.output().ok();
    assert!(lines == b"a\nbc\nx\n", "{:?}", String::from_utf8_lossy(&lines));
}

/// A reader is where it wanted to be, or says that it is not.
#[test]
fn k13_a_position_that_is_written_over_meanwhile() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-s", "4096", &r], "").run().ok();
    let drain = format!("seq -f %07.0f 1 9999999 | ringput {r} & ringcat -f {r} >/dev/null");
    let stream = t.bash(&drain).spawn();
    wait_until("it flows", || position(&t, &r) > 10_000);
    let mut begun = 0;
    for _ in 0..rounds(30) {
        let oldest: u64 = status(&t, &r, "oldest").parse().unwrap();
        let at = oldest.div_ceil(8) * 8;
        let output = cat(&t, &["-w", "1h", "--from", &at.to_string(), "--count", "8", &r]).run();
        if output.status == 0 {
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{:07}\n", at / 8 + 1));
            begun += 1;
        } else {
            output.says(1, "is no longer there");
        }
    }
    said(&format!("{begun} of {} began in time", rounds(30)));
    stream.kill(Signal::SIGKILL);
    t.cmd("ipcunlink").args(["--force", &format!("ring:{r}")]).run().ok();
    stream.output();
}
