//! What the tests of mqsend and mqrecv share.

use super::{Output, Running, Test};

/// All queues of a user share one limit of bytes, so those of the tests are small.
pub const SMALL: [&str; 5] = ["-c", "--max-messages", "4", "--message-size", "64"];

pub fn send(t: &Test, args: &[&str]) -> Output {
    t.cmd("mqsend").args(args).run()
}

pub fn recv(t: &Test, args: &[&str]) -> Output {
    t.cmd("mqrecv").args(args).run()
}

/// An empty queue for 4 messages of 64 bytes.
#[track_caller]
pub fn empty(t: &Test, word: &str) -> String {
    let queue = t.queue(word);
    t.cmd("mqrecv").args(SMALL).args(["--drain", &queue]).run().ok();
    queue
}

/// The same with 1, 2, 3 and 4 in it.
#[track_caller]
pub fn full(t: &Test, word: &str) -> String {
    let queue = empty(t, word);
    send(t, &[&queue, "1", "2", "3", "4"]).ok();
    queue
}

/// All messages of a queue, each with a newline.
#[track_caller]
pub fn drain(t: &Test, queue: &str) -> String {
    String::from_utf8(recv(t, &["-l", "--drain", queue]).ok()).unwrap()
}

/// One that has begun to wait.
#[track_caller]
pub fn blocked(t: &Test, tool: &str, args: &[&str]) -> Running {
    let running = t.cmd(tool).args(args).spawn();
    running.wait_blocked();
    running
}
