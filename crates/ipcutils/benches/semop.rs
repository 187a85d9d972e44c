//! Semaphores around a command: semop beside flock, which cannot count.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Bench, median, row, run, slowdown, time};

pub(crate) fn measure(bench: &Bench) {
    bench.starts();
    bench.fights();
}

/// How often each of the fighters takes it.
const ROUNDS: usize = 100;

impl Bench {
    /// A free semaphore, and nothing to do.
    fn starts(&self) {
        let (key, file) = (format!("key:{}", std::process::id()), self.dir.path().join("lock"));
        std::fs::write(&file, "").unwrap();
        for address in [&key, &self.name] {
            run(self.tool("semop").args(["-c", "1", address]));
        }
        let with_flock = self.has("flock");
        let ipcmd = self.has("ipcmd");
        let hold = |address: &str| run(self.tool("semop").args([address, "-1", "--", "true"]));
        // Each in turn, so that what slows the machine slows all.
        let mut times = [(); 6].map(|()| Vec::new());
        for _ in 0..200 * self.rounds {
            times[0].push(time(|| run(&mut Command::new("/bin/true"))));
            times[1].push(time(|| hold(&key)));
            times[2].push(time(|| hold(&self.name)));
            times[3].push(time(|| run(self.tool("semop").args([&key, "+1"]))));
            run(self.tool("semop").args([&key, "-1"]));
            if with_flock {
                times[4].push(time(|| run(Command::new("flock").arg(&file).arg("true"))));
            }
            if ipcmd {
                let script = ["semop", "-u", "-S", &key, "-1", ":", "true"];
                times[5].push(time(|| run(Command::new("ipcmd").args(script))));
            }
        }
        let [nothing, sysv, posix, give, flock, other] =
            times.map(|times| if times.is_empty() { Duration::ZERO } else { median(times) });
        row("semop +1, /bin/true", give, nothing, "at most 1.15", slowdown);
        if with_flock {
            row("semop -1 -- true, flock true", sysv, flock, "at most 0.65", slowdown);
            row("the same, POSIX, with its guardian", posix, flock, "-", slowdown);
        }
        if ipcmd {
            row("semop -1 -- true, ipcmd", sysv, other, "at most 1", slowdown);
        }
        self.drop_semaphores(&key);
    }

    /// Processes that fight for one, each from a shell that does nothing else.
    fn fights(&self) {
        if !self.has("flock") {
            return;
        }
        let (key, file) = (format!("key:{}", std::process::id()), self.dir.path().join("lock"));
        for address in [&key, &self.name] {
            run(self.tool("semop").args(["-c", "1", address]));
        }
        for fighters in [1, 4, 16, 64] {
            let ours = |address: &str| {
                fight(fighters, &[self.bin.join("semop").as_os_str().to_str().unwrap(), address, "-1", "--", "true"]);
            };
            let theirs = || fight(fighters, &["flock", path(&file), "true"]);
            let what = format!("{fighters} processes, {ROUNDS} rounds each, flock");
            let (mine, peer) = self.compare(|| ours(&key), theirs);
            row(&what, mine, peer, "below 1", slowdown);
            if fighters == 64 {
                let (mine, peer) = self.compare(|| ours(&self.name), theirs);
                row(&format!("{what}; POSIX"), mine, peer, "-", slowdown);
            }
        }
        self.drop_semaphores(&key);
    }

    fn drop_semaphores(&self, key: &str) {
        run(self.tool("ipcunlink").args([format!("sem:{key}"), format!("sem:{}", self.name)]));
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// So many shells, each of which runs the command in a loop.
fn fight(fighters: usize, command: &[&str]) {
    let script = format!("i=0; while [ $i -lt {ROUNDS} ]; do \"$@\" || exit 1; i=$((i + 1)); done");
    let start = || Command::new("sh").args(["-c", &script, "sh"]).args(command).stdin(Stdio::null()).spawn().unwrap();
    let children: Vec<Child> = (0..fighters).map(|_| start()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}
