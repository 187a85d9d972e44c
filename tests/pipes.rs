//! The tools together in pipelines, and with what a shell may hand them: rows
//! M1 to M4, M7, M9, M10, M13 and M14.
//!
//! Not here: M5, M6 and M8 are for tools that run a command; M11 and M12 are
//! in ipcunlink.rs; M15 needs a machine whose clock may be set (the deadlines
//! are tested beside their code); M16 is for tools that block on each other;
//! M17 promises nothing; M18 has nothing to refuse, as no tool is installed
//! setuid and none reads the environment but for the terminal.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;

use nix::sys::signal::Signal;

use crate::util::{AS_OTHER, Running, Test, noise, rounds, said, wait_until};

#[test]
fn m1_stdout_closed_early() {
    let t = Test::new();
    let content = noise(1, 3 << 20);
    for address in [t.name("seg"), t.key()] {
        t.cmd("shmput").args([&address]).stdin(&*content).run().ok();
        for flag in ["", "--zero-copy"] {
            let pipeline = format!("shmcat {flag} {address} | head -c1 >/dev/null; echo ${{PIPESTATUS[*]}}");
            // Silent: text() sees to that.
            assert_eq!(t.bash(&pipeline).run().text(), "141 0");
            let ignored = t.bash(&format!("trap '' PIPE; {pipeline}")).run();
            assert_eq!(ignored.stdout, b"1 0\n");
            assert_eq!(ignored.stderr, "shmcat: standard output: Broken pipe\n");
        }
        assert!(t.cmd("shmcat").args([&address]).run().ok() == content);
    }
    // The reader of a pipe that nobody reads is not there from the start.
    let pipeline = "mkfifo p; exec 3<>p 4>p 3<&-; ftok / >&4; echo $?";
    assert_eq!(t.bash(pipeline).run().text(), "141");
}

#[test]
fn m2_stdout_on_dev_full() {
    let t = Test::new();
    let name = t.name("seg");
    t.cmd("shmput").args([&name]).stdin("x").run().ok();
    let before = t.left();
    let full = "standard output: No space left on device";
    for command in [
        &*format!("shmcat {name}"),
        &format!("shmcat --zero-copy {name}"),
        &format!("shmcat --rm {name}"),
        "ftok /",
        "shmcat --help",
        "ipcunlink --version",
    ] {
        t.bash(&format!("{command} >/dev/full")).run().says(1, full);
    }
    // An identifier that nobody learns would be a leak.
    t.bash("echo x | exec shmput private: >/dev/full").run().says(1, full);
    let count = "awk '$1 == 0' /proc/sysvipc/shm | wc -l";
    let script = format!("a=$({count}); shmput private: </etc/passwd >/dev/full || [ $? = 1 ]; [ $({count}) = $a ]");
    if let Some(run) = t.unshared("--ipc", &script) {
        run.run().says(0, full);
    }
    assert_eq!(t.left(), before);
}

/// Every choice of closed descriptors, for each way to use each tool.
#[test]
fn m3_descriptors_closed_at_the_start() {
    let t = Test::new();
    let (name, key) = (t.name("seg"), t.key());
    t.file("content", "content");
    for closed in 1..8 {
        let [no_in, no_out, no_err] = [closed & 1 != 0, closed & 2 != 0, closed & 4 != 0];
        let redirect = format!(
            "{} {} {}",
            if no_in { "<&-" } else { "" },
            if no_out { ">&-" } else { "" },
            if no_err { "2>&-" } else { "" }
        );
        let run = |command: &str, status: i32, stdout: &str| {
            let output = t.bash(&format!("{command} {redirect}")).stdin("CONT").run();
            assert_eq!(output.status, status, "{command} {redirect}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{command} {redirect}");
            assert_eq!(output.stderr.lines().count(), usize::from(status != 0 && !no_err), "{output:?}");
        };
        let of = |address: &str| t.cmd("shmcat").args([address]).run().text();
        for address in [&name, &key] {
            run(&format!("shmput {address} content"), 0, "");
            assert_eq!(of(address), "content");
            run(&format!("shmput -i --offset 3 {address}"), i32::from(no_in), "");
            assert_eq!(of(address), if no_in { "content" } else { "conCONT" });
            run(&format!("shmput -i --offset 7 {address} content"), 9, "");
            run(&format!("shmput -i {address} content"), 0, "");
            for flag in ["", "--zero-copy"] {
                run(&format!("shmcat {flag} {address}"), i32::from(no_out), if no_out { "" } else { "content" });
            }
            assert_eq!(of(address), "content", "nothing was written into it");
            run(&format!("ipcunlink shm:{address}"), 0, "");
            run(&format!("shmcat {address}"), if no_out { 1 } else { 3 }, "");
            run(&format!("shmput {address}"), i32::from(no_in), "");
            t.cmd("ipcunlink").args([format!("shm:{address}")]).run().fails_or_ok(no_in);
            assert!(t.left().is_empty());
        }
        let ftok = t.bash("ftok content").run().text();
        run("ftok content", i32::from(no_out), &if no_out { String::new() } else { format!("{ftok}\n") });
        run("shmcat --bad", 2, "");
    }
}

