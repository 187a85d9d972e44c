//! What a named reader that is away may hold back, and a writer whose readers have gone.

use super::*;

/// A ring of 4 KiB with a name that has read the first line of ten bytes, and is away.
fn with_a_name(t: &Test) -> (String, Vec<u8>) {
    let r = t.name("r");
    let lines = (0..2000).flat_map(|i| format!("{i:09}\n").into_bytes()).collect::<Vec<_>>();
    put(t, &["-s", "4096", &r], "").run().ok();
    cat(t, &["--as", "a", &r]).run().ok();
    put(t, &["-l"], &lines[..10]).args([&r]).run().ok();
    assert_eq!(cat(t, &["--as", "a", "-l", "--count", "1", &r]).run().ok(), &lines[..10]);
    (r, lines)
}

#[test]
fn k4_a_name_that_is_away_holds_back_so_much() {
    for (max_lag, at_most) in [("1000", 1000), ("0", 0), ("1K", 1024)] {
        let t = Test::new();
        let (r, lines) = with_a_name(&t);
        put(&t, &["--resume", "--max-lag", max_lag, "-l", &r], &lines[10..]).run().ok();
        // Taken only as there was no room.
        let lost: usize =
            status(&t, &r, "reader").split("lost=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let lag = lines.len() - 10 - lost;
        assert!((at_most..=4096).contains(&lag), "{lag}");
        let output = cat(&t, &["--as", "a", "-l", &r]).run();
        let words = format!("bytes lost: {}", lines.len() - 10 - output.stdout.len());
        let read = ends(output, 1, &words);
        assert!(
            lines.ends_with(&read) && read.len().is_multiple_of(10) && read.len() + 10 > lag,
            "{} {lag}",
            read.len()
        );
        // It is told once.
        assert_eq!(cat(&t, &["--as", "a", "-l", &r]).run().ok(), b"");
        assert!(!status(&t, &r, "reader").contains("lost"));
    }
}

#[test]
fn k4_a_name_that_is_away_for_long_holds_back_nothing() {
    let t = Test::new();
    let (r, lines) = with_a_name(&t);
    // Not yet: it was there just now.
    put(&t, &["--resume", "-n", "--expire", "1h", "-l", &r], &lines[10..]).run().says(75, "a reader is away");
    let at = position(&t, &r) as usize;
    put(&t, &["--resume", "--expire", ".1", "-l", &r], &lines[at..]).run().ok();
    let output = cat(&t, &["--as", "a", "-l", &r]).run();
    let words = format!("bytes lost: {}", lines.len() - 10 - output.stdout.len());
    assert!(lines.ends_with(&ends(output, 1, &words)));
    // Nor a new stream: its first line is not skipped.
    put(&t, &[&r], "old").run().ok();
    put(&t, &["-n", &r], "new").run().says(75, "a reader is away");
    put(&t, &["--expire", "0", "-l", &r], "new\n").run().ok();
    assert_eq!(ends(cat(&t, &["--as", "a", "-l", &r]).run(), 1, "bytes lost: 3"), b"new\n");
    // One that is there is waited for.
    let reader = cat(&t, &["--as", "a", "-f", &r]).spawn();
    wait_until("it reads", || status(&t, &r, "reader").contains("live"));
    reader.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || reader.state() == 'T');
    put(&t, &["-w", ".3", "--max-lag", "0", "--expire", "0", &r], &*lines).run().says(124, "");
}

/// As with a pipe, but that a name which is away will come back.
#[test]
fn a_writer_without_readers_is_ended_if_it_wants() {
    let t = Test::new();
    for (i, flags) in [&[][..], &["-l"], &["--overwrite"], &["--many", "-0"]].iter().enumerate() {
        let r = t.name(i);
        let end = if flags.contains(&"-0") { b"line\0" } else { b"line\n" };
        let mut writer = t.cmd("ringput").args(["--while-read"]).args(*flags).args([&r]).spawn_open();
        writer.write(end);
        wait_until("it is committed", || Path::new(&path_of(&r)).exists() && position(&t, &r) == 5);
        // Nobody has come yet.
        let begin = std::time::Instant::now();
        wait_until("it has looked", || begin.elapsed() > Duration::from_millis(1200));
        assert_ne!(writer.state(), 'Z');
        cat(&t, &["--as", "a", "--count", "5", &r]).run().ok();
        let reader = cat(&t, &["-f", &r]).spawn();
        wait_until("it reads", || status(&t, &r, "reader").contains("live"));
        let begin = std::time::Instant::now();
        wait_until("it has looked", || begin.elapsed() > Duration::from_millis(1200));
        reader.kill(Signal::SIGKILL);
        reader.output();
        cat(&t, &["--forget", "a", &r]).run().ok();
        let begin = std::time::Instant::now();
        wait_until("it has ended", || {
            writer.try_write(end);
            writer.state() == 'Z'
        });
        promised(begin, Duration::from_secs(3));
        let output = writer.output();
        assert_eq!((output.status, &*output.stderr), (141, ""));
    }
    // Where SIGPIPE is ignored it is an error.
    let r = t.name("ignored");
    let script = format!("trap '' PIPE; yes 2>/dev/null | ringput --while-read {r}");
    let writer = t.bash(&script).spawn();
    wait_until("there is a ring", || t.shm_path("ignored").exists());
    cat(&t, &["--count", "100000", &r]).run();
    writer.output().says(1, "its last reader has gone; bytes committed: ");
}
