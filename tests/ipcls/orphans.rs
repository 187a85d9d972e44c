//! What is called an orphan, and what is not; ipcunlink --orphans; rows D7, D11.

use nix::sys::signal::Signal;

use super::one;
use crate::util::holders::{attach, lock, wait_for_line};
use crate::util::queues::SMALL;
use crate::util::{Test, holders, rounds, wait_until};

/// Which segments ipcls --orphans lists, of those with these keys.
fn orphans(t: &Test, keys: &[&str]) -> Vec<String> {
    let listed = keys.iter().map(|key| {
        let pattern = format!("key:{key}");
        t.cmd("ipcls").args(["-A", "--orphans", "--kind", "shm", "--name", &pattern]).run().text()
    });
    listed.filter(|line| !line.is_empty()).collect()
}

fn state(t: &Test, address: &str) -> String {
    one(t, address)["state"].as_str().unwrap().to_owned()
}

/// A perl program that makes a segment, uses it perhaps, and is killed.
fn killed(t: &Test, key: &str, then: &str) {
    let script = format!("$i = shmget({key}, 10, 01600) // die $!; {then}; kill 9, $$");
    assert_eq!(t.cmd("perl").args(["-e", &script]).run().status, 137);
}

#[test]
fn d7_a_segment_whose_creator_was_killed() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let (never, used, ended, kept) = (t.key(), t.key(), t.key(), t.key());
    killed(&t, &never, "");
    killed(&t, &used, "shmwrite($i, 'x', 0, 1)");
    t.bash(&format!("perl -e 'shmget({ended}, 10, 01600) // die'")).run().ok();
    t.bash(&format!("echo x | shmput {kept}")).run().ok();
    let expected = [&never, &used, &ended].map(|key| format!("shm:key:{key}"));
    assert_eq!(orphans(&t, &[&never, &used, &ended, &kept]), expected);
}

#[test]
fn d7_a_creator_that_lives_or_a_segment_in_use_is_no_orphan() {
    let Some(t) = Test::with(&["perl", "python3"]) else { return };
    let (alive, used) = (t.key(), t.key());
    let script = format!("$| = 1; shmget({alive}, 10, 01600) // die; print qq(made\\n); sleep 1000");
    let mut creator = t.cmd("perl").args(["-e", &script]).spawn();
    wait_for_line(&mut creator);
    assert_eq!(state(&t, &format!("shm:{alive}")), "unheld");
    creator.kill(Signal::SIGSTOP);
    assert_eq!(state(&t, &format!("shm:{alive}")), "unheld");
    creator.kill(Signal::SIGKILL);
    // A zombie has ended.
    wait_until("its creator is dead", || state(&t, &format!("shm:{alive}")) == "orphan");
    drop(creator);
    killed(&t, &used, "");
    let id = one(&t, &format!("shm:{used}"))["id"].to_string();
    let holder = attach(&t, &id);
    assert_eq!(state(&t, &format!("shm:{used}")), "held");
    // Whoever else has had it may want it again.
    drop(holder);
    assert_eq!(state(&t, &format!("shm:{used}")), "unheld");
}

#[test]
fn what_this_toolkit_filled_is_no_orphan() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let (plain, read, sized, own, written) = (t.key(), t.key(), t.key(), t.key(), t.key());
    t.bash(&format!(
        "echo x | shmput {plain}; echo x | shmput {read}; shmcat {read} >/dev/null; printf x | shmput --size 9000 {sized}"
    ))
    .run()
    .ok();
    // As root of no namespace, and with children and signals set in odd ways.
    t.bash(&format!("trap '' CHLD HUP; echo x | shmput {own}")).run().ok();
    killed(&t, &written, "");
    t.bash(&format!("printf x | shmput -i {written}")).run().ok();
    for key in [&plain, &read, &sized, &own, &written] {
        assert_eq!(state(&t, &format!("shm:{key}")), "unheld", "{key}");
    }
    let id = t.bash("echo x | shmput private:").run().text();
    assert_eq!(state(&t, &format!("shm:{id}")), "unheld");
    t.cmd("ipcunlink").args([format!("shm:{id}")]).run().ok();
}

/// Killed at any moment, with all of its process group or alone.
#[test]
fn what_a_killed_shmput_leaves_is_whole_or_an_orphan() {
    let t = Test::new();
    let key = t.key();
    let half = t.cmd("shmput").args(["--size", "10", &key]).spawn_open();
    half.wait_blocked();
    wait_until("it is attached", || one_or_none(&t, &key).is_some_and(|object| object == "held"));
    half.kill(Signal::SIGKILL);
    drop(half);
    wait_until("it counts as dead", || one_or_none(&t, &key).as_deref() == Some("orphan"));
    t.cmd("ipcunlink").args([format!("shm:{key}")]).run().ok();
    for round in 0..rounds(40) {
        let put = t.bash(&format!("exec shmput {key} < <(head -c 100000 /dev/zero)")).spawn();
        let spins = round * 2000;
        (0..spins).for_each(|_| std::hint::spin_loop());
        put.kill(Signal::SIGKILL);
        drop(put);
        // While its child still detaches, that is not yet decided.
        let mut left = None;
        wait_until("nobody has it", || {
            left = one_or_none(&t, &key);
            left.as_deref() != Some("held")
        });
        if let Some(left) = left {
            // Looked at first: whoever attaches it makes it his.
            let whole = t.cmd("shmcat").args([&key]).run().status == 0;
            assert!(!whole || left == "unheld", "round {round}: {left}");
            t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
        }
    }
}

