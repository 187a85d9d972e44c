//! shmcat: what others have planted under a name; rows G12 to G14.

use super::*;
use crate::util::said;

#[test]
fn g12_a_planted_symlink() {
    let t = Test::new();
    t.file("secret", "secret");
    let script = format!("ln -s \"$PWD/secret\" /dev/shm{0}; ln -s secret link", t.name("link"));
    t.bash(&script).run().ok();
    for address in [t.name("link"), "file:link".into()] {
        cat(&t, &[&address]).says(8, "is a symbolic link");
        cat(&t, &["--wait", "--rm", &address]).says(8, "is a symbolic link");
    }
    t.bash(&format!("[ -L /dev/shm{} ] && [ -L link ] && [ -f secret ]", t.name("link"))).run().ok();
}

/// A write lease of another program keeps everybody else from opening the object.
#[test]
fn a_lease_of_another_program() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let name = t.name("leased");
    t.cmd("shmput").args([&name]).stdin("x").run().ok();
    // 1024 is F_SETLEASE, 1 is F_WRLCK.
    let script = "open my $f, '+<', $ARGV[0] or die; $SIG{IO} = 'IGNORE'; \
        fcntl($f, 1024, 1) or exit 3; $| = 1; print qq(ready\n); sleep 1000 while 1";
    let mut holder = t.cmd("perl").args(["-e", script, &t.shm_path("leased").display().to_string()]).spawn_open();
    let mut word = [0; 6];
    if std::io::Read::read_exact(holder.child.stdout.as_mut().unwrap(), &mut word).is_err() {
        return said("not tested: no lease can be had here");
    }
    cat(&t, &[&name]).says(75, "another process has a lease of it");
    cat(&t, &["--rm", &name]).says(75, "another process has a lease of it");
    holder.kill(nix::sys::signal::Signal::SIGKILL);
    holder.output();
    assert_eq!(cat(&t, &[&name]).ok(), b"x");
}

#[test]
fn g13_a_planted_fifo() {
    let t = Test::new();
    let (name, path) = (t.name("fifo"), t.shm_path("fifo"));
    let address = format!("file:{}", path.display());
    t.cmd("mkfifo").args([&path]).run().ok();
    let refused = || {
        for args in [&[name.as_str()][..], &["--wait", &name], &["--rm", &name], &[&address]] {
            cat(&t, args).says(8, "is a FIFO");
        }
    };
    let reader = t.cmd("cat").args([&path]).spawn();
    reader.wait_blocked();
    refused();
    let tell = format!("echo to-reader >{}", path.display());
    t.bash(&format!("timeout 20 bash -c '{tell}'")).run().ok();
    assert_eq!(reader.output().text(), "to-reader");

    let writer = t.cmd("dd").args(["if=/dev/zero", "bs=5", "count=1", "status=none"]).args([of(&path)]).spawn();
    writer.wait_blocked();
    refused();
    // Had somebody opened it for reading, the writer would be gone.
    assert_eq!(t.cmd("timeout").args(["20", "cat"]).args([&path]).run().ok(), [0; 5]);
    writer.output().ok();
}

fn of(path: &std::path::Path) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from("of=");
    word.push(path);
    word
}

#[test]
fn g14_a_planted_directory_socket_or_hard_link() {
    let t = Test::new();
    let (dir, socket) = (t.name("dir"), t.name("socket"));
    t.bash(&format!("mkdir /dev/shm{dir}; mkdir d; touch a; ln a b")).run().ok();
    let _listener = std::os::unix::net::UnixListener::bind(t.shm_path("socket")).unwrap();
    for (address, words) in [
        (dir.as_str(), "is a directory"),
        ("file:d", "is a directory"),
        ("file:d/", "is a directory"),
        (&socket, "is a socket"),
        ("file:/dev/null", "is a device"),
        ("file:a", "has a second name"),
    ] {
        cat(&t, &[address]).says(8, words);
        cat(&t, &["--wait", address]).says(8, words);
        cat(&t, &["--rm", address]).says(8, words);
    }
    t.bash(&format!("[ -d /dev/shm{dir} ] && [ -S /dev/shm{socket} ] && [ -d d ] && [ -f b ]")).run().ok();
}
