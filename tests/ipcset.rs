//! ipcset: mode, owner and size of what exists.

use std::os::unix::fs::MetadataExt;

use crate::util::{AS_OTHER, Output, Test, said, sysvipc};

fn set(t: &Test, args: &[&str]) -> Output {
    t.cmd("ipcset").args(args).run()
}

fn of(t: &Test, columns: &str, object: &str) -> String {
    t.cmd("ipcls").args(["--no-headings", "-o", columns, object]).run().text()
}

/// One object of each kind, with its address.
fn objects(t: &Test) -> Vec<String> {
    let (shm, mq, sem) = (t.key(), t.key(), t.key());
    let script = format!(
        "echo x | shmput $SHM; echo x | shmput file:f; echo x | shmput {shm}; mqsend -c {mq} x; semop -c 1 $SEM
        semop -c 1 {sem}; ringput $RING </dev/null; shmlock $LOCK -- true"
    );
    let names = ["shm", "sem", "ring", "lock"].map(|kind| (kind, t.name(kind)));
    let run = names.iter().fold(t.bash(&script), |run, (kind, name)| run.env(&kind.to_uppercase(), name));
    run.run().ok();
    let mut all: Vec<_> = names.iter().map(|(kind, name)| format!("{kind}:{name}")).collect();
    all.extend(["shm:file:f".to_owned(), format!("shm:{shm}"), format!("mq:{mq}"), format!("sem:{sem}")]);
    if !t.lacks("POSIX queues") {
        let queue = t.queue("q");
        t.cmd("mqsend").args(["-c", "--max-messages", "4", "--message-size", "64", &queue, "x"]).run().ok();
        all.push(format!("mq:{queue}"));
    }
    all
}

#[test]
fn the_mode_of_every_kind() {
    let t = Test::new();
    let mut all = objects(&t);
    if !nix::unistd::geteuid().is_root() {
        // One that its owner cannot open is a test of its own.
        all.retain(|object| !object.starts_with("mq:/"));
    }
    for mode in ["0640", "0", "0666", "600"] {
        let args: Vec<_> = ["-m", mode].into_iter().chain(all.iter().map(String::as_str)).collect();
        t.bash("umask 077; exec ipcset \"$@\"").args(["bash"]).args(args).run().ok();
        for object in &all {
            assert_eq!(of(&t, "mode", object), format!("{mode:0>4}"), "{object}");
        }
    }
}

#[test]
fn the_owner_of_every_kind() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    for object in objects(&t) {
        for (owner, mode, expected) in [
            ("65534:65534", None, "65534 65534 0600"),
            ("root", Some("0640"), "0 65534 0640"),
            (":0", None, "0 0 0640"),
            ("65534:0", Some("0604"), "65534 0 0604"),
        ] {
            let mode = mode.map_or_else(Vec::new, |mode| vec!["-m", mode]);
            set(&t, &[&["-o", owner], &*mode, &[&object]].concat()).ok();
            let now = of(&t, "uid,gid,mode", &object);
            assert_eq!(now.split_whitespace().collect::<Vec<_>>().join(" "), expected, "{object}");
        }
    }
}

