//! ipcunlink: every kind by every form of address, rows M10 to M12.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::util::{AS_OTHER, Test, said, sysvipc};

mod held;
mod meanwhile;

/// Make a System V object with perl, which has to be there; its identifier.
fn sysv(t: &Test, kind: &str, key: &str) -> String {
    let call = match kind {
        "shm" => "shmget($k, 10, 01600)",
        "mq" => "msgget($k, 01600)",
        _ => "semget($k, 1, 01600)",
    };
    t.bash(&format!("perl -e '$k = {key}; $i = {call}; defined $i or die $!; print $i'")).run().text()
}

/// Whether the kernel lists it.
fn exists(kind: &str, id: &str) -> bool {
    sysvipc(if kind == "mq" { "msg" } else { kind }).iter().any(|row| row[1] == id)
}

#[test]
fn system_v_of_every_kind_by_every_address() {
    let Some(t) = Test::with(&["perl"]) else { return };
    t.keyed(t.path("f"), 9);
    for kind in ["shm", "mq", "sem"] {
        let ftok: i32 = t.bash("ftok -d f 9").run().text().parse().unwrap();
        let key = t.key();
        let number = i32::from_str_radix(&key[2..], 16).unwrap();
        for (key, address) in [
            (key.clone(), key.clone()),
            (key.clone(), format!("key:{key}")),
            (key.clone(), format!("key:{number}")),
            (key.clone(), format!("key:0{number:o}")),
            (ftok.to_string(), "ftok:f:9".into()),
        ] {
            let id = sysv(&t, kind, &key);
            t.cmd("ipcunlink").args([format!("{kind}:{address}")]).run().ok();
            assert!(!exists(kind, &id), "{kind}:{address}");
        }
        for key in [t.key(), "0".into()] {
            let id = sysv(&t, kind, &key);
            t.cmd("ipcunlink").args([format!("{kind}:id:{id}")]).run().ok();
            assert!(!exists(kind, &id), "{kind}:id:{id}");
        }
    }
}

#[test]
fn posix_of_every_kind_and_files() {
    let t = Test::new();
    let (shm, sem, ring, lock) = (t.name("shm"), t.name("sem"), t.name("ring"), t.name("lock"));
    let sem_file = format!("/dev/shm/sem.{}", &sem[1..]);
    std::fs::write(t.shm_path("shm"), "x").unwrap();
    std::fs::write(&sem_file, [0; 32]).unwrap();
    std::fs::write(t.shm_path("ring"), b"\x89ipcring and more").unwrap();
    std::fs::write(t.shm_path("lock"), b"\x89ipclock and more").unwrap();
    t.file("r", b"\x89ipcring");
    t.file("l", b"\x89ipclock");
    t.file("s", "segment");
    for (kind, address) in [
        ("shm", &*shm),
        ("sem", &sem),
        ("ring", &ring),
        ("lock", &lock),
        ("shm", "file:s"),
        ("ring", "file:r"),
        ("lock", "file:l"),
    ] {
        t.cmd("ipcunlink").args([format!("{kind}:{address}")]).run().ok();
        t.cmd("ipcunlink").args([format!("{kind}:{address}")]).run().says(3, "does not exist");
    }
    assert!(t.left().is_empty());
    for file in [sem_file, t.path("r").display().to_string(), t.path("l").display().to_string()] {
        assert!(!std::fs::exists(file).unwrap());
    }
}

/// Made by the system call, as no tool of the shell makes a POSIX queue.
#[test]
fn a_posix_queue() {
    let Some(t) = Test::with(&["perl", "POSIX queues"]) else { return };
    let name = t.queue("mq");
    let open = format!(
        "$n = '{}'; $a = pack('l!8', 0, 4, 64, 0, 0, 0, 0, 0); exit(syscall(240, $n, 0100 | 0200, 0600, $a) < 0)",
        &name[1..]
    );
    if !cfg!(target_arch = "x86_64") || !t.cmd("perl").args(["-e", &open]).run().success() {
        return said("not tested: no POSIX queue can be made here");
    }
    t.cmd("ipcunlink").args([format!("mq:{name}")]).run().ok();
    t.cmd("ipcunlink").args([format!("mq:{name}")]).run().says(3, "does not exist");
}