fn one_or_none(t: &Test, key: &str) -> Option<String> {
    let output = t.cmd("ipcls").args(["-o", "state", "--no-headings", &format!("shm:{key}")]).run();
    (output.status == 0).then(|| output.text())
}

#[test]
fn queues_and_semaphores_are_never_orphans() {
    let Some(t) = Test::with(&["perl", "POSIX queues"]) else { return };
    let (key, queue) = (t.key(), t.queue("q"));
    t.bash(&format!(
        "perl -e 'semget({key}, 1, 01600) // die; msgget({key}, 01600) // die; kill 9, $$'
        mqsend {} {queue} x; mqsend {key} x",
        SMALL.join(" ")
    ))
    .run();
    for address in [format!("sem:{key}"), format!("mq:{key}"), format!("mq:{queue}")] {
        assert_eq!(state(&t, &address), "unheld", "{address}");
    }
}

/// Elsewhere the next one that makes an object would sweep it.
#[test]
fn a_temporary_name_of_a_dead_maker() {
    let Some(t) = Test::with(&["python3"]) else { return };
    let script = "
        echo half >/dev/shm/new; name=/.ipcutils.abcdefghijkl.$(stat -c %i /dev/shm/new); mv /dev/shm/new /dev/shm$name
        python3 -c \"$LOCK\" /dev/shm$name >locked & pid=$!
        until [ -s locked ]; do sleep .01; done
        ipcls --no-headings -o state shm:$name
        kill -9 $pid; wait $pid 2>/dev/null || ipcls --no-headings -o state shm:$name
        ipcls --orphans -A --kind shm
        ipcunlink shm:$name; ls -A /dev/shm";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    let text = run.env("LOCK", holders::LOCK).run().text();
    assert!(text.starts_with("held\norphan\nshm:/.ipcutils.abcdefghijkl.") && text.lines().count() == 3, "{text}");
}

/// The kernel tells of their locks, also of those whose holders cannot be seen.
#[test]
fn a_ring_or_a_lock_that_somebody_takes_part_in_is_held() {
    let Some(t) = Test::with(&["python3"]) else { return };
    for (kind, magic) in [("ring", b"\x89ipcring more"), ("lock", b"\x89ipclock more")] {
        std::fs::write(t.shm_path(kind), magic).unwrap();
        let address = format!("{kind}:{}", t.name(kind));
        assert_eq!(state(&t, &address), "unheld");
        let holder = lock(&t, &t.shm_path(kind));
        assert_eq!(state(&t, &address), "held");
        drop(holder);
        assert_eq!(state(&t, &address), "unheld");
    }
}

#[test]
fn ipcunlink_orphans_is_a_dry_run_that_asks_for_a_choice() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let (one, two, kept) = (t.key(), t.key(), t.key());
    for key in [&one, &two] {
        killed(&t, key, "");
    }
    t.bash(&format!("echo x | shmput {kept}")).run().ok();
    let left = t.left();
    let ipcunlink = |args: &str| t.bash(&format!("ipcunlink --orphans {args}")).run();
    // Not here, where it would remove what others have left, were it to go on.
    for options in ["--yes", "--yes --mine"] {
        let script = format!("perl -e 'shmget(1, 10, 01600) // die'; ipcunlink --orphans {options}");
        if let Some(run) = t.unshared("--ipc --mount", &script) {
            run.run().says(2, "choose with --older or --name");
        }
    }
    ipcunlink(&format!("shm:{one}")).fails(2);
    ipcunlink("--force").fails(2);
    ipcunlink(&format!("--yes --dry-run --name 'key:{one}'")).fails(2);
    t.cmd("ipcunlink").args(["--older", "1s"]).run().fails(2);
    let output = ipcunlink(&format!("--name 'key:{one}'"));
    assert_eq!((output.status, String::from_utf8_lossy(&output.stdout).trim_end()), (0, &*format!("shm:key:{one}")));
    assert!(output.stderr.starts_with("ipcunlink: nothing was removed"), "{output:?}");
    assert_eq!(ipcunlink(&format!("--dry-run --name 'key:{one}'")).text(), format!("shm:key:{one}"));
    assert_eq!(ipcunlink(&format!("--older 1h --name 'key:{one}' --yes")).text(), "");
    assert_eq!(ipcunlink(&format!("--name 'key:{kept}' --yes")).text(), "");
    assert_eq!(t.left(), left);
    assert_eq!(ipcunlink(&format!("--mine --name 'key:{one}' --yes")).text(), format!("shm:key:{one}"));
    assert_eq!(t.left().len(), left.len() - 1);
    assert_eq!(state(&t, &format!("shm:{two}")), "orphan");
}
