//! shmcat: rows D3, D4, D6, D12, G3 to G5, G8, G11, G24, and what its
//! options promise.

mod planted;
mod rm;
mod wait;

use std::io::Read;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::util::{AS_OTHER, Output, Running, Test, noise, wait_until};

/// More than a pipe of a mebibyte and the tool's buffer hold: a reader of it
/// whose output nobody reads is half way, and stays there.
const LARGE: usize = 4 << 20;

fn put(t: &Test, address: &str, content: &[u8]) {
    t.cmd("shmput").args([address]).stdin(content).run().ok();
}

fn cat(t: &Test, args: &[&str]) -> Output {
    t.cmd("shmcat").args(args).run()
}

/// A reader of a large segment that has begun, and waits for us to read on;
/// what it has written so far.
fn half_way(t: &Test, args: &[&str]) -> (Running, Vec<u8>) {
    let mut reader = t.cmd("shmcat").args(args).spawn();
    let mut begin = vec![0; 1000];
    reader.child.stdout.as_mut().unwrap().read_exact(&mut begin).unwrap();
    (reader, begin)
}

/// Let it write the rest.
fn read_on((reader, mut begin): (Running, Vec<u8>)) -> Output {
    let mut output = reader.output();
    begin.append(&mut output.stdout);
    output.stdout = begin;
    output
}

/// One address of each kind.
fn addresses(t: &Test) -> [String; 3] {
    [t.name("seg"), t.key(), "file:f".to_owned()]
}

#[test]
fn the_segment_and_nothing_else_of_every_size() {
    let t = Test::new();
    let [posix, key, file] = addresses(&t);
    for size in [0, 1, 4095, 4096, 4097, 131_071, 131_072, 131_073, 3 << 20 | 1] {
        let content = noise(size as u64, size);
        for address in [&posix, &key, &file] {
            // No System V segment is empty.
            if size == 0 && address == &key {
                continue;
            }
            put(&t, address, &content);
            assert!(cat(&t, &[address]).ok() == content, "{address}, {size} bytes");
            assert!(cat(&t, &["--zero-copy", address]).ok() == content, "{address}, {size} bytes, --zero-copy");
            if address == &key {
                t.cmd("ipcunlink").args([format!("shm:{key}")]).run().ok();
            }
        }
    }
}

#[test]
fn nul_and_every_other_byte() {
    let t = Test::new();
    let content: Vec<u8> = (0..=255).chain([0xff, 0, 0xff, 0]).collect();
    for address in addresses(&t) {
        put(&t, &address, &content);
        assert_eq!(cat(&t, &[&address]).ok(), content, "{address}");
    }
}

#[test]
fn d3_100_bytes_give_100() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    let script = format!("perl -e '$i = shmget({key}, 100, 01600); shmwrite($i, \"abc\", 0, 3) or die'");
    t.bash(&script).run().ok();
    let mut expected = b"abc".to_vec();
    expected.resize(100, 0);
    assert_eq!(cat(&t, &[&key]).ok(), expected);
    assert_eq!(cat(&t, &["--zero-copy", &key]).ok(), expected);
}

#[test]
fn d4_read_permission_is_enough() {
    let t = Test::new();
    for address in addresses(&t) {
        t.cmd("shmput").args(["-m", "400", &address]).stdin("readable").run().ok();
        assert_eq!(cat(&t, &[&address]).text(), "readable", "{address}");
    }
    if !t.second_user() {
        return;
    }
    let (name, key) = (t.name("other"), t.key());
    for address in [&name, &key] {
        t.cmd("shmput").args(["-m", "444", address]).stdin("readable").run().ok();
        assert_eq!(t.bash(&format!("cd /; {AS_OTHER} shmcat {address}")).run().text(), "readable");
    }
}

#[test]
fn d6_by_id_after_removal_while_attached() {
    let t = Test::new();
    let key = t.key();
    let (old, new) = (noise(1, LARGE), b"new".to_vec());
    put(&t, &key, &old);
    let id = t.bash(&format!("ipcls -r --no-headings -o id shm:{key}")).run().text();
    let holder = half_way(&t, &[&key]);
    t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
    cat(&t, &[&key]).says(3, "does not exist");
    assert!(cat(&t, &[&format!("id:{id}")]).ok() == old);
    put(&t, &key, &new);
    assert_eq!(cat(&t, &[&key]).ok(), new);
    assert!(read_on(holder).ok() == old);
    // The last one that had it attached has gone.
    cat(&t, &[&format!("id:{id}")]).says(3, "does not exist");
}

