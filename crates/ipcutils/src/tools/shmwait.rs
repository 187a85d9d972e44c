//! shmwait: wait for a condition, then run a command under its mutex.

use std::ffi::OsString;

use libipc::command::{Child, End};
use libipc::entry::Access;
use libipc::lock::{self, Condition, Lock};
use libipc::mode::Mode;
use libipc::ofd::Hold;
use libipc::signals::Forwarded;
use libipc::wait::Patience;
use libipc::{Address, Error, ErrorKind};

use super::shmlock::tell;
use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};

/// Wait for a wake-up or a fact, then run a command under the mutex
#[derive(clap::Parser, Debug)]
#[command(name = "shmwait", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// What is waited for, a command of sh
    #[arg(long, value_name = "STRING", value_hint = clap::ValueHint::CommandString)]
    until: Option<OsString>,
    #[command(flatten)]
    waiting: Waiting,
    #[arg(value_name = "LOCK", value_parser = args::address(), help = args::LOCK_HELP)]
    lock: Address,
    /// What to run then
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn runs_command(&self) -> bool {
        !self.command.is_empty()
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let entry = lock::entry(&self.lock)?;
        let mut patience = Patience::new(self.waiting.limit()).from_now();
        let Some(predicate) = &self.until else {
            // Whoever only waits for a wake-up needs no lock to do so.
            let access = if self.command.is_empty() { Access::Read } else { Access::Write };
            let lock = Lock::open_or_create(&entry, access, Mode::PRIVATE)?;
            let condition = Condition::new(&lock, Access::Read)?;
            condition.sleep(condition.sequence()?, &mut patience)?;
            if self.command.is_empty() {
                return Ok(Outcome::Done);
            }
            lock.retake(&mut patience)?;
            return self.run_command(io, &lock);
        };
        let lock = lock::take(&entry, Hold::Exclusive, Mode::PRIVATE, &mut patience)?;
        let condition = Condition::new(&lock, Access::Read)?;
        while !holds(&lock, predicate)? {
            // Read before the lock is given up: whoever changes the fact after
            // that changes the number, too.
            let seen = condition.sequence()?;
            lock.release()?;
            condition.sleep(seen, &mut patience)?;
            lock.retake(&mut patience)?;
        }
        self.run_command(io, &lock)
    }
}

impl Args {
    fn run_command(&self, io: &Io<'_>, lock: &Lock<'_>) -> anyhow::Result<Outcome> {
        if self.command.is_empty() {
            return Ok(Outcome::Done);
        }
        let died = lock.owner_died()?;
        if let Some(holder) = &died {
            tell(io, "shmwait", lock.shown(), false, Some(holder))?;
        }
        Ok(lock.run(&self.command, Hold::Exclusive, false, died.is_some())?.into())
    }
}

/// Whether the predicate succeeds. It only looks, so that its death is nobody's
/// concern, and it gets no descriptor of the lock.
fn holds(lock: &Lock<'_>, predicate: &OsString) -> Result<bool, Error> {
    let words = ["sh".into(), "-c".into(), "--".into(), predicate.clone()];
    let variable = (lock::OWNER_DIED, lock.owner_died()?.map(|_| "1"));
    let signals = Forwarded::new()?;
    let (end, came) = Child { words: &words, variable, inherits: None, dies_with_us: false }.run(&signals)?;
    if let Some(signal) = came {
        signals.give_back(signal);
    }
    let failed = |kind, what: String| Err(Error::new(kind, "--until", what));
    match end {
        End::Exited(126) => failed(ErrorKind::CommandRefused, "the command cannot be executed".to_owned()),
        End::Exited(127) => failed(ErrorKind::CommandMissing, "the command cannot be found".to_owned()),
        End::Killed(signal) => failed(ErrorKind::Failure, format!("the command was killed by signal {signal}")),
        End::Exited(status) => Ok(status == 0),
    }
}
