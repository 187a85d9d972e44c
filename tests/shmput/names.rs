//! shmput: names, what is planted under them, owners and modes. Rows G2, G12 to
//! G18, G20 to G23, M10.

use crate::shmput::{both, content, put};
use crate::util::{AS_OTHER, Test, entries, said};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn g2_names() {
    let t = Test::new();
    let long = |bytes: usize| format!("{:x<1$}", t.name(""), bytes + 1);
    put(&t, &[&long(255)], "x").run().ok();
    assert_eq!(content(&t, &long(255)), b"x");
    for name in ["/a/b", "", "/", "/.", "/..", "//a", "5", "key:0", &long(256)] {
        put(&t, &["--", name], "x").run().fails(2);
    }
    put(&t, &["file:"], "x").run().fails(2);
    for path in ["file:.", "file:..", "file:/", "file:o/"] {
        put(&t, &[path], "x").run().says(8, "is a directory");
    }
    put(&t, &["file:nope/o"], "x").run().says(3, "its directory does not exist");
    assert_eq!(t.left().len(), 1);
}

#[test]
fn m10_names_are_bytes() {
    let t = Test::new();
    t.bash("o=$'file:n\\xff\\n'; echo old | shmput \"$o\"; echo new | shmput \"$o\"; shmcat \"$o\"").run().ok();
    // One line, with nothing for a terminal to act on.
    let message = t.bash("shmput -x $'file:n\\xff\\n' </dev/null").run().fails(4);
    assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
}

#[test]
fn g12_g13_g14_what_was_planted_is_not_followed() {
    let t = Test::new();
    t.file("victim", "victim");
    let plants = [
        ("ln -s \"$PWD/victim\"", "is a symbolic link"),
        ("ln -s \"$PWD/nope\"", "is a symbolic link"),
        ("mkfifo", "is a FIFO"),
        ("mkdir", "is a directory"),
    ];
    for (address, path) in both(&t) {
        for (plant, words) in plants {
            t.bash(&format!("{plant} '{}'", path.display())).run().ok();
            for option in ["--foreign", "-i", "--size=9"] {
                put(&t, &[option, &address], "x").run().says(8, words);
            }
            put(&t, &["-x", &address], "x").run().says(4, "exists already");
            t.bash(&format!("rm -d '{}'", path.display())).run().ok();
        }
    }
    assert_eq!(std::fs::read(t.path("victim")).unwrap(), b"victim");
    assert_eq!(entries(t.path("")), ["victim"]);
    put(&t, &["file:/dev/null"], "x").run().says(8, "is a device");
}

#[test]
fn g15_an_object_of_another_user_is_refused() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let (name, path) = (t.name("o"), t.shm_path("o"));
    t.bash(&format!("echo planted | {AS_OTHER} shmput -m 666 {name}; chmod 666 {}", path.display())).run().ok();
    for option in ["--size=9", "-i"] {
        put(&t, &[option, &name], "secret").run().says(5, "belongs to another user, uid 65534");
    }
    assert_eq!(content(&t, &name), b"planted\n");
    put(&t, &["-i", "--foreign", &name], "PLANT").run().ok();
    assert_eq!(content(&t, &name), b"PLANTed\n");
    put(&t, &["--foreign", &name], "replaced").run().ok();
    assert_eq!(content(&t, &name), b"replaced");
    let stat = path.metadata().unwrap();
    assert_eq!((stat.uid(), stat.gid(), mode(&path)), (65534, 65534, 0o666));
}

#[test]
fn g16_another_user_can_neither_replace_nor_remove() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let (name, before) = (t.name("o"), t.left());
    let other = |command: &str| t.bash(&format!("{AS_OTHER} {command} {name}")).stdin("x").run();
    for bits in ["600", "666"] {
        t.bash(&format!("umask 0; echo -n mine | shmput -m {bits} {name}")).run().ok();
        other("shmput").says(5, &name);
        other("shmput --foreign").says(5, &name);
        t.bash(&format!("{AS_OTHER} ipcunlink shm:{name}")).run().says(5, &name);
        assert_eq!(content(&t, &name), b"mine");
    }
    // Without --foreign no byte goes where another user reads it.
    other("shmput -i").says(5, "belongs to another user, uid 0");
    t.bash(&format!("ipcunlink shm:{name}")).run().ok();
    assert_eq!(t.left(), before);
}

