//! Modes and owners of every kind of object, whatever tool makes it: rows B20, G18, K19,
//! and what another user planted.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::util::sysv::set_of;
use crate::util::{AS_OTHER, Test, said};

/// How an object of each kind is made, and its address with the kind: the command has
/// `OPTIONS` for options.
fn makers(t: &Test) -> Vec<(String, String)> {
    let (shm, mq, sem) = (t.key(), t.key(), t.key());
    let of =
        |command: &str, kind: &str, address: &str| (command.replace("ADDRESS", address), format!("{kind}:{address}"));
    let mut all = vec![
        of("shmput OPTIONS ADDRESS <<<x", "shm", &t.name("shm")),
        of("shmput OPTIONS ADDRESS <<<x", "shm", "file:f"),
        of("shmput OPTIONS ADDRESS <<<x", "shm", &shm),
        of("mqsend -c OPTIONS ADDRESS x", "mq", &mq),
        of("semop -c 1 OPTIONS ADDRESS", "sem", &t.name("sem")),
        of("semop -c 1 OPTIONS ADDRESS", "sem", &sem),
        of("ringput OPTIONS ADDRESS <<<x", "ring", &t.name("ring")),
        of("ringput OPTIONS ADDRESS <<<x", "ring", "file:r"),
        of("shmlock OPTIONS ADDRESS -- true", "lock", &t.name("lock")),
    ];
    if !t.lacks("POSIX queues") {
        let small = "--max-messages 4 --message-size 64";
        all.push(of(&format!("mqsend -c {small} OPTIONS ADDRESS x"), "mq", &t.queue("q")));
        all.push(of(&format!("mqrecv -c --drain {small} OPTIONS ADDRESS"), "mq", &t.queue("r")));
    }
    all
}

/// What the kernel says of its mode.
fn mode(t: &Test, object: &str) -> String {
    t.cmd("ipcls").args(["--no-headings", "-o", "mode", object]).run().text()
}

#[test]
fn g18_a_mode_is_exact_for_every_kind() {
    let t = Test::new();
    for (command, object) in makers(&t) {
        for (umask, bits) in [("022", "0666"), ("077", "0640"), ("0777", "0604"), ("0", "0700")] {
            let command = command.replace("OPTIONS", &format!("-m {bits}"));
            t.bash(&format!("umask {umask}; {command}")).run().ok();
            assert_eq!(mode(&t, &object), bits, "{command}, umask {umask}");
            t.cmd("ipcunlink").args([&object]).run().ok();
        }
    }
    assert!(t.left().is_empty(), "{:?}", t.left());
}

#[test]
fn g18_the_default_obeys_the_umask() {
    let t = Test::new();
    for (command, object) in makers(&t) {
        // The others have to open what they have made.
        let masks: &[_] = if object.starts_with("shm:") { &[("0200", "0400")] } else { &[] };
        for (umask, bits) in [("0", "0600"), ("077", "0600")].iter().chain(masks) {
            t.bash(&format!("umask {umask}; {}", command.replace("OPTIONS", ""))).run();
            assert_eq!(mode(&t, &object), *bits, "{command}, umask {umask}");
            t.cmd("ipcunlink").args([&object]).run().ok();
        }
    }
}

/// The name comes after the mode.
#[test]
fn a_file_has_its_mode_before_it_has_its_name() {
    let Some(t) = Test::with(&["strace"]) else { return };
    for command in
        ["shmput -m 640 $NAME", "ringput -m 640 $NAME", "semop -c 1 -m 640 $NAME", "shmlock -m 640 $NAME -- true"]
    {
        let trace = "strace -qq -o trace -e trace=openat,fchmod,linkat,rename,renameat2";
        t.bash(&format!("umask 0; {trace} {command} </dev/null; ipcunlink ${{K}}:$NAME"))
            .env("NAME", t.name("o"))
            .env(
                "K",
                match &command[..3] {
                    "rin" => "ring",
                    "sem" => "sem",
                    "shm" if command.contains("lock") => "lock",
                    _ => "shm",
                },
            )
            .run()
            .ok();
        let trace = std::fs::read_to_string(t.path("trace")).unwrap();
        let at = |call: &str| {
            trace.lines().position(|line| line.starts_with(call)).unwrap_or_else(|| panic!("{call}: {trace}"))
        };
        assert!(at("fchmod(") < at("linkat("), "{trace}");
        let opened = trace.lines().find(|line| line.contains("O_TMPFILE")).unwrap();
        assert!(opened.contains(", 0600)"), "{opened}");
    }
}