impl crate::util::Output {
    /// It did what it should, or found nothing to do where `missing` says so.
    #[track_caller]
    fn fails_or_ok(self, missing: bool) {
        if missing {
            self.says(3, "does not exist");
        } else {
            self.ok();
        }
    }
}

#[test]
fn m4_a_signal_in_the_middle() {
    let t = Test::new();
    let (name, key, file) = (t.name("seg"), t.key(), format!("file:{}", t.path("f").display()));
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        for address in [&name, &key, &file] {
            for flags in [&["--size", "1M"][..], &[]] {
                t.cmd("shmput").args([&name]).stdin("old").run().ok();
                let before = t.left();
                let mut writer = t.cmd("shmput").args(flags).args([address]).spawn_open();
                writer.write(&[b'x'; 1000]);
                writer.wait_blocked();
                writer.kill(signal);
                // Its input is still open: it does not wait for the rest.
                wait_until("it has ended", || matches!(writer.state(), 'Z'));
                let output = writer.output();
                assert_eq!((output.status, &*output.stderr), (status, ""), "{address} {flags:?}");
                assert_eq!(t.left(), before, "{address} {flags:?}");
                assert_eq!(t.cmd("shmcat").args([&name]).run().text(), "old");
                assert!(!t.path("f").exists());
            }
        }
        t.cmd("shmput").args([&name]).stdin(noise(1, 3 << 20)).run().ok();
        let mut reader = t.cmd("shmcat").args(["--rm", &name]).spawn();
        reader.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        reader.kill(signal);
        assert_eq!(reader.output().status, status);
        assert_eq!(t.left().len(), 1);
    }
}

/// As nohup, `trap ''` and background jobs leave them.
#[test]
fn m7_a_signal_ignored_at_the_start_stays_ignored() {
    let t = Test::new();
    let (name, key) = (t.name("seg"), t.key());
    let running = |what: &str, command: &str| {
        let process = t.bash(&format!("trap '' HUP INT TERM USR1; exec {command}")).spawn_open();
        let comm = format!("/proc/{}/comm", process.pid());
        wait_until("the tool runs", || std::fs::read_to_string(&comm).unwrap_or_default().trim() == what);
        process.wait_blocked();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1] {
            process.kill(signal);
        }
        process
    };
    let reader = running("shmcat", &format!("shmcat --wait {name}"));
    let mut writers =
        [running("shmput", &format!("shmput {name}")), running("shmput", &format!("shmput --size 4 {key}"))];
    for writer in &mut writers {
        writer.write(b"data");
    }
    for writer in writers {
        writer.output().ok();
    }
    assert_eq!(reader.output().text(), "data");
    assert_eq!(t.cmd("shmcat").args([&key]).run().text(), "data");
    let script = format!("nohup shmcat {name} 2>/dev/null");
    assert_eq!(t.bash(&script).run().text(), "data");
}

