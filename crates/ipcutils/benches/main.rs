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

fn main() {
    let bench = Bench::new();
    println!("| what | ours | peer | ratio | goal |\n| --- | --- | --- | --- | --- |");
    bench.segments_out();
    bench.segments_in();
    bench.memory();
    bench.queues();
    bench.start();
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

    /// A segment into a pipe.
    fn segments_out(&self) {
        std::fs::write(self.segment(), noise(self.size)).unwrap();
        let cat = || drain(Command::new("cat").arg(self.segment()));
        let (ours, peer) = self.compare(|| drain(self.tool("shmcat").arg(&self.name)), cat);
        row("shmcat into a pipe, cat /dev/shm/NAME", ours, peer, "2.5 times as fast", speedup);
        let (ours, peer) = self.compare(|| drain(self.tool("shmcat").args(["--zero-copy", &self.name])), cat);
        row("shmcat --zero-copy into a pipe, cat", ours, peer, "6 times as fast", speedup);
    }

    /// A pipe, and a file, into a segment.
    fn segments_in(&self) {
        let fresh = || drop(std::fs::remove_file(self.segment()));
        let content = noise(self.size);
        let (ours, peer) = self.compare_after(
            || self.warm(),
            || {
                fresh();
                feed(self.tool("shmput").arg(&self.name), &content);
            },
            || {
                fresh();
                feed(Command::new("cat").stdout(std::fs::File::create(self.segment()).unwrap()), &content);
            },
        );
        row("shmput from a pipe, cat > /dev/shm/NAME", ours, peer, "1.5 times as fast", speedup);
        let file = self.dir.path().join("file");
        std::fs::write(&file, &content).unwrap();
        drop(content);
        if self.has("dd") {
            let (ours, peer) = self.compare_after(
                || self.warm(),
                || {
                    fresh();
                    run(self.tool("shmput").arg(&self.name).arg(&file));
                },
                || {
                    fresh();
                    let (input, output) =
                        (format!("if={}", file.display()), format!("of={}", self.segment().display()));
                    run(Command::new("dd").args(["bs=1M", "status=none", &input, &output]));
                },
            );
            row("shmput from a file, dd bs=1M", ours, peer, "not slower", speedup);
        }
        fresh();
    }

    /// The largest resident set while 4 GiB (twice the size) pass.
    fn memory(&self) {
        let total = self.size * 2;
        let block = noise(1 << 20);
        let mut put = self.tool("shmput").arg(&self.name).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = put.stdin.take().unwrap();
        for _ in 0..total / block.len() {
            stdin.write_all(&block).unwrap();
        }
        // It has read all but what a pipe holds.
        let peak = high_water(&put);
        drop(stdin);
        assert!(put.wait().unwrap().success());
        memory_row("shmput", total, peak);

        let mut cat = self.tool("shmcat").arg(&self.name).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = cat.stdout.take().unwrap();
        let mut block = vec![0; 1 << 20];
        // A pipe and a half is left, so that it is still there to be asked.
        let mut left = total - (3 << 19);
        while left > 0 {
            let want = left.min(block.len());
            stdout.read_exact(&mut block[..want]).unwrap();
            left -= want;
        }
        let peak = high_water(&cat);
        std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
        assert!(cat.wait().unwrap().success());
        memory_row("shmcat", total, peak);
        std::fs::remove_file(self.segment()).unwrap();
    }

    /// Lines through a queue: from a file by one process to a file by another,
    /// beside a C program that sends and receives and does nothing else, and
    /// beside python.
    fn queues(&self) {
        let messages = self.size / 2147; // a million for the usual size
        let input = self.dir.path().join("lines");
        let line = "x".repeat(64) + "\n";
        std::fs::write(&input, line.repeat(messages)).unwrap();
        let output = self.dir.path().join("out");
        let key = format!("key:{}", std::process::id());
        for (api, address) in [("POSIX", &self.name), ("System V", &key)] {
            let ours = || {
                run(self.tool("mqsend").args(["-c", address, ""]));
                run(self.tool("mqrecv").arg(address));
                let count = messages.to_string();
                let mut recv = self.tool("mqrecv");
                recv.args(["-l", "--count", &count, address]).stdout(std::fs::File::create(&output).unwrap());
                let mut recv = recv.spawn().unwrap();
                let mut send = self.tool("mqsend");
                send.args(["-l", address]).stdin(std::fs::File::open(&input).unwrap());
                assert!(send.status().unwrap().success() && recv.wait().unwrap().success());
                run(self.tool("ipcunlink").arg(format!("mq:{address}")));
                assert_eq!(std::fs::metadata(&output).unwrap().len(), (messages * line.len()) as u64);
            };
            let interface = if api == "POSIX" { "posix" } else { "sysv" };
            if let Some(c) = self.compile("queue", include_str!("queue.c")) {
                let (ours, peer) =
                    self.compare(ours, || run(Command::new(&c).args([interface, &messages.to_string()])));
                row(&format!("{messages} messages, {api}, a C loop"), ours, peer, "0.9 of its rate", speedup);
            }
            let module = if api == "POSIX" { "posix_ipc" } else { "sysv_ipc" };
            let python = |code: &str| {
                let mut python = Command::new("python3");
                python.args(["-c", code, &messages.to_string()]).arg(&input).arg(&output).stderr(Stdio::null());
                python
            };
            if python(&format!("import {module}")).status().is_ok_and(|status| status.success()) {
                let script = include_str!("queue.py");
                let (ours, peer) = self.compare(ours, || run(python(script).arg(interface)));
                row(&format!("{messages} messages, {api}, python's {module}"), ours, peer, "above its rate", speedup);
            } else {
                self.missing.borrow_mut().push(module.to_owned());
            }
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

    /// What it takes to start a tool.
    fn start(&self) {
        std::fs::write(self.segment(), "x").unwrap();
        let spawns = 200 * self.rounds;
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..spawns {
            times[0].push(time(|| run(&mut Command::new("/bin/true"))));
            times[1].push(time(|| run(self.tool("ftok").arg("/"))));
            times[2].push(time(|| run(self.tool("shmcat").arg(&self.name))));
        }
        let [nothing, ftok, shmcat] = times.map(median);
        row("start: ftok /, /bin/true", ftok, nothing, "at most 1.15", slowdown);
        row("start: shmcat of 1 byte, /bin/true", shmcat, nothing, "at most 1.15", slowdown);
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