#[test]
fn d12_a_segment_that_comes_and_goes() {
    let t = Test::new();
    let key = t.key();
    // 0, being filled, or absent: never a permission, a signal or a mixture.
    let script = format!(
        "(for i in {{1..150}}; do
            shmput {key} <<<aaaaaaaaaaaaaaaa && ipcunlink --force shm:{key} || exit 1
        done) & writer=$!
        while kill -0 $writer 2>/dev/null; do
            out=$(shmcat {key} 2>err); s=$?
            case $s:$out in 0:aaaaaaaaaaaaaaaa | 3: | 75:) ;; *) echo \"$s:$out:$(<err)\"; exit 1 ;; esac
        done
        wait $writer"
    );
    assert_eq!(t.bash(&script).run().text(), "");
    assert!(t.left().is_empty());
}

#[test]
fn g3_an_empty_object() {
    let t = Test::new();
    let name = t.name("empty");
    put(&t, &name, b"");
    assert_eq!(cat(&t, &[&name]).ok(), b"");
    assert_eq!(cat(&t, &["--zero-copy", "--rm", &name]).ok(), b"");
    assert!(t.left().is_empty());
}

#[test]
fn g4_g5_shrunk_while_it_is_read() {
    let t = Test::new();
    let content = noise(4, LARGE + 1000);
    // To nothing, to a half, and within the last page, which reads as zeroes.
    for (left, flag) in
        [0, LARGE / 2, LARGE + 1].into_iter().flat_map(|left| [(left, None), (left, Some("--zero-copy"))])
    {
        let name = t.name(format!("{left}-{}", flag.is_some()));
        put(&t, &name, &content);
        let reader = half_way(&t, &flag.into_iter().chain([name.as_str()]).collect::<Vec<_>>());
        let object = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm{name}")).unwrap();
        object.set_len(left as u64).unwrap();
        let output = read_on(reader);
        assert_eq!(output.status, 6, "{left} {flag:?} {}", output.stderr);
        assert!(output.stderr.contains(&format!("was truncated from {} to {left} bytes", content.len())));
        assert_eq!(output.stderr.lines().count(), 1);
        // What came is the beginning: pages in the pipe may be gone, or zero.
        assert!(flag.is_some() || content.starts_with(&output.stdout[..output.stdout.len().min(left)]));
    }
}

/// Readers against a loop that truncates and refills.
#[test]
fn g4_never_a_death_by_signal() {
    let t = Test::new();
    let name = t.name("seg");
    put(&t, &name, &noise(1, 1 << 20));
    let script = format!(
        "(while [ ! -e stop ]; do truncate -s 0 /dev/shm{name}; truncate -s 1M /dev/shm{name}; done) &
        for i in {{1..60}}; do
            shmcat {name} 2>err | cat >/dev/null; s=${{PIPESTATUS[0]}}
            case $s in 0 | 6) ;; *) echo $s; cat err ;; esac
        done
        touch stop; wait"
    );
    assert_eq!(t.bash(&script).run().text(), "");
}

#[test]
fn g8_permission_denied() {
    let t = Test::new();
    if nix::unistd::geteuid().is_root() {
        if !t.second_user() {
            return;
        }
        for address in [t.name("seg"), t.key()] {
            put(&t, &address, b"secret");
            t.bash(&format!("cd /; {AS_OTHER} shmcat {address}")).run().says(5, "permission denied");
            // Not even where it may be removed: nothing was read.
            t.bash(&format!("cd /; {AS_OTHER} shmcat --rm {address}")).run().says(5, "permission denied");
            assert_eq!(cat(&t, &[&address]).text(), "secret");
        }
        return;
    }
    for address in addresses(&t) {
        t.cmd("shmput").args(["-m", "200", &address]).stdin("secret").run().ok();
        cat(&t, &[&address]).says(5, "permission denied");
    }
}

#[test]
fn g23_group_and_other_bits_decide() {
    let t = Test::new();
    if !t.second_user() {
        return;
    }
    let (other, group) = (AS_OTHER, "setpriv --reuid 65534 --regid 0 --clear-groups");
    for (mode, user, status) in [("640", other, 5), ("640", group, 0), ("604", other, 0), ("604", group, 5)] {
        for address in [t.name(format!("{mode}-{status}")), t.key()] {
            t.bash(&format!("umask 0; shmput -m {mode} {address}")).stdin("x").run().ok();
            let output = t.bash(&format!("cd /; {user} shmcat {address}")).run();
            assert_eq!(output.status, status, "{mode} {user} {output:?}");
        }
    }
}

