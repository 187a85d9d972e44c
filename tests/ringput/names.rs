//! Readers that are away or dead, and what a writer does to their slots.

use std::fs::File;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::*;

/// Hold the lock of a ring's table of readers until the file is dropped.
fn lock_table(ring: &str) -> File {
    let file = File::options().read(true).write(true).open(path_of(ring)).unwrap();
    let flock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: (1 << 62) + 2,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&flock)).unwrap();
    file
}

#[test]
fn k4_a_writer_that_looks_after_a_name_does_not_hide_what_it_lost() {
    let t = Test::new();
    let r = t.name("r");
    let lines: String = (0..10_000).map(|i| format!("{i:09}\n")).collect();
    let mut writer = t.cmd("ringput").args(["--overwrite", "-s", "4096", &r]).spawn_open();
    writer.write(&lines.as_bytes()[..20]);
    wait_until("it is there", || Path::new(&path_of(&r)).exists() && position(&t, &r) == 20);
    assert_eq!(cat(&t, &["--as", "a", "-l", "--count", "1", &r]).run().ok(), &lines.as_bytes()[..10]);
    writer.write(&lines.as_bytes()[20..]);
    writer.output().ok();
    let lag = lines.len() - 10;
    assert_eq!(status(&t, &r, "reader"), format!("away position=10 lag={lag} name=a"));
    put(&t, &["-n", &r], "").run().says(75, "a reader is away (ringcat --as a");
    assert_eq!(status(&t, &r, "reader"), format!("away position=10 lag={lag} name=a"));
    let output = cat(&t, &["--as", "a", &r]).run();
    let words = format!("bytes lost: {}", lag - output.stdout.len());
    assert!(lines.as_bytes().ends_with(&ends(output, 1, &words)));
}

#[test]
fn k2_a_dead_readers_slot_is_locked_under_the_tables_lock_alone() {
    let t = Test::new();
    let r = t.name("r");
    put(&t, &["-s", "4096", &r], "").run().ok();
    let reader = cat(&t, &["-f", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live"));
    reader.kill(Signal::SIGKILL);
    reader.output();
    put(&t, &["--resume", &r], noise(1, 4096)).run().ok();
    // What another has read is room but for the dead one.
    cat(&t, &["--count", "10", &r]).run().ok();
    let resume = || put(&t, &["--resume", "-n", &r], "x").run();
    // Else a reader that comes finds it locked, and takes that for a live one.
    let table = lock_table(&r);
    resume().says(75, "is full, and a reader is slow");
    drop(table);
    resume().ok();
}
