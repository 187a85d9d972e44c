//! --pthread: the mutex of a C program. Rows H1 to H3, H7, H9, H10, H13, H18.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::*;
use crate::util::compile::compile;
use crate::util::promised;

/// The C program that shmlock(1) shows.
fn manual() -> String {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man/ipcutils-pthread.7")).unwrap();
    let (_, rest) = page.split_once("#include").unwrap();
    let (program, _) = rest.split_once(".Ed").unwrap();
    format!("#include{}", program.replace("\\e", "\\"))
}

/// Mutexes of every sort in one segment, a cache line apart; holds none of them
/// but the last, until its input ends.
const KINDS_C: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>
static char *at;
static pthread_mutex_t *make(int i, int shared, int robust, int protocol, int type) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    if (shared) pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (robust) pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attr, protocol);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutex_t *m = (pthread_mutex_t *)(at + 64 * i);
    if (pthread_mutex_init(m, &attr)) exit(9);
    return m;
}
static void dies(pthread_mutex_t *m) {
    if (fork() == 0) { pthread_mutex_lock(m); _exit(0); }
    wait(NULL);
}
int main(int argc, char **argv) {
    if (argv[1][0] == '/') {
        int fd = shm_open(argv[1], O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || ftruncate(fd, 1000)) return perror(argv[1]), 1;
        at = mmap(NULL, 1000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    } else {
        int id = shmget(strtoul(argv[1], NULL, 0), 1000, IPC_CREAT | IPC_EXCL | strtoul(argv[2], NULL, 8));
        at = shmat(id, NULL, 0);
    }
    if (at == (void *)-1) return perror("map"), 1;
    make(0, 1, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_NORMAL);
    make(1, 1, 0, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_NORMAL);
    make(2, 0, 0, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_NORMAL);
    make(3, 1, 1, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_NORMAL);
    pthread_mutex_t *m = make(4, 1, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ERRORCHECK);
    dies(m);
    if (pthread_mutex_lock(m) == EOWNERDEAD) pthread_mutex_unlock(m);
    dies(make(5, 1, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_RECURSIVE));
    memset(at + 64 * 6, 0xff, 64);
    m = make(8, 1, 1, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_NORMAL);
    pthread_mutex_lock(m);
    puts("ready");
    fflush(stdout);
    getchar();
    return 0;
}
"#;

/// A C program that has made the segment, its output to be read by line.
struct Program {
    running: Running,
    lines: BufReader<std::process::ChildStdout>,
}

impl Program {
    fn start(t: &Test, program: &Path, args: &[&str]) -> Self {
        let mut running = t.cmd(program.to_str().unwrap()).args(args).spawn_open();
        let lines = BufReader::new(running.child.stdout.take().unwrap());
        let mut program = Program { running, lines };
        assert_eq!(program.line(), "ready");
        program
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn turn(&mut self) -> String {
        self.running.write(b"\n");
        self.line()
    }
}

fn kinds(t: &Test) -> Option<PathBuf> {
    compile(t, "kinds", KINDS_C)
}

#[test]
fn the_c_program_of_the_manual() {
    let t = Test::new();
    let Some(program) = compile(&t, "manual", &manual()) else { return };
    let s = t.name("s");
    let mut program = Program::start(&t, &program, &[&s]);
    let put = |text: &str| format!("printf '%s\\0' '{text}' | shmput -i --offset 40 {s}");
    let run = |script: &str| lock(&t, &["--pthread", "0", &s, "--", "sh", "-c", script]);
    run(&put("hello")).ok();
    assert_eq!(program.turn(), "hello");
    // While the command runs the program waits.
    let script = format!("echo >in; until [ -e go ]; do sleep .01; done; {}", put("changed"));
    let holder = t.cmd("shmlock").args(["--pthread", "0", &s, "--", "sh", "-c", &script]).spawn();
    wait_until("it is inside", || t.path("in").exists());
    program.running.write(b"\n");
    lock(&t, &["--pthread", "0", "-n", &s, "--", "true"]).says(75, "is locked");
    lock(&t, &["--pthread", "0", "-w", "1.1", &s, "--", "true"]).says(124, "is locked");
    t.file("go", "");
    holder.output().ok();
    assert_eq!(program.line(), "changed");
    // A command that is killed has died inside: the program is told.
    assert_eq!(run(&format!("{}; kill -9 $$", put("half"))).status, 137);
    assert_eq!(program.turn(), "died: half");
    assert_eq!(program.turn(), "half");
    // And the other way round; the mutex is the kernel's to give back.
    assert_eq!(run("kill -9 $$").status, 137);
    let told = run("echo .$IPCUTILS_OWNER_DIED");
    assert!(told.status == 0 && told.stdout == b".1\n" && told.stderr.contains("its previous owner died"), "{told:?}");
    assert_eq!(run("echo .$IPCUTILS_OWNER_DIED").text(), ".");
    // A command that cannot be run is no death.
    lock(&t, &["--pthread", "0", &s, "--", "./no-such-command"]).says(127, "no command");
    assert_eq!(program.turn(), "half");
}

#[test]
fn h1_h2_h3_mutexes_of_every_kind() {
    let t = Test::new();
    let Some(program) = kinds(&t) else { return };
    let (s, key) = (t.name("s"), t.key());
    t.file("file", "");
    for segment in [&s, &key] {
        let program = Program::start(&t, &program, &[segment, "0600"]);
        let at = |offset: &str| lock(&t, &["--pthread", offset, segment, "--", "true"]);
        at("0").ok();
        at("64").says(125, "is not robust");
        at("128").says(125, "is not process-shared");
        at("192").says(125, "of a kind that is not known here");
        // H2: given up without mending.
        at("256").says(125, "is not recoverable");
        lock(&t, &["--pthread", "256", "--reset", segment]).says(8, "is not recoverable");
        // H3: left as it is, it tells the next one again.
        for _ in 0..2 {
            lock(&t, &["--pthread", "320", "--strict", segment, "--", "echo", "never"]).says(7, "previous owner died");
        }
        lock(&t, &["--pthread", "320", "--reset", segment]).ok();
        lock(&t, &["--pthread", "320", "--strict", segment, "--", "true"]).ok();
        at("384").says(125, "of a kind that is not known here");
        at("448").says(125, "is not process-shared");
        at("4").says(125, "aligned");
        at("961").says(125, "no room for a mutex");
        at("1000000000000").says(125, "no room for a mutex");
        lock(&t, &["--pthread", "16777216T", segment, "--", "true"]).fails(125);
        // H13 and H7: a holder that lives, and one that is stopped.
        lock(&t, &["--pthread", "512", "-n", segment, "--", "true"]).says(75, "is locked");
        program.running.kill(Signal::SIGSTOP);
        lock(&t, &["--pthread", "512", "-w", "1.2", segment, "--", "true"]).says(124, "is locked");
        program.running.kill(Signal::SIGCONT);
        let waiting = |signal| {
            let waiter = t.cmd("shmlock").args(["--pthread", "512", segment, "--", "true"]).spawn();
            waiter.wait_blocked();
            waiter.kill(signal);
            waiter.output().status
        };
        assert_eq!((waiting(Signal::SIGTERM), waiting(Signal::SIGKILL)), (143, 137));
        // H1: the holder dies.
        let waiter = t.cmd("shmlock").args(["--pthread", "512", segment, "--", "true"]).spawn();
        waiter.wait_blocked();
        let begin = Instant::now();
        program.running.kill(Signal::SIGKILL);
        let output = waiter.output();
        assert!(output.status == 0 && output.stderr.contains("its previous owner died"), "{output:?}");
        promised(begin, Duration::from_secs(2));
    }
    // The same bytes in a file.
    t.bash(&format!("cp /dev/shm{s} file; chmod 600 file")).run().ok();
    lock(&t, &["--pthread", "0", "file:file", "--", "true"]).ok();
    lock(&t, &["--pthread", "0", "file:none", "--", "true"]).says(125, "does not exist");
    lock(&t, &["--pthread", "0", "--reset", &t.key()]).says(3, "does not exist");
}

/// M8: the command dies with shmlock, whose mutex it is.
#[test]
fn m8_the_command_dies_with_the_owner_of_a_mutex() {
    let t = Test::new();
    let Some(program) = kinds(&t) else { return };
    let s = t.name("s");
    let _program = Program::start(&t, &program, &[&s, "0600"]);
    let script = "echo $$ >in; exec sleep 1000";
    let holder = t.cmd("shmlock").args(["--pthread", "0", &s, "--", "sh", "-c", script]).spawn();
    wait_until("it is inside", || std::fs::read_to_string(t.path("in")).is_ok_and(|pid| pid.ends_with('\n')));
    let command: i32 = std::fs::read_to_string(t.path("in")).unwrap().trim().parse().unwrap();
    // Its state, and when it was started: another may get its number.
    let stat = || -> Option<(String, String)> {
        let stat = std::fs::read_to_string(format!("/proc/{command}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect();
        Some((fields[0].clone(), fields[19].clone()))
    };
    let (_, start) = stat().unwrap();
    holder.kill(Signal::SIGKILL);
    wait_until("the command is dead", || stat().is_none_or(|(state, since)| state == "Z" || since != start));
    let next = lock(&t, &["--pthread", "0", "-w", "1h", &s, "--", "true"]);
    assert!(next.status == 0 && next.stderr.contains("its previous owner died"), "{next:?}");
    // Signals are passed on as with a lock of ours.
    let script = "trap 'exit 9' TERM; echo >in2; while :; do sleep .01; done";
    let holder = t.cmd("shmlock").args(["--pthread", "0", &s, "--", "sh", "-c", script]).spawn();
    wait_until("it is inside", || t.path("in2").exists());
    holder.kill(Signal::SIGTERM);
    assert_eq!(holder.output().status, 9);
    lock(&t, &["--pthread", "0", "--strict", &s, "--", "true"]).ok();
}

/// H10: where another user may write, a mutex is no place for us.
#[test]
fn h10_segments_that_others_may_write_are_refused() {
    let t = Test::new();
    let Some(program) = kinds(&t) else { return };
    let (s, key, open_key) = (t.name("s"), t.key(), t.key());
    let _programs = [(&s, "0600"), (&key, "0600"), (&open_key, "0620")]
        .map(|(segment, mode)| Program::start(&t, &program, &[segment, mode]));
    for mode in ["620", "602", "666"] {
        t.bash(&format!("chmod {mode} /dev/shm{s}")).run().ok();
        lock(&t, &["--pthread", "0", &s, "--", "true"]).says(125, "may be written by other users");
    }
    t.bash(&format!("chmod 644 /dev/shm{s}")).run().ok();
    lock(&t, &["--pthread", "0", &s, "--", "true"]).ok();
    lock(&t, &["--pthread", "0", &key, "--", "true"]).ok();
    lock(&t, &["--pthread", "0", &open_key, "--", "true"]).says(125, "may be written by other users");
    if t.second_user() {
        t.bash(&format!("chown 65534 /dev/shm{s}")).run().ok();
        lock(&t, &["--pthread", "0", "--reset", &s]).says(8, "belongs to another user, uid 65534");
    }
}

/// H9: who made a System V segment is known to the kernel.
#[test]
fn h9_a_segment_of_another_pid_namespace() {
    let t = Test::new();
    let Some(program) = kinds(&t) else { return };
    let key = t.key();
    let _program = Program::start(&t, &program, &[&key, "0600"]);
    let script = "shmlock --pthread 0 $KEY -- true 2>err || grep -q 'made in another PID namespace' err";
    let Some(inside) = t.unshared("--pid --fork --mount-proc", script) else { return };
    inside.env("KEY", &key).run().ok();
}

/// Removed or truncated while one waits for it, or holds it.
#[test]
fn g4_a_segment_that_goes() {
    let t = Test::new();
    let Some(program) = kinds(&t) else { return };
    for how in ["rm /dev/shm$S", "truncate -s 0 /dev/shm$S"] {
        let s = t.name("s");
        let program = Program::start(&t, &program, &[&s, "0600"]);
        let waiter = t.cmd("shmlock").args(["--pthread", "512", &s, "--", "echo", "never"]).spawn();
        waiter.wait_blocked();
        let script = "echo >in; until [ -e out ]; do sleep .01; done; exit 5";
        let holder = t.cmd("shmlock").args(["--pthread", "0", &s, "--", "sh", "-c", script]).spawn();
        wait_until("it is inside", || t.path("in").exists());
        t.bash(how).env("S", &s).run().ok();
        waiter.output().says(125, "was removed, replaced or truncated meanwhile");
        t.file("out", "");
        assert_eq!(holder.output().status, 5);
        drop(program);
        t.bash(&format!("rm -f in out /dev/shm{s}")).run().ok();
    }
    let key = t.key();
    let _program = Program::start(&t, &program, &[&key, "0600"]);
    let waiter = t.cmd("shmlock").args(["--pthread", "512", &key, "--", "echo", "never"]).spawn();
    waiter.wait_blocked();
    t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
    waiter.output().says(125, "was removed, replaced or truncated meanwhile");
}
