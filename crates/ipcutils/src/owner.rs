//! What is said of a wait: who holds the lock, how long it took, and whether the last
//! holder died inside.

use std::time::{Instant, SystemTime};

use libipc::lock::{Lock, OwnerDied, State};
use libipc::process::life::command_line;
use libipc::{Address, Error, ErrorKind, Hint, Result};

use crate::app::Io;
use crate::human;

/// Warn that the last holder died, or fail if the user is `strict`. `hint` says how to
/// mark the data as sound.
///
/// # Errors
/// [`PeerDied`](libipc::ErrorKind::PeerDied).
pub fn died(io: &Io<'_>, died: &OwnerDied, address: &Address, strict: bool, hint: Hint) -> Result<()> {
    let error = died.error(address, hint);
    if strict {
        return Err(error);
    }
    io.warn(format_args!("{error} (see that the data is sound)"));
    Ok(())
}

/// The error of a lock that is held, with its holder as the context.
pub fn held(error: Error, address: &Address) -> anyhow::Error {
    let holder = match error.kind {
        ErrorKind::Busy | ErrorKind::TimedOut => holder(address),
        _ => None,
    };
    match holder {
        Some(holder) => anyhow::Error::new(error).context(holder),
        None => error.into(),
    }
}

/// Who holds the lock, since when, and the command.
fn holder(address: &Address) -> Option<String> {
    let status = Lock::inspect(address).ok()?;
    let words = |pid: u32, since: SystemTime, here: bool| {
        let line = if here { command_line(pid) } else { None };
        let line = line.map(|line| format!(": {line}")).unwrap_or_default();
        format!("process {pid} has it since {}{line}", human::timestamp(since))
    };
    match (status.state, &status.descriptors[..], &status.mark, &status.readers[..]) {
        (State::Held, [shell, ..], ..) => Some(words(shell.pid, shell.since, true)),
        (State::Held, [], Some(holder), _) => match holder.has_ended() {
            Some(true) => Some(format!("what process {} left behind has it", holder.pid)),
            ended => Some(words(holder.pid, holder.since, ended == Some(false))),
        },
        (State::Shared, .., [first, ..]) => Some(words(first.pid, first.since, true)),
        _ => None,
    }
}

/// How long something was waited for, to be said with `--verbose`.
#[derive(Debug)]
pub struct Waited<'a> {
    io: &'a Io<'a>,
    address: &'a Address,
    begin: Option<Instant>,
}

impl<'a> Waited<'a> {
    /// From now on, if that is to be said.
    pub fn begin(io: &'a Io<'a>, address: &'a Address, verbose: bool) -> Self {
        Waited { io, address, begin: verbose.then(Instant::now) }
    }

    /// Until now.
    pub fn say(&self) {
        if let Some(begin) = self.begin {
            self.io.warn(format_args!("{}: waited for {:.3} s", self.address, begin.elapsed().as_secs_f64()));
        }
    }
}
