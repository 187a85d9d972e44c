//! shmcat --rm: after all was written, and no other object.

use super::wait::appears;
use super::*;

#[test]
fn rm_removes_what_was_written() {
    let t = Test::new();
    for address in addresses(&t) {
        for (content, flag) in
            [(noise(1, 10), None), (noise(2, 1 << 20), None), (noise(3, 1 << 20), Some("--zero-copy"))]
        {
            put(&t, &address, &content);
            let output = t.cmd("shmcat").args(["--rm", &address]).args(flag).run();
            assert!(output.ok() == content, "{address}");
            cat(&t, &[&address]).says(3, "does not exist");
        }
        put(&t, &address, b"to a file");
        t.bash(&format!("shmcat --rm {address} >out && [ \"$(<out)\" = 'to a file' ]")).run().ok();
        cat(&t, &[&address]).says(3, "does not exist");
        appears(&t, &address, &format!("echo late | shmput {address}"), "late");
        assert_eq!(cat(&t, &["--rm", "--wait", &address]).text(), "late");
    }
    assert!(t.left().is_empty());
    let id = t.cmd("shmput").args(["private:"]).stdin("x").run().text();
    assert_eq!(cat(&t, &["--rm", &id]).text(), "x");
    cat(&t, &[&id]).says(3, "does not exist");
}

#[test]
fn rm_not_before_all_was_written() {
    let t = Test::new();
    let content = noise(5, LARGE);
    for address in addresses(&t) {
        put(&t, &address, &content);
        let before = t.left();
        let reader = half_way(&t, &["--rm", &address]);
        assert!(cat(&t, &[&address]).ok() == content, "it is still there");
        reader.0.kill(Signal::SIGTERM);
        assert_eq!(reader.0.output().status, 143);
        for flag in ["", "--zero-copy"] {
            t.bash(&format!("shmcat --rm {flag} {address} >/dev/full")).run().says(1, "standard output: No space left");
            let script = format!("shmcat --rm {flag} {address} | head -c1 >/dev/null; echo ${{PIPESTATUS[0]}}");
            assert_eq!(t.bash(&script).run().text(), "141", "{address}");
            t.bash(&format!("shmcat --rm {flag} {address} >&-")).run().says(1, "standard output: is closed");
        }
        // A part is not the whole.
        cat(&t, &["--rm", "--length", "1", &address]).fails(2);
        cat(&t, &["--rm", "--offset", "1", &address]).fails(2);
        assert!(cat(&t, &[&address]).ok() == content);
        assert_eq!(t.left(), before, "{address}");
    }
}

#[test]
fn rm_of_a_name_that_means_another_object() {
    let t = Test::new();
    let old = noise(6, LARGE);
    for address in addresses(&t) {
        for flag in [None, Some("--zero-copy")] {
            put(&t, &address, &old);
            let reader = half_way(&t, &flag.into_iter().chain(["--rm", &address]).collect::<Vec<_>>());
            if address.starts_with("0x") {
                t.cmd("ipcunlink").args(["--force", &format!("shm:{address}")]).run().ok();
            }
            put(&t, &address, b"new");
            let mut output = read_on(reader);
            assert!(std::mem::take(&mut output.stdout) == old, "{address}");
            assert_eq!(cat(&t, &["--rm", &address]).text(), "new", "{address}");
            output.says(6, "meanwhile");
            assert!(t.left().is_empty());
        }
    }
}

#[test]
fn rm_of_what_was_removed_meanwhile() {
    let t = Test::new();
    let old = noise(8, LARGE);
    for address in addresses(&t) {
        put(&t, &address, &old);
        let reader = half_way(&t, &["--rm", &address]);
        t.cmd("ipcunlink").args(["--force", &format!("shm:{address}")]).run().ok();
        let mut output = read_on(reader);
        assert!(std::mem::take(&mut output.stdout) == old, "{address}");
        output.says(6, "meanwhile");
        assert!(t.left().is_empty());
    }
}

/// The writer of a replaced object may still hold its lock on it.
#[test]
fn rm_of_what_another_process_has_locked() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let name = t.name("seg");
    put(&t, &name, b"x");
    let lock = format!(
        "use Fcntl; open F, '+<', '/dev/shm{name}' or die;
        $l = pack('ssx4qqix4', F_WRLCK, 0, 0, 0, 0); fcntl(F, 37, $l) or die $!; $| = 1; print 'x'; <STDIN>"
    );
    let mut holder = t.cmd("perl").args(["-e", &lock]).spawn_open();
    holder.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let output = cat(&t, &["--rm", &name]);
    drop(holder);
    assert_eq!(output.text(), "x");
    cat(&t, &[&name]).fails(3);
}

#[test]
fn rm_of_what_may_be_read_but_not_removed() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    for address in [t.name("seg"), t.key()] {
        t.cmd("shmput").args(["-m", "644", &address]).stdin("x").run().ok();
        let before = t.left();
        let mut output = t.bash(&format!("cd /; {AS_OTHER} shmcat --rm {address}")).run();
        assert_eq!(std::mem::take(&mut output.stdout), b"x");
        output.says(5, "permission denied");
        assert_eq!(cat(&t, &[&address]).text(), "x");
        assert_eq!(t.left(), before);
    }
}

#[test]
fn two_rm_at_once_remove_it_once() {
    let t = Test::new();
    let content = noise(10, LARGE);
    let name = t.name("seg");
    put(&t, &name, &content);
    let readers = [half_way(&t, &["--rm", &name]), half_way(&t, &["--rm", &name])];
    let outputs = readers.map(read_on);
    assert!(outputs.iter().all(|output| output.stdout == content));
    let mut statuses = outputs.map(|output| output.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [0, 6]);
    assert!(t.left().is_empty());
}