#[test]
fn m9_numbers_that_are_none_are_refused() {
    let t = Test::new();
    let (name, key) = (t.name("seg"), t.key());
    let junk = ["", "-1", "+1", " 1", "1 ", "1x", "0x10", "1e3", "99999999999999999999", "9223372036854775808", "١"];
    let before = t.left();
    let refused = |tool: &str, args: &[&str]| {
        let line = t.cmd(tool).args(args).run().fails(2);
        assert!(line.starts_with(&format!("{tool}: ")), "{line}");
    };
    for junk in junk {
        for (tool, option, more) in [
            ("shmput", "--offset", &["-i"][..]),
            ("shmput", "--size", &[]),
            ("shmput", "--mode", &[]),
            ("shmcat", "--offset", &[]),
            ("shmcat", "--length", &[]),
            ("shmcat", "--timeout", &["--wait"]),
            ("shmcat", "--busy-status", &[]),
        ] {
            // As a duration these are only long.
            if option == "--timeout" && junk.starts_with('9') {
                continue;
            }
            let word = format!("{option}={junk}");
            for address in [&name, &key] {
                refused(tool, &[more, &[&word, address]].concat());
            }
        }
        if junk != "0x10" {
            for kind in ["key", "id"].iter().filter(|kind| **kind != "key" || junk != "-1") {
                let address = format!("{kind}:{junk}");
                refused("shmcat", &[&address]);
                refused("shmput", &[&address]);
                refused("ipcunlink", &[&format!("shm:{address}")]);
            }
        }
        refused("ftok", &["--", "/", junk]);
    }
    for (tool, args) in [
        ("shmput", &["-m", "8", "/x"][..]),
        ("shmput", &["-m", "1000", "/x"]),
        ("shmput", &["--size", "8388608T", "/x"]),
        ("shmput", &["--size", "1kk", "/x"]),
        ("shmput", &["--size", "K", "/x"]),
        ("shmcat", &["-E", "256", "/x"]),
        ("shmcat", &["--wait", "-w", "1m30", "/x"]),
        ("shmcat", &["--wait", "-w", "inf", "/x"]),
        ("shmcat", &["--wait", "-w", "99999999999999999999999d", "/x"]),
        ("shmcat", &["key:4294967296"]),
        ("shmcat", &["key:-2147483649"]),
        ("shmcat", &["id:2147483648"]),
    ] {
        refused(tool, args);
    }
    assert_eq!(t.left(), before);
}

#[test]
fn m10_names_of_any_bytes() {
    let t = Test::new();
    for (bytes, shown) in [
        (&b"a\nshmcat: forged"[..], "a\\x0ashmcat: forged"),
        (b"\x1b[31m", "\\x1b[31m"),
        (b"\xff\x80", "\\xff\\x80"),
        (b" ", " "),
    ] {
        let name = t.name("");
        let word = |prefix: &str| OsString::from_vec([prefix.as_bytes(), name.as_bytes(), bytes].concat());
        let path = |prefix: &str| OsString::from_vec([prefix.as_bytes(), b"f", bytes].concat());
        t.cmd("shmcat").args([word("")]).run().says(3, &format!("shmcat: {name}{shown}: does not exist"));
        t.cmd("shmcat").args([path("file:")]).run().says(3, &format!("file:f{shown}: "));
        t.cmd("shmput").args(["-i"]).args([word("")]).run().says(3, &format!("{name}{shown}: "));
        t.cmd("ftok").args([path("")]).run().says(3, &format!("f{shown}: "));
        t.cmd("shmput").args([t.name("x").into(), path("")]).run().says(1, &format!("f{shown}: "));
        t.cmd("shmcat").args([path("")]).run().fails(2);
        t.cmd("shmcat").args([path("--")]).run().fails(2);
        t.cmd("shmput").args([word("")]).stdin("content").run().ok();
        assert_eq!(t.cmd("shmcat").args([word("")]).run().text(), "content");
        t.cmd("ipcunlink").args([word("shm:")]).run().ok();
        t.cmd("shmput").args([path("file:")]).stdin("content").run().ok();
        assert_eq!(t.cmd("shmcat").args(["--rm"]).args([path("file:")]).run().text(), "content");
    }
    assert!(t.left().is_empty());
}

#[test]
fn m13_others_objects_without_permission() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let key = t.key();
    t.cmd("shmput").args([&key]).stdin("x").run().ok();
    let id = t.bash(&format!("ipcls -r --no-headings -o id shm:{key}")).run().text();
    for (command, status) in [
        (format!("shmcat {key}"), 5),
        (format!("shmcat id:{id}"), 5),
        (format!("echo y | shmput {key}"), 4),
        (format!("echo y | shmput -i {key}"), 5),
    ] {
        t.bash(&format!("cd /; {AS_OTHER} bash -c '{command}'")).run().fails(status);
    }
    // That a key is taken can be seen without permission.
    let file = t.shm_path("readable");
    t.keyed(file.clone(), 1);
    t.bash(&format!("echo x | shmput ftok:{}", file.display())).run().ok();
    t.bash(&format!("cd /; {AS_OTHER} ftok --check {}", file.display())).run().says(4, "is the key of shm:id:");
    assert_eq!(t.cmd("shmcat").args([&key]).run().text(), "x");
}