#[test]
fn several_operands_and_their_common_status() {
    let t = Test::new();
    let (a, b, key) = (t.name("a"), t.name("b"), t.key());
    let put = || t.bash(&format!("for i in {a} {b} {key}; do echo x | shmput $i; done")).run().ok();
    let all = [format!("shm:{a}"), format!("shm:{key}"), format!("shm:{b}")];
    put();
    t.cmd("ipcunlink").args(&all).run().ok();
    assert!(t.left().is_empty());
    // Failures before, between and after do not keep the others from it.
    put();
    let missing = format!("shm:{}", t.name("missing"));
    let output = t.cmd("ipcunlink").args([&missing, &all[0], &missing, &all[1], &all[2], &missing]).run();
    assert_eq!((output.status, output.stderr.lines().count(), output.stdout.len()), (3, 3, 0), "{output:?}");
    assert!(output.stderr.lines().all(|line| line.starts_with(&format!("ipcunlink: {missing}: does not exist"))));
    assert!(t.left().is_empty());
    // 3 and 8 have nothing in common.
    put();
    std::fs::create_dir(t.shm_path("dir")).unwrap();
    let dir = format!("shm:{}", t.name("dir"));
    let output = t.cmd("ipcunlink").args([&missing, &dir, &all[0], &all[1], &all[2]]).run();
    assert_eq!((output.status, output.stderr.lines().count()), (1, 2), "{output:?}");
    assert_eq!(t.left().len(), 1);
    // A word that is no address is seen before anything is removed.
    put();
    t.cmd("ipcunlink").args(["shm:5", &all[0]]).run().says(2, "say shm:id:5 or shm:key:5");
    t.cmd("ipcunlink").args([&all[0], "5"]).run().fails(2);
    assert_eq!(t.left().len(), 4);
    t.cmd("ipcunlink").run().fails(2);
}

#[test]
fn missing_is_3() {
    let t = Test::new();
    for kind in ["shm", "mq", "sem"] {
        for address in [t.name("no"), t.key(), "id:2147483647".into(), "ftok:no".into()] {
            t.cmd("ipcunlink").args([format!("{kind}:{address}")]).run().says(3, "does not exist");
        }
        t.cmd("ipcunlink").args([format!("{kind}:private:")]).run().fails(2);
    }
    t.cmd("ipcunlink").args(["shm:file:no"]).run().says(3, "does not exist");
}

#[test]
fn foreign_is_5() {
    let Some(t) = Test::with(&["perl"]) else { return };
    if !t.second_user() {
        return;
    }
    let name = t.name("seg");
    t.bash(&format!("umask 0; echo x | shmput -m 666 {name}")).run().ok();
    let mut addresses = vec![format!("shm:{name}")];
    for kind in ["shm", "mq", "sem"] {
        let key = t.key();
        let id = sysv(&t, kind, &key);
        addresses.extend([format!("{kind}:{key}"), format!("{kind}:id:{id}")]);
    }
    let before = t.left();
    for address in addresses {
        t.bash(&format!("cd /; {AS_OTHER} ipcunlink {address}")).run().says(5, "permission denied");
    }
    assert_eq!(t.left(), before);
}

#[test]
fn without_its_kind_it_is_refused_with_the_choice() {
    let t = Test::new();
    let (name, key) = (t.name("seg"), t.key());
    t.bash(&format!("echo x | shmput {name}; echo x | shmput {key}")).run().ok();
    let before = t.left();
    let choices =
        [(&name, "(put shm:, ring:, lock:, mq: or sem: in front)"), (&key, "(put shm:, mq: or sem: in front)")];
    for (address, choice) in choices {
        t.cmd("ipcunlink").args([address]).run().says(2, choice);
    }
    for word in ["", "shm", "seg", "foo:/x", "SHM:/x", ":/x", "5"] {
        t.cmd("ipcunlink").args([word]).run().says(2, "the kind is missing");
    }
    for word in
        ["shm:", "shm:x", "shm:/", "shm:/a/b", "shm:/..", "shm:5", "mq:file:x", "sem:file:x", "ring:key:1", "lock:id:1"]
    {
        t.cmd("ipcunlink").args([word]).run().fails(2);
    }
    assert_eq!(t.left(), before);
}

#[test]
fn a_ring_and_a_lock_need_their_own_kind() {
    let t = Test::new();
    for (word, magic) in [("ring", b"\x89ipcring"), ("lock", b"\x89ipclock")] {
        std::fs::write(t.shm_path(word), magic).unwrap();
        t.file(word, magic);
        for address in [t.name(word), format!("file:{}", t.path(word).display())] {
            for kind in ["shm", "ring", "lock"].iter().filter(|kind| **kind != word) {
                let run = t.cmd("ipcunlink").args([format!("{kind}:{address}")]).run();
                run.says(8, &format!("is a {word} (say {word}:{address})"));
            }
        }
        assert!(t.shm_path(word).exists() && t.path(word).exists());
    }
    std::fs::write(t.shm_path("seg"), b"\x89ipc").unwrap();
    for kind in ["ring", "lock"] {
        t.cmd("ipcunlink").args([format!("{kind}:{}", t.name("seg"))]).run().says(8, "is a segment");
    }
    assert!(t.shm_path("seg").exists());
}

