//! Streams: ringput and ringcat beside FIFOs, tee, mbuffer, pv and socat.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
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

    /// Twice: what a producer of large writes gives passes at the speed of what is
    /// measured; of small ones, a good part of the time is the producer's own.
    fn streams(&self) {
        let producers = [
            ("writes of 64 KiB", "dd if=/dev/zero bs=64K count=$(($S >> 16)) status=none"),
            ("writes of 8 KiB", "head -c $S /dev/zero"),
        ];
        let peers = [
            ("cat", "a FIFO with cat on both sides", "cat >$D/fifo & cat $D/fifo | cat >/dev/null; wait", "2"),
            ("mbuffer", "mbuffer in a pipe", "mbuffer -q -m 1M | cat >/dev/null", "1.1"),
            ("socat", "socat in a pipe", "socat -u STDIN STDOUT | cat >/dev/null", "2"),
            ("pv", "pv in a pipe", "pv -q | cat >/dev/null", "2"),
        ];
        run(&mut self.script("mkfifo $D/fifo"));
        for (writes, producer) in producers {
            let ring = || {
                let _ = std::fs::remove_file(self.segment());
                run(&mut self.script(&format!("{producer} | ringput $R & ringcat --wait $R | cat >/dev/null; wait")));
            };
            for (peer, what, script, times) in peers {
                if self.has(peer) {
                    let peer = || run(self.script(&format!("{producer} | {script}")).stderr(Stdio::null()));
                    let (ours, peer) = self.compare(ring, peer);
                    let what = format!("a stream of {writes} between two processes, {what}");
                    row(&what, ours, peer, &format!("{times} times as fast"), speedup);
                }
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
    /// cat with a FIFO, taking turns.
    fn latency(&self) {
        let line = [b"x".repeat(63), b"\n".to_vec()].concat();
        let there = |writer: &str, reader: &str, times: &mut Vec<Duration>| {
            let mut writer = self.script(writer).stdin(Stdio::piped()).spawn().unwrap();
            let mut reader = self.script(reader).stdout(Stdio::piped()).spawn().unwrap();
            let (mut stdin, mut stdout) = (writer.stdin.take().unwrap(), reader.stdout.take().unwrap());
            let mut got = [0; 64];
            for _ in 0..2000 {
                // Both have fallen asleep by then.
                std::thread::sleep(Duration::from_micros(100));
                times.push(time(|| {
                    stdin.write_all(&line).unwrap();
                    stdout.read_exact(&mut got).unwrap();
                }));
            }
            drop(stdin);
            assert!(writer.wait().unwrap().success() && reader.wait().unwrap().success());
        };
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let _ = std::fs::remove_file(self.segment());
            there("exec ringput $R", "exec ringcat --wait $R", &mut ours);
            there("exec cat >$D/fifo", "exec cat $D/fifo", &mut peer);
        }
        ours.sort();
        peer.sort();
        for (which, of_100) in [("median", 50), ("99 of 100", 99)] {
            let at = |times: &[Duration]| times[times.len() * of_100 / 100];
            let what = format!("a line through an idle pair, {which}, a FIFO");
            row(&what, at(&ours), at(&peer), "not slower", slowdown);
        }
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
