//! ipcls --limits.

use serde_json::Value;

use crate::util::{Run, Test};

/// The limits in a document, by name.
fn limits(run: Run<'_>) -> impl Fn(&str) -> Value {
    let document: Value = serde_json::from_slice(&run.run().ok()).unwrap();
    move |name| {
        let limits = document["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["name"] == name).unwrap_or_else(|| panic!("no limit {name}")).clone()
    }
}

#[test]
fn every_limit_with_its_value_and_what_is_in_use() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let script = "
        mount -t tmpfs -o size=1M,nr_inodes=50 tmpfs /dev/shm
        set() { echo $2 >/proc/sys/$1; }
        set kernel/shmmni 10; set kernel/shmall 100; set kernel/shmmax 100000; set kernel/msgmni 4
        set kernel/sem '7 60 5 6'; set fs/mqueue/queues_max 5
        for i in 1 2 3 4 5 6 7 8; do ipcmk -M 5000; done >/dev/null
        for i in 1 2 3 4; do ipcmk -S 7; done >/dev/null
        head -c 8000 /dev/zero | mqsend -c key:0x2a; head -c 8000 /dev/zero | mqsend key:0x2a
        for i in 1 2 3 4; do mqsend -c --max-messages 4 --message-size 64 /q$i x; done
        head -c 900K /dev/zero | shmput /most
        ulimit -q 10000; ipcls --limits -J";
    let Some(run) = t.with_limits("--mount", script) else { return };
    let limit = limits(run);
    // 4 * (4 * (64 + 48) + 4 * 48) is what the kernel charges for the queues.
    for (name, max, used, percent, close) in [
        ("shmmni", 10, 8, 80, false),
        ("shmmax", 100_000, 5000, 5, false),
        ("shmall", 100, 16, 16, false),
        ("msgmni", 4, 1, 25, false),
        ("msgmnb", 16384, 16000, 97, true),
        ("semmni", 6, 4, 66, false),
        ("semmns", 60, 28, 46, false),
        ("semmsl", 7, 7, 100, false),
        ("queues_max", 5, 4, 80, false),
        ("msg_max", 10, 4, 40, false),
        ("msgsize_max", 8192, 64, 0, false),
        ("RLIMIT_MSGQUEUE", 10_000, 2560, 25, false),
        ("/dev/shm", 1 << 20, 900 << 10, 87, true),
        ("/dev/shm inodes", 50, 2, 4, false),
    ] {
        let found = limit(name);
        let numbers = ["max", "used", "percent"].map(|member| found[member].as_u64().unwrap_or(u64::MAX));
        assert_eq!((numbers, found["close"].as_bool()), ([max, used, percent], Some(close)), "{found}");
        assert!(found["raise"].as_str().is_some_and(|raise| raise.contains('N')), "{found}");
    }
    // a5: beside each stands what it counts.
    for (name, unit) in [("shmall", "pages"), ("shmmax", "bytes"), ("shmmni", "segments"), ("msg_max", "messages")] {
        assert_eq!(limit(name)["unit"], unit);
    }
    assert!(limit("shmall")["bytes_each"].as_u64().is_some_and(|bytes| bytes >= 4096));
    assert_eq!(limit("msgmax")["used"], Value::Null);
    assert_eq!(limit("semopm")["max"], 5);
    assert_eq!(limit("shm_rmid_forced")["setting"], "0");
    assert_eq!(limit("semmns")["raise"], "sysctl kernel.sem='7 N 5 6'");
}

/// The sum of what the kernel charges is right: the queue that does not fit is
/// the one that would go beyond the limit. The kernel charges a user for all
/// queues of the machine: so this is the root of a user namespace.
#[test]
fn e7_the_bytes_of_queues_are_those_that_the_kernel_counts() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let script = "
        mqsend -c --max-messages 10 --message-size 100 /q1 x; mqsend -c --max-messages 3 --message-size 1000 /q2 x
        used=$(ipcls --limits -J | grep -o '\"RLIMIT_MSGQUEUE\"[^}]*' | grep -o '\"used\":[0-9]*' | cut -d: -f2)
        one=$((1 * (1 + 48) + 1 * 48))
        (ulimit -q $((used + one)); setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource mqsend -c --max-messages 1 --message-size 1 /q3 x && echo fits)
        ipcunlink mq:/q3
        (ulimit -q $((used + one - 1)); mqsend -c --max-messages 1 --message-size 1 /q3 x 2>/dev/null || echo $?)";
    if let Some(run) = t.unshared("--user --map-root-user --ipc --mount", script) {
        assert_eq!(run.run().text(), "fits\n9");
    }
}

