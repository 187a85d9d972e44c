//! shmput of POSIX objects and files: what it promises, and rows G1 to G24 but
//! for those of names and owners.

mod filler;
mod in_place;
mod limits;
mod names;
mod races;
mod sysv;
mod torture;
mod words;

use crate::util::{Run, Running, Test, entries, noise, wait_until};
use nix::sys::signal::Signal;
use std::path::PathBuf;

/// Sizes around a page and around the step of a copy.
pub(crate) const SIZES: [usize; 9] = [0, 1, 2, 4095, 4096, 4097, 131_071, 131_072, 131_073];
const MIB: usize = 1024 * 1024;

/// For scripts under `bash -e`: the command ends with that status; its message.
/// Its input must be no pipeline, whose begin may die of SIGPIPE.
pub(crate) const REFUSED: &str = r#"
    refused() {
        local want=$1 got=0; shift; said=$("$@" 2>&1) || got=$?
        [ $got = $want ] || { echo "$*: status $got, not $want: $said" >&2; exit 1; }
        echo "$said"
    }
"#;

pub(crate) fn put<'t>(t: &'t Test, args: &[&str], input: impl Into<Vec<u8>>) -> Run<'t> {
    t.cmd("shmput").args(args).stdin(input)
}

#[track_caller]
pub(crate) fn content(t: &Test, address: &str) -> Vec<u8> {
    t.cmd("shmcat").args([address]).run().ok()
}

/// A POSIX object and a file, each as its address and its path.
pub(crate) fn both(t: &Test) -> [(String, PathBuf); 2] {
    [(t.name("o"), t.shm_path("o")), ("file:o".into(), t.path("o"))]
}

/// A shmput that has read a part of its input and waits for more.
pub(crate) fn half_way(t: &Test, program: &str, args: &[&str]) -> Running {
    let mut filler = t.cmd(program).args(args).spawn_open();
    filler.write(&noise(1, 300_000));
    // 300,000 bytes do not fit the pipe as it is made, so some were read.
    filler.wait_blocked();
    filler
}

#[test]
fn bytes_in_are_bytes_out() {
    let t = Test::new();
    let mut inputs: Vec<_> = SIZES.iter().map(|&size| noise(size as u64, size)).collect();
    inputs.extend([b"\0\xff\0".to_vec(), noise(3, 3 * MIB + 1)]);
    for input in inputs {
        let file = t.file("input", &input);
        for (address, path) in both(&t) {
            put(&t, &[&address], &*input).run().ok();
            assert!(content(&t, &address) == input, "a pipe of {} bytes", input.len());
            put(&t, &[&address, "-"], &*input).run().ok();
            assert!(content(&t, &address) == input, "- with {} bytes", input.len());
            put(&t, &[&address, file.to_str().unwrap()], "not this").run().ok();
            assert!(content(&t, &address) == input, "a file of {} bytes", input.len());
            assert!(std::fs::read(path).unwrap() == input);
        }
    }
}

#[test]
fn a_file_of_proc_claims_no_size() {
    let t = Test::new();
    put(&t, &[&t.name("o"), "/proc/version"], "").run().ok();
    assert_eq!(content(&t, &t.name("o")), std::fs::read("/proc/version").unwrap());
}

#[test]
fn a_file_at_stdin_is_taken_from_where_it_stands() {
    let t = Test::new();
    for size in [10, 200_000] {
        let rest = noise(1, size);
        t.file("input", [b"line\n", &*rest].concat());
        t.bash("{ read -r line; shmput file:o; } <input").run().ok();
        assert!(content(&t, "file:o") == rest);
    }
}

#[test]
fn an_input_that_cannot_be_read() {
    let t = Test::new();
    t.cmd("shmput").args([&t.name("o"), "nope"]).run().says(1, "nope: does not exist");
    t.cmd("shmput").args([&t.name("o"), "."]).run().says(1, "Is a directory");
    assert!(t.left().is_empty());
}

#[test]
fn m3_closed_descriptors() {
    let t = Test::new();
    t.bash("shmput file:o <&-").run().says(1, "standard input: is closed");
    assert!(!t.path("o").exists());
    t.file("input", "whole");
    t.bash("shmput file:o input <&- >&- 2>&-").run().ok();
    assert_eq!(content(&t, "file:o"), b"whole");
    // A message must not end up in the object.
    let failed = t.bash("shmput -x file:o input <&- >&- 2>&-").run();
    assert_eq!((failed.status, &*failed.stderr), (4, ""));
    assert_eq!(content(&t, "file:o"), b"whole");
}

#[test]
fn size_makes_the_rest_zero() {
    let t = Test::new();
    for (address, _) in both(&t) {
        put(&t, &["--size", "9", &address], "abc").run().ok();
        assert_eq!(content(&t, &address), b"abc\0\0\0\0\0\0");
        put(&t, &["--size", "3", &address], "abc").run().ok();
        assert_eq!(content(&t, &address), b"abc");
        put(&t, &["--size", "2K", &address], "").run().ok();
        assert_eq!(content(&t, &address), [0; 2048]);
        put(&t, &["--size", "0", &address], "").run().ok();
        assert_eq!(content(&t, &address), b"");
    }
}

