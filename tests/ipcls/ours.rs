//! Rings and locks of this toolkit as ipcls and ipcunlink see them; rows H1, K1.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::one;
use crate::util::locks::hold;
use crate::util::{Running, Test, wait_until};

/// State and use of one object.
fn seen(t: &Test, address: &str) -> (String, String) {
    let object = one(t, address);
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("use"))
}

fn is(t: &Test, address: &str, state: &str, summary: &str) {
    let expected = (state.to_owned(), summary.to_owned());
    wait_until(&format!("{address} is {expected:?}, not {:?}", seen(t, address)), || seen(t, address) == expected);
}

/// A writer that has put four of eight pages into a new ring, and goes on waiting for input.
fn writer(t: &Test, ring: &str, options: &[&str]) -> Running {
    let mut writer = t.cmd("ringput").args(options).args(["-s", "32K", ring]).spawn_open();
    writer.write(&[b'x'; 16384]);
    writer
}

#[test]
fn k1_a_ring_whose_writer_was_killed_has_died() {
    let t = Test::new();
    let name = t.name("ring");
    let address = format!("ring:{name}");
    let live = writer(&t, &name, &[]);
    wait_until("it has written", || t.cmd("ringput").args(["--position", &name]).run().stdout == b"16384\n");
    is(&t, &address, "in-use", "50% live");
    t.cmd("ipcunlink").args([&address]).run().says(1, &format!("is held by {} (ringput)", live.pid()));
    live.kill(Signal::SIGKILL);
    drop(live);
    is(&t, &address, "died", "50% died");
    let details = t.cmd("ipcls").args([&address]).run().text();
    for line in ["writer: died", "capacity: 32768", "position: 16384"] {
        assert!(details.lines().any(|found| found == line), "{line} in {details}");
    }
    // What it tells is for the next one: it goes only if that is asked for.
    let mine = format!("*{}", &name[1..]);
    let clean = ["--orphans", "--yes", "--older", "0", "--name", &mine];
    assert_eq!(t.cmd("ipcunlink").args(clean).run().text(), "");
    assert_eq!(t.cmd("ipcls").args(["-A", "--kind", "ring", "--died", "--name", &mine]).run().text(), address);
    assert_eq!(
        t.cmd("ipcls").args(["-A", "--kind", "ring", "--orphans", "--older", "0", "--name", &mine]).run().text(),
        ""
    );
    assert_eq!(t.cmd("ipcunlink").args(["--died"]).args(clean).run().text(), address);
    assert!(t.left().is_empty());
}

#[test]
fn a_ring_that_ended_or_that_a_name_waits_for_is_no_orphan() {
    let t = Test::new();
    let (ended, named) = (t.name("ended"), t.name("named"));
    t.cmd("ringput").args([&ended]).stdin("x").run().ok();
    is(&t, &format!("ring:{ended}"), "idle", "0% ended");
    let live = writer(&t, &named, &[]);
    t.cmd("ringcat").args(["--as", "me\n", "--wait", "-0", "--count", "1", "-w", ".1", &named]).run();
    live.kill(Signal::SIGKILL);
    drop(live);
    is(&t, &format!("ring:{named}"), "idle", "50% died");
    let details = t.cmd("ipcls").args([&format!("ring:{named}")]).run().text();
    assert!(details.contains("reader: away position=0 lag=16384 name=me\\x0a"), "{details}");
}

