//! Calls that touch the process as a whole. Each case is a process of its own with
//! one thread, which the test runner's has not: this program, started once more.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
mod util;

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libipc::lock::{Lock, LockMode, OpenOptions, pthread};
use libipc::mode::Mode;
use libipc::process::command::End;
use libipc::process::signals::Deferred;
use libipc::ring::{Framing, SMALLEST, WriteOptions, Writer};
use libipc::sem::{self, Op, Ops, Semaphores};
use libipc::shm::PutOptions;
use libipc::{Address, ErrorKind, Kind, SysV};
use signal_hook::consts::{SIGBUS, SIGCHLD, SIGKILL, SIGTERM};
use signal_hook::{flag, low_level};

use crate::util::{Own, kind, now, patient, put, wait_until};

/// Set for the process of a case.
const CASE: &str = "IPCUTILS_TEST_CASE";
/// The address for [`takes_and_ends`].
const ADDRESS: &str = "IPCUTILS_TEST_ADDRESS";

const CASES: [(&str, fn()); 9] = [
    ("a_hosts_sigchld_handler_survives_a_command", a_hosts_sigchld_handler_survives_a_command),
    ("a_command_ends_in_a_program_with_threads", a_command_ends_in_a_program_with_threads),
    ("a_command_leaves_no_memory", a_command_leaves_no_memory),
    ("a_hosts_sigbus_handler_comes_back", a_hosts_sigbus_handler_comes_back),
    ("an_ignored_sigbus_comes_back", an_ignored_sigbus_comes_back),
    ("the_next_holder_is_told_how_a_command_ended", the_next_holder_is_told_how_a_command_ended),
    ("a_pthread_mutex_is_given_up_after_a_command", a_pthread_mutex_is_given_up_after_a_command),
    ("a_semaphore_taken_with_undo_is_given_back", a_semaphore_taken_with_undo_is_given_back),
    ("a_signal_waits_for_the_end_of_a_deferral", a_signal_waits_for_the_end_of_a_deferral),
];

fn main() -> ExitCode {
    if let Ok(case) = std::env::var(CASE) {
        let others = [("takes_and_ends", takes_and_ends as fn()), ("locks_and_ends", locks_and_ends)];
        let (_, run) = CASES.into_iter().chain(others).find(|(name, _)| *name == case).unwrap();
        run();
        return ExitCode::SUCCESS;
    }
    // As the test runner's: cases whose names have one of the words.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut failed = false;
    for (name, _) in CASES.into_iter().filter(|(name, _)| wanted(name)) {
        let passed = start(name, &[]);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed |= !passed;
    }
    ExitCode::from(u8::from(failed))
}

/// Run a case to its end; whether it has passed.
fn start(case: &str, environment: &[(&str, &str)]) -> bool {
    // A start with SIGBUS ignored keeps std from setting a handler of its own, which
    // would take every other one away.
    let script = if case.contains("sigbus") { "trap '' BUS; exec \"$0\"" } else { "exec \"$0\"" };
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(std::env::current_exe().unwrap());
    let mut child = command.env(CASE, case).envs(environment.iter().copied()).spawn().unwrap();
    let mut status = None;
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until(case, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
    }));
    if ended.is_err() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    status.is_some_and(|status| status.success())
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn acquire(own: &Own) -> Lock {
    let options = OpenOptions { mode: LockMode::Exclusive, create: Some(Mode::PRIVATE) };
    Lock::acquire(&own.address, &options, &mut patient()).unwrap()
}

fn ring(own: &Own) -> Writer {
    Writer::open(&own.address, &WriteOptions { capacity: SMALLEST, ..WriteOptions::default() }, &mut now()).unwrap()
}

/// A flag that is set when the signal comes.
fn noticed(signal: i32) -> Arc<AtomicBool> {
    let noticed = Arc::new(AtomicBool::new(false));
    flag::register(signal, noticed.clone()).unwrap();
    noticed
}

fn a_hosts_sigchld_handler_survives_a_command() {
    let noticed = noticed(SIGCHLD);
    let own = Own::name(Kind::Lock);
    assert_eq!(acquire(&own).run(&words(&["true"]), false, false), Ok(End::Exited(0)));
    // The library's own child was not the host's to notice.
    assert!(!noticed.load(Ordering::SeqCst));
    assert!(Command::new("true").status().unwrap().success());
    assert!(noticed.load(Ordering::SeqCst));
}

/// Any of the threads may be given the SIGCHLD.
fn a_command_ends_in_a_program_with_threads() {
    for _ in 0..8 {
        std::thread::spawn(|| {
            loop {
                std::thread::park()
            }
        });
    }
    let own = Own::name(Kind::Lock);
    let lock = acquire(&own);
    for _ in 0..20 {
        assert_eq!(lock.run(&words(&["true"]), false, false), Ok(End::Exited(0)));
    }
    let noticed = noticed(SIGCHLD);
    assert_eq!(lock.run(&words(&["sh", "-c", "exit 3"]), false, true), Ok(End::Exited(3)));
    assert!(!noticed.load(Ordering::SeqCst));
}

/// The bytes of data that this process has: proc_pid_status(5).
fn data() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn a_command_leaves_no_memory() {
    const WORDS: usize = 10_000;
    let own = Own::name(Kind::Lock);
    let lock = acquire(&own);
    let mut command = words(&["true"]);
    command.resize(WORDS, "x".into());
    let run = |died| assert_eq!(lock.run(&command, false, died), Ok(End::Exited(0)));
    (0..5).for_each(|_| run(true));
    let before = data();
    (0..50).for_each(|_| run(true));
    let more = data().saturating_sub(before);
    assert!(more < 10 * WORDS * size_of::<usize>(), "{more} bytes are left of 50 commands");
}