#[test]
fn g11_replaced_while_it_is_read() {
    let t = Test::new();
    for address in [t.name("seg"), "file:f".to_owned()] {
        let old = noise(11, LARGE);
        put(&t, &address, &old);
        let readers = [half_way(&t, &[&address]), half_way(&t, &["--zero-copy", &address])];
        put(&t, &address, b"new");
        for reader in readers {
            assert!(read_on(reader).ok() == old);
        }
        assert_eq!(cat(&t, &[&address]).text(), "new");
    }
}

#[test]
fn g24_removed_while_it_is_read() {
    let t = Test::new();
    let name = t.name("seg");
    let old = noise(24, LARGE);
    put(&t, &name, &old);
    let reader = half_way(&t, &[&name]);
    t.cmd("ipcunlink").args(["--force", &format!("shm:{name}")]).run().ok();
    cat(&t, &[&name]).says(3, "does not exist");
    assert!(read_on(reader).ok() == old);
}

/// Who waits on the FIFO must not be woken, as an open would do.
#[test]
fn a_missing_object_is_3() {
    let t = Test::new();
    for address in addresses(&t) {
        cat(&t, &[&address]).says(3, "does not exist");
        cat(&t, &["--rm", &address]).says(3, "does not exist");
    }
    cat(&t, &["file:no/f"]).says(3, "directory does not exist");
    cat(&t, &["ftok:no"]).says(3, "no:1: the file does not exist");
    cat(&t, &["private:"]).fails(2);
    cat(&t, &["5"]).says(2, "say id:5 or key:5");
    cat(&t, &[]).fails(2);
}

#[test]
fn offset_and_length() {
    let t = Test::new();
    let size = 131_072 + 4097;
    let content = noise(7, size);
    for address in addresses(&t) {
        put(&t, &address, &content);
        for offset in [0, 1, 4096, 131_073, size - 1, size] {
            for length in [None, Some(0), Some(1), Some(131_072), Some(size - offset), Some(size)] {
                let end = length.map_or(size, |length| (offset + length).min(size));
                for flag in [None, Some("--zero-copy")] {
                    let mut args = vec![format!("--offset={offset}"), address.clone()];
                    args.extend(length.map(|length| format!("--length={length}")));
                    args.extend(flag.map(str::to_owned));
                    let output = t.cmd("shmcat").args(&args).run().ok();
                    assert!(output == content[offset..end], "{args:?}: {} bytes", output.len());
                }
            }
        }
        for offset in [(size + 1).to_string(), "1T".into()] {
            for rest in [&[][..], &["--length", "0"], &["--length", "5", "--zero-copy"]] {
                let args: Vec<_> = ["--offset", &offset, &address].into_iter().chain(rest.iter().copied()).collect();
                cat(&t, &args).says(1, &format!("it has {size} bytes"));
            }
        }
        assert_eq!(cat(&t, &["--length", "1K", "--offset", "1K", &address]).ok(), content[1024..2048]);
    }
}

#[test]
fn zero_copy_into_a_pipe_a_file_and_what_outlives_it() {
    let t = Test::new();
    let content = noise(9, 300_001);
    for (i, address) in addresses(&t).iter().enumerate() {
        put(&t, address, &content);
        let script = format!(
            "shmcat --zero-copy {address} | cat >pipe && shmcat --zero-copy {address} >file && echo head >more &&
            shmcat --zero-copy {address} >>more"
        );
        t.bash(&script).run().ok();
        assert!(std::fs::read(t.path("pipe")).unwrap() == content, "{address}");
        assert!(std::fs::read(t.path("file")).unwrap() == content, "{address}");
        assert!(std::fs::read(t.path("more")).unwrap() == [b"head\n", &content[..]].concat(), "{address}");
        // The pipe has the pages although tool and object are gone.
        let script = format!("mkfifo p{i}; exec 3<>p{i}; shmcat --zero-copy --rm {address} >p{i}; head -c 300001 <&3");
        assert!(t.bash(&script).run().ok() == content, "{address}");
    }
    t.bash("rm -f f").run().ok();
    assert!(t.left().is_empty());
}

#[test]
fn progress_is_drawn_on_a_terminal_alone() {
    let t = Test::new();
    let name = t.name("seg");
    put(&t, &name, &noise(1, 1 << 20));
    assert_eq!(cat(&t, &["--progress", &name]).ok().len(), 1 << 20);
    if t.lacks("script") {
        return;
    }
    let script = format!("script -qec 'shmcat --progress {name} >out' /dev/null </dev/null && cmp out /dev/shm{name}");
    let drawn = t.bash(&script).run().ok();
    let drawn = String::from_utf8_lossy(&drawn);
    assert!(drawn.contains("MiB"), "{drawn:?}");
}
