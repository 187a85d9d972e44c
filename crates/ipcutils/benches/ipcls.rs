//! Listing 10,000 segments.

use std::process::Command;

use crate::{Bench, row, run, speedup};

const SEGMENTS: usize = 10_000;

/// Beside what util-linux has. The segments are in an IPC namespace of their
/// own, in which this program runs itself again.
pub(crate) fn measure(bench: &Bench) {
    let make = format!(
        "sysctl -q kernel.shmmni=32768 2>/dev/null || echo 32768 >/proc/sys/kernel/shmmni
        perl -e 'for (1..{SEGMENTS}) {{ defined shmget($_, 4096, 01600) or die $! }}'
        IPCUTILS_BENCH_SEGMENTS=1 exec \"$0\" ipcls"
    );
    if std::env::var_os("IPCUTILS_BENCH_SEGMENTS").is_none() {
        if ["perl", "lsipc", "ipcs"].into_iter().all(|peer| bench.has(peer)) {
            let program = std::env::current_exe().unwrap();
            let mut unshare = Command::new("unshare");
            unshare.args(["--ipc", "sh", "-ec", &make]).arg(program);
            if !unshare.status().is_ok_and(|status| status.success()) {
                bench.missing.borrow_mut().push("permission for unshare --ipc".to_owned());
            }
        }
        return;
    }
    for (peer, args) in [("lsipc", "-m"), ("ipcs", "-m")] {
        let (ours, theirs) = bench.compare(|| run(&mut bench.tool("ipcls")), || run(Command::new(peer).arg(args)));
        row(&format!("ipcls, {SEGMENTS} segments, {peer} {args}"), ours, theirs, "2 times as fast", speedup);
    }
}
