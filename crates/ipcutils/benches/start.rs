//! What it takes to start a tool.

use std::process::Command;

use crate::{Bench, median, row, run, slowdown, time};

pub(crate) fn measure(bench: &Bench) {
    std::fs::write(bench.segment(), "x").unwrap();
    let spawns = 200 * bench.rounds;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..spawns {
        times[0].push(time(|| run(&mut Command::new("/bin/true"))));
        times[1].push(time(|| run(bench.tool("ftok").arg("/"))));
        times[2].push(time(|| run(bench.tool("shmcat").arg(&bench.name))));
    }
    let [nothing, ftok, shmcat] = times.map(median);
    row("start: ftok /, /bin/true", ftok, nothing, "at most 1.15", slowdown);
    row("start: shmcat of 1 byte, /bin/true", shmcat, nothing, "at most 1.15", slowdown);
}
