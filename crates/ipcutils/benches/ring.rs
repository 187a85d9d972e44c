//! Streams: ringput and ringcat beside FIFOs, tee, mbuffer, pv and socat.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::{Bench, high_water, noise, row, run, slowdown, speedup, time};

pub(crate) fn measure(bench: &Bench) {
    bench.streams();
    bench.a_file();
    bench.four_readers();
    bench.latency();
    bench.ring_memory();
}

impl Bench {
    /// A script with the tools in its PATH, and R, S and D for the ring's name, the
    /// size and a directory.
    fn script(&self, script: &str) -> Command {
        let mut path = self.bin.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut sh = Command::new("sh");
        sh.args(["-ec", script]).env("PATH", path).env("R", &self.name).env("S", self.size.to_string());
        sh.env("D", self.dir.path());
        sh
    }

    fn streams(&self) {
        let ring = || {
            let _ = std::fs::remove_file(self.segment());
            run(&mut self.script("head -c $S /dev/zero | ringput $R & ringcat --wait $R | cat >/dev/null; wait"));
        };
        let peers = [
            (
                "cat",
                "a FIFO with cat on both sides",
                "head -c $S /dev/zero | cat >$D/fifo & cat $D/fifo | cat >/dev/null; wait",
                "2 times as fast",
            ),
            (
                "mbuffer",
                "mbuffer in a pipe",
                "head -c $S /dev/zero | mbuffer -q -m 1M | cat >/dev/null",
                "1.1 times as fast",
            ),
            (
                "socat",
                "socat in a pipe",
                "head -c $S /dev/zero | socat -u STDIN STDOUT | cat >/dev/null",
                "2 times as fast",
            ),
            ("pv", "pv in a pipe", "head -c $S /dev/zero | pv -q | cat >/dev/null", "2 times as fast"),
        ];
        run(&mut self.script("mkfifo $D/fifo"));
        for (peer, what, script, goal) in peers {
            if self.has(peer) {
                let (ours, peer) = self.compare(ring, || run(self.script(script).stderr(Stdio::null())));
                row(&format!("a stream between two processes, {what}"), ours, peer, goal, speedup);
            }
        }
    }

    /// From the page cache through a ring to nowhere, beside a copy in memory.
    fn a_file(&self) {
        let size = self.size.min(512 << 20);
        let file = self.dir.path().join("content");
        std::fs::write(&file, noise(size)).unwrap();
        let ring = || {
            let _ = std::fs::remove_file(self.segment());
            run(&mut self.script("ringput $R $D/content & ringcat --wait $R >/dev/null; wait"));
        };
        let (from, mut to) = (noise(size), vec![1; size]);
        let copy = std::cell::RefCell::new(&mut to);
        let (ours, peer) = self.compare(ring, || {
            copy.borrow_mut().copy_from_slice(&from);
            std::hint::black_box(&copy);
        });
        row(
            &format!("a file of {} MiB to /dev/null, a copy in memory", size >> 20),
            ours,
            peer,
            "0.8 of its rate",
            speedup,
        );
        std::fs::remove_file(file).unwrap();
    }

    fn four_readers(&self) {
        run(&mut self.script("mkfifo $D/1 $D/2 $D/3 $D/4"));
        let (ours, peer) = self.compare(
            || {
                let _ = std::fs::remove_file(self.segment());
                run(&mut self.script(
                    "for i in 1 2 3 4; do ringcat --wait $R | cat >/dev/null & done
                    head -c $S /dev/zero | ringput --readers 4 $R; wait",
                ));
            },
            || {
                run(&mut self.script(
                    "for i in 1 2 3 4; do cat $D/$i | cat >/dev/null & done
                    head -c $S /dev/zero | tee $D/1 $D/2 $D/3 >$D/4; wait",
                ));
            },
        );
        row("one writer and 4 readers, tee with 4 FIFOs", ours, peer, "2 times as fast", speedup);
    }

    /// A line of 64 bytes through an idle ring and back to us, beside a pair of
    /// cat with a FIFO.
    fn latency(&self) {
        let _ = std::fs::remove_file(self.segment());
        let line = [b"x".repeat(63), b"\n".to_vec()].concat();
        let there = |writer: &mut Child, reader: &mut Child| -> [Duration; 2] {
            let (mut stdin, mut stdout): (ChildStdin, ChildStdout) =
                (writer.stdin.take().unwrap(), reader.stdout.take().unwrap());
            let mut got = [0; 64];
            let mut times = Vec::new();
            for _ in 0..2000 * self.rounds {
                // Both have fallen asleep by then.
                std::thread::sleep(Duration::from_micros(100));
                times.push(time(|| {
                    stdin.write_all(&line).unwrap();
                    stdout.read_exact(&mut got).unwrap();
                }));
            }
            drop(stdin);
            assert!(writer.wait().unwrap().success() && reader.wait().unwrap().success());
            times.sort();
            [times[times.len() / 2], times[times.len() * 99 / 100]]
        };
        let piped = |writer: &str, reader: &str| {
            let mut writer = self.script(writer).stdin(Stdio::piped()).spawn().unwrap();
            let mut reader = self.script(reader).stdout(Stdio::piped()).spawn().unwrap();
            there(&mut writer, &mut reader)
        };
        let ours = piped("exec ringput $R", "exec ringcat --wait $R");
        let peer = piped("exec cat >$D/fifo", "exec cat $D/fifo");
        row("a line through an idle pair, median, a FIFO", ours[0], peer[0], "not slower", slowdown);
        row("a line through an idle pair, 99 of 100, a FIFO", ours[1], peer[1], "not slower", slowdown);
    }

    /// The largest resident set of both while a stream passes.
    fn ring_memory(&self) {
        let _ = std::fs::remove_file(self.segment());
        let mut put = self.tool("ringput").arg(&self.name).stdin(Stdio::piped()).spawn().unwrap();
        let mut cat = self.tool("ringcat").args(["--wait", &self.name]).stdout(Stdio::null()).spawn().unwrap();
        let mut stdin = put.stdin.take().unwrap();
        let block = noise(1 << 20);
        for _ in 0..self.size >> 20 {
            stdin.write_all(&block).unwrap();
        }
        for (tool, child) in [("ringput", &put), ("ringcat", &cat)] {
            println!("| peak memory of {tool} | {} KiB | - | - | ring + 4096 KiB: 5120 |", high_water(child));
        }
        drop(stdin);
        assert!(put.wait().unwrap().success() && cat.wait().unwrap().success());
        std::fs::remove_file(self.segment()).unwrap();
    }
}