/// The order of the calls for a file: nobody may do more in between.
#[test]
fn never_more_than_before_and_after() {
    let Some(t) = Test::with(&["strace"]) else { return };
    if !t.second_user() {
        return;
    }
    let name = t.name("o");
    t.bash(&format!("echo x | shmput -m 644 {name}")).run().ok();
    let calls = |args: &str| {
        t.bash(&format!("strace -qq -o trace -e trace=fchmod,fchownat ipcset {args} shm:{name}")).run().ok();
        let trace = std::fs::read_to_string(t.path("trace")).unwrap();
        let call = |line: &str| {
            let (call, rest) = line.split_once('(').unwrap();
            let bits = rest.split([' ', ')']).nth(1).unwrap();
            if call == "fchmod" { bits.to_owned() } else { call.to_owned() }
        };
        trace.lines().map(call).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(calls("-o 65534 -m 640"), "0640 fchownat");
    assert_eq!(calls("-o 0:0 -m 604"), "0600 fchownat 0604");
    assert_eq!(calls("-o 65534 -m 660"), "0600 fchownat 0660");
    assert_eq!(calls("-o 0"), "fchownat");
    assert_eq!(calls("-m 600"), "0600");
    assert_eq!(calls("-m 600"), "");
}

/// Whoever may not read his own object may change that.
#[test]
fn a_mode_that_shut_out_its_owner() {
    let t = Test::new();
    let Some(user) = t.unprivileged() else { return };
    let (key, queue) = (t.key(), t.queue("q"));
    let script = format!(
        "cd /; echo x | {user} shmput -m 0 $SHM; {user} shmcat $SHM; echo $?; {user} ipcset -m 600 shm:$SHM; {user} shmcat $SHM
        echo x | {user} shmput -m 0 {key}; {user} shmcat {key}; echo $?; {user} ipcset -m 600 shm:{key}; {user} shmcat {key}"
    );
    let output = t.bash(&script).env("SHM", t.name("o")).run();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "5\nx\n5\nx\n");
    if t.lacks("POSIX queues") {
        return;
    }
    t.bash(&format!("cd /; {user} mqsend -c --max-messages 4 --message-size 64 -m 0 {queue} x")).run().ok();
    let opened = t.bash(&format!("cd /; {user} ipcset -m 600 mq:{queue}")).run();
    if opened.stderr.contains("/dev/mqueue") {
        return said("not tested: a queue that its owner cannot open needs /dev/mqueue");
    }
    opened.ok();
    assert_eq!(t.bash(&format!("cd /; {user} mqrecv {queue}")).run().text(), "x");
}

/// Who may write to it, and does not own it, may change its size alone; a size that
/// cannot be takes the rest back.
#[test]
fn several_changes_are_made_whole_or_not_at_all() {
    let t = Test::new();
    let (name, object) = (t.name("s"), format!("shm:{}", t.name("s")));
    t.cmd("shmput").args(["-m", "606", &name]).stdin("old").run().ok();
    let is = |expected: &str| assert_eq!(of(&t, "size,mode", &object).replace("  ", " "), expected);
    set(&t, &["-m", "644", "--size", "4000000T", &object]).fails(9);
    is("3 0606");
    if t.second_user() {
        t.bash(&format!("cd /; {AS_OTHER} ipcset -m 666 --size 9 {object}")).run().says(5, "permission denied");
        is("3 0606");
        t.bash(&format!("cd /; {AS_OTHER} ipcset --size 9 {object}")).run().ok();
        is("9 0606");
    }
    set(&t, &["-m", "640", "--size", "20", &object]).ok();
    is("20 0640");
}

#[test]
fn another_user_is_denied() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    for object in objects(&t) {
        if object == "shm:file:f" {
            continue;
        }
        for change in ["-m 666", "-o 65534", "-m 600 -o :65534"] {
            t.bash(&format!("cd /; {AS_OTHER} ipcset {change} {object}")).run().says(5, "permission denied");
        }
        assert_eq!(of(&t, "uid,gid,mode", &object).split_whitespace().collect::<Vec<_>>(), ["0", "0", "0600"]);
    }
}