#[test]
fn a_default_list_of_the_directory_lets_nobody_in() {
    let Some(t) = Test::with(&["setfacl", "getfacl"]) else { return };
    let set = t.bash("mkdir d && setfacl -d -m u:65534:rwx,g::rwx,o::rwx d 2>&1").run();
    if !set.success() {
        return said("not tested: this file system has no access control lists");
    }
    for (command, bits) in [("shmput -m 660", 0o660), ("shmput", 0o600), ("ringput -m 640", 0o640)] {
        t.bash(&format!("{command} file:d/x </dev/null")).run().ok();
        assert_eq!(Path::new(&t.path("d/x")).metadata().unwrap().permissions().mode() & 0o777, bits);
        let list = t.bash("getfacl -cE d/x").run().text();
        assert!(!list.contains("65534") && !list.contains("nobody"), "{command}: {list}");
        t.bash("rm d/x").run().ok();
    }
    // What is replaced keeps its list: its bits of the group are none of the group's.
    t.bash("echo old | shmput file:d/y; setfacl -m u:65534:r--,g::--- d/y; echo new | shmput file:d/y").run().ok();
    let list = t.bash("getfacl -cnE d/y").run().text();
    assert!(list.contains("user:65534:r--") && list.contains("group::---"), "{list}");
    assert_eq!(t.cmd("shmcat").args(["file:d/y"]).run().text(), "new");
}

#[test]
fn what_exists_and_is_not_as_asked_is_said() {
    let t = Test::new();
    for (command, object) in makers(&t) {
        t.bash(&command.replace("OPTIONS", "-m 640")).run().ok();
        if command.starts_with("shmput") {
            t.cmd("ipcunlink").args([&object]).run().ok();
            continue;
        }
        let (address, tool) = (object.split_once(':').unwrap().1, command.split(' ').next().unwrap());
        let note = t.bash(&command.replace("OPTIONS", "-m 600")).run();
        let address = if address.starts_with("0x") { format!("key:{address}") } else { address.to_owned() };
        let object = format!("{}:{address}", object.split_once(':').unwrap().0);
        let cure = format!("ipcset -m 0600 {object}");
        assert_eq!(note.stderr, format!("{tool}: {address}: exists already, with mode 0640 ({cure} changes it)\n"));
        assert_eq!(note.status, 0);
        assert_eq!(mode(&t, &object), "0640");
        t.bash(&cure).run().ok();
        // Nothing is said where they agree, or of what was not asked for.
        for options in ["-m 0600", ""] {
            assert_eq!(t.bash(&command.replace("OPTIONS", options)).run().stderr, "");
        }
        t.cmd("ipcunlink").args([&object]).run().ok();
    }
    let ring = t.name("other");
    t.cmd("ringput").args(["-s", "8K", &ring]).run().ok();
    let note = t.cmd("ringput").args(["-s", "4K", "-m", "640", &ring]).run().stderr;
    let changes = format!("(ipcset -m 0640 ring:{ring} changes it)");
    assert_eq!(note, format!("ringput: {ring}: exists already, with mode 0600 and 8192 bytes {changes}\n"));
    assert_eq!(t.cmd("ringput").args(["-s", "8K", &ring]).run().stderr, "");
}

