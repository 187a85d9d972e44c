//! Memory that another scribbles into, and truncates.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::*;
use crate::util::{DEADLINE, Output, noise, promised};

/// Statuses with which a tool may end, whatever was written to the memory.
const ALLOWED: [i32; 8] = [0, 1, 6, 7, 8, 9, 75, 124];

#[track_caller]
fn ended_by_itself(output: &Output) {
    assert!(ALLOWED.contains(&output.status), "{output:?}");
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

/// Rings in three states: never read, read in part by a name and ended, died.
fn states(t: &Test) -> Vec<(String, Vec<u8>)> {
    let rings = ["new", "part", "died"].map(|word| t.name(word));
    put(t, &["-s", "4096", &rings[0]], "never read\n").run().ok();
    put(t, &["-s", "4096", &rings[1]], noise(1, 3000)).run().ok();
    cat(t, &["--as", "name", "--count", "1000", &rings[1]]).run().ok();
    died(t, &rings[2], b"some\n", &["-s", "4096"]);
    rings.into_iter().map(|ring| (ring.clone(), std::fs::read(path_of(&ring)).unwrap())).collect()
}

/// A sample through the tools; all flips are in libipc's own test.
#[test]
fn k14_flipped_bits_and_random_words() {
    let t = Test::new();
    for (ring, whole) in states(&t) {
        let file = File::options().write(true).open(path_of(&ring)).unwrap();
        for round in 0..rounds(17) {
            file.write_all_at(&whole, 0).unwrap();
            let random = noise(round as u64, 16);
            let at = [0, 8, 16, 24, 32, 64, 72, 88, 92, 96, 128, 192, 256, 384, 392, 4096, 4104][round % 17];
            if round % 2 == 0 {
                let at = at as usize + usize::from(random[0] % 8);
                file.write_all_at(&[whole[at] ^ 1 << (random[1] % 8)], at as u64).unwrap();
            } else {
                file.write_all_at(&random[..8], at).unwrap();
            }
            let begin = Instant::now();
            let flags = [
                &["ringcat", "-n"][..],
                &["ringcat", "-l", "-w", ".05", "--as", "name"],
                &["ringput", "-w", ".05", "--resume"],
            ];
            for flags in flags {
                ended_by_itself(&t.cmd(flags[0]).args(&flags[1..]).args([&ring]).stdin("more").run());
            }
            ended_by_itself(&cat(&t, &["--status", &ring]).run());
            promised(begin, Duration::from_secs(20));
        }
    }
}

#[test]
fn k14_a_live_scribbler() {
    const WORDS: [u64; 12] = [64, 72, 88, 96, 128, 132, 192, 256, 4096, 4104, 4224, 4232];
    let t = Test::new();
    for round in 0..rounds(6) {
        let r = t.name(round);
        put(&t, &["-s", "4096", &r], "").run().ok();
        let file = File::options().write(true).open(path_of(&r)).unwrap();
        let flags: &[&str] = if round % 2 == 0 { &["-f"] } else { &["-f", "-l"] };
        let reader = cat(&t, flags).args(["-w", "1", &r]).spawn();
        wait_until("it is there", || status(&t, &r, "reader").contains("live"));
        let mode: &[&str] = if round % 3 == 0 { &["--overwrite"] } else { &[] };
        let writer = put(&t, mode, noise(1, 2_000_000)).args(["-w", "1", &r]).spawn();
        let reading = std::thread::spawn(move || reader.output());
        wait_until("the stream has begun", || writer.state() == 'Z' || status(&t, &r, "generation") == "2");
        // Each round in some words alone, most times plausible: the low bytes.
        let words = [WORDS[round % 12], WORDS[(round * 5 + 1) % 12]];
        let mut seed = round as u64 * 1_000_000;
        let begin = Instant::now();
        while writer.state() != 'Z' || !reading.is_finished() {
            assert!(begin.elapsed() < DEADLINE, "the tools are still there");
            let random = noise(seed, 12);
            let len = if random[1] > 250 { 8 } else { 1 };
            let at = words[usize::from(random[0] & 1)] + u64::from(random[11] % 2);
            file.write_all_at(&random[2..2 + len], at).unwrap();
            seed += 1;
            std::thread::park_timeout(Duration::from_micros(u64::from(random[10])));
        }
        ended_by_itself(&reading.join().unwrap());
        ended_by_itself(&writer.output());
    }
}

#[test]
fn k15_k16_truncated_at_any_moment() {
    let t = Test::new();
    for round in 0..rounds(8) {
        let r = t.name(round);
        put(&t, &["-s", "64K", &r], "").run().ok();
        let reader = cat(&t, &["-f", "-w", "1h", &r]).spawn();
        let overrun = cat(&t, &["-f", "-l", "-w", "1h", &r]).spawn();
        wait_until("they are there", || status(&t, &r, "reader").matches("live").count() == 2);
        let writer = put(&t, &["-w", "1h", &r], noise(round as u64, 8 << 20)).spawn();
        let many = noise(round as u64, 2);
        let (begin, moment) = (Instant::now(), Duration::from_micros(u64::from(many[0]) * 20));
        wait_until("the moment", || begin.elapsed() >= moment);
        let length = [0, 4096, 12_288, 20_000, 60_000][usize::from(many[1]) % 5];
        File::options().write(true).open(path_of(&r)).unwrap().set_len(length).unwrap();
        for process in [reader, overrun, writer] {
            let output = process.output();
            ended_by_itself(&output);
            assert_ne!(output.status, 0, "{output:?}");
        }
        // What is left of it is refused.
        cat(&t, &[&r]).run().fails(8);
        put(&t, &["--restart", &r], "").run().fails(8);
        t.cmd("rm").args([path_of(&r)]).run().ok();
    }
}

#[test]
fn k15_truncated_while_both_wait() {
    let t = Test::new();
    let r = t.name("r");
    let writer = t.cmd("ringput").args([&r]).spawn_open();
    let reader = cat(&t, &["--wait", &r]).spawn();
    wait_until("both are there", || t.shm_path("r").exists() && status(&t, &r, "reader").contains("live"));
    File::options().write(true).open(t.shm_path("r")).unwrap().set_len(0).unwrap();
    reader.output().says(6, "was truncated while in use");
    wait_until("the writer ends", || writer.state() == 'Z');
    writer.output().says(6, "was truncated while in use");
}
