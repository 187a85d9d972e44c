//! ftok: rows A1 to A9.

use std::os::unix::fs::MetadataExt;

use crate::util::Test;
use crate::util::compile::compile;

#[test]
fn a1_a2_proj_out_of_range_is_refused() {
    let t = Test::new();
    for proj in ["0", "256", "257", "-1", "", "ab", "1x"] {
        t.cmd("ftok").args(["--", "/", proj]).run().says(2, "PROJ is a number from 1 to 255 or one character");
    }
}

#[test]
fn a3_a_letter_is_its_byte() {
    let t = Test::new();
    let of = |proj: &str| t.cmd("ftok").args(["/", proj]).run().text();
    assert_eq!(of("a"), of("97"));
    assert_eq!(t.cmd("ftok").args(["/"]).run().text(), of("1"));
    assert_ne!(of("1"), of("2"));
}

#[test]
fn a4_a_file_that_cannot_be_looked_at() {
    let t = Test::new();
    t.cmd("ftok").args(["/nope/x"]).run().says(3, "ftok: /nope/x: does not exist");
    let file = t.file("f", "");
    t.cmd("ftok").args([file.join("x")]).run().says(1, "Not a directory");
    std::os::unix::fs::symlink("loop", t.path("loop")).unwrap();
    t.cmd("ftok").args(["loop"]).run().says(8, "symbolic link");
}

#[test]
fn a5_the_formula() {
    let t = Test::new();
    let file = t.file("f", "");
    let stat = file.metadata().unwrap();
    let key = (stat.ino() & 0xffff | (stat.dev() & 0xff) << 16 | 7 << 24) as u32;
    let of = |flag: &[&str]| t.cmd("ftok").args(flag).args([file.to_str().unwrap(), "7"]).run().text();
    assert_eq!(of(&[]), format!("0x{key:08x}"));
    assert_eq!(of(&["-d"]), format!("{}", key as i32));
    assert_eq!(of(&["-o"]), format!("0{key:o}"));
    t.cmd("ftok").args(["-d", "-o", "/"]).run().fails(2);
}

/// The figure of a C program, for every PROJ: bit for bit glibc's.
#[test]
fn a5_the_same_as_glibc() {
    let t = Test::new();
    let Some(c) = compile(&t, "ftok", FTOK_C) else { return };
    let file = t.file("f", "");
    let expected = t.cmd(c.to_str().unwrap()).args([&file]).run().text();
    let ours = t.bash("for p in {1..255}; do ftok f $p; done").run().text();
    assert_eq!(ours, expected);
}

const FTOK_C: &str = r#"
#include <stdio.h>
#include <sys/ipc.h>
int main(int argc, char **argv) {
    for (int p = 1; p < 256; p++) printf("0x%08x\n", (unsigned)ftok(argv[argc - 1], p));
}
"#;

#[test]
fn a6_two_files_of_one_key() {
    let t = Test::new();
    let script = "
        mount -t tmpfs -o size=64m,nr_inodes=100k tmpfs .; cd \"$PWD\"
        mkdir d; touch first; key=$(ftok first)
        (cd d; seq 66000 | xargs touch)
        # inodes of a tmpfs are numbered in sequence, so one of these agrees
        inode=$(($(stat -c %i first) % 65536))
        twin=$(cd d; stat -c '%i %n' * | awk -v i=$inode '$1 % 65536 == i && !n++ { print $2 }')
        [ \"$(ftok d/$twin)\" = $key ]
        # --check does not call a key unique: it finds what is live
        ftok --check first >/dev/null
        echo x | shmput ftok:first
        ftok --check d/$twin && exit 1 || [ $? = 4 ]
        ipcunlink shm:key:$key";
    let Some(run) = t.unshared("--mount --ipc", script) else { return };
    let output = run.run();
    assert_eq!(output.status, 0, "{output:?}");
    assert!(output.stderr.contains("is the key of shm:id:"), "{output:?}");
}

#[test]
fn a7_links_give_the_key_of_their_file() {
    let t = Test::new();
    t.bash("touch f; ln f hard; ln -s f soft; [ $(ftok f) = $(ftok hard) ] && [ $(ftok f) = $(ftok soft) ]").run().ok();
}

#[test]
fn a8_a_file_made_anew_is_another() {
    let t = Test::new();
    // The old inode is kept in use, so that its number cannot be given again.
    t.bash("touch f; a=$(ftok f); exec 9<f; rm f; touch f; [ $a != $(ftok f) ]").run().ok();
}

#[test]
fn a9_a_key_with_its_highest_bit() {
    let t = Test::new();
    t.keyed(t.path("f"), 255);
    let script =
        "echo x | shmput ftok:f:255; key=$(ftok -d f 255); shmcat key:$key; ipcunlink shm:$(ftok f 255); echo $key";
    let (content, key) =
        (t.bash(script).run().text()).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(content, "x");
    assert!(key.starts_with('-'), "{key}");
}

#[test]
fn check_names_the_object() {
    let Some(t) = Test::with(&["perl"]) else { return };
    t.keyed(t.path("f"), 1);
    for (kind, call) in [("mq", "msgget($k, 01600)"), ("shm", "shmget($k, 10, 01600)"), ("sem", "semget($k, 1, 01600)")]
    {
        t.bash(&format!("perl -e '$k = hex(shift); defined({call}) or die' $(ftok f)")).run().ok();
        let check = t.cmd("ftok").args(["--check", "f"]).run();
        t.bash(&format!("ipcunlink {kind}:$(ftok f)")).run().ok();
        check.says(4, &format!("is the key of {kind}:id:"));
    }
    t.cmd("ftok").args(["--check", "f"]).run().ok();
}