#[test]
fn h1_a_lock_whose_holder_was_killed_has_died() {
    let t = Test::new();
    let name = t.name("lock");
    let address = format!("lock:{name}");
    t.cmd("shmlock").args([&name, "--", "true"]).run().ok();
    is(&t, &address, "idle", "free");
    let script = "echo $$ >in; read line";
    let holder = t.cmd("shmlock").args([&name, "--", "sh", "-c", script]).spawn_open();
    is(&t, &address, "in-use", "held");
    let waiter = t.cmd("shmlock").args([&name, "--", "true"]).spawn();
    is(&t, &address, "in-use", "held, 1 wait");
    t.cmd("ipcunlink").args([&address]).run().says(1, "(shmlock)");
    waiter.kill(Signal::SIGKILL);
    holder.kill(Signal::SIGKILL);
    // Its end closes the input that the command waits for.
    drop((waiter, holder));
    is(&t, &address, "died", "died");
    t.cmd("shmlock").args(["--reset", &name]).run().ok();
    is(&t, &address, "idle", "free");
}

#[test]
fn what_only_begins_like_a_ring_or_a_lock_is_listed_all_the_same() {
    let t = Test::new();
    for (kind, magic) in [("ring", b"\x89ipcring and more"), ("lock", b"\x89ipclock and more")] {
        std::fs::write(t.shm_path(kind), magic).unwrap();
        is(&t, &format!("{kind}:{}", t.name(kind)), "idle", "corrupt");
        let listed: Value = super::json(&t, &["--kind", "ring,lock", "--name", &format!("*{}", &t.name(kind)[1..])]);
        assert_eq!(listed["objects"].as_array().unwrap().len(), 1);
    }
}

/// A program has what a person is told.
#[test]
fn json_of_one_ring_or_lock_has_its_state() {
    let t = Test::new();
    let (ring, lock) = (t.name("ring"), t.name("lock"));
    let live = writer(&t, &ring, &[]);
    wait_until("it has written", || t.cmd("ringput").args(["--position", &ring]).run().stdout == b"16384\n");
    let found = one(&t, &format!("ring:{ring}"));
    let status: Value = serde_json::from_slice(&t.cmd("ringcat").args(["--status", "-J", &ring]).run().ok()).unwrap();
    for (field, value) in [("writer", json!("live")), ("capacity", json!(32768)), ("position", json!(16384))] {
        assert_eq!((&found["ring"][field], &status[field]), (&value, &value), "{field} of {found}");
    }
    drop(live);
    let holder = hold(&t, &[&lock]);
    let found = one(&t, &format!("lock:{lock}"));
    let status: Value = serde_json::from_slice(&t.cmd("shmlock").args(["--status", "-J", &lock]).run().ok()).unwrap();
    for field in ["state", "holder", "waiting"] {
        assert_eq!(found["lock"][field], status[field], "{field} of {found}");
    }
    assert_eq!(found["lock"]["state"], "held");
    drop(holder);
}

#[test]
fn who_asks_for_the_state_is_no_holder() {
    let Some(t) = Test::with(&["strace"]) else { return };
    let (ring, lock, sem) = (t.name("ring"), t.name("lock"), t.name("sem"));
    t.bash(&format!("ringput {ring} </dev/null; shmlock {lock} -- true; semop -c 1 {sem}")).run().ok();
    for (kind, name, file, call, question) in [
        ("ring", &ring, ring[1..].to_owned(), "fcntl", "ringcat --status"),
        ("lock", &lock, lock[1..].to_owned(), "fcntl", "shmlock --status"),
        ("sem", &sem, format!("sem.{}", &sem[1..]), "pread64", "semop --get"),
    ] {
        // It is stopped with the object open, by its first look into it.
        let script = format!(
            "exec 2>/dev/null; strace -o /dev/null -P /dev/shm/{file} -e inject={call}:signal=STOP:when=1 {question} {name} & tracer=$!
            until read -r asker </proc/$tracer/task/$tracer/children; [ -n \"$asker\" ] &&
                [[ $(</proc/$asker/stat) = *') '[tT]' '* && $(ls -l /proc/$asker/fd) = *{file}* ]]; do :; done
            ipcls -o state --no-headings {kind}:{name}; kill -9 $asker; wait $tracer || true"
        );
        assert_eq!(t.bash(&script).run().text(), "idle", "{question}");
    }
}
