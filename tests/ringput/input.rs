//! What a writer of records reads, and how it waits for it.

use super::*;

#[test]
fn k14_a_size_that_cannot_be_had_costs_nothing() {
    let t = Test::new();
    let file = t.path("r");
    let r = "file:r".to_owned();
    put(&t, &["-s", "4096", &r], "").run().ok();
    // A sparse file that claims to hold 64 GiB.
    let object = std::fs::File::options().read(true).write(true).open(&file).unwrap();
    store(&object, &[(16, 1 << 36)]);
    object.set_len(12288 + (1 << 36)).unwrap();
    put(&t, &["-l", &r], "a\nb").run().ok();
    put(&t, &["-l", "--many", "--restart", &r], "c\nd").run().ok();
    assert_eq!(cat(&t, &["-n", &r]).run().stdout, b"c\nd\n");
    // A record for which there is no memory.
    let script =
        format!("ulimit -v $((64 * 1024 * 1024 + 100 * 1024)); head -c 300M /dev/zero | ringput -l --restart {r}");
    t.bash(&script).run().says(9, "standard input: out of memory");
}

#[test]
fn k17_a_writer_in_the_middle_of_a_line_notices_that_its_ring_is_gone() {
    let t = Test::new();
    for (i, flags) in [&["-l"][..], &["-0"], &["-l", "--many"]].iter().enumerate() {
        let r = t.name(i);
        let mut writer = t.cmd("ringput").args(*flags).args([&r]).spawn_open();
        writer.write(b"part");
        wait_until("there is a ring", || Path::new(&path_of(&r)).exists());
        // It sleeps after it has read that alone.
        writer.wait_blocked();
        std::fs::remove_file(path_of(&r)).unwrap();
        // Its input stays open.
        wait_until("it has ended", || writer.state() == 'Z');
        writer.output().says(6, "was removed or replaced meanwhile");
    }
}

/// Lines that come more often than a writer that waits for them looks.
#[test]
fn k17_a_busy_writer_notices_that_its_ring_is_gone() {
    let t = Test::new();
    let kinds = [
        &[][..],
        &["-l"],
        &["-0"],
        &["-l", "--many"],
        &["--overwrite"],
        &["--overwrite", "-l"],
        &["--overwrite", "-0", "--many"],
    ];
    for (i, flags) in kinds.iter().enumerate() {
        let r = t.name(i);
        let reads = !flags.contains(&"--overwrite");
        let end = if flags.contains(&"-0") { b"line\0" } else { b"line\n" };
        let mut writer = t.cmd("ringput").args(*flags).args([&r]).spawn_open();
        writer.write(end);
        wait_until("it is committed", || Path::new(&path_of(&r)).exists() && position(&t, &r) == 5);
        // It never waits for room, and the reader never waits long.
        let reader = reads.then(|| cat(&t, &["-f", &r]).spawn());
        wait_until("it reads", || !reads || status(&t, &r, "reader").contains("lag=0"));
        std::fs::remove_file(path_of(&r)).unwrap();
        let begin = std::time::Instant::now();
        wait_until("it has ended", || {
            writer.try_write(end);
            writer.state() == 'Z'
        });
        promised(begin, Duration::from_secs(3));
        writer.output().says(6, "was removed or replaced meanwhile; bytes committed: ");
        if let Some(reader) = reader {
            ends(reader.output(), 6, "was removed or replaced meanwhile");
        }
    }
}

/// A ring that its maker has no address space for is not left behind.
#[test]
fn g6_a_ring_that_cannot_be_mapped_is_not_made() {
    let t = Test::new();
    let r = t.name("r");
    let run = t.bash(&format!("ulimit -v 200000; echo hi | ringput -s 512M {r}")).run();
    run.fails(9);
    assert!(!t.shm_path("r").exists());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let t = Test::new();
    for (i, flags) in [&[][..], &["-l"], &["-0", "--many"]].into_iter().enumerate() {
        put(&t, &[flags, &[&*t.name(i), "/proc/self/mem"]].concat(), "").run().says(1, "ringput: /proc/self/mem: ");
    }
}
