//! What is called an orphan, and what is not; ipcunlink --orphans; rows D7, D11.

use std::time::Duration;

use libipc::KindAddress;
use libipc::inventory::{self, Patience, State};
use nix::sys::signal::Signal;

use super::one;
use crate::util::holders::{attach, lock, wait_for_line};
use crate::util::{Test, holders, rounds, wait_until};

/// Which objects ipcls lists with this option, of those whose address ends so, however
/// young they are.
fn listed(t: &Test, option: &str, ends: &[&str]) -> Vec<String> {
    let listed = ends.iter().map(|end| {
        let pattern = format!("*{end}");
        // POSIX queues cannot be listed by everybody.
        t.cmd("ipcls").args(["-A", "--api", "sysv", option, "--older", "0", "--name", &pattern]).run().text()
    });
    listed.filter(|line| !line.is_empty()).collect()
}

/// The state without regard to the age, which nobody waits for here, and not by the age
/// alone.
fn at_any_age(address: &str) -> State {
    let object = inventory::find(&KindAddress::parse(address.as_ref()).unwrap()).unwrap();
    let patience = Patience { age: Duration::ZERO, age_alone: false };
    inventory::judge(&[object], &patience).0[0].state
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
fn d7_a_segment_whose_users_are_dead() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let (never, used, forked, ended, kept) = (t.key(), t.key(), t.key(), t.key(), t.key());
    killed(&t, &never, "");
    killed(&t, &used, "shmwrite($i, 'x', 0, 1)");
    // A server that forks, and whose worker is the last to detach.
    let shmat = nix::libc::SYS_shmat;
    let worker = "if (!fork) { select(undef, undef, undef, 2.1); exit }";
    killed(&t, &forked, &format!("syscall({shmat}, $i, 0, 0) != -1 or die; {worker}"));
    t.bash(&format!("perl -e 'shmget({ended}, 10, 01600) // die'; echo x | shmput {kept}")).run().ok();
    let of = |key: &str| at_any_age(&format!("shm:{key}"));
    wait_until("the worker has ended", || of(&forked) != State::InUse);
    assert_eq!([&used, &forked].map(|key| of(key)), [State::Orphan; 2]);
    // One that was made to be used later, or that was filled, may be wanted.
    assert_eq!([&never, &ended, &kept].map(|key| of(key)), [State::Idle; 3]);
    // All are too young, until the user says how old one must be.
    for key in [&never, &used, &forked, &ended, &kept] {
        assert_eq!(state(&t, &format!("shm:{key}")), "idle");
    }
    let expected = [&used, &forked, &kept].map(|key| format!("shm:key:{key}"));
    assert_eq!(listed(&t, "--orphans", &[&never, &used, &forked, &ended, &kept]), expected);
}

/// A look is no use: it neither makes an orphan nor hides one.
#[test]
fn f4_to_read_an_orphan_hides_it_from_nobody() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    killed(&t, &key, "shmwrite($i, 'x', 0, 1)");
    t.cmd("shmcat").args(["--length", "1", &key]).run().ok();
    // Its last user is shmcat, which has ended too.
    wait_until("it is an orphan", || listed(&t, "--orphans", &[&key]) == [format!("shm:key:{key}")]);
}

#[test]
fn d7_a_creator_that_lives_or_a_segment_in_use_is_no_orphan() {
    let Some(t) = Test::with(&["perl", "python3"]) else { return };
    let (alive, used) = (t.key(), t.key());
    let script = format!(
        "$| = 1; $i = shmget({alive}, 10, 01600) // die; shmwrite($i, 'x', 0, 1); print qq(made\\n); sleep 1000"
    );
    let mut creator = t.cmd("perl").args(["-e", &script]).spawn();
    wait_for_line(&mut creator);
    assert_eq!(listed(&t, "--orphans", &[&alive]), [""; 0]);
    creator.kill(Signal::SIGSTOP);
    assert_eq!(listed(&t, "--orphans", &[&alive]), [""; 0]);
    let why = t.cmd("ipcls").args(["--why", &format!("shm:{alive}")]).run().text();
    let lives = format!("  against its creator, process {} (perl), lives", creator.pid());
    assert!(why.lines().any(|line| line == lives), "{lives} in {why}");
    creator.kill(Signal::SIGKILL);
    // A zombie has ended.
    wait_until("its creator is dead", || at_any_age(&format!("shm:{alive}")) == State::Orphan);
    drop(creator);
    killed(&t, &used, "");
    let id = one(&t, &format!("shm:{used}"))["id"].to_string();
    let holder = attach(&t, &id);
    assert_eq!(state(&t, &format!("shm:{used}")), "in-use");
    drop(holder);
    assert_eq!(state(&t, &format!("shm:{used}")), "idle");
}