#[test]
fn what_an_object_does_not_have_is_refused_before_anything_is_changed() {
    let t = Test::new();
    let all = objects(&t);
    let args = |change: &[&'static str], object: &str| {
        let all = all.iter().map(String::as_str);
        change.iter().copied().chain([object]).chain(all).map(str::to_owned).collect::<Vec<_>>()
    };
    for (change, object, words) in [
        (&["-m", "666", "--size", "4K"][..], "shm:0x1", "the size of a System V segment cannot change"),
        (&["-m", "666", "--size", "4K"], "ring:/r", "the size of a "),
        (&["-m", "666", "--max-bytes", "9"], "mq:/q", "only a System V queue"),
        (&["-m", "666", "--max-bytes", "1T"], "mq:0x1", "no queue holds 2147483648 bytes or more"),
        (&["-m", "666"], "sem:private:", "names no object"),
        (&["-m", "666"], "nonsense", "nonsense"),
        (&["-m", "888"], "shm:/x", "is no mode"),
        (&["-m", "666", "-o", "nosuchuser"], "shm:/x", "no user of /etc/passwd"),
        (&["-m", "666", "-o", "0:nosuchgroup"], "shm:/x", "no group of /etc/group"),
        (&["-m", "666", "-o", ""], "shm:/x", "no user"),
        (&["-m", "666", "-o", ":"], "shm:/x", "no group"),
        (&["-m", "666", "--force"], "shm:/x", "--size"),
        (&[], "shm:/x", "required"),
    ] {
        t.cmd("ipcset").args(args(change, object)).run().says(2, words);
    }
    for object in &all {
        assert_eq!(of(&t, "mode", object), "0600");
    }
}

#[test]
fn what_is_not_there_or_of_another_kind() {
    let t = Test::new();
    let all = objects(&t);
    let (lock, ring) = (t.name("lock"), t.name("ring"));
    set(&t, &["-m", "666", &format!("shm:{}", t.name("none"))]).says(3, "does not exist");
    for object in [t.key(), "id:2147483647".into()] {
        for kind in ["shm", "mq", "sem"] {
            set(&t, &["-m", "666", &format!("{kind}:{object}")]).says(3, "does not exist");
        }
    }
    set(&t, &["-m", "666", &format!("shm:{lock}")]).says(8, "is a lock");
    set(&t, &["-m", "666", &format!("lock:{ring}")]).says(8, "is a ring");
    set(&t, &["--size", "0", &format!("shm:{ring}")]).says(8, "is a ring");
    std::os::unix::fs::symlink("f", t.path("link")).unwrap();
    set(&t, &["-m", "666", "shm:file:link"]).says(8, "is a symbolic link");
    std::fs::hard_link(t.path("f"), t.path("second")).unwrap();
    set(&t, &["-m", "666", "shm:file:f"]).says(8, "has a second name");
    std::fs::remove_file(t.path("second")).unwrap();
    // The others are changed all the same.
    set(&t, &["-m", "640", &format!("shm:{}", t.name("none")), &all[0]]).says(3, "does not exist");
    assert_eq!(of(&t, "mode", &all[0]), "0640");
}

#[test]
fn a_larger_size_has_its_memory() {
    let t = Test::new();
    for (address, path) in [(t.name("o"), t.shm_path("o")), ("file:f".to_owned(), t.path("f"))] {
        t.bash(&format!("echo -n hello | shmput {address}")).run().ok();
        // The cure that shmput names.
        let cure = format!("(ipcset --size N shm:{address} makes it larger)");
        t.cmd("shmput").args(["-i", &address]).stdin("hello!").run().says(9, &cure);
        set(&t, &["--size", "1M", &format!("shm:{address}")]).ok();
        t.cmd("shmput").args(["-i", &address]).stdin("hello\0").run().ok();
        let stat = path.metadata().unwrap();
        assert_eq!(stat.size(), 1 << 20);
        assert!(stat.blocks() * 512 >= 1 << 20, "{}", stat.blocks());
        let content = t.cmd("shmcat").args([&address]).run().ok();
        assert!(content.starts_with(b"hello\0") && content[5..].iter().all(|&byte| byte == 0));
        set(&t, &["--size", "4", "-m", "640", &format!("shm:{address}")]).ok();
        assert_eq!(t.cmd("shmcat").args([&address]).run().ok(), b"hell");
        assert_eq!(of(&t, "mode", &format!("shm:{address}")), "0640");
        set(&t, &["--size", "0", &format!("shm:{address}")]).ok();
        assert_eq!(path.metadata().unwrap().size(), 0);
    }
    let script = "mount -t tmpfs -o size=1M tmpfs /dev/shm; echo x | shmput /o
        ipcset --size 2M shm:/o; echo $?; stat -c %s /dev/shm/o; ipcset --size 512K shm:/o; stat -c %s /dev/shm/o";
    let Some(run) = t.unshared("--mount", &format!("set +e; {script}")) else { return };
    let output = run.run();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "9\n2\n524288\n");
    assert!(output.stderr.contains("its file system has 1048576 bytes"), "{}", output.stderr);
}

