//! What the tests of ringput and ringcat share.

use std::path::Path;

use nix::sys::signal::Signal;

use super::{Output, Run, Test, wait_until};

pub fn put<'t>(t: &'t Test, args: &[&str], input: impl Into<Vec<u8>>) -> Run<'t> {
    t.cmd("ringput").args(args).stdin(input)
}

pub fn cat<'t>(t: &'t Test, args: &[&str]) -> Run<'t> {
    t.cmd("ringcat").args(args)
}

pub fn position(t: &Test, ring: &str) -> u64 {
    t.cmd("ringput").args(["--position", ring]).run().text().parse().unwrap()
}

/// A field of the status, and those of readers one a line.
pub fn status(t: &Test, ring: &str, field: &str) -> String {
    let status = cat(t, &["--status", ring]).run().text();
    let found = status.lines().filter_map(|line| line.strip_prefix(&format!("{field}: ")));
    found.collect::<Vec<_>>().join("\n")
}

/// It ended with this status and these words; its output.
#[track_caller]
pub fn ends(output: Output, status: i32, words: &str) -> Vec<u8> {
    assert!(output.status == status && output.stderr.contains(words), "{output:?}");
    output.stdout
}

/// A ring whose writer was killed after these bytes.
pub fn died(t: &Test, ring: &str, bytes: &[u8], flags: &[&str]) {
    let mut writer = t.cmd("ringput").args(flags).args([ring]).spawn_open();
    writer.write(bytes);
    wait_until("it is committed", || Path::new(&path_of(ring)).exists() && position(t, ring) == bytes.len() as u64);
    writer.kill(Signal::SIGKILL);
    assert_eq!(writer.output().status, 137);
}

pub fn path_of(ring: &str) -> String {
    ring.strip_prefix("file:").map_or_else(|| format!("/dev/shm{ring}"), str::to_owned)
}

/// The sum of ipcutils-ring(5).
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Store numbers into a ring's header, and the sum of its constant part.
pub fn store(file: &std::fs::File, numbers: &[(u64, u64)]) {
    use std::os::unix::fs::FileExt;
    for (at, number) in numbers {
        file.write_all_at(&number.to_ne_bytes(), *at).unwrap();
    }
    let mut constant = [0; 32];
    file.read_exact_at(&mut constant, 0).unwrap();
    file.write_all_at(&sum(&constant).to_ne_bytes(), 32).unwrap();
}