/// The evidence can be read, in lines and as JSON.
#[test]
fn why_tells_what_speaks_for_and_against() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let (key, name) = (t.key(), t.name("seg"));
    killed(&t, &key, "shmwrite($i, 'x', 0, 1)");
    t.bash(&format!("echo x | shmput {name}")).run().ok();
    let why = |args: &[&str]| t.cmd("ipcls").args(["--why"]).args(args).run().text();
    let lines = why(&[&format!("shm:{key}")]);
    assert!(lines.starts_with(&format!("shm:key:{key}: idle\n")), "{lines}");
    for (mark, words) in [
        ("known", "nobody holds it"),
        ("known", "its creator, process "),
        ("for", "nobody lives who is known to have used it"),
        ("against", "last used or changed "),
    ] {
        let begin = format!("  {mark:8}{words}");
        assert!(lines.lines().any(|line| line.starts_with(&begin)), "{begin} in {lines}");
    }
    assert!(lines.contains(", which is less than 60 s"), "{lines}");
    let lines = why(&["--older", "0", &format!("shm:{key}"), &format!("shm:{name}")]);
    assert_eq!(lines.lines().filter(|line| !line.starts_with(' ')).count(), 2, "{lines}");
    assert!(lines.starts_with(&format!("shm:key:{key}: orphan\n")), "{lines}");
    let signs = one(&t, &format!("shm:{key}"))["why"].take();
    let said = |orphan: serde_json::Value, words: &str| {
        let mut signs = signs.as_array().unwrap().iter();
        signs.any(|sign| sign["orphan"] == orphan && sign["words"].as_str().unwrap().starts_with(words))
    };
    assert!(
        said(true.into(), "nobody lives") && said(false.into(), "last used") && said(().into(), "its creator"),
        "{signs}"
    );
    t.cmd("ipcls").args(["--why"]).run().fails(2);
}

/// The number of a dead process in a name is a sign, that of a live one is another.
#[test]
fn posix_objects_with_the_number_of_a_process() {
    let t = Test::new();
    let script = "
        dead=$(bash -c 'echo $$'); sleep 1000 & live=$!; [ $dead -ge 300 ] || dead=301 live=1
        for name in job.$dead job.$live job; do echo x | shmput /$name; done
        semop -c 1 /slots-$dead
        ipcls --why shm:/job.$dead shm:/job.$live sem:/slots-$dead | grep number | sed s/$dead/DEAD/
        echo --; ipcls -A --orphans --older 0 | sed s/$dead/DEAD/; echo --; ipcls -A --orphans; kill %1";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    let text = run.run().text();
    let dead = "  for     its name has the number of process DEAD, which has ended";
    let (signs, orphans) = text.split_once("\n--\n").unwrap();
    let lines: Vec<_> = signs.lines().collect();
    assert_eq!((lines.len(), lines[0], *lines.last().unwrap()), (3, dead, dead), "{signs}");
    assert!(lines[1].contains("against its name has the number of process") && lines[1].ends_with("lives"), "{signs}");
    // Whoever is alone on the machine with them: the kernel's leases say so.
    assert_eq!(orphans, "shm:/job\nshm:/job.DEAD\nsem:/slots-DEAD\n--");
}

/// What a crashed service left, by one command: all six kinds.
#[test]
fn one_command_cleans_what_a_service_left() {
    let Some(t) = Test::with(&["perl", "POSIX queues"]) else { return };
    let script = "
        perl -e '$i = shmget(0x5c01, 10, 01600) // die; shmwrite($i, q(x), 0, 1); $q = msgget(0x5c02, 01600) // die;
            msgsnd($q, pack(q(l! a*), 1, q(x)), 0) or die; $s = semget(0x5c03, 1, 01600) // die;
            semop($s, pack(q(s3), 0, 1, 0)) or die; kill 9, $$' 2>/dev/null & wait $! 2>/dev/null || :
        echo x | shmput /svc-data; semop -c 1 /svc-slots; mqsend -c --max-messages 2 --message-size 8 /svc-jobs x
        echo x | shmput /other
        ipcunlink --orphans --user $UID --older 1h --name 'svc*' --yes
        echo --
        ipcunlink --orphans --user $UID --older 0 --name 'svc*' --yes
        ipcunlink --orphans --user $UID --older 0 --name 'key:0x00005c*' --yes
        echo --; ipcls -A --kind shm,mq,sem";
    let Some(run) = t.unshared("--ipc --mount --pid --fork --mount-proc", script) else { return };
    let expected = "--\nshm:/svc-data\nmq:/svc-jobs\nsem:/svc-slots\n\
                    shm:key:0x00005c01\nmq:key:0x00005c02\nsem:key:0x00005c03\n--\nshm:/other";
    assert_eq!(run.run().text(), expected);
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
        assert_eq!(state(&t, &format!("shm:{key}")), "idle", "{key}");
    }
    let id = t.bash("echo x | shmput private:").run().text();
    assert_eq!(state(&t, &format!("shm:{id}")), "idle");
    t.cmd("ipcunlink").args([format!("shm:{id}")]).run().ok();
}

