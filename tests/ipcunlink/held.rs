//! What somebody holds is removed by force alone; dry runs; addresses from
//! standard input.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::util::holders::{attach, lock, map};
use crate::util::queues::SMALL;
use crate::util::{AS_OTHER, Test, rounds, wait_until};

#[test]
fn what_somebody_holds_is_refused_and_says_who() {
    let Some(t) = Test::with(&["python3", "POSIX queues"]) else { return };
    let (seg, mapped, key, queue) = (t.name("seg"), t.name("mapped"), t.key(), t.queue("q"));
    t.bash(&format!("for i in {seg} {mapped} {key}; do echo x | shmput $i; done")).run().ok();
    let id = t.bash(&format!("ipcls -r --no-headings -o id shm:{key}")).run().text();
    let open = t.bash(&format!("exec sleep 1000 <{}", t.shm_path("seg").display())).spawn();
    wait_until("it sleeps", || open.name() == "sleep");
    let reader = t.cmd("mqrecv").args(SMALL).args([&queue]).spawn();
    reader.wait_blocked();
    let (map, attached) = (map(&t, &t.shm_path("mapped")), attach(&t, &id));
    let before = t.left();
    let cases = [
        (format!("shm:{seg}"), &open),
        (format!("shm:{mapped}"), &map),
        (format!("shm:key:{key}"), &attached),
        (format!("shm:id:{id}"), &attached),
        (format!("mq:{queue}"), &reader),
    ];
    // Each gives the holder some time to go: so they do it together.
    let refused = cases.iter().flat_map(|(address, holder)| {
        let words = format!("{address}: is held by {} ({}) (--force", holder.pid(), holder.name());
        [None, Some("--dry-run")].map(|flag| (t.cmd("ipcunlink").args(flag).args([address]).spawn(), words.clone()))
    });
    for (run, words) in refused.collect::<Vec<_>>() {
        run.output().says(1, &format!("{words} removes it all the same)"));
    }
    assert_eq!(t.left(), before);
    for (address, _) in cases.iter().filter(|(address, _)| !address.contains("id:")) {
        t.cmd("ipcunlink").args(["--force", address]).run().ok();
    }
    // The attached segment lives on without its key.
    assert!(t.left().iter().all(|name| name.contains(&id)), "{:?}", t.left());
    drop(attached);
    assert!(t.left().is_empty());
    assert_eq!(reader.output().status, 6);
}

#[test]
fn one_that_is_held_does_not_keep_the_others() {
    let Some(t) = Test::with(&["python3"]) else { return };
    let [a, b, c] = ["a", "b", "c"].map(|word| format!("shm:{}", t.name(word)));
    t.bash(&format!("for i in {a} {b} {c}; do echo x | shmput ${{i#shm:}}; done")).run().ok();
    let holder = map(&t, &t.shm_path("b"));
    assert_eq!(t.cmd("ipcunlink").args(["--dry-run", &a, &b, &c]).run().status, 1);
    assert_eq!(t.left().len(), 3);
    t.cmd("ipcunlink").args([&a, &b, &c]).run().says(1, "b: is held by");
    assert_eq!(t.left().len(), 1);
    drop(holder);
    // With a failure of another status the common one is 1.
    t.cmd("ipcunlink").args([&a, &b]).run().says(3, "a: does not exist");
    assert!(t.left().is_empty());
}

/// A lock cannot be seen in /proc where its holder cannot, but the kernel tells
/// of it.
#[test]
fn a_lock_that_is_forced_away_is_warned_of() {
    let Some(t) = Test::with(&["python3"]) else { return };
    std::fs::write(t.shm_path("lock"), b"\x89ipclock and more").unwrap();
    let holder = lock(&t, &t.shm_path("lock"));
    let address = format!("lock:{}", t.name("lock"));
    let words = format!("is held by {} ({})", holder.pid(), holder.name());
    t.cmd("ipcunlink").args([&address]).run().says(1, &words);
    if t.second_user() {
        std::os::unix::fs::chown(t.shm_path("lock"), Some(65534), Some(65534)).unwrap();
        let other = format!("cd /; {AS_OTHER} ipcunlink {address}");
        t.bash(&other).run().says(1, "is held by one that cannot be seen");
    }
    let output = t.cmd("ipcunlink").args(["--force", &address]).run();
    assert_eq!((output.status, output.stderr.lines().count()), (0, 1), "{output:?}");
    assert!(output.stderr.contains("which does not exclude the next holder"), "{output:?}");
    assert!(t.left().is_empty());
}