/// Another user makes a System V object, and gives it to root: it still is his, too.
#[test]
fn a_planted_system_v_object_gets_no_secret() {
    let Some(t) = Test::with(&["perl"]) else { return };
    if !t.second_user() {
        return;
    }
    let (segment, queue) = (t.key(), t.key());
    t.bash(&format!(
        "cd /; {AS_OTHER} perl -e 'defined shmget({segment}, 64, 01600) && defined msgget({queue}, 01600) or die'"
    ))
    .run()
    .ok();
    set_of(&t, AS_OTHER, "shm", &segment, "uid=0").ok();
    set_of(&t, AS_OTHER, "msg", &queue, "uid=0").ok();
    let foreign = "belongs to another user, uid 65534";
    t.bash(&format!("echo secret | shmput -i {segment}")).run().says(5, foreign);
    t.bash(&format!("mqsend -c {queue} secret")).run().says(5, foreign);
    t.bash(&format!("echo secret | mqsend -c -l {queue}")).run().says(5, foreign);
    let read = format!(
        "shmread(shmget({segment}, 0, 0), $b, 0, 64); print $b =~ tr/\\0//cd, msgrcv(msgget({queue}, 0), $b, 64, 0, 04000) ? $b : 0"
    );
    let read = || t.bash(&format!("cd /; {AS_OTHER} perl -e '{read}'")).run().text();
    assert_eq!(read(), "00");
    // It is not shown as root's alone.
    for object in [format!("shm:{segment}"), format!("mq:{queue}")] {
        let owner = t.cmd("ipcls").args(["--no-headings", "-o", "owner", &object]).run().text();
        let names = t.bash("id -nu 65534 2>/dev/null || echo 65534").run().text();
        assert_eq!(owner, format!("root,{names}"));
    }
    // Told so, or asked for a queue that others have made, it is written.
    t.bash(&format!("echo public | shmput --foreign -i {segment}; mqsend --foreign -c {queue} a; mqsend {queue} b"))
        .run()
        .ok();
    t.bash(&format!("mqrecv --drain -l {queue}")).run().text();
    assert!(t.cmd("shmcat").args([&segment]).run().text().starts_with("public"));
}

#[test]
fn a_planted_posix_object_gets_no_secret() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let bin = crate::util::bin_dir();
    let other = |command: &str| t.bash(&format!("{AS_OTHER} {}/{command}", bin.display())).run().ok();
    let (segment, ring) = (t.name("segment"), t.name("ring"));
    let foreign = "belongs to another user, uid 65534 (--foreign writes it all the same)";
    other(&format!("shmput -m 666 --size 64 {segment} </dev/null"));
    other(&format!("ringput -m 666 {ring} </dev/null"));
    for command in [
        format!("shmput {segment}"),
        format!("shmput -i {segment}"),
        format!("ringput {ring}"),
        format!("ringput --resume {ring}"),
        format!("ringput --many -l {ring}"),
    ] {
        t.bash(&format!("echo secret | {command}")).run().says(5, foreign);
    }
    assert_eq!(t.cmd("ringput").args(["--position", &ring]).run().text(), "0");
    t.bash(&format!("echo public | ringput --foreign {ring}")).run().ok();
    assert_eq!(t.cmd("ringcat").args([&ring]).run().text(), "public");
    if !t.lacks("POSIX queues") {
        let queue = t.queue("q");
        other(&format!("mqsend -c --max-messages 4 --message-size 64 -m 666 {queue} first"));
        t.cmd("mqsend").args(["-c", &queue, "secret"]).run().says(5, foreign);
        t.cmd("mqsend").args(["-c", "--foreign", &queue, "public"]).run().ok();
        t.cmd("mqsend").args([&queue, "service"]).run().ok();
        assert_eq!(t.cmd("mqrecv").args(["--drain", "-l", &queue]).run().text(), "first\npublic\nservice");
    }
    // What root has made is no trap for others.
    let ours = t.name("ours");
    t.bash(&format!("ringput -m 666 {ours} </dev/null")).run().ok();
    other(&format!("ringput {ours} </dev/null"));
}