#[test]
fn switches_by_which_objects_go_by_themselves() {
    let t = Test::new();
    let script = "
        echo 1 >/proc/sys/kernel/shm_rmid_forced
        mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /etc; mkdir -p /etc/systemd/logind.conf.d
        row() { set -- $(ipcls --limits --no-headings | grep \"^$1 \"); echo \"${*:2:4}\"; }
        remove() { row RemoveIPC; }
        user() { set -- $(setpriv --reuid 65534 ipcls --limits --no-headings 2>/dev/null | grep \"^RemoveIPC \"); echo \"${*:2:4}\"; }
        row shm_rmid_forced; remove
        mkdir -p /run/systemd/seats; remove
        printf '[Login]\\nRemoveIPC=no\\n' >/etc/systemd/logind.conf; remove
        printf '[Login]\\nRemoveIPC = yes\\n' >/etc/systemd/logind.conf.d/10-a.conf; remove
        [ -z \"$OTHER\" ] || user
        printf '[Login]\\n#RemoveIPC=yes\\nRemoveIPC=off\\n' >/etc/systemd/logind.conf.d/20-b.conf; remove";
    if let Some(run) = t.with_limits("--mount", script) {
        // Root's objects stay; of other users they go.
        let (other, user) = if t.second_user() { ("1", "yes - - !\n") } else { ("", "") };
        let expected = format!("1 - - !\nno logind - -\nyes - - -\nno - - -\nyes - - -\n{user}no - - -");
        assert_eq!(run.env("OTHER", other).run().text(), expected);
    }
}

#[test]
fn the_table_fits_a_terminal() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let script = "for i in 1 2 3; do mqsend -c --max-messages 10 --message-size 64 /q$i; done; ipcls --limits";
    if let Some(run) = t.unshared("--ipc --mount", script) {
        let text = run.run().text();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.lines().any(|line| line.contains("msg_max") && line.contains("100%")), "{text}");
        // A queue of the default size is no alarm.
        assert!(!text.lines().any(|line| line.contains("msg") && line.contains('!')), "{text}");
        assert!(text.lines().any(|line| line.starts_with("shmall") && line.contains(" pages ")), "{text}");
        assert!(text.lines().count() >= 18, "{text}");
    }
}

/// Folders, and what has lost its name: all that is in use has its line.
#[test]
fn a4_what_fills_dev_shm_is_accounted_for() {
    let Some(t) = Test::with(&["python3"]) else { return };
    let script = "
        mount -t tmpfs -o size=16M none /dev/shm
        mkdir -p /dev/shm/folder/deep; head -c 3M /dev/zero >/dev/shm/folder/deep/big
        exec 5>/dev/shm/gone; head -c 2M /dev/zero >&5; rm /dev/shm/gone
        head -c 1M /dev/zero >/dev/shm/map; python3 -c \"$MAP\" /dev/shm/map >mapped & mapper=$!
        trap 'kill $mapper' EXIT
        until [ -s mapped ]; do sleep .01; done; rm /dev/shm/map
        head -c 512K /dev/zero | shmput /seg
        ipcls --space --no-headings | sed \"s/ $mapper / MAPPER /; s/  */ /g\"
        ipcls --space -J | grep -o '\"unknown\":[0-9]*'
        ipcls --space -J | grep -c '\"name\":\"/dev/shm/folder\",\"size\":3145728,\"holders\":\\[\\]'
        (head -c 16M /dev/zero | shmput /more 2>&1 || :) | grep -o 'ipcls --space'";
    let Some(run) = t.unshared("--mount", script) else { return };
    let text = run.env("MAP", crate::util::holders::MAP).run().text();
    let (parts, rest) = text.split_once("\n\"").unwrap();
    let lines: Vec<&str> = parts.lines().map(str::trim).collect();
    assert_eq!((lines.len(), lines[0]), (4, "3.0M - folder /dev/shm/folder"), "{text}");
    assert!(lines[1].starts_with("2.0M ") && lines[1].ends_with("removed /dev/shm/gone"), "{text}");
    // The size of what is mapped and removed is for root alone.
    if nix::unistd::geteuid().is_root() {
        assert_eq!(lines[2..], ["1.0M MAPPER removed /dev/shm/map", "512K - object shm:/seg"], "{text}");
        assert_eq!(rest, "unknown\":0\n1\nipcls --space");
    } else {
        assert_eq!(lines[2], "512K - object shm:/seg");
        assert!(lines[3].starts_with("1.0M ? unknown not looked at: "), "{text}");
        assert_eq!(rest, "unknown\":1048576\n1\nipcls --space");
    }
}
