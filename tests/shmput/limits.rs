//! shmput: limits that are met half way. Rows D8, G6, M4.

use super::in_place::filter;
use super::*;
use crate::util::NO_OTHERS;

#[test]
fn m4_without_a_descriptor_to_notice_signals_by_nothing_is_made() {
    let t = Test::new();
    let key = t.key();
    // The input's spool is number 3, and the signals' would be 4.
    let limited = ["-c", &format!("{NO_OTHERS}; ulimit -n 4; exec shmput {key}")];
    t.cmd("bash").args(limited).stdin("x").run().says(9, "too many open files");
    assert!(t.left().is_empty());
    let filler = half_way(&t, "bash", &limited);
    filler.kill(Signal::SIGTERM);
    assert_eq!(filler.output().status, 143);
    assert!(t.left().is_empty());
    // Where a file cannot be without a name: 3 is the directory.
    if filter(&t).is_none() {
        return;
    }
    for limit in [4, 5] {
        let script = format!("{NO_OTHERS}; ulimit -n {limit}; exec ./filter tmpfile shmput file:o");
        t.bash(&script).stdin("x").run().says(9, "too many open files");
        assert!(!entries(t.path("")).iter().any(|name| name == "o" || name.starts_with(".ipcutils.")));
    }
}

#[test]
fn g6_a_file_system_without_an_inode_free_says_so() {
    let t = Test::new();
    // The directory itself takes one.
    let script = format!(
        "{REFUSED}
        mount -t tmpfs -o nr_inodes=2 tmpfs /dev/shm
        echo old | shmput /o
        refused 9 shmput /p </dev/null
        refused 9 shmput /o </dev/null
        [ \"$(shmcat /o)\" = old ] && [ \"$(ls -A /dev/shm)\" = o ]"
    );
    let Some(run) = t.unshared("--mount", &script) else { return };
    let said = run.run().text();
    assert!(said.lines().count() == 2 && said.lines().all(|line| line.contains("no inode free, of 2")), "{said}");
}

#[test]
fn g6_a_full_file_system_of_a_file_is_not_dev_shm() {
    let t = Test::new();
    let script = format!(
        "{REFUSED}
        mkdir m; mount -t tmpfs -o size=16k tmpfs m
        refused 9 shmput file:m/o </dev/zero
        refused 9 shmput --size 1M file:m/o </dev/null
        [ -z \"$(ls -A m)\" ]"
    );
    let Some(run) = t.unshared("--mount", &script) else { return };
    let said = run.run().text();
    for line in said.lines() {
        assert!(line.contains("has 16384 bytes") && !line.contains("/dev/shm"), "{said}");
    }
    assert_eq!(said.lines().count(), 2);
}

#[test]
fn d8_a_producer_of_more_than_shmmax_is_stopped_early() {
    let t = Test::new();
    let key = t.key();
    let script = "
        echo 1048576 >/proc/sys/kernel/shmmax
        set +e
        head -c 64M /dev/zero | shmput $KEY 2>&1
        echo ${PIPESTATUS[@]}
        wc -l </proc/sysvipc/shm";
    let Some(run) = t.with_limits("", script) else { return };
    let text = run.env("KEY", &key).run().text();
    let [message, statuses, lines] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(message.contains("more than kernel.shmmax allows, 1048576"), "{message}");
    // 141: SIGPIPE.
    assert_eq!((statuses, lines), ("141 9", "1"));
}
