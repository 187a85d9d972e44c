//! shmput: what others do meanwhile, and what dead ones have left. Rows D7, G6,
//! G9, M4.

use std::os::unix::fs::MetadataExt;

use crate::shmput::filler::wait_old;
use crate::shmput::sysv::row;
use crate::shmput::{REFUSED, both, content, half_way, put};
use crate::util::{Running, Test, entries, noise, said, sysvipc, wait_until};
use nix::sys::signal::Signal;

/// A `shmput -i` that has opened its object and waits for more input.
fn half_way_in_place(t: &Test, address: &str) -> Running {
    let filler = half_way(t, "shmput", &["-i", address]);
    let descriptors = format!("/proc/{}/fd", filler.pid());
    // The input is spooled once the object is open.
    wait_until("it spools its input", || {
        let links = entries(&descriptors).into_iter();
        links
            .flat_map(|fd| std::fs::read_link(format!("{descriptors}/{fd}")))
            .any(|to| to.to_string_lossy().starts_with("/memfd:ipcutils"))
    });
    filler
}

#[test]
fn in_place_replaced_meanwhile_leaves_the_new_object() {
    let t = Test::new();
    let new = noise(2, 400_000);
    for (address, _) in both(&t) {
        put(&t, &["--size", "1M", &address], "").run().ok();
        let filler = half_way_in_place(&t, &address);
        put(&t, &[&address], &*new).run().ok();
        filler.output().says(6, &format!("{address}: was replaced or removed before anything was written"));
        assert!(content(&t, &address) == new, "{address}");
    }
    assert_eq!(t.left().len(), 1, "{:?}", t.left());
}

#[test]
fn in_place_removed_meanwhile_makes_nothing() {
    let t = Test::new();
    for (address, path) in both(&t) {
        put(&t, &["--size", "1M", &address], "").run().ok();
        let filler = half_way_in_place(&t, &address);
        t.cmd("ipcunlink").args(["--force", &format!("shm:{address}")]).run().ok();
        filler.output().says(6, "removed before anything was written");
        assert!(!path.exists());
    }
    assert!(t.left().is_empty(), "{:?}", t.left());
}

#[test]
fn in_place_a_system_v_segment_removed_meanwhile() {
    let t = Test::new();
    let key = t.key();
    let new = noise(2, 400_000);
    for again in [false, true] {
        for by_key in [true, false] {
            put(&t, &["--size", "1M", &key], "").run().ok();
            let by_id = format!("id:{}", row(&key).unwrap().id);
            let filler = half_way_in_place(&t, if by_key { &key } else { &by_id });
            t.cmd("ipcunlink").args(["--force", &format!("shm:{by_id}")]).run().ok();
            if again {
                put(&t, &[&key], &*new).run().ok();
            }
            filler.output().says(6, "was removed before anything was written");
            assert_eq!(row(&key).is_some(), again);
            if again {
                assert!(content(&t, &key) == new);
                t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
            }
        }
    }
    assert!(t.left().is_empty(), "{:?}", t.left());
}

#[test]
fn g9_g6_a_leftover_that_fills_the_memory_is_swept_first() {
    let t = Test::new();
    let script = "
        mount -t tmpfs -o size=64k tmpfs /dev/shm
        fill() { head -c $1 /dev/zero >/dev/shm/l; left=/dev/shm/.ipcutils.abcdefghijkl.$(stat -c %i /dev/shm/l); mv /dev/shm/l $left; }
        fill 64K
        [ $(stat -f -c %a /dev/shm) = 0 ]
        head -c 48K /dev/zero | shmput /o
        [ \"$(ls -A /dev/shm)\" = o ]
        # also for a size that is reserved at once
        fill 16K
        echo x | shmput --size 16K /p
        [ ! -e $left ] && [ $(stat -c %s /dev/shm/p) = 16384 ]";
    if let Some(run) = t.unshared("--mount", script) {
        run.run().ok();
    }
}

#[test]
fn g9_the_temporary_name_of_a_live_one_is_not_swept() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let name = temporary(&t, "");
    // F_OFD_SETLK is 37, F_WRLCK is 1.
    let hold =
        "open $f, '+>', shift or die $!; $lock = pack 's s x4 q q i x4', 1, 0, 0, 0, 0; fcntl($f, 37, $lock) or die $!;
        $| = 1; print 'locked'; <STDIN>";
    if !cfg!(target_pointer_width = "64") {
        return said("not tested: struct flock is packed for 64 bits");
    }
    let mut holder = t.cmd("perl").args(["-e", hold, &name]).spawn_open();
    let mut locked = [0; 6];
    std::io::Read::read_exact(holder.child.stdout.as_mut().unwrap(), &mut locked).unwrap();
    for content in ["new", "replaced"] {
        put(&t, &["file:o"], content).run().ok();
        assert!(t.path(&name).exists());
    }
    holder.output().ok();
    put(&t, &["file:o"], "x").run().ok();
    assert_eq!(entries(t.path("")), ["o"]);
}

