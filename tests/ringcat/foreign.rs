//! A C program that knows the manual page alone.

use super::*;
use crate::util::compile::compile;

fn ring(t: &Test) -> Option<String> {
    let source = include_str!("ring.c");
    assert!(source.lines().count() < 120);
    compile(t, "ring", source)?.to_str().map(str::to_owned)
}

#[test]
fn c_reads_and_writes_rings_by_the_manual() {
    let t = Test::new();
    let Some(program) = ring(&t) else { return };
    let program = &program;
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

#[test]
fn c_minds_names_the_dead_the_lossy_and_the_many() {
    let t = Test::new();
    let Some(program) = ring(&t) else { return };
    let r = t.name("r");
    let c = |what: &str, input: &[u8]| t.cmd(&program).args([what, &r]).stdin(input);
    // A new stream waits until a name that is away has read the last.
    put(&t, &["-s", "8K", &r], "first").run().ok();
    assert_eq!(cat(&t, &["--as", "a", "--count", "2", &r]).run().ok(), b"fi");
    let waiting = c("write", b"second").spawn();
    waiting.wait_blocked();
    assert_eq!(cat(&t, &["--as", "a", &r]).run().ok(), b"rst");
    waiting.output().ok();
    assert_eq!(cat(&t, &["--as", "a", &r]).run().ok(), b"second");
    cat(&t, &["--forget", "a", &r]).run().ok();
    // One of many writers that is away is not dead, and who waits for a reader hears of it.
    put(&t, &["--many", "-l", &r], "one\n").run().ok();
    let reader = c("read", b"").spawn();
    put(&t, &["--many", "-l", "--readers", "1", &r], "two\n").run().ok();
    wait_until("all is read", || status(&t, &r, "reader").ends_with("position=8 lag=0"));
    reader.wait_blocked();
    put(&t, &["--end", &r], "").run().ok();
    assert_eq!(reader.output().ok(), b"one\ntwo\n");
    // A dead reader does not hold it back.
    let input = noise(101, 100_000);
    let dead = cat(&t, &["-f", "--from", "newest", &r]).spawn();
    wait_until("it is there", || status(&t, &r, "reader").contains("live"));
    dead.kill(Signal::SIGSTOP);
    let writer = c("write", &input).spawn();
    wait_until("it is full", || position(&t, &r) == 8192);
    dead.kill(Signal::SIGKILL);
    assert_eq!(dead.output().status, 137);
    assert!(c("read", b"").run().ok() == input);
    writer.output().ok();
    // What was overwritten is not read.
    put(&t, &["--overwrite", &r], input.clone()).run().ok();
    assert!(c("read", b"").run().ok() == input[100_000 - 8192..]);
}