#[test]
fn m14_many_posix_objects() {
    let t = Test::new();
    let script = "
        mount -t tmpfs -o size=64m tmpfs /dev/shm
        for i in {1..2000}; do shmput /n$i <<<$i; done
        [ $(ls -A /dev/shm | wc -l) = 2000 ]
        for i in {1..2000}; do shmcat /n$i; done | cmp - <(seq 2000)
        # replacing looks through the directory for leftovers
        shmput /n7 <<<seven; [ $(shmcat /n7) = seven ]
        ipcunlink shm:/n{1..2000}; [ -z \"$(ls -A /dev/shm)\" ]";
    let Some(run) = t.unshared("--mount", script) else { return };
    run.run().ok();
}

#[test]
fn m14_many_system_v_segments() {
    let t = Test::new();
    let script = "
        for i in {1..500}; do shmput key:$i <<<$i; done
        [ $(ipcs -m | grep -c ^0x) = 500 ]
        for i in {1..500}; do shmcat key:$i; done | cmp - <(seq 500)
        ipcunlink shm:key:{1..499}; shmcat --rm key:500
        ! ipcs -m | grep ^0x";
    let Some(run) = t.unshared("--ipc", script) else { return };
    assert_eq!(run.run().text(), "500");
}

#[test]
fn a_pipeline_from_segment_to_segment() {
    let t = Test::new();
    let content = noise(2, 1_234_567);
    let (a, b, key) = (t.name("a"), t.name("b"), t.key());
    t.cmd("shmput").args([&a]).stdin(&*content).run().ok();
    let script = format!(
        "shmcat {a} | shmput {key} && shmcat --zero-copy {key} | gzip | gunzip | shmput {b} && shmcat --rm {b} | tee copy"
    );
    assert!(t.bash(&script).run().ok() == content);
    // Into itself: it is read to its end before it is replaced.
    t.bash(&format!("shmcat {a} | gzip -1 | gunzip | shmput {a}")).run().ok();
    assert!(t.cmd("shmcat").args([&a]).run().ok() == content);
    let script = format!("shmcat {a} | shmput -i {key}; shmcat {key}");
    assert!(t.bash(&script).run().ok() == content);
}

/// It has never had 4 MiB of memory. A build for tests has shared libraries,
/// which are not the copy's: without them it is less than 2.
#[track_caller]
fn had_little_memory(process: &Running, what: &str) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let kib = |field: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let (peak, files) = (kib("VmHWM:"), kib("RssFile:"));
    assert!(peak.saturating_sub(files) < 2048, "{what}: {peak} KiB, {files} of program files");
    let installed = std::env::var_os("IPCUTILS_BIN_DIR").is_some();
    assert!(peak < 4096 || !installed, "{what}: {peak} KiB");
}

/// 64 MiB, or 4 GiB in `make torture`: every byte, and a small peak of memory.
#[test]
fn torture_gigabytes_through_a_pipe_in_little_memory() {
    let t = Test::new();
    let mebibytes: u64 = if rounds(1) > 1 { 4096 } else { 64 };
    let room = nix::sys::statvfs::statvfs("/dev/shm").unwrap();
    if room.blocks_available() * room.fragment_size() < (mebibytes + 64) << 20 {
        return said(&format!("not tested: no room for {mebibytes} MiB in /dev/shm"));
    }
    let block = noise(64, 1 << 20);
    // No two mebibytes are equal.
    let nth = |i: u64| [&i.to_le_bytes()[..], &block[8..]].concat();
    let size = (mebibytes << 20).to_string();
    for (address, flags) in [(t.name("seg"), &[][..]), (t.key(), &["--size", &size])] {
        let mut writer = t.cmd("shmput").args(flags).args([&address]).spawn_open();
        for i in 0..mebibytes {
            writer.write(&nth(i));
        }
        // It waits for the end of its input, all but a pipe's content taken.
        writer.wait_blocked();
        had_little_memory(&writer, &format!("shmput {address}"));
        writer.output().ok();
        let mut reader = t.cmd("shmcat").args([&address]).spawn();
        let mut got = vec![0; 1 << 20];
        for i in 0..mebibytes {
            // The last three do not fit the pipe and its buffer: it still runs.
            if i == mebibytes - 3 {
                had_little_memory(&reader, &format!("shmcat {address}"));
            }
            reader.child.stdout.as_mut().unwrap().read_exact(&mut got).unwrap();
            assert!(got == nth(i), "{address}: mebibyte {i}");
        }
        reader.output().ok();
        t.cmd("ipcunlink").args([format!("shm:{address}")]).run().ok();
    }
}