/// A file with a temporary name, as a maker that was killed leaves it.
fn temporary(t: &Test, content: &str) -> String {
    let path = t.file("new", content);
    let name = format!(".ipcutils.abcdefghijkl.{}", path.metadata().unwrap().ino());
    std::fs::rename(path, t.path(&name)).unwrap();
    name
}

/// Nobody can have left these.
#[test]
fn g9_files_of_a_user_are_not_swept() {
    let t = Test::new();
    let ours = temporary(&t, "half");
    let names = [
        ".ipcutils.conf",
        ".ipcutils.abcdefghijkl",
        ".ipcutils.abcdefghijkl.7",
        ".ipcutils.abcdefghijkm.1x",
        ".ipcutils.aside.abcdefghijkl",
    ];
    names.iter().for_each(|name| drop(t.file(name, "settings")));
    put(&t, &["file:o"], "x").run().ok();
    for name in names {
        assert_eq!(std::fs::read(t.path(name)).unwrap(), b"settings", "{name}");
    }
    assert!(!t.path(&ours).exists());
}

/// A remover was killed after it had moved the name away.
#[test]
fn g9_a_name_that_was_to_be_removed_is_removed_and_any_other_is_put_back() {
    let t = Test::new();
    for (present, other) in [("", "of another"), ("o", "new")] {
        for (i, content) in ["to go", "of another"].into_iter().enumerate() {
            let inode = t.file("object", content).metadata().unwrap().ino();
            let aside = format!(".ipcutils.abcdefghijkl.{}", inode + i as u64);
            std::fs::create_dir(t.path(&aside)).unwrap();
            std::fs::rename(t.path("object"), t.path(&format!("{aside}/o"))).unwrap();
            if !present.is_empty() {
                t.file("o", "new");
            }
            let locked = std::fs::File::open(t.path(&aside)).unwrap();
            locked.lock().unwrap();
            put(&t, &["file:other"], "x").run().ok();
            assert!(t.path(&format!("{aside}/o")).exists(), "its remover lives");
            // Another thread may be forking, with this descriptor.
            locked.unlock().unwrap();
            put(&t, &["file:other"], "x").run().ok();
            let is = std::fs::read_to_string(t.path("o")).ok();
            let there = (i == 1 || !present.is_empty()).then(|| other.to_owned());
            assert_eq!(is, there, "{content} {present}");
            // What was put in its place is not replaced, and nothing is lost.
            assert_eq!(t.path(&format!("{aside}/o")).exists(), i == 1 && !present.is_empty());
            let _ = std::fs::remove_dir_all(t.path(&aside));
            let _ = std::fs::remove_file(t.path("o"));
        }
    }
}

#[test]
fn progress_counts_what_is_spooled_once() {
    let t = Test::new();
    if t.lacks("script") {
        return;
    }
    t.file("input", noise(1, 3 << 20));
    let key = t.key();
    put(&t, &["--size", "3M", &t.name("o")], "").run().ok();
    for args in [key.clone(), format!("-i {key}"), format!("-i {}", t.name("o"))] {
        let command = format!("cat input | shmput --progress {args}");
        let drawn = t.cmd("script").args(["-qec", &command, "/dev/null"]).run();
        assert_eq!(drawn.status, 0, "{drawn:?}");
        let drawn = String::from_utf8_lossy(&drawn.stdout).into_owned();
        // A rate has a comma behind it.
        let last = drawn.trim_end().rsplit(['\r', '\n']).next().unwrap();
        assert!(last.contains(" 3.00 MiB ") && !drawn.contains(" 6.00 MiB "), "{args}: {drawn:?}");
    }
}

