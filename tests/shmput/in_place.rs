//! shmput -i; and how a name is published: leftovers, and file systems without
//! unnamed files. Row G22.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::shmput::{both, content, half_way, put};
use crate::util::compile::compile;
use crate::util::{Test, entries, noise, wait_until};
use nix::sys::signal::Signal;

#[test]
fn in_place_at_offsets() {
    let t = Test::new();
    let key = t.key();
    for address in [t.name("o"), "file:o".into(), key] {
        put(&t, &[&address], "0123456789").run().ok();
        for (offset, input, expected) in [
            ("0", "ab", "ab23456789"),
            ("8", "yz", "ab234567yz"),
            ("4", "\0\n", "ab23\0\n67yz"),
            ("3", "", "ab23\0\n67yz"),
            ("10", "", "ab23\0\n67yz"),
            ("0", "abcdefghij", "abcdefghij"),
        ] {
            t.file("input", input);
            put(&t, &["-i", "--offset", offset, &address], input).run().ok();
            assert_eq!(content(&t, &address), expected.as_bytes(), "{address} {offset}");
            put(&t, &["-i", "--offset", offset, &address, "input"], "").run().ok();
            assert_eq!(content(&t, &address), expected.as_bytes(), "{address} {offset}");
        }
        put(&t, &["-i", "--offset", "11", &address], "").run().says(1, "offset 11 is past its end, it has 10 bytes");
    }
}

#[test]
fn in_place_it_is_the_same_object() {
    let t = Test::new();
    for (address, path) in both(&t) {
        put(&t, &[&address], "0123456789").run().ok();
        let before = path.metadata().unwrap();
        put(&t, &["-i", "--offset", "2", &address], "xx").run().ok();
        let after = path.metadata().unwrap();
        assert_eq!((after.ino(), after.mode(), after.len()), (before.ino(), before.mode(), 10));
    }
}

#[test]
fn in_place_too_long_an_input_is_refused_before_a_byte_is_written() {
    let t = Test::new();
    let key = t.key();
    let old = noise(1, 200_000);
    for address in [t.name("o"), "file:o".into(), key] {
        put(&t, &[&address], &*old).run().ok();
        for (offset, size) in [(0, 200_001), (0, 400_000), (199_990, 11), (200_000, 1), (60_000, 140_001)] {
            let room = format!("longer than the {} bytes it has room for", 200_000 - offset);
            let input = noise(2, size);
            t.file("input", &input);
            let args = ["-i", "--offset", &offset.to_string(), &address, "input"];
            put(&t, &args[..4], input).run().says(9, &room);
            put(&t, &args, "").run().says(9, &room);
            assert!(content(&t, &address) == old, "{address} {offset} {size}");
        }
        put(&t, &["-i", "--offset", "60000", &address], noise(2, 140_000)).run().ok();
        assert!(content(&t, &address) == [&old[..60_000], &noise(2, 140_000)].concat());
    }
}

#[test]
fn in_place_a_pipe_is_read_no_further_than_the_room_and_a_byte() {
    let t = Test::new();
    let key = t.key();
    for address in [t.name("o"), "file:o".into(), key] {
        put(&t, &[&address], "0123456789").run().ok();
        let script = format!("shmput -i --offset 2 {address}; echo $?; cat");
        let run = t.bash(&script).stdin(noise(1, 1000)).run();
        assert_eq!(run.stdout, [b"9\n", &noise(1, 1000)[9..]].concat(), "{run:?}");
        assert_eq!(content(&t, &address), b"0123456789");
    }
}

#[test]
fn in_place_nothing_changes_before_the_input_has_ended() {
    let t = Test::new();
    for (address, _) in both(&t) {
        put(&t, &["--size", "1M", &address], "").run().ok();
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let filler = half_way(&t, "shmput", &["-i", &address]);
            filler.kill(signal);
            assert_eq!(filler.output().status, 128 + signal as i32);
            assert!(content(&t, &address) == vec![0; 1 << 20]);
        }
    }
}

