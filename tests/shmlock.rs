//! shmlock: rows H1 to H18 and M4 to M8, and what its options promise.

mod command;
mod death;
mod hostile;
mod pthread;
mod waiting;

use crate::util::locks::{hold, lock, status, wait_for};
use crate::util::{AS_OTHER, Running, Test, said, wait_until};

#[test]
fn one_at_a_time() {
    let t = Test::new();
    for l in [t.name("l"), "file:l".to_owned()] {
        t.file("sum", "0");
        let script = "
            add() { for i in 1 2 3 4 5; do shmlock $L -- sh -c 'echo $(($(cat sum) + 1)) >sum'; done; }
            add & add & add & add & add & add & wait; cat sum";
        assert_eq!(t.bash(script).env("L", &l).run().text(), "30");
        assert_eq!(status(&t, &l), "state: free");
        t.cmd("ipcunlink").args([format!("lock:{l}")]).run().ok();
    }
    assert!(t.left().is_empty());
}

#[test]
fn many_readers_or_one_writer() {
    let t = Test::new();
    let l = t.name("l");
    let (one, other) = (hold(&t, &["--shared", &l]), hold(&t, &["--shared", &l]));
    lock(&t, &["-n", &l, "--", "true"]).says(75, "is locked");
    let shown = status(&t, &l);
    assert!(shown.starts_with("state: shared\n"), "{shown}");
    for reader in [&one, &other] {
        assert!(shown.contains(&format!("\nholder: {} 2", reader.pid())), "{shown}");
    }
    one.output().ok();
    lock(&t, &["-n", &l, "--", "true"]).says(75, "is locked");
    other.output().ok();
    let writer = hold(&t, &[&l]);
    lock(&t, &["-n", "--shared", &l, "--", "true"]).says(75, "is locked");
    writer.output().ok();
    lock(&t, &["-n", "--shared", &l, "--", "true"]).ok();
}

#[test]
fn the_status_of_a_lock() {
    let t = Test::new();
    let l = t.name("l");
    lock(&t, &["--status", &l]).says(3, "does not exist");
    lock(&t, &["--reset", &l]).says(3, "does not exist");
    assert!(t.left().is_empty());
    let holder = hold(&t, &[&l]);
    let waiter = t.cmd("shmlock").args([&l, "--", "true"]).spawn();
    wait_for(&t, &l, "waiter: ");
    let shown = status(&t, &l);
    let lines: Vec<_> = shown.lines().map(|line| line.split(' ').collect::<Vec<_>>()).collect();
    let (holder_pid, waiter_pid) = (holder.pid().to_string(), waiter.pid().to_string());
    assert_eq!(lines[0], ["state:", "held"]);
    assert_eq!(lines[1][..2], ["holder:", &holder_pid]);
    assert_eq!(lines[2][..2], ["waiter:", &waiter_pid]);
    // Since when: within the day, in UTC.
    let today = t.bash("date -u +%FT").run().text();
    assert!(lines[1].len() == 3 && lines[1][2].starts_with(&today[..8]) && lines[1][2].ends_with('Z'), "{shown}");
    let json: serde_json::Value = serde_json::from_slice(&lock(&t, &["--status", "-J", &l]).ok()).unwrap();
    assert_eq!((&json["address"], &json["state"]), (&l.as_str().into(), &"held".into()));
    assert_eq!(json["holders"][0]["pid"].to_string(), holder_pid);
    assert_eq!(json["holders"][0]["ended"], false);
    assert_eq!(json["waiters"][0]["pid"].to_string(), waiter_pid);
    assert_eq!((json["sleepers"].as_array().unwrap().len(), json.get("died")), (0, None));
    holder.output().ok();
    waiter.output().ok();
    assert_eq!(status(&t, &l), "state: free");
}

#[test]
fn usage() {
    let t = Test::new();
    let l = t.name("l");
    lock(&t, &[&l]).fails(2);
    lock(&t, &[&l, "--"]).says(2, "there is no command (what to run follows ADDRESS)");
    lock(&t, &["--status", &l, "--", "true"]).fails(125);
    lock(&t, &["--status", "--reset", &l]).fails(2);
    lock(&t, &["-J", &l, "--", "true"]).fails(125);
    lock(&t, &["--pthread", "0", "--shared", &l, "--", "true"]).fails(125);
    lock(&t, &["0x2a", "--", "true"]).says(125, "no lock is a System V object (say /name");
    lock(&t, &["--status", "0x2a"]).fails(2);
    lock(&t, &["l", "--", "true"]).says(125, "is no address");
    lock(&t, &["/sem.x", "--", "true"]).says(125, "POSIX semaphore");
    lock(&t, &["/.ipcutils.abcdefghijkl.7", "--", "true"]).says(125, "temporary");
    lock(&t, &["file:no/l", "--", "true"]).says(125, "its directory does not exist");
    assert!(t.left().is_empty());
}

