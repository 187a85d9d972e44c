//! Messages: mqsend and mqrecv beside loops in C and python.

use std::process::{Command, Stdio};

use crate::{Bench, row, run, speedup};

pub(crate) fn measure(bench: &Bench) {
    bench.queues();
}

impl Bench {
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
}
