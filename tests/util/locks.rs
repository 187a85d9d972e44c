//! What the tests of shmlock, shmwait and shmwake share.

use super::{Output, Running, Test, wait_until};

pub fn lock(t: &Test, args: &[&str]) -> Output {
    t.cmd("shmlock").args(args).run()
}

pub fn status(t: &Test, l: &str) -> String {
    lock(t, &["--status", l]).text()
}

/// Wait until the status has a line that begins so.
#[track_caller]
pub fn wait_for(t: &Test, l: &str, line: &str) {
    // It may not be there yet.
    let now = || String::from_utf8(lock(t, &["--status", l]).stdout).unwrap();
    wait_until(line, || now().lines().any(|found| found.starts_with(line)));
}

/// A holder whose command ends when its input does.
pub fn hold(t: &Test, args: &[&str]) -> Running {
    let mut holder = t.cmd("shmlock").args(args).args(["--", "sh", "-c", "echo in; exec cat"]).spawn_open();
    let mut word = [0; 3];
    std::io::Read::read_exact(holder.child.stdout.as_mut().unwrap(), &mut word).unwrap();
    assert_eq!(&word, b"in\n");
    holder
}
