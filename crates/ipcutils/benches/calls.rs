//! Calls beside socat(1) and a coprocess, and work beside xargs(1).

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Bench, row, run, speedup};

/// Calls of a round, lines of a round, and messages of work.
const CALLS: usize = 256;
const LINES: usize = 20_000;
const WORK: usize = 5_000;

pub(crate) fn measure(bench: &Bench) {
    let queue = bench.tool("mqsend").args(["-c", "-x", &bench.name]).stdin(Stdio::null()).status().unwrap();
    assert!(queue.success());
    if bench.has("socat") && bench.has("xargs") {
        bench.calls();
        bench.bodies();
    }
    if bench.has("bash") {
        bench.lines();
        bench.work();
    }
    run(bench.tool("ipcunlink").args(["--force", &format!("mq:{}", bench.name)]));
}

/// A server, until this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    fn serve(&self, args: &[&str], command: &[&str]) -> Server {
        let mut server = self.tool("mqserve");
        server.args(args).arg(&self.name).arg("--").args(command).stdin(Stdio::null()).stdout(Stdio::null());
        Server(server.spawn().unwrap())
    }

    fn socket(&self) -> String {
        self.dir.path().join("socket").display().to_string()
    }

    /// What a user would build today.
    fn socat(&self) -> Server {
        let listen = format!("UNIX-LISTEN:{},fork,backlog=128", self.socket());
        let server = Server(Command::new("socat").args([&listen, "EXEC:cat"]).stdin(Stdio::null()).spawn().unwrap());
        while !std::path::Path::new(&self.socket()).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        server
    }

    fn shell(&self, script: &str) {
        let mut bash = Command::new("bash");
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap_or_default());
        bash.args(["-c", script]).env("PATH", path).env("Q", &self.name).env("S", self.socket());
        run(&mut bash);
    }

    /// Small requests, by so many callers at once.
    fn calls(&self) {
        for callers in [1, 8, 64] {
            let _ours = self.serve(&["-j", &callers.to_string()], &["cat"]);
            let peer = self.socat();
            let each = format!("seq {CALLS} | xargs -P{callers} -I{{}} ");
            let (ours, peers) = self.compare(
                || self.shell(&format!("{each} mqcall $Q {{}}")),
                || self.shell(&format!("{each} sh -c 'echo {{}} | socat -t9 - UNIX-CONNECT:$S'")),
            );
            row(&format!("{CALLS} calls of cat, {callers} callers, socat"), ours, peers, "at least 1.5", speedup);
            drop(peer);
            std::fs::remove_file(self.socket()).unwrap();
        }
    }

    fn bodies(&self) {
        for (mebibytes, times) in [(1, 32), (64, 1)] {
            let _ours = self.serve(&[], &["cat"]);
            let peer = self.socat();
            let file = self.dir.path().join("body");
            std::fs::write(&file, crate::noise(mebibytes << 20)).unwrap();
            let each = |call: &str| format!("for i in {{1..{times}}}; do {call} <{} >/dev/null; done", file.display());
            let (ours, peers) =
                self.compare(|| self.shell(&each("mqcall $Q")), || self.shell(&each("socat -t9 - UNIX-CONNECT:$S")));
            let what = format!("{times} calls of cat with {mebibytes} MiB, socat");
            row(&what, ours, peers, "at least 3", speedup);
            drop(peer);
            std::fs::remove_file(self.socket()).unwrap();
        }
    }

    /// Line by line, each when the last was answered, and all of them.
    fn lines(&self) {
        let _ours = self.serve(&["-l"], &["sed", "-u", "s/.*/\\U&/"]);
        let (ours, peer) = self.compare(
            || self.shell(&format!("seq {LINES} | mqcall -l $Q")),
            || {
                self.shell(&format!(
                    "coproc sed -u 's/.*/\\U&/'; for i in {{1..{LINES}}}; do echo $i >&${{COPROC[1]}}; read -r x <&${{COPROC[0]}}; done"
                ));
            },
        );
        row(&format!("{LINES} calls of a line, a coprocess"), ours, peer, "at least 1", speedup);
        let second = LINES as f64 / ours.as_secs_f64();
        println!("| calls a second, a line each | {second:.0} | - | - | at least 20000 |");
    }

    /// Work, a line each, and a process each.
    fn work(&self) {
        let (ours, peer) = self.compare(
            || {
                self.shell(&format!(
                    "seq {WORK} | mqsend -l $Q & mqserve -l -j 2 --count {WORK} $Q -- sed -u 's/.*/ok/'; wait"
                ));
            },
            || {
                self.shell(&format!(
                    "seq {WORK} | mqsend -l $Q & mqrecv -l --count {WORK} $Q | xargs -P2 -n1 true; wait"
                ))
            },
        );
        row(&format!("{WORK} messages of work, mqrecv and xargs -P2 -n1"), ours, peer, "at least 20", speedup);
    }
}
