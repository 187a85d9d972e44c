//! What everybody types first: it works, or the message says what to type instead. The
//! habits of ipcmd(1), flock(1), posix_ipc and sysv_ipc, beside the peer where there is
//! one.

use ipcutils::habits::FLAGS;

use crate::util::Test;
use crate::util::compile::python_has;

/// First mistakes: a shell line, its status, and how its message ends. `N` is a name of
/// the test, `K` a key.
const MISTAKES: &[(&str, i32, &str)] = &[
    // No command, no object, no operation.
    ("shmlock N", 2, "(what to run follows ADDRESS)"),
    ("semop N true", 125, "there is no OP (say -1 to take one, +1 to give one)"),
    ("mqsend N hello", 3, "does not exist (-c creates it)"),
    ("mqrecv -w 1 N", 3, "does not exist (-c creates it, --wait waits for it)"),
    ("semop N -1 -- true", 125, "does not exist (-c VALUE,... creates it)"),
    ("semop K -1", 3, "does not exist (-c VALUE,... creates it)"),
    ("semop id:2147483647 -1", 3, "id:2147483647: does not exist"),
    ("shmcat N", 3, "does not exist (shmput creates it, --wait waits for it)"),
    ("ringcat N", 3, "does not exist (ringput creates it, --wait waits for it)"),
    ("shmlock --status N", 3, "does not exist (shmlock ADDRESS COMMAND creates it)"),
    // Addresses.
    ("semop nu-s -1", 2, "nu-s: is no address (say /nu-s)"),
    ("semop file:nu-s -1", 2, "no semaphore is a file (say /name, key:N, id:N, ftok:PATH[:PROJ] or private:)"),
    ("mqsend nu-s x", 2, "nu-s: is no address (say /nu-s)"),
    ("shmlock nu-s true", 125, "nu-s: is no address (say /nu-s for a POSIX name, file:nu-s for a file)"),
    ("shmput ./f2", 2, "./f2: is no address (say file:./f2)"),
    ("shmcat -", 2, "-: is no address (say /name, key:N, id:N, ftok:PATH[:PROJ], private: or file:PATH)"),
    ("shmcat 9", 2, "(say id:9 or key:9)"),
    ("shmlock 9", 2, "9: is the number of a descriptor, and no lock (say --fd 9 /name, after exec 9<>/dev/shm/name)"),
    ("shmlock /tmp/x true", 125, "(say file:/tmp/x)"),
    ("ringcat shm:N", 2, "is the address of a segment, and no ring (shmcat N reads it)"),
    ("shmcat ring:N", 2, "is the address of a ring, and no segment (ringcat N reads it)"),
    ("shmcat lock:N", 2, "is the address of a lock, and no segment (shmlock --status N shows it)"),
    ("shmcat mq:N", 2, "is the address of a message queue, and no segment (mqrecv N receives from it)"),
    ("mqrecv sem:N", 2, "is the address of a semaphore, and no message queue (semop --get N shows it)"),
    // Where words belong.
    ("semop -1 N", 2, "(ADDRESS comes first, as in semop /name -1)"),
    ("shmlock -w -1 N true", 125, "(a duration is never negative)"),
    ("shmput N 'some data'", 1, "(it is taken for a file; data comes from standard input)"),
    ("ringcat -n 3 N", 2, "(-n does not wait; --count 3 is how many)"),
    ("mqrecv -t 5 N", 2, "(the highest priority comes first, and -w is the timeout)"),
    ("ipcunlink --name 'x*'", 2, "(say what is to go, as KIND:ADDRESS, or --orphans)"),
    // ipcmd(1): semop 0=-1u 1=+1 : command
    ("semop K 0=-1u 1=+1 true", 125, "\"0=-1u\" is no OP: say 0:-1u"),
    ("semop K 0=0", 2, "\"0=0\" is no OP: say 0:=0"),
    ("semop K 0=+2n", 2, "\"0=+2n\" is no OP: say 0:+2"),
    ("semop K 0:+2n", 2, "\"0:+2n\" is no OP: say -n for all of them"),
    ("semop K -1u true", 125, "(say 0:-1u)"),
    ("semop K 0:-1u", 2, "(leave the u out, or say what to run)"),
    ("shmlock -u N", 2, "--fd <N>"),
];

/// The message ends so, but for the pointer to --help.
#[track_caller]
fn ends(message: &str, end: &str) {
    let message = message.split(" (see '").next().unwrap();
    assert!(message.ends_with(end), "{message:?} does not end with {end:?}");
}

#[test]
fn every_first_mistake_has_a_message_that_helps() {
    let t = Test::new();
    for (line, status, end) in MISTAKES {
        let (name, key) = (t.name("n"), t.key());
        let with = |text: &str| {
            let word = |word: &str| {
                let (before, bare) = word.split_at(word.find(':').map_or(0, |colon| colon + 1));
                match bare.trim_end_matches(')') {
                    "N" => format!("{before}{name}{}", &bare[1..]),
                    "K" => key.clone(),
                    _ => word.to_owned(),
                }
            };
            text.split(' ').map(word).collect::<Vec<_>>().join(" ")
        };
        let message = t.bash(&with(line)).run().fails(*status);
        ends(&message, &with(end));
    }
    assert!(t.left().is_empty());
}

