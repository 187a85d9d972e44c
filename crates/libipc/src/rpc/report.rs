//! What a service tells about its work.

use std::fmt;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::process::command::End;

/// Something that happened to a message.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// An attempt begins.
    Taken {
        /// Which attempt, from 1 on.
        attempt: u32,
        /// Bytes of the message, as it was in the queue.
        bytes: usize,
        /// Its priority or type.
        number: i64,
        /// Whether it is a call.
        call: bool,
    },
    /// Nothing is left to do for it.
    Done {
        /// Which attempt it was.
        attempt: u32,
        /// How long the attempt took.
        took: Duration,
    },
    /// An attempt failed, and the message is tried again after a pause.
    Failed {
        /// Which attempt, from 1 on.
        attempt: u32,
        /// Why.
        reason: Reason,
        /// The pause.
        pause: Duration,
    },
    /// It was not done, and went to the dead-letter queue.
    Dead {
        /// The last attempt.
        attempt: u32,
        /// Why it is not tried again.
        reason: Reason,
        /// The dead-letter queue.
        queue: &'a str,
    },
    /// It was not done, and stays in its claim.
    Kept {
        /// The last attempt.
        attempt: u32,
        /// Why it is not tried again.
        reason: Reason,
        /// The claim's name.
        claim: &'a str,
        /// Why the dead-letter queue has not taken it, if there is one.
        refused: Option<Error>,
    },
    /// A message that is no work was dropped: a call without an answer, or what only
    /// looks like one.
    Dropped {
        /// Why.
        reason: Reason,
    },
    /// A server has left the message in its claim, dead or alive, and it is taken up.
    TakenUp {
        /// How often it was tried before.
        attempts: u32,
    },
    /// A worker of the service was killed, and another one is started.
    WorkerDied {
        /// The signal.
        signal: i32,
    },
}

/// Who is told what a service does. Workers that run beside each other each have a copy.
pub trait Watch {
    /// Something has happened to a message.
    fn event(&self, event: &Event<'_>);

    /// The line with which a command has answered work, and its newline.
    ///
    /// # Errors
    /// [`Failure`](crate::ErrorKind::Failure) if it cannot be written.
    fn answer(&self, line: &[u8]) -> Result<()>;

    /// A worker ends with this error. It is the exit status that counts where `told` is
    /// set: another worker has told the same.
    fn failed(&self, error: &Error, told: bool) -> u8;
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command ended so.
    Ended(End),
    /// The command that answers lines ended so, and had not answered.
    Unanswered(End),
    /// It is no line, and the command answers lines: in which way.
    NoLine(&'static str),
    /// The command ran for too long.
    TimedOut(Duration),
    /// The command could not be started, which is no attempt.
    NotStarted(Error),
    /// The server was asked twice to end.
    Stopped,
    /// A server was killed at the moment of receipt: zeroes at the message's end may be
    /// missing.
    Cut,
    /// It begins as a call, and is none: in which way.
    Corrupt(&'static str),
    /// It tells of a body that is not there, or is another's.
    NoBody(Error),
    /// The caller is there, and does not answer.
    Silent,
    /// The caller has died, or waits no longer.
    CallerGone,
    /// Earlier servers have tried it as often as may be.
    Tried,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Ended(End::Exited(status)) => write!(f, "the command ended with status {status}"),
            Reason::Ended(End::Killed(signal)) => write!(f, "the command was killed by signal {signal}"),
            Reason::Unanswered(end) => write!(f, "{}, without an answer of one line", Reason::Ended(*end)),
            Reason::NoLine(why) => f.write_str(why),
            Reason::TimedOut(limit) => write!(f, "the command took longer than {limit:?}"),
            Reason::NotStarted(error) | Reason::NoBody(error) => write!(f, "{error}"),
            Reason::Stopped => f.write_str("the command was ended with its server"),
            Reason::Cut => {
                f.write_str("its server was killed at the moment of receipt, and NUL bytes at its end may be missing")
            }
            Reason::Corrupt(why) => write!(f, "it is a corrupt call: {why}"),
            Reason::Silent => f.write_str("its caller does not answer"),
            Reason::CallerGone => f.write_str("its caller waits no longer"),
            Reason::Tried => f.write_str("it was tried as often as it may be"),
        }
    }
}