#[test]
fn the_file_of_a_semaphore_is_no_segment() {
    let t = Test::new();
    let sem = format!("sem.{}", &t.name("s")[1..]);
    std::fs::write(format!("/dev/shm/{sem}"), [0; 32]).unwrap();
    for kind in ["shm", "ring", "lock"] {
        t.cmd("ipcunlink").args([format!("{kind}:/{sem}")]).run().says(8, "say sem:/");
    }
    t.cmd("ipcunlink").args([format!("sem:{}", t.name("s"))]).run().ok();
}

#[test]
fn what_is_planted_is_left_as_it_is() {
    let t = Test::new();
    let (fifo, dir, link) = (t.name("fifo"), t.name("dir"), t.name("link"));
    t.bash(&format!("cd /dev/shm; mkfifo .{fifo}; mkdir .{dir}; ln -s /etc/passwd .{link}")).run().ok();
    let before = t.left();
    let waiting = t.cmd("cat").args([t.shm_path("fifo")]).spawn();
    waiting.wait_blocked();
    for (name, words) in [(&fifo, "is a FIFO"), (&dir, "is a directory"), (&link, "is a symbolic link")] {
        for kind in ["shm:", "ring:", "lock:", "shm:file:/dev/shm"] {
            t.cmd("ipcunlink").args([format!("{kind}{name}")]).run().says(8, words);
        }
    }
    assert_eq!(t.left(), before);
    // The one that waits on the FIFO was not woken.
    t.bash(&format!("timeout 20 bash -c 'echo x >/dev/shm{fifo}'")).run().ok();
    assert_eq!(waiting.output().text(), "x");
}

#[test]
fn m10_names_of_any_bytes_are_escaped_in_messages() {
    let t = Test::new();
    for (bytes, shown) in
        [(&b"a\nb"[..], "a\\x0ab"), (b"\x1b[2J", "\\x1b[2J"), (b"\xff\xfe", "\\xff\\xfe"), (b"\\x", "\\x5cx")]
    {
        let name = t.name("");
        let word = |kind: &str| OsString::from_vec([kind.as_bytes(), name.as_bytes(), bytes].concat());
        let message = format!("{name}{shown}: does not exist");
        for kind in ["shm:", "sem:", "ring:", "lock:"] {
            t.cmd("ipcunlink").args([word(kind)]).run().says(3, &format!("ipcunlink: {kind}{message}"));
        }
        t.cmd("ipcunlink").args([word("")]).run().says(2, shown);
        t.cmd("ipcunlink").args([word("shm:ftok:")]).run().says(3, shown);
        t.cmd("ipcunlink").args([word("bad")]).run().says(2, shown);
        t.cmd("shmput").args([word("")]).stdin("x").run().ok();
        t.cmd("ipcunlink").args([word("shm:")]).run().ok();
    }
    assert!(t.left().is_empty());
}

#[test]
fn m11_key_0_finds_nothing() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    let id = sysv(&t, "shm", &key);
    for kind in ["shm", "mq", "sem"] {
        for zero in ["key:0", "0x0", "key:0x00000000", "key:00"] {
            t.cmd("ipcunlink")
                .args([format!("{kind}:{zero}")])
                .run()
                .says(2, &format!("say {kind}:private: or {kind}:id:N"));
        }
    }
    t.cmd("ipcunlink").args([format!("shm:id:{id}")]).run().ok();
}

#[test]
fn m12_removed_twice_and_at_once() {
    let t = Test::new();
    let (name, key) = (t.name("seg"), t.key());
    for address in [&name, &key] {
        // Of eight at once one removes it, and the others find it gone.
        let script = format!(
            "for round in {{1..10}}; do
                echo x | shmput {address}; pids=; ok=0
                for i in {{1..8}}; do ipcunlink shm:{address} 2>/dev/null & pids=\"$pids $!\"; done
                for pid in $pids; do wait $pid; case $? in 0) let ok+=1 ;; 3) ;; *) echo status ;; esac; done
                [ $ok = 1 ] || echo $ok
            done"
        );
        assert_eq!(t.bash(&script).run().text(), "", "{address}");
        t.cmd("ipcunlink").args([format!("shm:{address}")]).run().says(3, "does not exist");
    }
    assert!(t.left().is_empty());
}
