//! shmput, System V: rows D1 to D13, and what it promises.

use crate::shmput::{REFUSED, SIZES, content, put};
use crate::util::compile::compile;
use crate::util::{AS_OTHER, Test, noise, sysvipc, wait_until};

/// A line of /proc/sysvipc/shm.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) perms: String,
    pub(crate) size: usize,
    pub(crate) attached: usize,
    pub(crate) changed: u64,
}

/// What the kernel says of the segment with this key.
pub(crate) fn row(key: &str) -> Option<Row> {
    let key = u32::from_str_radix(&key[2..], 16).unwrap().cast_signed().to_string();
    let fields = sysvipc("shm").into_iter().find(|row| row[0] == key)?;
    let number = |field: usize| fields[field].parse().unwrap();
    Some(Row {
        id: fields[1].clone(),
        perms: fields[2].clone(),
        size: number(3),
        attached: number(6),
        changed: number(13) as u64,
    })
}

#[test]
fn bytes_in_are_bytes_out() {
    let t = Test::new();
    let key = t.key();
    let mut inputs: Vec<_> = SIZES.iter().skip(1).map(|&size| noise(size as u64, size)).collect();
    inputs.extend([b"\0\xff\0".to_vec(), noise(3, (3 << 20) + 1)]);
    for input in inputs {
        t.file("input", &input);
        for args in [&[&*key][..], &[&key, "-"], &[&key, "input"]] {
            let stdin = if args.len() == 2 && args[1] == "input" { Vec::new() } else { input.clone() };
            put(&t, args, stdin).run().ok();
            let row = row(&key).unwrap();
            assert_eq!((row.size, &*row.perms, row.attached), (input.len(), "600", 0));
            assert!(content(&t, &key) == input, "{args:?} of {} bytes", input.len());
            t.cmd("ipcunlink").args([format!("shm:{key}")]).run().ok();
        }
    }
    put(&t, &[&key, "/proc/version"], "").run().ok();
    assert_eq!(content(&t, &key), std::fs::read("/proc/version").unwrap());
}

#[test]
fn a_file_at_stdin_is_taken_from_where_it_stands() {
    let t = Test::new();
    for size in [10, 200_000] {
        let (key, rest) = (t.key(), noise(1, size));
        t.file("input", [b"line\n", &*rest].concat());
        t.bash(&format!("{{ read -r line; shmput {key}; }} <input")).run().ok();
        assert!(content(&t, &key) == rest);
        assert_eq!(row(&key).unwrap().size, size);
    }
}

#[test]
fn every_way_to_say_a_key() {
    let t = Test::new();
    let key = t.key();
    let decimal = u32::from_str_radix(&key[2..], 16).unwrap();
    for address in [format!("key:{decimal}"), format!("key:0{decimal:o}"), format!("key:{key}")] {
        put(&t, &[&address], "x").run().ok();
        assert_eq!(content(&t, &key), b"x");
        t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
    }
    t.keyed(t.path("f"), 7);
    t.bash("echo x | shmput ftok:f:7; shmcat $(ftok f 7); ipcunlink shm:ftok:f:7").run().ok();
}

#[test]
fn d1_empty_input_is_an_error_that_says_why() {
    let t = Test::new();
    let key = t.key();
    for args in [&[&*key][..], &["--size", "0", &key], &[&key, "/dev/null"]] {
        put(&t, args, "").run().says(1, "the input is empty, and no System V segment has size 0 (give --size N)");
    }
    put(&t, &["private:"], "").run().says(1, "the input is empty");
    assert!(t.left().is_empty());
    put(&t, &["--size", "5", &key], "").run().ok();
    assert_eq!(content(&t, &key), [0; 5]);
}

#[test]
fn d2_an_existing_segment_is_refused_with_advice() {
    let t = Test::new();
    let key = t.key();
    put(&t, &[&key], noise(1, 100)).run().ok();
    let id = row(&key).unwrap().id;
    for (option, size) in [("-x", 100), ("-x", 1), ("--foreign", 101), ("--foreign", 0)] {
        let refused = put(&t, &[option, &key], noise(2, size)).run().fails(4);
        assert!(refused.contains("cannot be moved"), "{refused}");
        assert!(refused.ends_with(&format!("(write into it with -i, or remove it with ipcunlink shm:id:{id})")));
    }
    put(&t, &[&format!("id:{id}")], "x").run().says(4, "-i");
    put(&t, &["id:2147483647"], "x").run().says(3, "does not exist");
    assert!(content(&t, &key) == noise(1, 100));
    assert_eq!(row(&key).unwrap().id, id);
}

