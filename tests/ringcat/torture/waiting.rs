//! A reader that waits for its ring counts from the moment that its wait began.

use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::*;
use crate::util::Running;

/// A reader whose wait writers can see: it has locked a byte of the directory.
fn waiting(t: &Test, args: &[&str]) -> Running {
    let reader = cat(t, &["--wait"]).args(args).spawn();
    let fds = format!("/proc/{}/fdinfo", reader.pid());
    let locked = |fd: std::fs::DirEntry| std::fs::read_to_string(fd.path()).is_ok_and(|info| info.contains("OFDLCK"));
    wait_until("writers can see it", || std::fs::read_dir(&fds).unwrap().flatten().any(locked));
    reader
}

#[test]
fn k13_three_short_streams_to_a_reader_that_waited() {
    let t = Test::new();
    for round in 0..rounds(4) {
        for (word, flags) in [("one", &[][..]), ("lines", &["-l"]), ("lost", &["--overwrite"])] {
            let r = t.name(format!("{word}{round}"));
            let reader = waiting(&t, &["-f", "-l", "--count", "3", &r]);
            let other = waiting(&t, &["-l", "--count", "1", &r]);
            for word in ["a\n", "b\n", "c\n"] {
                put(&t, flags, word).args([&r]).run().ok();
            }
            assert_eq!(String::from_utf8(reader.output().ok()).unwrap(), "a\nb\nc\n", "{word}");
            assert_eq!(other.output().ok(), b"a\n", "{word}");
            std::fs::remove_file(path_of(&r)).unwrap();
        }
    }
}

#[test]
fn k13_streams_of_many_writers_to_a_reader_that_waited() {
    let t = Test::new();
    for round in 0..rounds(4) {
        let r = t.name(round);
        let reader = waiting(&t, &["-f", "-l", "--count", "4", &r]);
        for word in ["a\n", "b\n"] {
            put(&t, &["--many", "-l", &r], word).run().ok();
        }
        t.cmd("ringput").args(["--end", &r]).run().ok();
        put(&t, &["--many", "-l", &r], "c\n").run().ok();
        t.cmd("ringput").args(["--end", &r]).run().ok();
        put(&t, &[&r], "d\n").run().ok();
        assert_eq!(String::from_utf8(reader.output().ok()).unwrap(), "a\nb\nc\nd\n");
        std::fs::remove_file(path_of(&r)).unwrap();
    }
}

/// A writer that waits for no reader is faster than one that waited: that is said.
#[test]
fn k4_a_reader_that_waited_is_told_what_it_missed() {
    let t = Test::new();
    let lines: String = (0..2000).map(|i| format!("{i:09}\n")).collect();
    for round in 0..rounds(4) {
        for flags in [&[][..], &["-l"]] {
            let r = t.name(format!("{round}{}", flags.len()));
            let reader = waiting(&t, &[flags, &[&r]].concat());
            put(&t, &["--overwrite", "-s", "4096", &r], &*lines).run().ok();
            let output = reader.output();
            let missed = lines.len() - output.stdout.len();
            if missed == 0 {
                output.ok();
            } else {
                assert!(output.stdout.ends_with(&lines.as_bytes()[lines.len() - 10..]));
                assert_eq!(output.status, 1);
                let told = output.stderr.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
                assert_eq!(told.sum::<usize>(), missed, "{}", output.stderr);
            }
            std::fs::remove_file(path_of(&r)).unwrap();
        }
    }
}

/// Whoever pretends to wait holds a writer up, but not the one that makes the ring.
#[test]
fn k9_a_reader_that_never_comes() {
    let t = Test::new();
    let r = t.name("r");
    let reader = waiting(&t, &[&r]);
    reader.kill(Signal::SIGSTOP);
    wait_until("it is stopped", || reader.state() == 'T');
    put(&t, &["-n", &r], "a").run().ok();
    put(&t, &["-n", &r], "b").run().says(75, "a reader has waited for its last stream, and is on its way");
    let second = put(&t, &[&r], "b").spawn();
    second.wait_blocked();
    reader.kill(Signal::SIGKILL);
    second.output().ok();
    assert_eq!(cat(&t, &[&r]).run().ok(), b"b");
}

/// The byte is that of ipcutils-ring(5).
#[test]
fn the_byte_that_a_waiting_reader_locks() {
    let t = Test::new();
    let r = t.name("r");
    let reader = waiting(&t, &[&r]);
    let hash = r.as_bytes()[1..]
        .iter()
        .fold(0xcbf29ce484222325u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3));
    let dir = std::fs::File::open("/dev/shm").unwrap();
    let mut flock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: (1 << 62) + (hash / 4) as i64,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(dir.as_fd(), FcntlArg::F_OFD_GETLK(&mut flock)).unwrap();
    assert_eq!(flock.l_type, libc::F_RDLCK as i16);
    reader.kill(Signal::SIGKILL);
}
