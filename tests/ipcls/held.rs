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
    assert_eq!(one(&t, &format!("shm:{key}"))["state"], "unheld");
    let open = t.bash(&format!("exec sleep 1000 <{}", t.shm_path("seg").display())).spawn();
    wait_until("it sleeps", || open.name() == "sleep");
    let (mapped, attached, again) = (map(&t, &t.shm_path("seg")), attach(&t, &id), attach(&t, &id));
    let pids = |runs: &[&Running]| runs.iter().map(|run| run.pid().as_raw()).collect::<BTreeSet<_>>();
    let holders = |address: &str| {
        let object = one(&t, &format!("shm:{address}"));
        assert_eq!(object["state"], "held");
        object["holders"].as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap() as i32).collect::<BTreeSet<_>>()
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
    assert_eq!((&object["holders"][0], &object["messages"]), (&waiter.pid().as_raw().into(), &0.into()));
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
    assert_eq!(table(&format!("shm:{name}")), "unheld  ?");
    assert_eq!(table(&format!("shm:{key}")), "held  +1");
    let document: Value = serde_json::from_slice(&other(&format!("-J shm:{name} shm:{key}")).ok()).unwrap();
    assert_eq!(document["objects"][0]["others"], Value::Null);
    assert!(document["objects"][0].as_object().unwrap().contains_key("others"));
    assert_eq!(document["objects"][1]["others"], 1);
    let details = other(&format!("shm:{name} shm:{key}")).text();
    assert!(details.contains("others: unknown") && details.contains("others: 1 attached"), "{details}");
    // It is not called an orphan, whatever becomes of its holders.
    drop(holders);
    assert_eq!(other(&format!("--kind shm --orphans -A --name '*{}'", &name[1..])).text(), "");
    // Rows of what may not be read are there, with question marks for what is in them.
    let set = t.key();
    t.bash(&format!("perl -e 'semget({set}, 2, 01600) // die; msgget({set}, 01600) // die'")).run().ok();
    assert_eq!(
        other(&format!("--no-headings -o mode,use,waiters,address sem:{set}")).text(),
        format!("0600  ?  ?  sem:key:{set}")
    );
    assert_eq!(other(&format!("--no-headings -o use mq:{set}")).text(), "0, 0%");
}

#[test]
fn of_another_pid_namespace_nothing_is_claimed() {
    let Some(t) = Test::with(&["perl", "python3"]) else { return };
    let (name, key, left) = (t.name("seg"), t.key(), t.key());
    t.bash(&format!("echo x | shmput {name}; echo x | shmput {key}; perl -e 'shmget({left}, 10, 01600) // die'"))
        .run()
        .ok();
    let id = one(&t, &format!("shm:{key}"))["id"].to_string();
    let _holders = (map(&t, &t.shm_path("seg")), attach(&t, &id));
    assert_eq!(one(&t, &format!("shm:{left}"))["state"], "orphan");
    let script =
        format!("ipcls -r --no-headings -o state,holders,creator,creator-gone shm:{name} shm:{key} shm:{left}");
    if let Some(run) = t.unshared("--pid --fork --mount-proc", &script) {
        assert_eq!(run.run().text(), "unheld ? - -\nheld +1 ? ?\nunheld - ? ?");
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
        assert_eq!(run.run().text(), "unheld -");
    }
}

#[test]
fn semaphores_and_who_waits() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    let perl = format!(
        "$i = semget({key}, 3, 01600) // die; semctl($i, 1, 16, 5) // die; $| = 1; print 1; semop($i, pack('s!3', 2, -1, 0))"
    );
    let waiter = t.cmd("perl").args(["-e", &perl]).spawn();
    wait_until("it waits", || {
        t.cmd("ipcls").args([format!("sem:{key}")]).run().status == 0
            && one(&t, &format!("sem:{key}"))["waiters"] == json!([[0, 0], [0, 0], [1, 0]])
    });
    let object = one(&t, &format!("sem:{key}"));
    assert_eq!((&object["values"], &object["size"]), (&json!([0, 5, 0]), &3.into()));
    // Used by its number, it is held by nobody.
    assert_eq!((object["state"].as_str(), &object["others"]), (Some("unheld"), &0.into()));
    drop(waiter);
}