#[test]
fn g17_who_may_write_may_truncate() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let (name, path) = (t.name("o"), t.shm_path("o"));
    t.bash(&format!("umask 0; echo mine | shmput -m 666 {name}")).run().ok();
    t.bash(&format!("echo it | {AS_OTHER} shmput -i --foreign {name}")).run().ok();
    assert_eq!(content(&t, &name), b"it\ne\n");
    t.bash(&format!("{AS_OTHER} truncate -s 0 {}", path.display())).run().ok();
    assert_eq!(content(&t, &name), b"");
    assert_eq!(path.metadata().unwrap().uid(), 0);
}

#[test]
fn g23_private_by_default() {
    let t = Test::new();
    for (address, path) in both(&t) {
        t.bash(&format!("umask 0; echo x | shmput {address}")).run().ok();
        assert_eq!(mode(&path), 0o600);
    }
}

#[test]
fn a_replaced_object_keeps_owner_group_and_mode() {
    let t = Test::new();
    let root = nix::unistd::geteuid().is_root();
    if !root {
        said("not tested: that shmput keeps the group needs root");
    }
    for (address, path) in both(&t) {
        put(&t, &[&address], "old").run().ok();
        let group = if root { 65534 } else { path.metadata().unwrap().gid() };
        std::os::unix::fs::chown(&path, None, Some(group)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        t.bash(&format!("umask 077; echo new | shmput {address}")).run().ok();
        assert_eq!((mode(&path), path.metadata().unwrap().gid()), (0o640, group));
        t.bash(&format!("umask 022; echo new | shmput -m 666 {address}")).run().ok();
        assert_eq!((mode(&path), path.metadata().unwrap().gid()), (0o666, group));
    }
}

#[test]
fn g20_posix_objects_know_no_ipc_namespace() {
    let t = Test::new();
    let Some(run) = t.unshared("--ipc", "echo inside | shmput $NAME") else { return };
    run.env("NAME", t.name("o")).run().ok();
    assert_eq!(content(&t, &t.name("o")), b"inside\n");
}

#[test]
fn g21_a_hard_link_to_a_victim_is_refused() {
    let t = Test::new();
    t.file("victim", "victim");
    std::fs::hard_link(t.path("victim"), t.path("o")).unwrap();
    std::fs::write(t.shm_path("victim"), "victim").unwrap();
    std::fs::hard_link(t.shm_path("victim"), t.shm_path("o")).unwrap();
    for (address, path) in both(&t) {
        for option in ["--foreign", "-i"] {
            put(&t, &[option, &address], "x").run().says(8, "a hard link");
        }
        assert_eq!(std::fs::read(path).unwrap(), b"victim");
    }
}

#[test]
fn a_ring_a_lock_a_semaphore_and_a_temporary_name_are_refused() {
    let t = Test::new();
    for (address, path) in both(&t) {
        for (magic, words) in [(b"\x89ipcring", "is a ring"), (b"\x89ipclock", "is a lock")] {
            let object = [&magic[..], &[0; 100]].concat();
            std::fs::write(&path, &object).unwrap();
            for option in ["--foreign", "-i"] {
                put(&t, &[option, &address], "x").run().says(8, words);
            }
            assert_eq!(std::fs::read(&path).unwrap(), object);
        }
    }
    let semaphore = format!("/sem.{}", &t.name("s")[1..]);
    for option in ["--foreign", "-i", "-x"] {
        put(&t, &[option, &semaphore], "x").run().says(8, "is the file of a POSIX semaphore");
        put(&t, &[option, "file:.ipcutils.abcdefghijkl.7"], "x").run().says(8, "temporary names");
    }
    assert!(!Path::new("/dev/shm").join(&semaphore[1..]).exists());
    // Elsewhere the name is one like any other.
    put(&t, &["file:sem.x"], "x").run().ok();
}

#[test]
fn g8_a_read_only_object_is_not_written() {
    let t = Test::new();
    let root = nix::unistd::geteuid().is_root();
    if root && !t.second_user() {
        return;
    }
    let (name, other) = (t.name("o"), if root { AS_OTHER } else { "" });
    t.bash(&format!("echo mine | {other} shmput -m 400 {name}")).run().ok();
    for option in ["-i", "--foreign"] {
        t.bash(&format!("echo x | {other} shmput {option} {name}")).run().says(5, "permission denied");
    }
    assert_eq!(content(&t, &name), b"mine\n");
}