#[test]
fn in_place_wants_an_object() {
    let t = Test::new();
    for address in [t.name("o"), "file:o".into(), t.key(), "id:2147483647".into()] {
        put(&t, &["-i", &address], "x").run().says(3, "does not exist");
    }
    assert!(t.left().is_empty() && !t.path("o").exists());
}

#[test]
fn in_place_beyond_four_gibibytes() {
    let t = Test::new();
    // Sparse: only the pages that are written take memory.
    t.bash(&format!("truncate -s 5G {}", t.shm_path("o").display())).run().ok();
    let (name, at) = (t.name("o"), ((1u64 << 32) + 12_345).to_string());
    put(&t, &["-i", "--offset", &at, &name], "far").run().ok();
    let read = t.cmd("shmcat").args(["--offset", &at, "--length", "4", &name]).run().ok();
    assert_eq!(read, b"far\0");
    assert_eq!(t.cmd("shmcat").args(["--offset", "12345", "--length", "4", &name]).run().ok(), [0; 4]);
}

#[test]
fn in_place_a_file_of_proc_claims_no_size() {
    let t = Test::new();
    let version = std::fs::read("/proc/version").unwrap();
    let key = t.key();
    for address in [t.name("o"), key] {
        put(&t, &["--size", "4K", &address], "").run().ok();
        put(&t, &["-i", &address, "/proc/version"], "").run().ok();
        assert!(content(&t, &address).starts_with(&[&version[..], b"\0"].concat()));
    }
}

/// A program that runs another under a filter of system calls: `tmpfile` has
/// no unnamed files, `kill` dies as it renames, `fail` cannot rename.
pub(crate) fn filter(t: &Test) -> Option<PathBuf> {
    compile(t, "filter", FILTER_C)
}

const FILTER_C: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifndef SYS_renameat
#define SYS_renameat SYS_renameat2
#endif
#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, what))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
#define IF(test, value, no) BPF_JUMP(BPF_JMP | test | BPF_K, value, 0, no)
int main(int argc, char **argv) {
    struct sock_filter tmpfile[] = {
        LOAD(nr), IF(BPF_JEQ, SYS_openat, 3),
        LOAD(args[2]), IF(BPF_JSET, O_TMPFILE & ~O_DIRECTORY, 1), RETURN(SECCOMP_RET_ERRNO | EOPNOTSUPP),
        RETURN(SECCOMP_RET_ALLOW) };
    struct sock_filter renames[] = {
        LOAD(nr), IF(BPF_JEQ, SYS_renameat, 1),
        RETURN(argv[1][0] == 'k' ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EIO),
        RETURN(SECCOMP_RET_ALLOW) };
    struct sock_fprog program = { 4, renames };
    if (argv[1][0] == 't') program = (struct sock_fprog){ 6, tmpfile };
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
    execvp(argv[2], argv + 2);
    return 98;
}
"#;

/// The temporary names in the test's directory.
fn leftovers(t: &Test) -> Vec<String> {
    entries(t.path("")).into_iter().filter(|name| name.starts_with(".ipcutils.")).collect()
}

