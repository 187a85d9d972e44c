//! What counts as a use, and what does not: a look makes nothing young; row A1.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::one;
use crate::util::queues::SMALL;
use crate::util::{Test, wait_until};

/// Seconds since the last use or change.
fn age(t: &Test, address: &str) -> u64 {
    one(t, address)["age"].as_u64().unwrap()
}

fn changed(path: &PathBuf) -> (i64, i64) {
    let meta = std::fs::metadata(path).unwrap();
    (meta.ctime(), meta.ctime_nsec())
}

/// To look at it until it is two seconds old would never end, if a look made it young.
#[test]
fn a_look_makes_nothing_young() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (seg, sem, ring, lock, queue, key) =
        (t.name("seg"), t.name("sem"), t.name("ring"), t.name("lock"), t.queue("q"), t.key());
    t.bash(&format!(
        "echo x | shmput {seg}; echo x | shmput {key}; semop -c 1 {sem}; ringput {ring} </dev/null; shmlock {lock} -- true
        mqsend {} {queue} x; mqsend -c {key} x; semop -c 1 {key}",
        SMALL.join(" ")
    ))
    .run()
    .ok();
    let looks =
        format!("ipcls >/dev/null; ringcat --status {ring}; shmlock --status {lock}; semop --get {sem} {key} || :");
    let all = [
        format!("shm:{seg}"),
        format!("shm:{key}"),
        format!("sem:{sem}"),
        format!("sem:{key}"),
        format!("ring:{ring}"),
        format!("lock:{lock}"),
        format!("mq:{queue}"),
        format!("mq:{key}"),
    ];
    for address in &all {
        wait_until(&format!("{address} is two seconds old"), || {
            t.bash(&format!("{looks} 2>/dev/null")).run();
            t.cmd("ipcls").args(["--why", address]).run().ok();
            age(&t, address) >= 2
        });
    }
}

/// Where the kernel records nothing, our own tools leave a trace.
#[test]
fn a1_our_own_uses_count() {
    let t = Test::new();
    let [seg, sem, ring, lock] = ["seg", "sem", "ring", "lock"].map(|word| t.name(word));
    t.bash(&format!("echo x | shmput {seg}; semop -c 9 {sem}; shmlock {lock} -- true; echo x | ringput {ring}"))
        .run()
        .ok();
    let sem_path = PathBuf::from(format!("/dev/shm/sem.{}", &sem[1..]));
    let cases = [
        (t.shm_path("seg"), format!("shmcat {seg}")),
        (t.shm_path("seg"), format!("printf y | shmput -i {seg}")),
        (sem_path.clone(), format!("semop {sem} -1; semop {sem} +1")),
        (sem_path, format!("semop {sem} -1 -- true")),
        (t.shm_path("lock"), format!("shmlock --shared {lock} -- true")),
        (t.shm_path("ring"), format!("ringcat {ring}; echo x | ringput {ring}")),
    ];
    for (path, command) in cases {
        let before = changed(&path);
        // One trace a second is enough.
        wait_until(&format!("{command} leaves a trace"), || {
            t.bash(&format!("{command} >/dev/null")).run();
            changed(&path) != before
        });
    }
}