#[test]
fn m4_an_identifier_that_nobody_reads_can_be_given_up() {
    let Some(t) = Test::with(&["perl"]) else { return };
    // Its own reader keeps the full pipe open.
    let full = "use Fcntl; $^F = 99; pipe R, W or die; fcntl(W, F_SETFL, O_WRONLY | O_NONBLOCK) or die;
        1 while syswrite W, 'x' x 4096; fcntl(W, F_SETFL, O_WRONLY) or die;
        open STDOUT, '>&', W or die; exec @ARGV";
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut maker = t.cmd("perl").args(["-e", full, "shmput", "--size", "1M", "private:"]).spawn_open();
        drop(maker.child.stdin.take());
        let maker_id = maker.pid().to_string();
        wait_until("the segment is whole", || sysvipc("shm").iter().any(|row| row[4] == maker_id && row[2] == "600"));
        maker.wait_blocked();
        maker.kill(signal);
        wait_until("it ends", || maker.state() == 'Z');
        let ended = maker.output();
        assert_eq!((ended.status, &*ended.stderr), (128 + signal as i32, ""));
        assert!(t.left().is_empty(), "{:?}", t.left());
    }
}

#[test]
fn d7_a_dead_filler_of_another_pid_namespace() {
    let t = Test::new();
    let key = t.key();
    let inside = |script: &str| t.unshared("--pid --fork --mount-proc", &script.replace("KEY", &key));
    let begin = |t: &Test| {
        let mut filler = t.cmd("shmput").args(["--size", "1M", &key]).spawn_open();
        filler.write(b"half");
        wait_until("it is being filled", || row(&key).is_some_and(|row| row.perms == "11" && row.attached == 1));
        wait_old(&key);
        filler
    };
    let live = format!("{REFUSED} refused 75 shmcat KEY; refused 4 shmput KEY </dev/null");
    let filler = begin(&t);
    let Some(run) = inside(&live) else { return };
    let said = run.run().text();
    assert!(said.lines().count() == 2 && said.lines().all(|line| line.contains("is being filled")), "{said}");
    filler.kill(Signal::SIGKILL);
    wait_until("it is dead", || filler.state() == 'Z');
    if !nix::unistd::geteuid().is_root() {
        // Only with a user namespace too, which lacks the group that marks the segment.
        let dead = format!("{REFUSED} refused 8 shmcat KEY; refused 4 shmput KEY <<<x");
        let said = inside(&dead).unwrap().run().text();
        return assert!(said.contains("perhaps half filled by a process that died"), "{said}");
    }
    let dead = format!("{REFUSED} refused 8 shmcat KEY; echo whole | shmput KEY; shmcat KEY");
    let said = inside(&dead).unwrap().run().text();
    assert!(said.contains("is half filled") && said.ends_with("\nwhole"), "{said}");
    // And the other way round: one that died inside, seen from here.
    t.cmd("ipcunlink").args([format!("shm:{key}")]).run().ok();
    let die = "shmput --size 1M KEY < <(echo half; kill -STOP $BASHPID) & pid=$!
        for ((i = 0; i < 9999; i++)); do [ \"$(awk '$1 == '$((KEY))' { print $3 $7 }' /proc/sysvipc/shm)\" = 111 ] && break; done
        kill -KILL $pid; wait $pid || [ $? = 137 ]";
    assert_eq!(inside(die).unwrap().run().status, 0);
    wait_old(&key);
    t.cmd("shmcat").args([&key]).run().says(8, "half filled");
    put(&t, &[&key], "recycled").run().ok();
    assert_eq!(content(&t, &key), b"recycled");
}

/// Changes the input's length right after it has been asked for.
const CHANGE_C: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
off_t lseek(int fd, off_t offset, int whence) {
    static int done;
    off_t at = syscall(SYS_lseek, fd, offset, whence);
    if (!done++) truncate("input", atol(getenv("LENGTH")));
    return at;
}
off_t lseek64(int fd, off_t offset, int whence) { return lseek(fd, offset, whence); }
"#;

#[test]
fn in_place_an_input_that_changes_its_length_is_noticed() {
    let t = Test::new();
    if t.lacks("cc") {
        return;
    }
    t.file("change.c", CHANGE_C);
    t.cmd("cc").args(["-O2", "-shared", "-fPIC", "-o", "change.so", "change.c"]).run().ok();
    let key = t.key();
    for address in [t.name("o"), "file:o".into(), key.clone()] {
        put(&t, &["--size", "1M", &address], "").run().ok();
        for (length, word) in [(300_001, "longer"), (299_999, "shorter")] {
            let input = t.file("input", noise(1, 300_000));
            let command = t.cmd("shmput").args(["-i", &address, "input"]);
            let run = command.env("LD_PRELOAD", "./change.so").env("LENGTH", length.to_string()).run();
            if input.metadata().unwrap().len() == 300_000 {
                return said("not tested: an input that changes: the tools do not load libraries");
            }
            run.says(1, &format!("input: became {word} while it was read"));
        }
    }
}