#[test]
fn d3_the_size_is_exact() {
    let t = Test::new();
    let key = t.key();
    put(&t, &[&key], noise(1, 100)).run().ok();
    assert_eq!(row(&key).unwrap().size, 100);
    assert!(content(&t, &key) == noise(1, 100));
    // Memory is page-rounded, the segment is not.
    put(&t, &["-i", "--offset", "99", &key], "ab").run().says(9, "longer than the 1 bytes");
}

#[test]
fn size_makes_the_rest_zero_or_is_too_small() {
    let t = Test::new();
    let key = t.key();
    put(&t, &["--size", "2", &key], "abc").run().says(9, "longer than the 2 bytes");
    t.file("input", noise(1, 200_000));
    put(&t, &["--size", "190000", &key, "input"], "").run().says(9, "give a larger --size");
    assert!(t.left().is_empty());
    put(&t, &["--size", "6", &key], "abc").run().ok();
    assert_eq!(content(&t, &key), b"abc\0\0\0");
}

#[test]
fn d5_read_only_is_read_only() {
    let t = Test::new();
    let root = nix::unistd::geteuid().is_root();
    if root && !t.second_user() {
        return;
    }
    let (key, other) = (t.key(), if root { AS_OTHER } else { "" });
    t.bash(&format!("echo mine | {other} shmput -m 400 {key}")).run().ok();
    t.bash(&format!("echo x | {other} shmput -i {key}")).run().says(5, "permission denied");
    assert_eq!(t.bash(&format!("{other} shmcat {key}")).run().text(), "mine");
}

#[test]
fn d6_a_removed_segment_leaves_its_key_at_once() {
    let t = Test::new();
    let Some(holder) = compile(&t, "holder", HOLDER_C) else { return };
    let key = t.key();
    let held = t.cmd(holder.to_str().unwrap()).args([&key, "384"]).spawn_open();
    wait_until("it is attached", || row(&key).is_some_and(|row| row.perms == "600" && row.attached == 1));
    let id = format!("id:{}", row(&key).unwrap().id);
    t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
    t.cmd("shmcat").args([&key]).run().fails(3);
    put(&t, &["-i", &key], "x").run().fails(3);
    put(&t, &[&key], "new").run().ok();
    // By identifier it is there until the last has detached.
    assert_eq!(content(&t, &id), b"held");
    assert_eq!(content(&t, &key), b"new");
    held.output().ok();
    wait_until("the kernel has freed it", || t.cmd("shmcat").args([&id]).run().status == 3);
}

/// Makes a segment of 4 bytes with a mode, and a group if one is given, and leaves a
/// child attached to it until standard input ends.
pub(crate) const HOLDER_C: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int id = shmget(strtoul(argv[1], 0, 16), 4, IPC_CREAT | IPC_EXCL | 0600);
    char *memory = shmat(id, 0, 0), byte;
    if (id < 0 || memory == (void *)-1) return 1;
    memcpy(memory, "held", 4);
    pid_t maker = getpid();
    if (fork() == 0) {
        struct shmid_ds ds;
        shmctl(id, IPC_STAT, &ds);
        ds.shm_perm.mode = atoi(argv[2]);
        if (argc > 3) ds.shm_perm.gid = atoi(argv[3]);
        shmctl(id, IPC_SET, &ds);
        while (read(0, &byte, 1) > 0) {}
        return 0;
    }
    shmdt(memory);
    return 0;
}
"#;

#[test]
fn d8_huge_sizes() {
    let t = Test::new();
    let key = t.key();
    for size in ["4194304T", "8388607T", "9223372036854775807"] {
        for address in [&key, "private:"] {
            put(&t, &["--size", size, address], "x").run().fails(9);
        }
    }
    assert!(t.left().is_empty());
}

/// A limit that is lowered in an IPC namespace, and what is said of it.
fn limit(name: &str, value: &str, script: &str, words: &str) {
    let t = Test::new();
    let script = format!("{REFUSED} echo {value} >/proc/sys/kernel/{name}; {script}");
    let Some(run) = t.with_limits("", &script) else { return };
    let said = run.run().text();
    for words in words.split('|') {
        assert!(said.contains(words), "{said}");
    }
}

const NOTHING_MORE: &str = "; [ $(wc -l </proc/sysvipc/shm) = ";

