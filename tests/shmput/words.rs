//! shmput: what its messages say of words that are none. Row M10.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use super::*;

#[test]
fn m10_usage_errors_print_no_escape_sequence() {
    let t = Test::new();
    let words: [&[u8]; 9] = [
        b"--a\x1b[2Jb",
        b"-\x1b[2J",
        b"--mode=\x1b]0;title\x07",
        b"--size=1\x1b[1m\nshmput: forged",
        b"k:\x1b[2J",
        b"\x1b[2J",
        b"--\xc2\x9b2J",
        b"--\xff\x1b[2J",
        b"--rm=\x1b[2J\n\nforged",
    ];
    for tool in ["shmput", "shmcat", "ftok", "ipcunlink"] {
        for word in words {
            // A path is no wrong word for ftok, so there is another behind.
            let word = OsString::from_vec(word.to_vec());
            let args = if tool == "ftok" { [OsStr::new("/"), OsStr::new("1"), &*word] } else { [&*word; 3] };
            let line = t.cmd(tool).args(args).run().fails(2);
            assert!(!line.chars().any(char::is_control), "{tool} {word:?}: {line:?}");
        }
    }
}

#[test]
fn a_path_of_a_semaphores_file_is_refused() {
    let t = Test::new();
    let file = format!("sem.{}", &t.name("o")[1..]);
    t.bash("ln -s /dev/shm link").run().ok();
    let addresses = [format!("file:/dev/shm/{file}"), format!("file:link/{file}"), format!("/{file}")];
    for present in [false, true] {
        if present {
            std::fs::write(format!("/dev/shm/{file}"), "semaphore").unwrap();
        }
        for address in &addresses {
            put(&t, &[address], "x").run().says(8, "is the file of a POSIX semaphore");
            put(&t, &["-i", address], "x").run().says(8, "is the file of a POSIX semaphore");
        }
        assert_eq!(t.left().len(), usize::from(present));
    }
    assert_eq!(std::fs::read(format!("/dev/shm/{file}")).unwrap(), b"semaphore");
    // Elsewhere it is a name as any other.
    put(&t, &["file:sem.o"], "x").run().ok();
}

#[test]
fn a_path_below_a_file_does_not_exist() {
    let t = Test::new();
    t.file("f", "a file");
    for address in ["file:f/x", "file:f/x/y", "file:./f/x"] {
        put(&t, &[address], "x").run().says(3, "its directory does not exist");
        put(&t, &["-i", address], "x").run().fails(3);
        t.cmd("shmcat").args([address]).run().fails(3);
        t.cmd("ipcunlink").args([format!("shm:{address}")]).run().fails(3);
    }
    assert_eq!(t.path("f").metadata().unwrap().len(), 6);
}

#[test]
fn messages_say_what_to_write_instead() {
    let t = Test::new();
    for (tool, word, instead) in [
        ("shmcat", "0", "(say id:0)"),
        ("shmcat", "42", "(say id:42 or key:42)"),
        ("shmcat", "name", "(say /name "),
        ("shmcat", "/dev/shm/x", "(say /x)"),
        ("shmcat", "/tmp/x/y", "(say file:/tmp/x/y)"),
        ("ipcunlink", "shm:42", "(say shm:id:42 or shm:key:42)"),
    ] {
        t.cmd(tool).args([word]).run().says(2, instead);
    }
    t.cmd("shmcat").args(["ftok:missing"]).run().says(3, "shmcat: ftok:missing");
    t.cmd("ipcunlink").args(["shm:ftok:missing"]).run().says(3, "ipcunlink: shm:ftok:missing");
    put(&t, &["ftok:missing"], "x").run().says(3, "shmput: ftok:missing");
    let line = t.cmd("shmput").args([&t.name("x"), "nofile"]).run().fails(1);
    assert_eq!(line, "shmput: nofile: does not exist (it is taken for a file; data comes from standard input)");
    assert!(t.left().is_empty());
}