#[test]
fn a_dry_run_prints_and_removes_nothing() {
    let t = Test::new();
    let (name, key) = (t.name("seg"), t.key());
    t.bash(&format!("echo x | shmput {name}; echo x | shmput {key}; mqsend -c {key} x")).run().ok();
    let before = t.left();
    let words = [format!("shm:{name}"), format!("shm:key:{key}"), format!("mq:key:{key}")];
    assert_eq!(t.cmd("ipcunlink").args(["--dry-run"]).args(&words).run().text(), words.join("\n"));
    t.cmd("ipcunlink").args(["--dry-run", &format!("shm:{name}-not")]).run().says(3, "does not exist");
    assert_eq!(t.left(), before);
}

#[test]
fn addresses_from_standard_input() {
    let t = Test::new();
    let ugly = OsString::from_vec([t.name("").as_bytes(), b"a\nb\xff"].concat());
    let plain = t.name("plain");
    let put = || {
        t.cmd("shmput").args([&ugly]).stdin("x").run().ok();
        t.bash(&format!("echo x | shmput {plain}; echo x | shmput {plain}2")).run().ok();
    };
    let word = |name: &[u8]| [b"shm:", name, b"\0"].concat();
    let both = [word(ugly.as_encoded_bytes()), word(plain.as_bytes())].concat();
    put();
    t.cmd("ipcunlink").args(["-0", &format!("shm:{plain}2")]).stdin(both.clone()).run().ok();
    assert!(t.left().is_empty());
    let output = t.cmd("ipcunlink").args(["-0"]).stdin(both.clone()).run();
    assert_eq!((output.status, output.stderr.lines().count()), (3, 2), "{output:?}");
    t.cmd("ipcunlink").args(["-0"]).stdin("").run().ok();
    // A word that is no address is seen before anything is removed.
    put();
    for bad in [&b"shm\0"[..], b"\0", b"5", b"shm:/a/b\0", &[b"shm:file:".as_slice(), &[b'x'; 9000]].concat()] {
        t.cmd("ipcunlink").args(["-0", &format!("shm:{plain}2")]).stdin([&both, bad].concat()).run().fails(2);
    }
    assert_eq!(t.left().len(), 3);
    // The last may be without its end.
    t.cmd("ipcunlink").args(["-0"]).stdin(&both[..both.len() - 1]).run().ok();
    t.bash("ipcunlink -0 <&-").run().says(1, "standard input: is closed");
}

/// Those who only ask what an object is do not take each other for holders.
#[test]
fn many_that_list_do_not_keep_one_from_removing() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let (ring, queue) = (t.name("ring"), t.queue("q"));
    let listing = "while [ ! -e stop ]; do ipcls -A >/dev/null 2>&1 || :; done";
    let listers: Vec<_> = (0..3).map(|_| t.bash(listing).spawn()).collect();
    for _ in 0..rounds(20) {
        std::fs::write(t.shm_path("ring"), b"\x89ipcring and more").unwrap();
        t.bash(&format!("mqsend -c --max-messages 2 --message-size 8 {queue} x")).run().ok();
        t.cmd("ipcunlink").args([format!("ring:{ring}"), format!("mq:{queue}")]).run().ok();
    }
    t.file("stop", "");
    for lister in listers {
        lister.output().ok();
    }
}

/// An object of the same key is another one: what was looked at is removed.
#[test]
fn by_its_key_the_object_that_was_looked_at() {
    let t = Test::new();
    let key = t.key();
    let script = format!(
        "while [ ! -e stop ]; do ipcunlink shm:{key} 2>&1 | grep -v 'does not exist'; done & pid=$!
        for i in {{1..60}}; do echo x | shmput -x {key} 2>/dev/null; done
        touch stop; wait $pid; ipcunlink shm:{key} 2>/dev/null; :"
    );
    let output = t.bash(&script).run().text();
    // One that is being filled is attached.
    assert!(output.lines().all(|line| line.contains("is held by")), "{output}");
}