#[test]
fn d8_shmmax_is_named() {
    let script = format!("refused 9 shmput --size 4097 0x1 <<<x; echo x | shmput --size 4K 0x2{NOTHING_MORE} 2 ]");
    limit("shmmax", "4096", &script, "4097 bytes|kernel.shmmax|4096|sysctl kernel.shmmax=N");
}

#[test]
fn d8_shmall_is_named() {
    let script =
        format!("echo x | shmput --size 8K 0x1; refused 9 shmput --size 16K 0x2 < <(seq 9999){NOTHING_MORE} 2 ]");
    limit("shmall", "4", &script, "16384 bytes|kernel.shmall|4 pages|sysctl kernel.shmall=N");
}

#[test]
fn d9_shmmni_is_named_and_no_disk_is_full() {
    let script = format!("for i in 1 2; do echo $i | shmput 0x$i; done; refused 9 shmput 0x3 <<<3{NOTHING_MORE} 3 ]");
    limit("shmmni", "2", &script, "kernel.shmmni|2|no disk is full|sysctl kernel.shmmni=N");
}

#[test]
fn d13_shm_rmid_forced_is_said() {
    let script = format!("refused 1 shmput 0x1 <<<x; refused 1 shmput private: <<<x{NOTHING_MORE} 1 ]");
    limit("shm_rmid_forced", "1", &script, "kernel.shm_rmid_forced is 1|sysctl kernel.shm_rmid_forced=0");
}

#[test]
fn g7_the_spool_obeys_the_file_size_limit() {
    let t = Test::new();
    let script = format!("ulimit -f 4; exec shmput {}", t.key());
    t.bash(&script).stdin(noise(1, 1 << 20)).run().says(9, "larger than a file may be");
    assert!(t.left().is_empty());
}

#[test]
fn d10_a_segment_of_another_program_is_not_touched() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    let create = format!("perl -e '$id = shmget({key}, 7, 01600); shmwrite($id, \"foreign\", 0, 7) or die'");
    t.bash(&create).run().ok();
    let id = row(&key).unwrap().id;
    put(&t, &[&key], "x").run().says(4, "exists already");
    assert_eq!(content(&t, &key), b"foreign");
    assert_eq!(row(&key).unwrap().id, id);
}

#[test]
fn in_place_a_segment_of_another_user_is_refused() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let key = t.key();
    t.bash(&format!("umask 0; echo theirs | {AS_OTHER} shmput -m 666 {key}")).run().ok();
    put(&t, &["-i", &key], "x").run().says(5, "belongs to another user, uid 65534");
    assert_eq!(content(&t, &key), b"theirs\n");
    put(&t, &["-i", "--foreign", &key], "THEIR").run().ok();
    assert_eq!(content(&t, &key), b"THEIRs\n");
}

#[test]
fn the_modes_of_unfinished_segments_are_refused() {
    let t = Test::new();
    for mode in ["11", "611"] {
        put(&t, &["-m", mode, &t.key()], "x").run().says(2, "a segment that is being filled");
    }
    // Mode 0 is nobody's mark.
    let key = t.key();
    put(&t, &["-m", "0", &key], "x").run().ok();
    assert_eq!(row(&key).unwrap().perms, "0");
}

#[test]
fn private_prints_its_identifier() {
    let t = Test::new();
    let text = |args: &[&str]| String::from_utf8(put(&t, args, "mine").run().ok()).unwrap();
    let (first, second) = (text(&["private:"]), text(&["-x", "-m", "640", "--size", "5", "private:"]));
    assert_ne!(first, second);
    for (printed, expected) in [(first, &b"mine"[..]), (second, b"mine\0")] {
        let id = printed.strip_suffix('\n').unwrap();
        assert!(id.strip_prefix("id:").unwrap().bytes().all(|byte| byte.is_ascii_digit()), "{id}");
        assert_eq!(content(&t, id), expected);
    }
    put(&t, &["-i", "private:"], "x").run().fails(2);
    assert_eq!(t.left().len(), 2);
}

#[test]
fn m1_m2_private_that_cannot_say_its_identifier_leaves_none() {
    let t = Test::new();
    // exec: the segment's maker is then the process that the test knows.
    let run = |script: &str| t.bash(script).stdin("x").run();
    run("exec shmput private: >/dev/full").says(1, "standard output: No space left on device");
    run("exec shmput private: >&-").says(1, "standard output: is closed");
    let closed = run("mkfifo p; exec 3<>p 4>p 3<&-; exec shmput private: >&4");
    assert_eq!((closed.status, &*closed.stderr), (141, ""));
    assert!(t.left().is_empty(), "{:?}", t.left());
}
