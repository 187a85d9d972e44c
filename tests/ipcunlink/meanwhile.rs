//! What changed after the first look: the object that was judged is the one that is
//! removed, and it is judged right before.

use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::Signal;

use crate::util::locks::hold;
use crate::util::{Running, Test, wait_until};

/// Run ipcunlink on the object that `make` made at this place and on a segment that is
/// held, let `act` happen while it waits for the holder to go, then let it go on. Its
/// end, without what it says of the segment.
fn meanwhile(t: &Test, address: &str, path: &Path, make: impl Fn(), act: impl FnOnce()) -> (i32, String) {
    let held = t.shm_path("held");
    std::fs::write(&held, "x").unwrap();
    let mut holder = t.bash("exec sleep 1000 <$HELD").env("HELD", &held).spawn();
    wait_until("it sleeps", || holder.name() == "sleep");
    let stopped = || {
        make();
        let remover = t.cmd("ipcunlink").args([address, &format!("shm:{}", t.name("held"))]).spawn();
        let looked = || remover.name() == "ipcunlink" && (remover.sleeps() > 2 || remover.state() == 'Z');
        wait_until("it has looked, and waits", looked);
        remover.kill(Signal::SIGSTOP);
        wait_until("it is stopped, or has ended", || matches!(remover.state(), 'T' | 'Z'));
        // On a busy machine it may have waited long enough meanwhile.
        path.exists().then_some(remover)
    };
    let remover = (0..20).find_map(|_| stopped()).expect("it is stopped in time");
    act();
    remover.kill(Signal::SIGCONT);
    holder.kill(Signal::SIGKILL);
    holder.end();
    let output = remover.output();
    let of_this = output.stderr.lines().filter(|line| line.contains(address)).collect();
    (output.status, of_this)
}

#[test]
fn a_segment_that_is_opened_meanwhile_stays() {
    let t = Test::new();
    let (address, path) = (format!("shm:{}", t.name("a")), t.shm_path("a"));
    let mut opened = None;
    let make = || std::fs::write(&path, "old").unwrap();
    let (status, errors) = meanwhile(&t, &address, &path, make, || {
        let holder = t.bash("exec sleep 1000 <$A").env("A", &path).spawn();
        wait_until("it sleeps", || holder.name() == "sleep");
        opened = Some(holder);
    });
    let pid = opened.unwrap().pid();
    assert!(status == 1 && errors.contains(&format!("is held by {pid} (sleep)")), "{status} {errors}");
    assert_eq!(std::fs::read(path).unwrap(), b"old");
}

#[test]
fn a_segment_that_is_replaced_meanwhile_stays() {
    let t = Test::new();
    let (name, path) = (t.name("a"), t.shm_path("a"));
    let make = || std::fs::write(&path, "old").unwrap();
    let (_, errors) = meanwhile(&t, &format!("shm:{name}"), &path, make, || {
        t.cmd("shmput").args([&name]).stdin("new").run().ok();
    });
    assert!(errors.contains("was replaced meanwhile, and is left as it is"), "{errors}");
    assert_eq!(std::fs::read(path).unwrap(), b"new");
}

#[test]
fn a_lock_that_is_taken_meanwhile_stays() {
    let t = Test::new();
    let lock = t.name("l");
    let make = || _ = t.cmd("shmlock").args([&lock, "--", "true"]).run().ok();
    let mut holder = None;
    let take = || holder = Some(hold(&t, &[&lock]));
    let (status, errors) = meanwhile(&t, &format!("lock:{lock}"), &t.shm_path("l"), make, take);
    assert!(status == 1 && errors.contains("is held by"), "{status} {errors}");
    t.cmd("shmlock").args(["-n", &lock, "--", "true"]).run().says(75, "is locked");
}

/// The pipe behind ipcunlink is full: it must not go on from what it saw before.
#[test]
fn an_orphan_that_is_taken_while_the_output_stalls_stays() {
    let t = Test::new();
    let seed = t.name("seed");
    let died = t.cmd("shmlock").args([&seed, "--", "sh", "-c", "kill -KILL $PPID"]).run();
    assert_ne!(died.status, 0);
    let orphan = std::fs::read(t.shm_path("seed")).unwrap();
    std::fs::remove_file(t.shm_path("seed")).unwrap();
    let word = |number: usize| format!("{}-{number:03}", "p".repeat(150));
    (0..60).for_each(|number| std::fs::write(t.shm_path(word(number)), &orphan).unwrap());
    let last = t.name("z");
    std::fs::write(t.shm_path("z"), &orphan).unwrap();
    let mine = format!("{}*", &t.name("")[1..]);
    let script = "read -r go; exec ipcunlink --orphans --died --name \"$MINE\" --yes";
    let mut remover: Running = t.bash(script).env("MINE", mine).spawn_open();
    fcntl(remover.child.stdout.as_ref().unwrap(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    remover.write(b"go\n");
    let writing = [libc::SYS_write, libc::SYS_writev].map(|call| format!("{call} 0x1 "));
    wait_until("its output is full", || {
        let call = remover.proc("syscall");
        remover.state() == 'S' && writing.iter().any(|writing| call.starts_with(writing))
    });
    let holder = hold(&t, &[&last]);
    let printed = remover.output();
    assert!(!printed.text().contains(&last));
    t.cmd("shmlock").args(["-n", &last, "--", "true"]).run().says(75, "is locked");
    drop(holder);
}