#[test]
fn modes_and_other_users() {
    let t = Test::new();
    let mode = |path: &std::path::Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
    };
    let l = t.name("l");
    lock(&t, &[&l, "--", "true"]).ok();
    assert_eq!(mode(&t.shm_path("l")), 0o600);
    t.bash(&format!("umask 077; shmlock -m 640 {} -- true", t.name("m"))).run().ok();
    assert_eq!(mode(&t.shm_path("m")), 0o640);
    // That of an existing lock stays.
    lock(&t, &["-m", "600", &t.name("m"), "--", "true"]).says(0, "exists already, with mode 0640");
    assert_eq!(mode(&t.shm_path("m")), 0o640);
    if !t.second_user() {
        return;
    }
    let other = |args: &str| t.bash(&format!("{AS_OTHER} {args}")).run();
    other(&format!("shmlock {l} -- true")).says(125, "permission denied");
    other(&format!("shmlock --shared {l} -- true")).says(125, "permission denied");
    other(&format!("shmlock --status {l}")).says(5, "permission denied");
    other(&format!("shmwake {l}")).says(5, "permission denied");
    // Read permission is enough for a reader, who keeps writers out.
    let r = t.name("r");
    t.bash(&format!("umask 0; shmlock -m 644 {r} -- true")).run().ok();
    other(&format!("shmlock {r} -- true")).says(125, "it takes write permission; --shared takes read permission alone");
    other(&format!("shmlock --shared {r} -- shmlock --status {r}")).ok();
    let reader = hold_as_other(&t, &r);
    lock(&t, &["-n", &r, "--", "true"]).says(75, "is locked");
    reader.output().ok();
    // Two users, one lock.
    let w = t.name("w");
    t.bash(&format!("umask 0; shmlock -m 666 {w} -- true")).run().ok();
    let holder = hold(&t, &[&w]);
    other(&format!("shmlock -n {w} -- true")).says(75, "is locked");
    holder.output().ok();
    other(&format!("shmlock -n {w} -- true")).ok();
}

fn hold_as_other(t: &Test, l: &str) -> Running {
    let reader = t.bash(&format!("exec {AS_OTHER} shmlock --shared {l} -- cat")).spawn_open();
    wait_for(t, l, "state: shared");
    reader
}

#[test]
fn h9_two_pid_namespaces_with_equal_numbers() {
    let t = Test::new();
    let l = t.name("l");
    let inside = "exec setpriv shmlock $L -- sh -c \"echo \\$PPID >\\$1; until [ -e stop ]; do sleep .01; done\" sh";
    let (Some(one), Some(other)) =
        (t.unshared("--pid --fork", &format!("{inside} one")), t.unshared("--pid --fork", &format!("{inside} other")))
    else {
        return;
    };
    let one = one.env("L", &l).spawn();
    wait_until("one is inside", || t.path("one").exists());
    let other = other.env("L", &l).spawn();
    wait_for(&t, &l, "waiter: ");
    assert!(!t.path("other").exists());
    // Seen from here the number means nothing.
    let json: serde_json::Value = serde_json::from_slice(&lock(&t, &["--status", "-J", &l]).ok()).unwrap();
    assert_eq!((&json["holders"][0]["pid"], json["holders"][0].get("ended")), (&1.into(), None));
    t.file("stop", "");
    one.output().ok();
    other.output().ok();
    assert_eq!((t.path("one").exists(), t.path("other").exists()), (true, true));
    assert_eq!(std::fs::read(t.path("one")).unwrap(), std::fs::read(t.path("other")).unwrap());
    said_if_unequal(&t);
}

/// Both were process 1 of their namespaces, or the test has shown nothing.
fn said_if_unequal(t: &Test) {
    if std::fs::read_to_string(t.path("one")).unwrap().trim() != "1" {
        said("not tested: equal process numbers");
    }
}

