//! What a writer of records reads, and how it waits for it.

use std::os::unix::fs::FileExt;

use super::*;

#[test]
fn k14_a_size_that_cannot_be_had_costs_nothing() {
    let t = Test::new();
    let file = t.path("r");
    let r = format!("file:{}", file.display());
    put(&t, &["-s", "4096", &r], "").run().ok();
    // A sparse file that claims to hold 64 GiB.
    let object = std::fs::File::options().write(true).open(&file).unwrap();
    object.write_all_at(&(1u64 << 36).to_ne_bytes(), 16).unwrap();
    object.set_len(8192 + (1 << 36)).unwrap();
    put(&t, &["-l", &r], "a\nb").run().ok();
    put(&t, &["-l", "--many", "--restart", &r], "c\nd").run().ok();
    assert_eq!(cat(&t, &["-n", &r]).run().stdout, b"c\nd\n");
    // A record for which there is no memory.
    let script =
        format!("ulimit -v $((64 * 1024 * 1024 + 100 * 1024)); head -c 300M /dev/zero | ringput -l --restart {r}");
    t.bash(&script).run().says(9, "out of memory for a record");
}
