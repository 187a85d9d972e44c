//! What the tests of mqsend and mqrecv share.

use nix::mqueue::{MQ_OFlag, mq_close, mq_getattr, mq_open, mq_receive};
use nix::sys::stat::Mode;

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

/// What is in a POSIX queue next, as a program gets it that knows nothing of our forms.
#[track_caller]
pub fn raw(queue: &str) -> Vec<u8> {
    let opened = mq_open(queue, MQ_OFlag::O_RDONLY | MQ_OFlag::O_NONBLOCK, Mode::empty(), None).unwrap();
    let mut message = vec![0; mq_getattr(&opened).unwrap().msgsize() as usize];
    let length = mq_receive(&opened, &mut message, &mut 0).unwrap();
    mq_close(opened).unwrap();
    message.truncate(length);
    message
}

/// One that has begun to wait.
#[track_caller]
pub fn blocked(t: &Test, tool: &str, args: &[&str]) -> Running {
    let running = t.cmd(tool).args(args).spawn();
    running.wait_blocked();
    running
}
