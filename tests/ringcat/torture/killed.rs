//! Killed at any moment.

use std::time::{Duration, Instant};

use super::*;

/// Wait for a moment that the seed chooses.
fn moment(seed: usize, most: Duration) {
    let part = noise(seed as u64, 1)[0];
    let (begin, moment) = (Instant::now(), most * u32::from(part) / 256);
    wait_until("the moment", || begin.elapsed() >= moment);
}

#[test]
fn k1_k22_the_writer_killed_within_a_stream() {
    let t = Test::new();
    let r = t.name("r");
    // Numbered lines; the reader's copy is compared with them.
    let input: Vec<u8> = (0..1_000_000 * rounds(1).min(8)).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    // Small, so that the stream takes longer than all the lives together.
    put(&t, &["-s", "4K", &r], "").run().ok();
    let reader = cat(&t, &["-f", "--count", &input.len().to_string(), &r]).spawn();
    let reading = std::thread::spawn(move || reader.output().ok());
    wait_until("the reader is there", || status(&t, &r, "reader").contains("live"));
    let (mut at, mut killed) = (0, 0);
    for round in 0..rounds(20) {
        let flags: &[&str] = if round % 3 == 0 { &["-l", "--resume", &r] } else { &["--resume", &r] };
        let writer = put(&t, flags, &input[at..]).spawn();
        moment(round, Duration::from_millis(6));
        writer.kill(Signal::SIGKILL);
        killed += usize::from(writer.output().status == 137);
        at = position(&t, &r) as usize;
    }
    put(&t, &["--resume", &r], &input[at..]).run().ok();
    assert!(reading.join().unwrap() == input, "after {killed} deaths");
    assert!(killed > 3, "only {killed} deaths");
}

#[test]
fn k3_a_reader_with_a_name_killed_again_and_again() {
    let t = Test::new();
    let r = t.name("r");
    let input = noise(3, (4 << 20) * rounds(1).min(8));
    put(&t, &["-s", "64K", &r], "").run().ok();
    cat(&t, &["--as", "x", &r]).run().ok();
    let writer = put(&t, &[&r], input.clone()).spawn();
    let at = || -> usize {
        let fields = status(&t, &r, "reader");
        fields.split("position=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    wait_until("the stream has begun", || status(&t, &r, "generation") == "2");
    let (mut begin, mut round) = (0, 0);
    loop {
        let reader = cat(&t, &["--as", "x", &r]).spawn();
        let pid = reader.pid();
        let reading = std::thread::spawn(move || reader.output());
        moment(round, Duration::from_millis(50));
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        let output = reading.join().unwrap();
        let read = output.stdout.len();
        assert!(output.stdout == input[begin..begin + read], "round {round}");
        if output.status == 0 {
            assert_eq!(begin + read, input.len());
            break;
        }
        assert_eq!(output.status, 137);
        let next = at();
        // Nothing lost; twice only what was written and not yet committed.
        assert!(next <= begin + read && begin + read - next <= 256 << 10, "{begin} {read} {next}");
        (begin, round) = (next, round + 1);
    }
    writer.output().ok();
}

#[test]
fn k2_k7_readers_killed_do_not_hold_the_writer_back() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-s", "4096", &r], "").run().ok();
    let writer = put(&t, &[&r], noise(2, 40_000 * rounds(1))).spawn();
    let mut corpses = Vec::new();
    for round in 0..rounds(10) {
        let reader = cat(&t, &[&r]).spawn_open();
        moment(round, Duration::from_millis(5));
        reader.kill(Signal::SIGKILL);
        corpses.push(reader);
    }
    // The dead are zombies still; what is left is read by one more.
    let read = cat(&t, &[&r]).run();
    assert_eq!(read.status, 0, "{}", read.stderr);
    writer.output().ok();
}

#[test]
fn k20_of_two_that_resume_one_wins() {
    let t = Test::new();
    for round in 0..rounds(5) {
        let r = t.name(round);
        died(&t, &r, b"a", &[]);
        let mut racers: Vec<_> = (0..3).map(|_| t.cmd("ringput").args(["-n", "--resume", &r]).spawn_open()).collect();
        let alive = |racers: &Vec<crate::util::Running>| racers.iter().filter(|racer| racer.state() != 'Z').count();
        wait_until("one is left", || alive(&racers) == 1);
        wait_until("it has begun", || status(&t, &r, "writer") == "live");
        for racer in &mut racers {
            if racer.state() != 'Z' {
                racer.write(b"b");
            }
        }
        let mut statuses: Vec<_> = racers.into_iter().map(|racer| racer.output().status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [0, 75, 75]);
        assert_eq!(cat(&t, &[&r]).run().ok(), b"ab");
    }
}

#[test]
fn k21_killed_while_it_makes_the_ring() {
    let t = Test::new();
    for round in 0..rounds(20) {
        let r = t.name(round);
        let maker = put(&t, &["-s", "4M", &r], "x").spawn();
        moment(round, Duration::from_millis(4));
        maker.kill(Signal::SIGKILL);
        maker.output();
        put(&t, &["--restart", &r], "again").run().ok();
        assert_eq!(cat(&t, &[&r]).run().ok(), b"again");
        t.cmd("ipcunlink").args([format!("ring:{r}")]).run().ok();
    }
    assert!(t.left().is_empty(), "{:?}", t.left());
}