fn a_hosts_sigbus_handler_comes_back() {
    let noticed = noticed(SIGBUS);
    let own = Own::name(Kind::Ring);
    let mut writer = ring(&own);
    // One that has nothing to do with the ring is passed on.
    low_level::raise(SIGBUS).unwrap();
    assert!(noticed.swap(false, Ordering::SeqCst));
    std::fs::File::options().write(true).open(own.path()).unwrap().set_len(0).unwrap();
    assert_eq!(kind(writer.append(b"x", Framing::End(b'x'), &mut now())), ErrorKind::Gone);
    drop(writer);
    assert!(!noticed.load(Ordering::SeqCst));
    low_level::raise(SIGBUS).unwrap();
    assert!(noticed.load(Ordering::SeqCst));
}

/// Whether SIGBUS is ignored, and whether it is caught: proc_pid_status(5).
fn sigbus() -> (bool, bool) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let has = |field: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() >> (SIGBUS - 1) & 1 == 1
    };
    (has("SigIgn:"), has("SigCgt:"))
}

fn an_ignored_sigbus_comes_back() {
    assert_eq!(sigbus(), (true, false));
    let own = [Own::name(Kind::Ring), Own::name(Kind::Ring)];
    let writers = own.each_ref().map(ring);
    assert_eq!(sigbus(), (false, true));
    let [first, last] = writers;
    drop(first);
    assert_eq!(sigbus(), (false, true));
    drop(last);
    assert_eq!(sigbus(), (true, false));
}

fn the_next_holder_is_told_how_a_command_ended() {
    let own = Own::name(Kind::Lock);
    let lock = acquire(&own);
    assert_eq!(lock.run(&words(&["sh", "-c", "exit 3"]), false, false), Ok(End::Exited(3)));
    assert_eq!(lock.owner_died(), Ok(None));
    assert_eq!(kind(lock.run(&words(&["/no/such/command"]), false, false)), ErrorKind::CommandMissing);
    assert_eq!(kind(lock.run(&words(&["/"]), false, false)), ErrorKind::CommandRefused);
    assert_eq!(lock.owner_died(), Ok(None));
    assert_eq!(lock.run(&words(&["sh", "-c", "kill -9 $$"]), false, false), Ok(End::Killed(SIGKILL)));
    drop(lock);
    let next = acquire(&own);
    let died = next.owner_died().unwrap().unwrap();
    assert_eq!(died.holder.map(|holder| holder.pid), Some(std::process::id()));
    // The command is told, too.
    let told = "[ \"$IPCUTILS_OWNER_DIED\" = 1 ]";
    assert_eq!(next.run(&words(&["sh", "-c", told]), false, true), Ok(End::Exited(0)));
    assert_eq!(next.owner_died(), Ok(None));
}

fn mutex(address: &Address) -> pthread::Mutex {
    pthread::Mutex::open(address, 0).unwrap()
}

fn a_pthread_mutex_is_given_up_after_a_command() {
    let own = Own::name(Kind::Shm);
    let mut bytes = [0; 40];
    // Robust and process-shared, as glibc marks it.
    bytes[16..20].copy_from_slice(&0x90u32.to_ne_bytes());
    put(&own.address, &bytes, &PutOptions::default()).unwrap();
    let one = mutex(&own.address);
    assert_eq!(one.lock(&mut now()), Ok(false));
    assert_eq!(one.run(&words(&["true"]), false), Ok(End::Exited(0)));
    assert_eq!(mutex(&own.address).lock(&mut now()), Ok(false));
    mutex(&own.address).unlock(false).unwrap();
    // A process that ends while it holds the mutex leaves word of that.
    assert!(start("locks_and_ends", &[(ADDRESS, &own.address.to_string())]));
    assert_eq!(one.lock(&mut now()), Ok(true));
    one.unlock(true).unwrap();
    assert_eq!(one.lock(&mut now()), Ok(false));
    one.unlock(false).unwrap();
}

fn address() -> Address {
    std::env::var(ADDRESS).unwrap().parse().unwrap()
}

fn locks_and_ends() {
    let mutex = mutex(&address());
    assert_eq!(mutex.lock(&mut now()), Ok(false));
    assert_eq!(mutex.run(&words(&["sh", "-c", "kill -9 $$"]), false), Ok(End::Killed(SIGKILL)));
}

fn a_semaphore_taken_with_undo_is_given_back() {
    let create = Some(sem::Create { values: vec![1], exclusive: true, mode: None });
    let options = sem::OpenOptions { create };
    let posix = Own::name(Kind::Sem);
    Semaphores::open(&posix.address, &options, &mut now()).unwrap();
    let set = Semaphores::open(&Address::SysV(SysV::Private), &options, &mut now()).unwrap();
    for own in [posix, Own::id(Kind::Sem, set.id().unwrap())] {
        assert!(start("takes_and_ends", &[(ADDRESS, &own.address.to_string())]));
        let values = || Semaphores::inspect(&own.address).unwrap().values().unwrap();
        wait_until("it is given back", || values() == [1]);
    }
}

fn takes_and_ends() {
    let address = address();
    let semaphores = Semaphores::open(&address, &sem::OpenOptions::default(), &mut now()).unwrap();
    let take = Ops::new(&address, vec![Op { element: 0, change: -1 }], None).unwrap();
    semaphores.operate_with_undo(&take, &mut now()).unwrap();
    assert_eq!(semaphores.values(), Ok(vec![0]));
}

fn a_signal_waits_for_the_end_of_a_deferral() {
    let noticed = noticed(SIGTERM);
    let deferred = Deferred::new().unwrap();
    low_level::raise(SIGTERM).unwrap();
    assert!(!noticed.load(Ordering::SeqCst));
    drop(deferred);
    assert!(noticed.load(Ordering::SeqCst));
}