#[test]
fn size_smaller_than_the_input_is_refused() {
    let t = Test::new();
    for (address, path) in both(&t) {
        put(&t, &["--size", "2", &address], "abc").run().says(9, "longer than the 2 bytes");
        assert!(!path.exists());
        put(&t, &[&address], "old").run().ok();
        put(&t, &["--size", "0", &address], "abc").run().says(9, "give a larger --size");
        assert_eq!(content(&t, &address), b"old");
    }
    assert_eq!(t.left().len(), 1, "{:?}", t.left());
}

#[test]
fn m9_numbers() {
    let t = Test::new();
    for size in ["", "-1", "+1", "1x", "0x10", "1kk", "18446744073709551616", "8388608T", "16777216T"] {
        put(&t, &[&format!("--size={size}"), "file:o"], "x").run().says(2, "is no size");
        put(&t, &["-i", &format!("--offset={size}"), "file:o"], "x").run().says(2, "is no size");
    }
    for mode in ["", "8", "1777", "rw", "-1", "+600"] {
        put(&t, &[&format!("--mode={mode}"), "file:o"], "x").run().says(2, "is no mode");
    }
    assert!(!t.path("o").exists());
}

#[test]
fn options_that_contradict_each_other() {
    let t = Test::new();
    for args in [&["-i", "-x"][..], &["-i", "--size=1"], &["-i", "-m", "600"], &["--offset", "1"]] {
        put(&t, &[args, &["file:o"]].concat(), "x").run().fails(2);
    }
    assert!(!t.path("o").exists());
}

#[test]
fn progress_is_drawn_on_a_terminal_alone() {
    let t = Test::new();
    // ok() wants nothing on stderr, which is no terminal here.
    put(&t, &["--progress", "file:o"], noise(1, MIB)).run().ok();
    if t.lacks("script") {
        return;
    }
    t.file("input", noise(1, 64 * MIB));
    let of = |command: &str| {
        let drawn = t.cmd("script").args(["-qec", command, "/dev/null"]).run();
        assert_eq!(drawn.status, 0, "{drawn:?}");
        String::from_utf8_lossy(&drawn.stdout).into_owned()
    };
    let drawn = of("shmput --progress file:o input");
    assert!(drawn.contains("of 64.00 MiB") && drawn.contains("left"), "{drawn:?}");
    let drawn = of("cat input | shmput --progress file:o");
    assert!(drawn.contains("MiB") && !drawn.contains("left"), "{drawn:?}");
    assert_eq!(of("shmput file:o input"), "");
    assert!(std::fs::read(t.path("o")).unwrap() == std::fs::read(t.path("input")).unwrap());
}

#[test]
fn g1_exclusive_twice_leaves_the_first() {
    let t = Test::new();
    for (address, _) in both(&t) {
        put(&t, &["-x", &address], "first").run().ok();
        put(&t, &["-x", &address], "second").run().says(4, "exists already");
        assert_eq!(content(&t, &address), b"first");
    }
}

#[test]
fn g3_an_empty_object() {
    let t = Test::new();
    t.bash("shmput $NAME </dev/null; : | shmput file:o").env("NAME", t.name("o")).run().ok();
    for (address, path) in both(&t) {
        assert_eq!(path.metadata().unwrap().len(), 0);
        assert_eq!(content(&t, &address), b"");
    }
}

