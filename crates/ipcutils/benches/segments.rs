//! Whole segments: shmput and shmcat beside cat and dd.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::{Bench, drain, feed, high_water, memory_row, noise, row, run, speedup};

pub(crate) fn measure(bench: &Bench) {
    bench.segments_out();
    bench.segments_in();
    bench.memory();
}

impl Bench {
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
}