/// Killed at any moment, with all of its process group or alone.
#[test]
fn what_a_killed_shmput_leaves_is_whole_or_an_orphan() {
    let t = Test::new();
    let key = t.key();
    let half = t.cmd("shmput").args(["--size", "10", &key]).spawn_open();
    half.wait_blocked();
    wait_until("it is attached", || one_or_none(&t, &key).is_some_and(|object| object == "filling"));
    half.kill(Signal::SIGKILL);
    drop(half);
    wait_until("it counts as dead", || at_any_age(&format!("shm:{key}")) == State::Orphan);
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
            !matches!(left.as_deref(), Some("in-use" | "filling"))
        });
        if let Some(left) = left {
            // Looked at first: whoever attaches it makes it his.
            let whole = t.cmd("shmcat").args([&key]).run().status == 0;
            assert!(!whole || left == "idle", "round {round}: {left}");
            t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
        }
    }
}

fn one_or_none(t: &Test, key: &str) -> Option<String> {
    let output = t.cmd("ipcls").args(["-o", "state", "--no-headings", &format!("shm:{key}")]).run();
    (output.status == 0).then(|| output.text())
}

/// By their age alone: the kernel does not say who made them.
#[test]
fn queues_and_sets_are_orphans_when_they_are_old() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    t.bash(&format!(
        "perl -e 'semget({key}, 1, 01600) // die; msgget({key}, 01600) // die; kill 9, $$'; mqsend {key} x"
    ))
    .run();
    for address in [format!("sem:{key}"), format!("mq:{key}")] {
        assert_eq!(at_any_age(&address), State::Idle, "{address}");
        let address = address.replace(':', ":key:");
        assert_eq!(listed(&t, "--orphans", &[&address]), [&*address]);
    }
    let sender = t
        .cmd("perl")
        .args(["-e", &format!("msgsnd(msgget({key}, 0), pack('l! a*', 1, 'x'), 0) or die; sleep 1000")])
        .spawn();
    wait_until("it lives and has sent", || listed(&t, "--orphans", &[&format!("mq:key:{key}")]).is_empty());
    drop(sender);
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
        kill -9 $pid; wait $pid 2>/dev/null || ipcls --no-headings --older 0 -o state shm:$name
        ipcls --orphans --older 0 -A --kind shm
        ipcunlink shm:$name; ls -A /dev/shm";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    let text = run.env("LOCK", holders::LOCK).run().text();
    assert!(text.starts_with("filling\norphan\nshm:/.ipcutils.abcdefghijkl.") && text.lines().count() == 3, "{text}");
}

/// The kernel tells of their locks, also of those whose holders cannot be seen.
#[test]
fn a_ring_or_a_lock_that_somebody_takes_part_in_is_held() {
    let Some(t) = Test::with(&["python3"]) else { return };
    for (kind, magic) in [("ring", b"\x89ipcring more"), ("lock", b"\x89ipclock more")] {
        std::fs::write(t.shm_path(kind), magic).unwrap();
        let address = format!("{kind}:{}", t.name(kind));
        assert_eq!(state(&t, &address), "idle");
        let holder = lock(&t, &t.shm_path(kind));
        assert_eq!(state(&t, &address), "in-use");
        drop(holder);
        assert_eq!(state(&t, &address), "idle");
    }
}

#[test]
fn ipcunlink_orphans_is_a_dry_run_that_asks_for_a_choice() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let (one, two, kept) = (t.key(), t.key(), t.key());
    for key in [&one, &two] {
        killed(&t, key, "shmwrite($i, 'x', 0, 1)");
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
    let output = ipcunlink(&format!("--older 0 --name 'key:{one}'"));
    assert_eq!((output.status, String::from_utf8_lossy(&output.stdout).trim_end()), (0, &*format!("shm:key:{one}")));
    assert!(output.stderr.starts_with("ipcunlink: nothing was removed"), "{output:?}");
    assert_eq!(ipcunlink(&format!("--dry-run --older 0 --name 'key:{one}'")).text(), format!("shm:key:{one}"));
    assert_eq!(ipcunlink(&format!("--older 1h --name 'key:{one}' --yes")).text(), "");
    // Too young, if no age is given.
    assert_eq!(ipcunlink(&format!("--name 'key:{one}' --yes")).text(), "");
    assert_eq!(ipcunlink(&format!("--name 'key:{kept}' --yes")).text(), "");
    assert_eq!(t.left(), left);
    assert_eq!(ipcunlink(&format!("--mine --older 0 --name 'key:{one}' --yes")).text(), format!("shm:key:{one}"));
    assert_eq!(t.left().len(), left.len() - 1);
    assert_eq!(at_any_age(&format!("shm:{two}")), State::Orphan);
}
