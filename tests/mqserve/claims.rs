//! Claims: found, taken up, forged.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::{both, claims, serve};
use crate::util::queues::{drain, empty, send};
use crate::util::{Test, wait_until};

fn path(claim: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(claim)
}

/// Kill a server while its command runs. Returns the claim.
fn abandoned(t: &Test, queue: &str, message: &str) -> String {
    t.cmd("mqsend").args([queue]).stdin(message).run().ok();
    let before = claims(queue);
    let mut server = serve(t, &[queue], "touch in; sleep 1000").spawn();
    wait_until("the command runs", || t.path("in").exists());
    server.kill(Signal::SIGKILL);
    server.end();
    t.bash("rm in").run().ok();
    claims(queue).into_iter().find(|claim| !before.contains(claim)).expect("a claim was left")
}

#[test]
fn l1_the_next_server_takes_up_what_a_dead_one_left() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    for queue in both(&t) {
        abandoned(&t, &queue, "x");
        let out = serve(&t, &["--drain", &queue], "echo $IPCUTILS_ATTEMPT $(cat)").run();
        assert_eq!(out.stdout, b"2 x\n", "{out:?}");
        assert!(out.stderr.contains("is taken up"), "{out:?}");
        assert_eq!(claims(&queue), [""; 0]);
        // Also one that runs already.
        let server = serve(&t, &["--count", "1", &queue], "cat").spawn();
        wait_until("it has a claim", || claims(&queue).len() == 1);
        server.wait_blocked();
        server.kill(Signal::SIGSTOP);
        abandoned(&t, &queue, "y");
        server.kill(Signal::SIGCONT);
        assert_eq!(server.output().stdout, b"y");
        assert_eq!(claims(&queue), [""; 0]);
    }
}

#[test]
fn l1_a_claim_of_a_live_server_is_its_own() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    send(&t, &[&queue, "x"]).ok();
    let server = serve(&t, &["--count", "1", &queue], "touch in; until [ -e go ]; do sleep 0.01; done; cat").spawn();
    wait_until("the command runs", || t.path("in").exists());
    assert_eq!(t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().text(), "");
    server.kill(Signal::SIGSTOP);
    assert_eq!(t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().text(), "");
    server.kill(Signal::SIGCONT);
    t.file("go", "");
    assert_eq!(server.output().ok(), b"x");
}

#[test]
fn l1_a_message_that_kills_its_server_is_tried_no_more_often() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (queue, dead) = (empty(&t, "q"), empty(&t, "dead"));
    send(&t, &[&queue, "x"]).ok();
    for _ in 0..2 {
        assert_eq!(serve(&t, &["--retry", "1", &queue], "kill -KILL $PPID; sleep 1000").run().status, 137);
    }
    // Its attempts are used up: left alone without a dead-letter queue, else sent there.
    serve(&t, &["--retry", "1", "--drain", &queue], "echo again").run().ok();
    let out = serve(&t, &["--retry", "1", "--dead", &dead, "--drain", &queue], "echo again").run();
    assert!(out.stdout.is_empty() && out.stderr.contains("tried as often as it may be"), "{out:?}");
    assert_eq!(drain(&t, &dead), "x\n");
    assert_eq!(claims(&queue), [""; 0]);
}

#[test]
fn l1_killed_before_the_length_is_noted() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let dead = empty(&t, "dead");
    for queue in both(&t) {
        // As if killed in that instant: no call of the system comes between.
        let claim = path(&abandoned(&t, &queue, "half\0"));
        let mut content = std::fs::read(&claim).unwrap();
        content[16..20].fill(0);
        content[20..40].fill(0);
        content[24] = 64;
        std::fs::write(&claim, &content).unwrap();
        let out = serve(&t, &["--drain", "--dead", &dead, &queue], "echo never").run();
        assert!(out.stdout.is_empty() && out.stderr.contains("killed at the moment of receipt"), "{out:?}");
        assert_eq!(drain(&t, &dead), "half\n");
        // Where there was room for none, it is empty.
        let claim = path(&abandoned(&t, &queue, ""));
        content[24] = 0;
        content[2048..].fill(0);
        std::fs::write(&claim, &content).unwrap();
        assert_eq!(serve(&t, &["--drain", &queue], "wc -c").run().stdout, b"0\n");
        // And before there was a message.
        let claim = path(&abandoned(&t, &queue, "x"));
        content[2040..].fill(0);
        content[2040..2048].fill(0xff);
        std::fs::write(&claim, &content).unwrap();
        serve(&t, &["--drain", "--dead", &dead, &queue], "echo never").run().ok();
        assert!(!claim.exists());
    }
}

#[test]
fn l7_forged_claims() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let queue = empty(&t, "q");
    let claim = path(&abandoned(&t, &queue, "x"));
    let good = std::fs::read(&claim).unwrap();
    let forged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut content = good.clone();
        change(&mut content);
        std::fs::write(&claim, content).unwrap();
        serve(&t, &["--drain", &queue], "cat").run()
    };
    // Each byte of the header, but for what changes while it is used.
    for at in (0..16).chain(40..48).chain(52..60).chain([64, 70, 200, 2000]) {
        let out = forged(&|content| content[at] ^= 0x41);
        assert!(out.status == 0 && out.stdout.is_empty() && claim.exists(), "{at}: {out:?}");
    }
    for size in [0, 1, 63, 2047] {
        forged(&|content| content.truncate(size)).ok();
        assert!(claim.exists());
    }
    // A length beyond its end is cut.
    let out = forged(&|content| content[24..32].fill(0x7f));
    assert_eq!(out.stdout.len(), good.len() - 2048);
    assert!(!claim.exists());
    // What others can write is not trusted, nor what is no file of its own.
    for mode in [0o640, 0o606, 0o601] {
        std::fs::write(&claim, &good).unwrap();
        std::fs::set_permissions(&claim, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().text(), "");
        std::fs::remove_file(&claim).unwrap();
    }
    let outside = t.file("outside", &good);
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&outside, &claim).unwrap();
    assert_eq!(t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().text(), "");
    std::fs::remove_file(&claim).unwrap();
    t.cmd("mkfifo").args(["-m", "600"]).args([&claim]).run().ok();
    assert_eq!(t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().text(), "");
    std::fs::remove_file(&claim).unwrap();
    if t.second_user() {
        std::fs::write(&claim, &good).unwrap();
        std::fs::set_permissions(&claim, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&claim, Some(65534), Some(65534)).unwrap();
        assert_eq!(t.cmd("mqserve").args(["--drain", &queue, "--", "cat"]).run().text(), "");
        assert!(claim.exists());
        std::fs::remove_file(&claim).unwrap();
    }
}

#[test]
fn g_no_memory_for_a_claim_takes_nothing() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let script = "mount -o remount,size=64K /dev/shm
        mqsend -c --max-messages 2 --message-size 8K /example x
        head -c 56K /dev/zero > /dev/shm/full
        mqserve -n /example -- cat && exit 1
        echo $?; ls /dev/shm; rm /dev/shm/full
        mqserve -n /example -- cat || echo $?; ls /dev/shm";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    let out = run.run();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "9\nfull\nx75\n", "{out:?}");
}

#[test]
fn a_claim_is_no_orphan_that_may_be_removed() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let script = "mqsend -c --max-messages 2 --message-size 64 /example x
        mqserve --retry 0 --drain /example -- false 2> /dev/null
        ipcunlink --orphans; ls /dev/shm | wc -l";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    assert_eq!(run.run().text(), "1");
}