#[test]
fn memory_that_somebody_has_mapped_is_not_taken_away() {
    let Some(t) = Test::with(&["python3"]) else { return };
    let object = format!("shm:{}", t.name("o"));
    let size = || t.shm_path("o").metadata().unwrap().size();
    t.bash(&format!("head -c 12K /dev/zero | shmput {}", t.name("o"))).run().ok();
    // It has mapped the first page.
    let holder = crate::util::holders::map(&t, &t.shm_path("o"));
    let refused = set(&t, &["--size", "0", &object]).fails(1);
    let words = format!("{} (python3) has mapped what would go", holder.child.id());
    assert!(refused.contains(&words) && refused.ends_with("(--force does it all the same)"), "{refused}");
    assert_eq!(size(), 12 << 10);
    // Less than that page is in the way of nobody, if everybody could be looked at.
    let unknown = of(&t, "others", &object) != "0";
    for smaller in ["8K", "4K", "1"] {
        let done = set(&t, &["--size", smaller, &object]);
        if unknown { done.says(1, "a process that cannot be looked at may have mapped") } else { drop(done.ok()) }
    }
    set(&t, &["--size", "0", "--force", &object]).ok();
    assert_eq!(size(), 0);
    // A larger one is in nobody's way.
    set(&t, &["--size", "8K", &object]).ok();
    drop(holder);
    t.bash(&format!("for i in {{1..600}}; do ipcset --size 1 {object} 2>/dev/null && exit; sleep .1; done; exit 1"))
        .run()
        .ok();
    assert_eq!(size(), 1);
}

#[test]
fn a_queue_holds_other_bytes() {
    let t = Test::new();
    let key = t.key();
    t.cmd("mqsend").args(["-c", &key, "12345678"]).run().ok();
    let object = format!("mq:{key}");
    set(&t, &["--max-bytes", "8", &object]).ok();
    assert_eq!(of(&t, "max-bytes,mode", &object), "8  0600");
    t.cmd("mqsend").args(["-n", &key, "x"]).run().says(75, "is full");
    set(&t, &["--max-bytes", "9", "-m", "640", &object]).ok();
    t.cmd("mqsend").args(["-n", &key, "x"]).run().ok();
    assert_eq!(of(&t, "max-bytes,mode", &object), "9  0640");
    let Some(user) = t.unprivileged() else { return };
    let key = t.key();
    let command = format!("cd /; {user} mqsend -c {key} x; {user} ipcset --max-bytes 1G mq:{key}");
    t.bash(&command).run().says(9, "1073741824 bytes are more than kernel.msgmnb allows");
}

#[test]
fn a_segment_that_is_being_filled_stays_as_it_is() {
    let t = Test::new();
    let key = t.key();
    let mut filler = t.cmd("shmput").args(["--size", "4", &key]).spawn_open();
    filler.write(b"x");
    crate::util::wait_until("it is being filled", || t.cmd("shmcat").args([&key]).run().status == 75);
    set(&t, &["-m", "640", &format!("shm:{key}")]).says(75, "is being filled");
    filler.output().ok();
    assert_eq!(of(&t, "mode", &format!("shm:{key}")), "0600");
    let rows = sysvipc("shm");
    let id = of(&t, "id", &format!("shm:{key}"));
    // The mark of a half filled one is gone.
    assert_ne!(rows.iter().find(|row| row[1] == id).unwrap()[8], "1768973173");
}