#[test]
fn g6_full_tmpfs_keeps_the_old_content() {
    let t = Test::new();
    let script = format!(
        "{REFUSED}
        mount -t tmpfs -o size=64k tmpfs /dev/shm
        refused 9 shmput /o </dev/zero
        [ -z \"$(ls -A /dev/shm)\" ]
        echo old | shmput /o
        refused 9 shmput /o </dev/zero
        [ \"$(shmcat /o)\" = old ] && [ \"$(ls -A /dev/shm)\" = o ]
        echo it is usable again | shmput /o"
    );
    let Some(run) = t.unshared("--mount", &script) else { return };
    let messages = run.run().text();
    let [first, second] = messages.lines().collect::<Vec<_>>()[..] else { panic!("{messages}") };
    assert!(first.contains("/o: no space left: its file system has 65536 bytes, of which 65536 are free"), "{first}");
    assert!(second.contains("has 65536 bytes, of which 61440 are free (ipcls --space tells what fills it"), "{second}");
}

#[test]
fn g6_size_is_reserved_before_the_input_is_read() {
    let t = Test::new();
    let script = format!(
        "{REFUSED}
        mount -t tmpfs -o size=64k tmpfs /dev/shm
        printf 'not read\\n' | {{ refused 9 shmput --size 1M /o; cat; }}
        [ -z \"$(ls -A /dev/shm)\" ]
        # reserved, not sparse: a program that touches it is not killed
        echo x | shmput --size 64K /o
        [ $(stat -c %b /dev/shm/o) = 128 ]"
    );
    let Some(run) = t.unshared("--mount", &script) else { return };
    let text = run.run().text();
    assert!(text.contains("has 65536 bytes, of which 65536 are free"), "{text}");
    assert!(text.ends_with("\nnot read"), "{text}");
}

#[test]
fn g6_in_place_into_a_sparse_object_on_a_full_tmpfs() {
    let t = Test::new();
    let script = format!(
        "{REFUSED}
        mount -t tmpfs -o size=64k tmpfs /dev/shm
        truncate -s 1M /dev/shm/o
        refused 9 shmput -i /o < <(head -c 1M /dev/urandom)
        # refused before a byte was written
        shmcat /o | cmp -n 1M - /dev/zero"
    );
    let Some(run) = t.unshared("--mount", &script) else { return };
    let text = run.run().text();
    assert!(text.contains("has 65536 bytes"), "{text}");
}

#[test]
fn g7_file_size_limit() {
    let t = Test::new();
    for (address, _) in both(&t) {
        put(&t, &[&address], "old").run().ok();
        let limited = |command: &str| t.bash(&format!("ulimit -f 4; {command} {address}")).stdin(noise(1, MIB)).run();
        limited("shmput").says(9, "larger than a file may be");
        limited("shmput --size 1M").says(9, "ulimit -f");
        assert_eq!(content(&t, &address), b"old");
    }
    assert_eq!(t.left().len(), 1);
}

#[test]
fn g9_killed_half_way_leaves_the_old_content() {
    let t = Test::new();
    for (address, path) in both(&t) {
        for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGHUP] {
            let filler = half_way(&t, "shmput", &[&address]);
            filler.kill(signal);
            let ended = filler.output();
            assert_eq!((ended.status, &*ended.stderr), (128 + signal as i32, ""));
            assert!(!path.exists());
        }
        put(&t, &[&address], "old").run().ok();
        // A runner in the background may itself ignore SIGINT.
        for (signal, name) in [(Signal::SIGINT, "INT"), (Signal::SIGQUIT, "QUIT"), (Signal::SIGKILL, "KILL")] {
            let args = ["-c", &format!("ulimit -c 0; exec env --default-signal=INT,QUIT shmput {address}")];
            let filler = half_way(&t, "bash", &args);
            filler.kill(signal);
            let ended = filler.output();
            assert_eq!((ended.status, &*ended.stderr), (128 + signal as i32, ""), "{name}");
            assert_eq!(content(&t, &address), b"old");
        }
    }
    assert_eq!(t.left().len(), 1, "{:?}", t.left());
    assert_eq!(entries(t.path("")), ["o"]);
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let t = Test::new();
    let mut filler = half_way(&t, "env", &["--ignore-signal=TERM,HUP,INT", "shmput", &t.name("o")]);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        filler.kill(signal);
    }
    filler.write(b"rest");
    filler.output().ok();
    assert!(content(&t, &t.name("o")) == [&noise(1, 300_000)[..], b"rest"].concat());
}

#[test]
fn a_stop_and_continue_changes_nothing() {
    let t = Test::new();
    for (address, path) in both(&t) {
        let mut filler = half_way(&t, "shmput", &[&address]);
        filler.kill(Signal::SIGSTOP);
        wait_until("it is stopped", || filler.state() == 'T');
        assert!(!path.exists());
        filler.kill(Signal::SIGCONT);
        filler.write(b"rest");
        filler.output().ok();
        assert!(content(&t, &address) == [&noise(1, 300_000)[..], b"rest"].concat());
    }
}

#[test]
fn a_non_blocking_stdin_is_waited_for() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    let unblock = "use Fcntl; fcntl(STDIN, F_SETFL, O_NONBLOCK | fcntl(STDIN, F_GETFL, 0)) or die; exec @ARGV";
    for args in [&["file:o"][..], &["--size=300004", &key]] {
        let mut filler = half_way(&t, "perl", &[&["-e", unblock, "shmput"], args].concat());
        filler.write(b"rest");
        filler.output().ok();
        assert!(content(&t, args[args.len() - 1]) == [&noise(1, 300_000)[..], b"rest"].concat());
    }
}

#[test]
fn g11_a_reader_half_way_finishes_the_old_version() {
    let t = Test::new();
    let old = noise(1, 4 * MIB);
    for (address, path) in both(&t) {
        put(&t, &[&address], &*old).run().ok();
        let reader = t.cmd("shmcat").args([&address]).spawn_open();
        // Its output is a pipe, which holds at most 1 MiB.
        reader.wait_blocked();
        put(&t, &[&address], "new").run().ok();
        assert_eq!(std::fs::read(path).unwrap(), b"new");
        assert!(reader.output().ok() == old);
    }
}

#[test]
fn g24_who_has_the_old_object_keeps_it() {
    let t = Test::new();
    for (address, path) in both(&t) {
        let script = format!(
            "echo old | shmput {address}; exec 3<'{path}'; echo new | shmput {address}
            ipcunlink --force shm:{address}; echo newest | shmput -x {address}
            [ $(stat -Lc %i /dev/fd/3) != $(stat -c %i '{path}') ] && cat <&3 && cat '{path}'",
            path = path.display()
        );
        assert_eq!(t.bash(&script).run().text(), "old\nnewest");
    }
}
