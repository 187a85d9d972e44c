//! `make bench`: the tools beside what a user would pick instead.
//!
//! Every figure is a ratio within one run, ours and the peer's rounds taking
//! turns, as the machine may be shared; absolute times mean little. Nothing
//! here fails: the table is for people.
//!
//! IPCUTILS_BENCH_SIZE (bytes, 2 GiB) and IPCUTILS_BENCH_ROUNDS (5) make it
//! shorter or longer.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod calls;
mod ipcls;
mod lock;
mod queues;
mod ring;
mod segments;
mod semop;
mod start;

type Measure = fn(&Bench);

/// What can be named on the command line.
const TOPICS: &[(&str, Measure)] = &[
    ("segments", segments::measure),
    ("queues", queues::measure),
    ("calls", calls::measure),
    ("ring", ring::measure),
    ("semop", semop::measure),
    ("lock", lock::measure),
    ("start", start::measure),
    ("ipcls", ipcls::measure),
];

fn main() {
    // cargo adds options of its own.
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let bench = Bench::new();
    // The bench of ipcls runs this program again, within its table.
    if std::env::var_os("IPCUTILS_BENCH_SEGMENTS").is_none() {
        println!("| what | ours | peer | ratio | goal |\n| --- | --- | --- | --- | --- |");
    }
    for (topic, measure) in TOPICS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == topic) {
            measure(&bench);
        }
    }
    for peer in bench.missing.borrow().iter() {
        println!("\nmissing, so not measured: {peer}");
    }
}

struct Bench {
    bin: PathBuf,
    dir: tempfile::TempDir,
    name: String,
    size: usize,
    rounds: usize,
    missing: std::cell::RefCell<Vec<String>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.segment());
    }
}

impl Bench {
    fn new() -> Self {
        let number =
            |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
        let bin = std::env::var_os("IPCUTILS_BIN_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ftok")).parent().unwrap().to_owned(), PathBuf::from);
        Bench {
            bin,
            dir: tempfile::tempdir().unwrap(),
            name: format!("/ipcutils-bench-{}", std::process::id()),
            size: number("IPCUTILS_BENCH_SIZE", 2 << 30),
            rounds: number("IPCUTILS_BENCH_ROUNDS", 5),
            missing: std::cell::RefCell::default(),
        }
    }

    fn segment(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm{}", self.name))
    }

    fn tool(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }

    /// Whether a peer is there; noted if it is not.
    fn has(&self, peer: &str) -> bool {
        let found =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(peer).exists());
        if !found {
            self.missing.borrow_mut().push(peer.to_owned());
        }
        found
    }

    /// Medians of ours and the peer's times, taken in turns after a round of
    /// each that does not count.
    fn compare(&self, ours: impl Fn(), peer: impl Fn()) -> (Duration, Duration) {
        self.compare_after(|| {}, ours, peer)
    }

    /// The same with `before` each, which is not timed.
    fn compare_after(&self, before: impl Fn(), ours: impl Fn(), peer: impl Fn()) -> (Duration, Duration) {
        let mut times = (Vec::new(), Vec::new());
        for round in 0..=self.rounds {
            before();
            let mine = time(&ours);
            before();
            let theirs = time(&peer);
            if round > 0 {
                times.0.push(mine);
                times.1.push(theirs);
            }
        }
        (median(times.0), median(times.1))
    }

    /// Touch the memory that is free. Under a hypervisor that takes free pages
    /// back, the first touch is several times as slow as all that is measured
    /// here, and falls on whoever comes first.
    fn warm(&self) {
        let path = PathBuf::from(format!("{}-warm", self.segment().display()));
        let block = vec![1; 1 << 20];
        let mut file = std::fs::File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for _ in 0..(self.size >> 20) * 2 {
            file.write_all(&block).unwrap();
        }
    }

    /// A C program, compiled; None, and noted, without a compiler.
    fn compile(&self, name: &str, source: &str) -> Option<PathBuf> {
        if !self.has("cc") {
            return None;
        }
        let (program, file) = (self.dir.path().join(name), self.dir.path().join(format!("{name}.c")));
        std::fs::write(&file, source).unwrap();
        assert!(Command::new("cc").arg("-O2").arg("-o").arg(&program).arg(&file).status().unwrap().success());
        Some(program)
    }
}

/// Run to its end, output to /dev/null.
fn run(command: &mut Command) {
    assert!(command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success(), "{command:?}");
}

/// Run, and read its output through a pipe.
fn drain(command: &mut Command) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut block = vec![0; 128 << 10];
    while stdout.read(&mut block).unwrap() > 0 {}
    assert!(child.wait().unwrap().success(), "{command:?}");
}

/// Run, and write its input through a pipe.
fn feed(command: &mut Command, content: &[u8]) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}");
}

fn time(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Bytes that are not all zero.
fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 9)) as u8).collect()
}

/// VmHWM of proc_pid_status(5), in KiB.
fn high_water(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn speedup(ours: Duration, peer: Duration) -> f64 {
    peer.as_secs_f64() / ours.as_secs_f64()
}

fn slowdown(ours: Duration, peer: Duration) -> f64 {
    ours.as_secs_f64() / peer.as_secs_f64()
}

fn row(what: &str, ours: Duration, peer: Duration, goal: &str, ratio: fn(Duration, Duration) -> f64) {
    println!("| {what} | {ours:.1?} | {peer:.1?} | {:.2} | {goal} |", ratio(ours, peer));
}

fn memory_row(tool: &str, total: usize, peak: u64) {
    println!("| peak memory of {tool}, {} MiB | {peak} KiB | - | - | under 4096 KiB |", total >> 20);
}
