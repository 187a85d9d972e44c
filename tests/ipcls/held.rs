//! Who holds an object, and what is not known of that; row M13.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::one;
use crate::util::holders::{attach, map};
use crate::util::queues::SMALL;
use crate::util::{AS_OTHER, Running, Test, wait_until};

#[test]
fn who_has_it_open_mapped_or_attached() {
    let Some(t) = Test::with(&["python3", "POSIX queues"]) else { return };
    let (name, key) = (t.name("seg"), t.key());
    t.bash(&format!("echo x | shmput {name}; echo x | shmput {key}")).run().ok();
    let id = one(&t, &format!("shm:{key}"))["id"].to_string();
    assert_eq!(one(&t, &format!("shm:{key}"))["state"], "idle");
    let open = t.bash(&format!("exec sleep 1000 <{}", t.shm_path("seg").display())).spawn();
    wait_until("it sleeps", || open.name() == "sleep");
    let (mapped, attached, again) = (map(&t, &t.shm_path("seg")), attach(&t, &id), attach(&t, &id));
    let pids = |runs: &[&Running]| runs.iter().map(|run| run.pid().as_raw()).collect::<BTreeSet<_>>();
    let holders = |address: &str| {
        let object = one(&t, &format!("shm:{address}"));
        assert_eq!(object["state"], "in-use");
        object["holders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|holder| holder["pid"].as_i64().unwrap() as i32)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(holders(&name), pids(&[&open, &mapped]));
    assert_eq!(holders(&key), pids(&[&attached, &again]));
    let details = t.cmd("ipcls").args([format!("shm:{name}"), format!("shm:id:{id}")]).run().text();
    for (run, how) in [(&open, "open"), (&mapped, "mapped"), (&attached, "attached")] {
        let holder = format!("holder: {} {} (1 {how})\n", run.pid(), run.name());
        assert!(details.contains(&holder), "{holder} not in {details}");
    }
    assert_eq!(one(&t, &format!("shm:{key}"))["attached"], 2);
    let table = t.cmd("ipcls").args(["-o", "holders", "--no-headings", &format!("shm:{key}")]).run().text();
    assert_eq!(table.split(',').count(), 2, "{table}");
    drop((open, mapped, attached, again));
    assert_eq!(one(&t, &format!("shm:{name}"))["holders"], json!([]));
    assert_eq!(one(&t, &format!("shm:{key}"))["others"], 0);
    // A queue that somebody waits on is open.
    let queue = t.queue("q");
    let waiter = t.cmd("mqrecv").args(SMALL).args([&queue]).spawn();
    waiter.wait_blocked();
    let object = one(&t, &format!("mq:{queue}"));
    assert_eq!((&object["holders"][0]["pid"], &object["messages"]), (&waiter.pid().as_raw().into(), &0.into()));
}

/// What may not be read is unknown, not absent.
#[test]
fn m13_what_another_user_holds_is_unknown() {
    let Some(t) = Test::with(&["perl", "python3"]) else { return };
    if !t.second_user() {
        return;
    }
    let (name, key) = (t.name("seg"), t.key());
    t.bash(&format!("echo x | shmput {name}; echo x | shmput {key}")).run().ok();
    let id = one(&t, &format!("shm:{key}"))["id"].to_string();
    let holders = (map(&t, &t.shm_path("seg")), attach(&t, &id));
    let other = |args: &str| t.bash(&format!("cd /; {AS_OTHER} ipcls {args}")).run();
    let table = |address: &str| other(&format!("--no-headings -o state,holders {address}")).text();
    assert_eq!(table(&format!("shm:{name}")), "idle  -");
    assert_eq!(table(&format!("shm:{key}")), "in-use  +1");
    let document: Value = serde_json::from_slice(&other(&format!("-J shm:{name} shm:{key}")).ok()).unwrap();
    assert_eq!(document["objects"][0]["others"], Value::Null);
    assert!(document["objects"][0].as_object().unwrap().contains_key("others"));
    assert_eq!(document["objects"][1]["others"], 1);
    let details = other(&format!("shm:{name} shm:{key}")).text();
    assert!(
        details.contains("holders: unknown (not looked at: ") && details.contains("holders: 1 attached"),
        "{details}"
    );
    // It is not called an orphan, whatever becomes of its holders.
    drop(holders);
    assert_eq!(other(&format!("--kind shm --orphans -A --name '*{}'", &name[1..])).text(), "");
    // Rows of what may not be read are there, with question marks for what is in them.
    let set = t.key();
    t.bash(&format!("perl -e 'semget({set}, 2, 01600) // die; msgget({set}, 01600) // die'")).run().ok();
    assert_eq!(
        other(&format!("--no-headings -o mode,use,waiting,address sem:{set}")).text(),
        format!("0600  ?  ?  sem:key:{set}")
    );
    assert_eq!(other(&format!("--no-headings -o use mq:{set}")).text(), "0, 0%");
}

#[test]
fn of_another_pid_namespace_nothing_is_claimed() {
    let Some(t) = Test::with(&["perl", "python3"]) else { return };
    let (name, key, left) = (t.name("seg"), t.key(), t.key());
    t.bash(&format!("echo x | shmput {name}; echo x | shmput {key}; perl -e '$i = shmget({left}, 10, 01600) // die; shmwrite($i, 1, 0, 1)'"))
        .run()
        .ok();
    let id = one(&t, &format!("shm:{key}"))["id"].to_string();
    let _holders = (map(&t, &t.shm_path("seg")), attach(&t, &id));
    let orphans = format!("ipcls -A --api sysv --orphans --older 0 --name 'key:{left}'");
    assert_eq!(t.bash(&orphans).run().text(), format!("shm:key:{left}"));
    let script = format!(
        "ipcls -r --no-headings -o state,holders,creator,creator-gone shm:{name} shm:{key} shm:{left}
            ipcls --why shm:{left} | grep -c 'of another PID namespace: nobody here can know'
            {}",
        orphans
    );
    // a2: by the age that the user says, as nobody can know whether its users live.
    if let Some(run) = t.unshared("--pid --fork --mount-proc", &script) {
        assert_eq!(run.run().text(), format!("idle ? - -\nin-use +1 ? ?\nidle - ? ?\n2\nshm:key:{left}"));
    }
}

#[test]
fn identifiers_of_another_ipc_namespace_are_others() {
    let Some(t) = Test::with(&["perl", "python3"]) else { return };
    let script = "
        id=$(echo x | shmput private:)
        unshare --ipc bash -c '
            id=$(perl -e \"print shmget(0, 10, 01600)\"); [ id:$id = $0 ] || echo differ
            exec python3 -c \"import ctypes, sys, time
c = ctypes.CDLL(None); c.shmat(int(sys.argv[1]), None, 0); open(sys.argv[2], chr(119)).close(); time.sleep(1000)\" $id ready' $id & pid=$!
        until [ -e ready ]; do :; done
        ipcls -r --no-headings -o state,holders shm:$id; kill $pid";
    if let Some(run) = t.unshared("--ipc", script) {
        assert_eq!(run.run().text(), "idle -");
    }
}

/// A line an element, who waits, and no removal under them.
#[test]
fn a6_semaphores_and_who_waits() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    let perl = format!(
        "$i = semget({key}, 3, 01600) // die; semctl($i, 1, 16, 5) // die; $| = 1; print 1; semop($i, pack('s!3', 2, -1, 0))"
    );
    let waiter = t.cmd("perl").args(["-e", &perl]).spawn();
    let address = format!("sem:{key}");
    wait_until("it waits", || {
        t.cmd("ipcls").args([&address]).run().status == 0 && one(&t, &address)["waiting"] == json!(1)
    });
    let (object, pid) = (one(&t, &address), waiter.pid().as_raw());
    assert_eq!((&object["values"], &object["size"]), (&json!([0, 5, 0]), &3.into()));
    let element = |index: usize| object["elements"][index].clone();
    assert_eq!(
        element(1),
        json!({"index": 1, "value": 5, "waiting": 0, "waiting_for_zero": 0, "last_pid": pid, "last_command": "perl"})
    );
    assert_eq!(
        element(2),
        json!({"index": 2, "value": 0, "waiting": 1, "waiting_for_zero": 0, "last_pid": 0, "last_command": null})
    );
    assert_eq!(object["state"], "in-use");
    let details = t.cmd("ipcls").args([&address]).run().text();
    let lines = [
        format!("element: 1: value 5, waiting 0, for zero 0, last changed by {pid} perl"),
        "element: 2: value 0, waiting 1, for zero 0".into(),
        "holders: not known to the kernel".into(),
    ];
    for line in &lines {
        assert!(details.lines().any(|found| found == line), "{line} in {details}");
    }
    if t.sees_calls() {
        assert_eq!(object["waiters"], json!([{"pid": pid, "command": "perl", "call": "semop(2)"}]));
        assert!(details.contains(&format!("waiter: {pid} perl (semop(2))\n")), "{details}");
        let of_pid = t.cmd("ipcls").args(["-A", "--kind", "sem", "--pid", &pid.to_string()]).run().text();
        assert_eq!(of_pid, format!("sem:key:{key}"));
    }
    t.cmd("ipcunlink").args([&address]).run().says(1, "is waited for by ");
    t.cmd("ipcunlink").args(["--force", &address]).run().ok();
    drop(waiter);
}

/// Of every kind: what somebody sleeps on is not removed under them.
#[test]
fn a8_what_somebody_waits_for_is_refused() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    if !t.sees_calls() {
        return;
    }
    let (receive, send, set) = (t.key(), t.key(), t.key());
    let (queue, sem) = (t.queue("q"), t.name("s"));
    t.bash(&format!(
        "mqsend -c {receive} x; mqrecv {receive} >/dev/null; mqsend -c {send} x; semop -c 0 {set}; semop -c 0 {sem}"
    ))
    .run()
    .ok();
    // Until it is full.
    t.bash(&format!("head -c 4000 /dev/zero >4k; while mqsend -n {send} <4k 2>/dev/null; do :; done")).run();
    t.bash(&format!("mqsend {} {queue} x; mqrecv {queue} >/dev/null", SMALL.join(" "))).run().ok();
    let waiters = [
        (format!("mq:key:{receive}"), "msgrcv(2)", t.cmd("mqrecv").args([&receive]).spawn()),
        (format!("mq:key:{send}"), "msgsnd(2)", t.bash(&format!("exec mqsend {send} <4k")).spawn()),
        (format!("sem:key:{set}"), "semop(2)", t.cmd("semop").args([&set, "-1"]).spawn()),
        (format!("sem:{sem}"), "futex(2)", t.cmd("semop").args([&sem, "-1"]).spawn()),
    ];
    for (address, call, waiter) in &waiters {
        let expected = json!({"pid": waiter.pid().as_raw(), "command": waiter.name(), "call": call});
        wait_until(&format!("{address} has its waiter"), || {
            let found = one(&t, address);
            found["waiters"] == json!([&expected]) && found["waiting"] == 1 && found["state"] == "in-use"
        });
        let refused = t.cmd("ipcunlink").args([address]).run().fails(1);
        assert!(
            refused.contains(&format!("{} ({}) (--force removes it all the same)", waiter.pid(), waiter.name())),
            "{refused}"
        );
    }
    // A POSIX queue is open meanwhile.
    let reader = t.cmd("mqrecv").args([&queue]).spawn();
    reader.wait_blocked();
    t.cmd("ipcunlink").args([format!("mq:{queue}")]).run().says(1, "is held by ");
    for (address, _, _) in &waiters {
        t.cmd("ipcunlink").args(["--force", address]).run().ok();
    }
}

/// The objects of a container, with its own process numbers, and without a foreign tool.
#[test]
fn objects_of_the_namespaces_of_a_process() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let script = "
        unshare --ipc --mount --pid --fork --mount-proc bash -c '
            mount -t tmpfs -o mode=1777 tmpfs /dev/shm
            echo x | shmput /inside; semop -c 0 key:0x2a; semop key:0x2a -1 & exec 5</dev/shm/inside; touch ready; wait' 2>/dev/null &
        until [ -e ready ]; do sleep .01; done
        inside=$(cat /proc/$!/task/$!/children)
        ipcls -A; echo --
        ipcls --namespace $inside -A
        until ipcls --namespace $inside -r --no-headings -o waiting sem:key:0x2a | grep -q 1; do sleep .01; done
        ipcls --namespace $inside -r --no-headings -o holders shm:/inside | tr , '\\n' | grep -x 1
        ipcunlink --namespace $inside shm:/inside 2>&1 || echo $?
        ipcunlink --namespace $inside --force shm:/inside; ipcunlink --namespace $inside sem:key:0x2b 2>&1 || echo $?
        (trap '' CHLD; exec ipcls --namespace $inside -A); kill -9 $inside; ipcls --namespace 2147483647 2>&1 || echo $?";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    let text = run.run().text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["--", "shm:/inside", "sem:key:0x0000002a", "1"], "{text}");
    assert!(lines[4].starts_with("ipcunlink: shm:/inside: is held by 1 (bash)"), "{text}");
    let rest = ["1", "ipcunlink: sem:key:0x0000002b: does not exist", "3", "sem:key:0x0000002a"];
    assert_eq!(lines[5..9], rest, "{text}");
    assert_eq!(lines[9..], ["ipcls: process 2147483647: does not exist", "3"], "{text}");
}
