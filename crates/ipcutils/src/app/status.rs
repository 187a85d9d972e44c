//! How a tool ends, and the exit status of each kind of failure: the table of
//! ipcutils(7).

use libipc::ErrorKind;
use libipc::process::command::End;

/// How a tool that did not fail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Failed with this status, and the message was written.
    Failed(u8),
}

/// With a command, the tool ends as that did.
impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end.status() {
            0 => Outcome::Done,
            status => Outcome::Failed(status),
        }
    }
}

/// The status of a tool's own failure where a command's would be expected.
pub const OWN_FAILURE: u8 = 125;

/// The exit status of each kind of failure.
pub const fn status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failure => 1,
        ErrorKind::Usage => 2,
        ErrorKind::Missing => 3,
        ErrorKind::Exists => 4,
        ErrorKind::Denied => 5,
        ErrorKind::Gone => 6,
        ErrorKind::PeerDied => 7,
        ErrorKind::Unexpected => 8,
        ErrorKind::NoRoom => 9,
        ErrorKind::Busy => 75,
        ErrorKind::TimedOut => 124,
        ErrorKind::CommandRefused => 126,
        ErrorKind::CommandMissing => 127,
    }
}

/// The status of a failed tool that runs a command. As the command's status is the
/// tool's, other failures are [`OWN_FAILURE`], as in env(1), except those that say
/// whether the command was run. [`ErrorKind::PeerDied`] is what `--strict` asks for.
pub(super) fn status_beside_command(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Busy
        | ErrorKind::TimedOut
        | ErrorKind::PeerDied
        | ErrorKind::CommandRefused
        | ErrorKind::CommandMissing => status(kind),
        ErrorKind::Failure
        | ErrorKind::Usage
        | ErrorKind::Missing
        | ErrorKind::Exists
        | ErrorKind::Denied
        | ErrorKind::Gone
        | ErrorKind::Unexpected
        | ErrorKind::NoRoom => OWN_FAILURE,
    }
}

/// How a tool with several operands ends, given the statuses of those that failed: with
/// their common status, else 1.
pub fn combined(failures: &[u8]) -> Outcome {
    match failures {
        [] => Outcome::Done,
        [first, rest @ ..] if rest.iter().all(|status| status == first) => Outcome::Failed(*first),
        _ => Outcome::Failed(status(ErrorKind::Failure)),
    }
}
