//! What others write into a lock, or plant in its place. Rows G4, G12 to G15,
//! G21, H10, H12, H17, H18.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::*;
use crate::util::{bin_dir, noise, promised, rounds};

/// A lock's object as ipcutils-lock(5) has it.
fn fresh() -> Vec<u8> {
    let mut content = vec![0; 4096];
    content[..8].copy_from_slice(b"\x89ipclock");
    for (at, number) in [(8, 1u32), (12, 0x0102_0304), (16, 48)] {
        content[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    content
}

/// Locks of others on the bytes of participants: whoever may read the object can take
/// any number. Each look at the kernel's list takes as long as the list.
#[test]
fn planted_participants_are_not_all_listed() {
    let t = Test::new();
    let l = t.name("l");
    lock(&t, &[&l, "--", "true"]).ok();
    let file = std::fs::File::open(t.shm_path("l")).unwrap();
    for role in [2i64, 3, 4] {
        // From the last on, which is quicker: the kernel sorts them.
        for place in (0..5000).rev() {
            let lock = nix::libc::flock {
                l_type: nix::libc::F_RDLCK as i16,
                l_whence: 0,
                l_start: (role << 58) + 2 * place,
                l_len: 1,
                l_pid: 0,
            };
            nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        }
    }
    let begin = Instant::now();
    let json = lock(&t, &["--status", "-J", &l]).text();
    promised(begin, Duration::from_secs(1));
    assert!(json.contains(r#""state":"free""#) && json.contains(r#""more":true"#), "{}", &json[..200]);
    assert!(json.matches(r#""pid""#).count() <= 3 * 256, "{}", json.len());
    assert!(status(&t, &l).ends_with("more: are there than are listed"));
    let begin = Instant::now();
    let listed = t.cmd("ipcls").args(["--raw", "--kind", "lock", "--name", &l]).run().text();
    promised(begin, Duration::from_secs(1));
    assert!(listed.contains(&l), "{listed}");
    // Nobody is kept out by that.
    lock(&t, &["-n", &l, "--", "true"]).ok();
}

#[test]
fn h17_h18_the_layout_is_the_published_one() {
    let t = Test::new();
    let l = t.name("l");
    lock(&t, &[&l, "--", "true"]).ok();
    let mut made = std::fs::read(t.shm_path("l")).unwrap();
    made[28..48].fill(0); // who held it last
    assert_eq!(made, fresh());
    let change = |at: usize, bytes: &[u8]| {
        let mut content = fresh();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        content
    };
    for (content, words) in [
        (Vec::new(), "is no lock"),
        (b"short".to_vec(), "is no lock"),
        (vec![0; 4096], "is no lock"),
        (noise(1, 4096), "is no lock"),
        (fresh()[..48].to_vec(), "a lock has 4096 bytes, this one 48"),
        ([fresh(), fresh()].concat(), "a lock has 4096 bytes, this one 8192"),
        (change(8, &2u32.to_ne_bytes()), "version 2, and only version 1 is known"),
        (change(12, &0x0403_0201u32.to_ne_bytes()), "another byte order"),
        (change(16, &64u32.to_ne_bytes()), "is corrupt"),
        (change(20, &2u32.to_ne_bytes()), "2 is no state of a lock"),
        (change(0, b"\x89ipcring"), "is no lock"),
    ] {
        std::fs::write(t.shm_path("l"), &content).unwrap();
        lock(&t, &[&l, "--", "echo", "never"]).says(125, words);
        lock(&t, &["--shared", &l, "--", "echo", "never"]).says(125, words);
        lock(&t, &["--status", &l]).says(8, words);
        assert_eq!(std::fs::read(t.shm_path("l")).unwrap(), content);
    }
    // The mark alone can be set right.
    std::fs::write(t.shm_path("l"), change(20, &2u32.to_ne_bytes())).unwrap();
    lock(&t, &["--reset", &l]).ok();
    lock(&t, &["--strict", &l, "--", "true"]).ok();
}

#[test]
fn g12_g13_g14_g21_what_was_planted() {
    let t = Test::new();
    let l = t.name("l");
    for (how, words) in [
        ("ln -s target $FILE", "is a symbolic link"),
        ("mkfifo $FILE", "is a FIFO"),
        ("mkdir $FILE", "is a directory"),
        ("shmlock $L -- true; ln $FILE $FILE.2", "has a second name"),
    ] {
        t.bash(&format!("rm -rf $FILE target; {how}")).env("FILE", t.shm_path("l")).env("L", &l).run();
        for flags in [&[][..], &["--shared"]] {
            lock(&t, &[flags, &[&l, "--", "echo", "never"]].concat()).says(125, words);
        }
        lock(&t, &["--status", &l]).says(8, words);
        t.cmd("shmwake").args([&l]).run().says(8, words);
    }
}

/// Every command that takes part, at once.
fn everyone(t: &Test, l: &str) -> Vec<Running> {
    let mut all = Vec::new();
    for words in [
        &["shmlock", l, "--", "true"][..],
        &["shmlock", "--shared", l, "--", "true"],
        &["shmlock", "--strict", "-w", ".3", l, "--", "true"],
        &["shmlock", "--status", l],
        &["shmlock", "--reset", l],
        &["shmwait", "-w", ".3", l],
        &["shmwait", "-w", ".3", "--until", "[ -e stop ]", l],
        &["shmwake", "--all", l],
        &["shmwake", l],
    ] {
        all.push(t.cmd(words[0]).args(&words[1..]).spawn());
    }
    all
}

/// They end by themselves, with a documented status and no signal.
#[track_caller]
fn all_end(running: Vec<Running>, what: &str) {
    for one in running {
        let output = one.output();
        let known = [0, 6, 7, 8, 124, 125];
        assert!(known.contains(&output.status), "{what}: {output:?}");
    }
}

#[test]
fn h10_h12_overwritten_while_held() {
    let t = Test::new();
    let l = t.name("l");
    for (what, content) in [("zeroes", vec![0; 4096]), ("ones", vec![0xff; 4096]), ("noise", noise(7, 4096))] {
        lock(&t, &[&l, "--", "true"]).ok();
        let holder = hold(&t, &[&l]);
        let sleeper = t.cmd("shmwait").args([&l, "--", "echo", "never"]).spawn();
        wait_for(&t, &l, "sleeper: ");
        let waiting = everyone(&t, &l);
        let file = std::fs::File::options().write(true).open(t.shm_path("l")).unwrap();
        file.write_all_at(&content, 0).unwrap();
        drop(file);
        let after = everyone(&t, &l);
        // Whoever writes memory does not get inside.
        lock(&t, &["-n", &l, "--", "echo", "never"]).says(125, "is no lock");
        sleeper.output().says(125, "is no lock");
        holder.output().ok();
        all_end(waiting, what);
        all_end(after, what);
        lock(&t, &[&l, "--", "echo", "never"]).says(125, "ipcunlink shm:");
        t.cmd("ipcunlink").args([format!("shm:{l}")]).run().ok();
    }
}

/// Each byte that means something, flipped while the lock is held.
#[test]
fn h10_each_byte_flipped_while_held() {
    let t = Test::new();
    let l = t.name("l");
    let step = if rounds(1) == 1 { 3 } else { 1 };
    for at in (0..50).step_by(step).chain([100, 4095]) {
        lock(&t, &[&l, "--", "true"]).ok();
        let holder = hold(&t, &[&l]);
        let file = std::fs::File::options().read(true).write(true).open(t.shm_path("l")).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
        let others: Vec<_> = [
            &["shmlock", "-w", ".05", &l, "--", "echo", "never"][..],
            &["shmlock", "--status", "-J", &l],
            &["shmwait", "-w", ".05", &l],
            &["shmwake", "--all", &l],
        ]
        .into_iter()
        .map(|words| t.cmd(words[0]).args(&words[1..]).spawn())
        .collect();
        for one in others {
            let output = one.output();
            assert!([0, 8, 124, 125].contains(&output.status), "byte {at}: {output:?}");
            assert!(!output.stdout.starts_with(b"never"), "byte {at}: two inside");
        }
        holder.output().ok();
        std::fs::remove_file(t.shm_path("l")).unwrap();
    }
}

/// G4: no death by SIGBUS, whenever the memory goes.
#[test]
fn g4_truncated_at_any_moment() {
    let t = Test::new();
    let l = t.name("l");
    for round in 0..rounds(6) {
        lock(&t, &[&l, "--", "true"]).ok();
        let sleepers: Vec<_> = (0..2).map(|_| t.cmd("shmwait").args(["-w", "1h", &l]).spawn()).collect();
        wait_until("both sleep", || status(&t, &l).matches("sleeper").count() == 2);
        let running = everyone(&t, &l);
        let begin = Instant::now();
        let moment = Duration::from_micros(u64::from(noise(round as u64, 1)[0]) * 30);
        wait_until("the moment", || begin.elapsed() >= moment);
        let file = std::fs::File::options().write(true).open(t.shm_path("l")).unwrap();
        file.set_len(0).unwrap();
        all_end(running, "truncated");
        all_end(sleepers, "truncated, sleeping");
        std::fs::remove_file(t.shm_path("l")).unwrap();
    }
    // Again and again while they start and end.
    lock(&t, &[&l, "--", "true"]).ok();
    let script = "cp $FILE whole; until [ -e stop ]; do truncate -s 0 $FILE; cp whole $FILE; done";
    let truncater = t.bash(script).env("FILE", t.shm_path("l")).spawn();
    for _ in 0..rounds(20) {
        all_end(everyone(&t, &l), "truncated in a loop");
    }
    t.file("stop", "");
    truncater.output().ok();
}

/// Neither memory nor names of another user's can make us write elsewhere.
#[test]
fn g15_a_lock_of_another_user() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let l = t.name("l");
    t.bash(&format!("umask 0; {AS_OTHER} {}/shmlock -m 666 {l} -- true", bin_dir().display())).run().ok();
    // It is a lock like another: permissions decide.
    lock(&t, &[&l, "--", "true"]).ok();
    t.bash(&format!("{AS_OTHER} shmlock --strict {l} -- true")).run().ok();
}
