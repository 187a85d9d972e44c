//! A command under a mutex beside flock(1), and many who wait.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Bench, median, row, run, slowdown, time};

/// Processes that contend, commands of each, and sleepers for one wake-up.
const CONTENDERS: usize = 64;
const TURNS: usize = 5;
const SLEEPERS: usize = 1000;

pub(crate) fn measure(bench: &Bench) {
    bench.start();
    bench.contention();
    bench.wake_all();
    run(bench.tool("ipcunlink").arg(format!("lock:{}", bench.name)));
}

impl Bench {
    fn shmlock(&self) -> Command {
        let mut command = self.tool("shmlock");
        command.args([&self.name, "--", "true"]).env("LC_ALL", "C");
        command
    }

    /// Without the locale's files, which flock would read.
    fn flock(&self) -> Command {
        let mut command = Command::new("flock");
        command.arg(self.dir.path().join("lock")).arg("true").env("LC_ALL", "C");
        command
    }

    /// One command under a lock that nobody else wants.
    fn start(&self) {
        run(&mut self.shmlock());
        if !self.has("flock") {
            return;
        }
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..200 * self.rounds {
            times[0].push(time(|| run(&mut self.shmlock())));
            times[1].push(time(|| run(&mut self.flock())));
        }
        let [ours, peer] = times.map(median);
        row("shmlock L -- true, flock F true", ours, peer, "at most 1", slowdown);
    }

    /// Many processes, each taking the lock several times.
    fn contention(&self) {
        if !self.has("flock") {
            return;
        }
        let all = |one: &dyn Fn() -> Command| {
            for _ in 0..TURNS {
                let start = || one().stdin(Stdio::null()).spawn().unwrap();
                let running: Vec<_> = (0..CONTENDERS).map(|_| start()).collect();
                for mut child in running {
                    assert!(child.wait().unwrap().success());
                }
            }
        };
        let (ours, peer) = self.compare(|| all(&|| self.shmlock()), || all(&|| self.flock()));
        row(&format!("{CONTENDERS} contending, {TURNS} times, flock"), ours, peer, "about 1", slowdown);
    }

    /// From one shmwake --all until the last of many sleepers has ended.
    fn wake_all(&self) {
        let mut times = Vec::new();
        for _ in 0..self.rounds {
            let start = || self.tool("shmwait").arg(&self.name).stdin(Stdio::null()).spawn().unwrap();
            let running: Vec<_> = (0..SLEEPERS).map(|_| start()).collect();
            let asleep = || {
                let status = self.tool("shmlock").args(["--status", &self.name]).output().unwrap().stdout;
                String::from_utf8(status).unwrap().matches("\nsleeper ").count() == SLEEPERS
            };
            while !asleep() {
                std::thread::sleep(Duration::from_millis(10));
            }
            let begin = Instant::now();
            run(self.tool("shmwake").args(["--all", &self.name]));
            for mut child in running {
                assert!(child.wait().unwrap().success());
            }
            times.push(begin.elapsed());
        }
        let all = median(times);
        println!("| {SLEEPERS} woken by one shmwake --all | {all:.1?} | - | - | - |");
    }
}
