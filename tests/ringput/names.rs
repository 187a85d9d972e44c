//! Names of readers that are away, and what a writer does to their slots.

use super::*;

#[test]
fn k4_a_writer_that_looks_after_a_name_does_not_hide_what_it_lost() {
    let t = Test::new();
    let r = t.name("r");
    let lines: String = (0..10_000).map(|i| format!("{i:09}\n")).collect();
    let mut writer = t.cmd("ringput").args(["--overwrite", "-s", "4096", &r]).spawn_open();
    writer.write(&lines.as_bytes()[..20]);
    wait_until("it is there", || Path::new(&path_of(&r)).exists() && position(&t, &r) == 20);
    assert_eq!(cat(&t, &["--as", "a", "-l", "--count", "1", &r]).run().ok(), &lines.as_bytes()[..10]);
    writer.write(&lines.as_bytes()[20..]);
    writer.output().ok();
    let lag = lines.len() - 10;
    assert_eq!(status(&t, &r, "reader"), format!("away position=10 lag={lag} name=a"));
    put(&t, &["-n", &r], "").run().says(75, "the reader a is away");
    assert_eq!(status(&t, &r, "reader"), format!("away position=10 lag={lag} name=a"));
    let output = cat(&t, &["--as", "a", &r]).run();
    let words = format!("bytes lost: {}", lag - output.stdout.len());
    assert!(lines.as_bytes().ends_with(&ends(output, 1, &words)));
}
