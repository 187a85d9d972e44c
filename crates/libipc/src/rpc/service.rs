//! A queue that is served, and how.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::of::Of;
use super::tickets::Tickets;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::Timeout;
use crate::mq::Queue;

/// How a queue is served.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What is run for each message, which it finds on its standard input.
    pub command: &'a [OsString],
    /// The command is started once a worker, and answers each line with a line.
    pub lines: bool,
    /// How many messages are worked on at the same time, at most.
    pub jobs: u32,
    /// How often a message is tried again.
    pub retry: u32,
    /// How long the command may take.
    pub timeout: Option<Duration>,
    /// How many messages are taken; None for all that come.
    pub count: Option<u64>,
    /// End well when the queue is empty and all is done.
    pub drain: bool,
    /// How long a worker waits for a message before it ends with
    /// [`ErrorKind::TimedOut`], or [`ErrorKind::Busy`].
    pub wait: Timeout,
}

/// A queue that is to be served by this process, which must have one thread.
#[derive(Debug)]
pub struct Service<'a> {
    pub(super) queue: Queue,
    pub(super) of: Of,
    pub(super) dead: Option<Queue>,
    pub(super) options: Options<'a>,
    pub(super) tickets: Option<Tickets>,
}

impl<'a> Service<'a> {
    /// Serve this queue, which is open for receiving. Messages that cannot be done go to
    /// the queue `dead`, which is open for sending, or stay in their claims.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`].
    pub fn new(queue: Queue, dead: Option<Queue>, options: Options<'a>) -> Result<Self> {
        let of = Of::new(queue.address(), queue.id().is_some());
        let tickets = options.count.map(Tickets::new).transpose()?;
        Ok(Service { queue, of, dead, options, tickets })
    }

    /// The error of a queue without a message, if that is to be waited for no longer.
    pub(super) fn no_message(&self, since: Instant) -> Option<Error> {
        let object = &self.of.address;
        match self.options.wait {
            Timeout::Now => Some(Error::new(ErrorKind::Busy, object, "has no message")),
            Timeout::After(wait) if since.elapsed() >= wait => {
                Some(Error::new(ErrorKind::TimedOut, object, "has no message, and the timeout has passed"))
            }
            _ => None,
        }
    }
}
