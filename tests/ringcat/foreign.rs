//! A C program that knows the manual page alone.

use super::*;
use crate::interop::compile;

#[test]
fn c_reads_and_writes_rings_by_the_manual() {
    let t = Test::new();
    let source = include_str!("ring.c");
    assert!(source.lines().count() < 105);
    let Some(program) = compile(&t, "ring", source) else { return };
    let program = program.to_str().unwrap();
    let r = t.name("r");
    let input = noise(100, 1_000_000);
    // From us to C, through a ring of which each byte is used many times.
    put(&t, &["-s", "8K", &r], "").run().ok();
    let writer = put(&t, &["--readers", "1", &r], input.clone()).spawn();
    wait_until("it waits for a reader", || status(&t, &r, "generation") == "2");
    assert!(t.cmd(program).args(["read", &r]).run().ok() == input);
    writer.output().ok();
    // From C to us, and both at once.
    let reader = cat(&t, &["-f", "--count", "2000000", "--from", "newest", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live"));
    let reading = std::thread::spawn(move || reader.output().ok());
    for _ in 0..2 {
        t.cmd(program).args(["write", &r]).stdin(input.clone()).run().ok();
    }
    let read = reading.join().unwrap();
    assert!(read[..1_000_000] == input && read[1_000_000..] == input);
    assert_eq!(t.cmd(program).args(["read", &r]).run().ok().len(), 8192);
    // It is told of deaths as we are, and we of its.
    died(&t, &t.name("d"), b"part", &[]);
    assert_eq!(ends(t.cmd(program).args(["read", &t.name("d")]).run(), 7, ""), b"part");
    let mut foreign = t.cmd(program).args(["write", &r]).spawn_open();
    foreign.write(&input[..70_000]);
    wait_until("it is full", || position(&t, &r) == 8192);
    put(&t, &["-n", &r], "").run().says(75, "has a writer already");
    foreign.kill(Signal::SIGKILL);
    foreign.output();
    assert!(ends(cat(&t, &[&r]).run(), 7, "died") == input[..8192]);
}