#[test]
fn flags_of_other_tools_are_named_with_ours() {
    let t = Test::new();
    for (tool, flag, advice) in FLAGS {
        let message = t.cmd(tool).args([flag]).run().fails(2);
        ends(&message, &format!("({advice})"));
    }
}

/// What is typed for flock(1), of a lock `L`: with shmlock it has the same status and
/// output.
#[test]
fn lines_of_flock() {
    let Some(t) = Test::with(&["flock"]) else { return };
    let (file, lock) = (t.file("f", "").display().to_string(), t.name("l"));
    for line in [
        "flock L echo hello",
        "flock -n L sh -c 'exit 7'",
        "flock L -c 'echo $((1 + 1))'",
        "flock -s L -c 'exit 3'",
        "flock -n L flock -n -E 11 L true",
        "flock -s L flock -n -s L echo both",
        "flock -s L flock -n -E 11 L true",
        "flock L flock -w .1 -E 12 L echo never",
        "flock -o L echo -n hyphens --are -the -- commands",
        "flock L ./no-such-command 2>/dev/null; echo",
        "[ \"$HELD\" ] || HELD=1 exec flock -n L echo once",
    ] {
        let theirs = t.bash(&line.replace(" L", &format!(" '{file}'"))).run();
        let ours = t.bash(&line.replace("flock", "shmlock -q").replace(" L", &format!(" {lock}"))).run();
        assert_eq!((ours.status, &ours.stdout), (theirs.status, &theirs.stdout), "{line}");
    }
    // The form of a shell, which holds a descriptor open: theirs, then ours.
    let script = "exec 9<>\"$F\"; flock 9; flock -n \"$F\" true || echo held; flock -u 9; flock -n \"$F\" echo free
        flock -n 9; exec 9>&-; flock -n \"$F\" echo closed; (flock -n 9 && flock -n \"$F\" true || echo inner) 9<>\"$F\"; flock -n \"$F\" echo outer";
    let theirs = t.bash(script).env("F", &file).run().text();
    let ours = script.replace("flock 9", "shmlock --fd 9 $L").replace("flock -n 9", "shmlock --fd 9 -n $L");
    let ours = ours.replace("flock -u 9", "shmlock --fd 9 -u $L").replace("flock -n \"$F\"", "shmlock -q -n $L");
    let ours = t.bash(&ours).env("L", &lock).env("F", format!("/dev/shm{lock}")).run().text();
    assert_eq!((&*ours, &*theirs), ("held\nfree\nclosed\ninner\nouter", "held\nfree\nclosed\ninner\nouter"));
}

/// ipcmd(1) has `semop -s $id 0=-1u 1=+1 : command`.
#[test]
fn lines_of_ipcmd() {
    let t = Test::new();
    let key = t.key();
    t.cmd("semop").args(["-c", "1,0", &key]).run().ok();
    // What has a u is undone, the rest stays.
    let held = t.bash(&format!("semop {key} 0:-1u 1:+1 semop --get {key} | xargs")).run().text();
    assert_eq!((&*held, &*t.bash(&format!("semop --get {key} | xargs")).run().text()), ("0 1", "1 1"));
    // Without one all of it is undone.
    t.bash(&format!("semop {key} 0:-1 1:+1 true")).run().ok();
    assert_eq!(t.bash(&format!("semop --get {key} | xargs")).run().text(), "1 1");
    t.bash(&format!("semop --set 1:7 {key}; semop --set 0:2,1:3 {key}")).run().ok();
    assert_eq!(t.bash(&format!("semop --get {key} | xargs")).run().text(), "2 3");
    t.bash(&format!("semop --set 2:1 {key}")).run().says(1, "there is no element 2, the set has 2 elements");
}

/// Their constructors give a value by SETVAL, and never operate.
#[test]
fn semaphores_of_sysv_ipc_and_posix_ipc() {
    let t = Test::new();
    if python_has(&t, "sysv_ipc") {
        for value in ["0", "3"] {
            let key = t.key();
            let make = "import sys, sysv_ipc as s; s.Semaphore(int(sys.argv[1], 0), s.IPC_CREX, initial_value=int(sys.argv[2]))";
            t.cmd("python3").args(["-c", make, &key, value]).run().ok();
            t.cmd("semop").args(["-n", "-c", "1", &key, "+1"]).run().ok();
        }
    }
    if python_has(&t, "posix_ipc") {
        let name = t.name("py");
        let make =
            "import sys, posix_ipc as p; s = p.Semaphore(sys.argv[1], p.O_CREX, initial_value=2); print(s.value)";
        assert_eq!(t.cmd("python3").args(["-c", make, &name]).run().text(), "2");
        t.bash(&format!("semop -n -c 1 sem:{name} -1 true; semop {name} +5")).run().ok();
        let get = "import sys, posix_ipc as p; print(p.Semaphore(sys.argv[1]).value)";
        assert_eq!(t.cmd("python3").args(["-c", get, &name]).run().text(), "7");
        let queue = t.queue("q");
        let make = "import sys, posix_ipc as p; p.MessageQueue(sys.argv[1], p.O_CREX).send(b'hello', priority=5)";
        t.cmd("python3").args(["-c", make, &queue]).run().ok();
        let got = t.cmd("mqrecv").args(["-v", &format!("mq:{queue}")]).run();
        assert_eq!((&*got.stdout, &*got.stderr), (&b"hello"[..], &*format!("mqrecv: {queue}: priority 5, 5 bytes\n")));
    }
}