#[test]
fn g9_g22_killed_between_link_and_rename() {
    let t = Test::new();
    if filter(&t).is_none() {
        return;
    }
    put(&t, &["file:o"], "old").run().ok();
    let mut names = Vec::new();
    for _ in 0..2 {
        // 128 + SIGSYS: as sudden as kill -9.
        let killed = t.bash("exec ./filter kill shmput file:o").stdin("new").run();
        assert_eq!((killed.status, &*killed.stderr), (159, ""));
        assert_eq!(content(&t, "file:o"), b"old");
        names.extend(leftovers(&t));
        let [name] = &leftovers(&t)[..] else { panic!("{names:?}: the second did not sweep the first's") };
        let (letters, inode) = name.strip_prefix(".ipcutils.").unwrap().split_once('.').unwrap();
        assert!(letters.len() == 12 && letters.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
        assert_eq!(inode.parse(), Ok(t.path(name).metadata().unwrap().ino()));
    }
    assert_ne!(names[0], names[1]);
    // What has such a name, and is no file, harms nobody.
    let (dir, fifo, link) = (".ipcutils.aaaaaaaaaaaa.7", ".ipcutils.bbbbbbbbbbbb.7", ".ipcutils.cccccccccccc.7");
    t.bash(&format!("mkdir {dir}; mkfifo {fifo}; ln -s o {link}")).run().ok();
    put(&t, &["file:o"], "new").run().ok();
    assert_eq!(content(&t, "file:o"), b"new");
    t.bash(&format!("rm -d {dir} {fifo} {link}")).run().ok();
    assert_eq!(leftovers(&t), [""; 0]);
}

#[test]
fn a_rename_that_fails_leaves_nothing() {
    let t = Test::new();
    if filter(&t).is_none() {
        return;
    }
    put(&t, &["file:o"], "old").run().ok();
    t.bash("./filter fail shmput file:o").stdin("new").run().says(1, "file:o: I/O error");
    assert_eq!(content(&t, "file:o"), b"old");
    assert_eq!(leftovers(&t), [""; 0]);
}

#[test]
fn without_unnamed_files_it_is_as_with_them() {
    let t = Test::new();
    if filter(&t).is_none() {
        return;
    }
    let script = "
        set -e
        put() { ./filter tmpfile shmput \"$@\"; }
        echo first | put -x file:o
        echo second | put -x file:o && exit 1 || [ $? = 4 ]
        [ \"$(shmcat file:o)\" = first ]
        echo second | put file:o; [ \"$(shmcat file:o)\" = second ]
        echo third | put --size 1 file:o && exit 1 || [ $? = 9 ]
        (ulimit -f 4; head -c 1M /dev/zero | put file:o) && exit 1 || [ $? = 9 ]
        echo x | put file:nope/o && exit 1 || [ $? = 3 ]
        [ \"$(shmcat file:o)\" = second ]
        umask 077; echo x | put -m 640 file:new; [ $(stat -c %a new) = 640 ]
        chmod 640 new; echo y | put file:new; [ $(stat -c %a new) = 640 ]";
    let run = t.bash(script).run();
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(leftovers(&t), [""; 0]);
}

#[test]
fn without_unnamed_files_a_signal_leaves_no_name() {
    let t = Test::new();
    if filter(&t).is_none() {
        return;
    }
    put(&t, &["file:o"], "old").run().ok();
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let filler = half_way(&t, "./filter", &["tmpfile", "shmput", "file:o"]);
        wait_until("it has a temporary name", || leftovers(&t).len() == 1);
        filler.kill(signal);
        let ended = filler.output();
        assert_eq!((ended.status, &*ended.stderr), (128 + signal as i32, ""));
        assert_eq!(leftovers(&t), [""; 0]);
    }
    // Nothing can be done at a kill -9: the next one sweeps, but not the
    // name of one that lives.
    let killed = half_way(&t, "./filter", &["tmpfile", "shmput", "file:o"]);
    wait_until("it has a temporary name", || leftovers(&t).len() == 1);
    let filler = half_way(&t, "./filter", &["tmpfile", "shmput", "file:o"]);
    wait_until("both have a temporary name", || leftovers(&t).len() == 2);
    killed.kill(Signal::SIGKILL);
    assert_eq!(killed.output().status, 137);
    assert_eq!(leftovers(&t).len(), 2);
    put(&t, &["file:o"], "new").run().ok();
    assert_eq!(leftovers(&t).len(), 1);
    assert_eq!(content(&t, "file:o"), b"new");
    filler.output().ok();
    assert!(content(&t, "file:o") == noise(1, 300_000));
    wait_until("no temporary name is left", || leftovers(&t).is_empty());
}