#[test]
fn who_holds_it_since_when_and_the_command() {
    let t = Test::new();
    let l = t.name("l");
    let year = t.bash("date -u +%Y-").run().text();
    let holder = hold(&t, &[&l]);
    let told = |status, output: crate::util::Output, words: &str| {
        let said = output.fails(status);
        let begin = format!("shmlock: {l}: is locked{words}; process {} has it since {year}", holder.pid());
        let end = format!(": shmlock {l} -- sh -c echo in; exec cat");
        assert!(said.starts_with(&begin) && said.ends_with(&end), "{said}");
    };
    told(75, lock(&t, &["-n", &l, "true"]), "");
    told(124, lock(&t, &["-w", ".1", &l, "true"]), ", and the timeout has passed");
    told(75, lock(&t, &["-n", "-s", &l, "true"]), "");
    let said = t.cmd("shmwait").args(["-n", "--until", "true", &l]).run().fails(75);
    assert!(said.contains(&format!("is locked; process {} has it", holder.pid())), "{said}");
    lock(&t, &["-qn", &l, "true"]).fails_in_silence(75);
    lock(&t, &["-q", "-n", "-E", "0", &l, "true"]).fails_in_silence(0);
    holder.output().ok();
    let reader = hold(&t, &["-s", &l]);
    lock(&t, &["-n", &l, "true"]).says(75, &format!("is locked; process {} has it since {year}", reader.pid()));
    reader.output().ok();
    let said = lock(&t, &["-v", &l, "true"]);
    assert!(said.success() && said.stderr.starts_with(&format!("shmlock: {l}: waited for 0.")), "{said:?}");
}

#[test]
fn a_descriptor_of_the_shell() {
    let t = Test::new();
    let l = t.name("l");
    let path = t.shm_path("l");
    let bash = |script: &str| t.bash(script).env("L", &l).env("F", &path).run();
    // An empty file that the shell made becomes a lock; its holder is the shell.
    let script = "exec 9<>$F; shmlock --fd 9 $L || exit; echo $$; shmlock --status $L; shmlock -n $L true";
    let output = bash(script);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[1], "state: held");
    assert!(lines[2].starts_with(&format!("holder: {} 2", lines[0])), "{lines:?}");
    assert!(output.stderr.contains(&format!("process {} has it since", lines[0])), "{}", output.stderr);
    // The end of the shell is no death.
    assert_eq!(status(&t, &l), "state: free");
    // A reader's lock.
    bash("exec 9<$F; shmlock --fd 9 -s $L; shmlock -n -s $L true; ! shmlock -qn $L true").ok();
    for (script, words) in [
        ("shmlock --fd 9 $L", "descriptor 9 is not open (exec 9<>/dev/shm/"),
        ("exec 9<$F; shmlock --fd 9 $L", "descriptor 9 is not open for reading and writing (exec 9<>/dev/shm/"),
        ("exec 9<>/dev/null; shmlock --fd 9 $L", "descriptor 9 is open on something else (exec 9<>/dev/shm/"),
        ("exec 9<>$F; shmlock --fd 9 $L true", "cannot be used with"),
    ] {
        let said = bash(script);
        assert!(matches!(said.status, 2 | 125) && said.stderr.contains(words), "{said:?}");
    }
    bash("echo text >x; exec 9<>x; shmlock --fd 9 file:x").says(8, "is no lock");
    assert_eq!(std::fs::read(t.path("x")).unwrap(), b"text\n");
    // Whoever died before is told of, until the shell says that the data are sound.
    lock(&t, &[&l, "sh", "-c", "kill -9 $$"]);
    bash("exec 9<>$F; shmlock --fd 9 --strict $L").says(7, "died inside");
    assert!(status(&t, &l).starts_with("state: died"));
    let told = bash("exec 9<>$F; shmlock --fd 9 $L; shmlock --fd 9 -u $L; exec sleep 0");
    assert!(told.success() && told.stderr.contains("died inside"), "{told:?}");
    assert_eq!(status(&t, &l), "state: free");
    // What is not held is not unlocked.
    let holder = hold(&t, &[&l]);
    bash("exec 9<>$F; shmlock --fd 9 -u $L").ok();
    lock(&t, &["-n", &l, "true"]).fails(75);
    holder.output().ok();
}
