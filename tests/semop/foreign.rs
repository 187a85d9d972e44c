//! semop beside C, perl and python, which know nothing of it.

use super::{blocked, semop, set, values};
use crate::util::compile::{compile, python_has};
use crate::util::{Test, wait_until};

const SEM_C: &str = r#"
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
    const char *verb = argv[1], *name = argv[2];
    if (!strcmp(verb, "churn")) {
        for (int i = atoi(argv[3]); i > 0; i--) {
            sem_t *s = sem_open(name, O_CREAT, 0600, 1);
            if (s == SEM_FAILED) return perror(name), 1;
            sem_close(s), sem_unlink(name);
        }
        return 0;
    }
    sem_t *s = !strcmp(verb, "make") ? sem_open(name, O_CREAT | O_EXCL, 0600, atoi(argv[3])) : sem_open(name, 0);
    if (s == SEM_FAILED) return perror(name), 1;
    int value;
    if (!strcmp(verb, "wait")) return sem_wait(s);
    if (!strcmp(verb, "post")) return sem_post(s);
    if (!strcmp(verb, "value")) return sem_getvalue(s, &value), printf("%d\n", value), 0;
    return 0;
}
"#;

#[test]
fn c_and_posix() {
    let t = Test::new();
    let Some(c) = compile(&t, "sem", SEM_C) else { return };
    let c = |args: &[&str]| t.cmd(c.to_str().unwrap()).args(args);
    let name = t.name("sem");
    for ours in [true, false] {
        if ours {
            semop(&t, &["-c", "2", &name]).ok()
        } else {
            c(&["make", &name, "2"]).run().ok()
        };
        semop(&t, &[&name, "-1"]).ok();
        c(&["wait", &name]).run().ok();
        assert_eq!((values(&t, &name).as_str(), c(&["value", &name]).run().text().as_str()), ("0", "0"));
        // Each wakes the other.
        let waits = blocked(&t, &[&name, "-1"]);
        c(&["post", &name]).run().ok();
        waits.output().ok();
        let waits = c(&["wait", &name]).spawn();
        wait_until("C waits", || semop(&t, &["--get", "-J", &name]).text().contains("\"waiting\":1"));
        semop(&t, &[&name, "+1"]).ok();
        waits.output().ok();
        // The guardian's giving wakes it too.
        semop(&t, &[&name, "+1"]).ok();
        let held = t.cmd("semop").args([&name, "-1", "--", "cat"]).spawn_open();
        wait_until("it is held", || held.runs("cat"));
        let waits = c(&["wait", &name]).spawn();
        wait_until("C waits", || semop(&t, &["--get", "-J", &name]).text().contains("\"waiting\":1"));
        held.output().ok();
        waits.output().ok();
        t.cmd("ipcunlink").args(["--force", &format!("sem:{name}")]).run().ok();
    }
}

/// A semaphore that the C library is about to make has two names for an instant.
#[test]
fn f11_made_by_c_at_this_moment() {
    let t = Test::new();
    let Some(c) = compile(&t, "sem", SEM_C) else { return };
    let name = t.name("sem");
    let churn = t.cmd(c.to_str().unwrap()).args(["churn", &name, "20000"]).spawn();
    let mut looks = 0;
    while churn.state() != 'Z' {
        let output = semop(&t, &["--get", &name]);
        assert!(matches!(output.status, 0 | 3), "{output:?}");
        looks += 1;
    }
    assert!(looks > 0);
    churn.output().ok();
}

#[test]
fn perl_and_system_v() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = set(&t, "1,0");
    let perl = |script: &str| {
        let begin = format!("$i = semget({key}, 0, 0); defined $i or die $!; ");
        t.cmd("perl").args(["-e", &format!("{begin}{script}")])
    };
    perl("semop($i, pack('s!3 s!3', 0, -1, 0, 1, 2, 0)) or die $!").run().ok();
    assert_eq!(values(&t, &key), "0 2");
    let waits = perl("semop($i, pack('s!3', 0, -1, 0)) or die $!").spawn();
    wait_until("perl waits", || semop(&t, &["--get", "-J", &key]).text().contains("\"waiting\":1"));
    semop(&t, &[&key, "+1"]).ok();
    waits.output().ok();
    let waits = blocked(&t, &[&key, "1:=0"]);
    perl("semop($i, pack('s!3', 1, -2, 0)) or die $!").run().ok();
    waits.output().ok();
    // SEM_UNDO of a foreigner.
    perl("semop($i, pack('s!3', 1, 5, 0x1000)) or die $!; kill 9, $$").run();
    assert_eq!(values(&t, &key), "0 0");
}

#[test]
fn python_and_both() {
    let t = Test::new();
    if python_has(&t, "sysv_ipc") {
        let key = set(&t, "1");
        let script = "import sys, sysv_ipc as s; m = s.Semaphore(int(sys.argv[1], 0))
m.acquire(); print(m.value); m.release(); m.release(); m.undo = True; m.acquire(); print(m.value, m.waiting_for_nonzero)";
        assert_eq!(t.cmd("python3").args(["-c", script, &key]).run().text(), "0\n1 0");
        assert_eq!(values(&t, &key), "2");
        // One of python's, which has been initialised when it is released.
        let key = t.key();
        let make = "import sys, sysv_ipc as s; s.Semaphore(int(sys.argv[1], 0), s.IPC_CREX, initial_value=0).release()";
        t.cmd("python3").args(["-c", make, &key]).run().ok();
        semop(&t, &["-n", "-c", "0", &key, "-1"]).ok();
    }
    if python_has(&t, "posix_ipc") {
        let name = t.name("py");
        let make = "import sys, posix_ipc as p; p.Semaphore(sys.argv[1], p.O_CREX, initial_value=3).acquire()";
        t.cmd("python3").args(["-c", make, &name]).run().ok();
        semop(&t, &[&name, "-1"]).ok();
        assert_eq!(values(&t, &name), "1");
        let wait = "import sys, posix_ipc as p; s = p.Semaphore(sys.argv[1]); s.acquire(); s.acquire(); print(s.value)";
        let waits = t.cmd("python3").args(["-c", wait, &name]).spawn();
        wait_until("python waits", || semop(&t, &["--get", "-J", &name]).text().contains("\"waiting\":1"));
        semop(&t, &[&name, "+1"]).ok();
        assert_eq!(waits.output().text(), "0");
    }
}
