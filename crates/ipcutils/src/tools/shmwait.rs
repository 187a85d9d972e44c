//! shmwait: wait for a condition, then run a command under its mutex.

use std::ffi::OsString;

use libipc::lock::{Condition, Lock, LockMode, OpenOptions, OwnerDied};
use libipc::mode::Mode;
use libipc::process::command::{Child, End};
use libipc::process::signals::Forwarded;
use libipc::wait::Wait;
use libipc::{Address, Discard, Error, ErrorKind, Hint, Kind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};
use crate::owner;
use crate::undo::{or_discard, wait_or_discard};

/// Wait for a wake-up or a condition, then run a command under the mutex
#[derive(clap::Parser, Debug)]
#[command(name = "shmwait", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Wait until this command of sh succeeds
    #[arg(long, value_name = "STRING", value_hint = clap::ValueHint::CommandString)]
    until: Option<OsString>,
    #[command(flatten)]
    waiting: Waiting,
    #[arg(value_parser = args::address(Kind::Lock), help = args::forms(Kind::Lock, &[]) + "; made if it is absent")]
    address: Address,
    /// What to run then
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut wait = Wait::new(self.waiting.timeout()).started();
        let options = |mode| OpenOptions { mode, create: Some(Mode::PRIVATE) };
        // A process that only waits for a wake-up needs no mutex.
        let alone = self.until.is_none() && self.command.is_empty();
        let options = options(if alone { LockMode::Shared } else { LockMode::Exclusive });
        let lock = match self.until {
            Some(_) => Lock::acquire(&self.address, &options, &mut wait)?,
            None => Lock::open(&self.address, &options)?,
        };
        let waited = self.wait(&lock, &mut wait);
        or_discard(&lock, waited.map_err(Into::into).and_then(|()| self.run_command(io, &lock)))
    }
}

impl Args {
    /// Wait for the wake-up or the condition. Then the mutex is held, if anybody needs it.
    fn wait(&self, lock: &Lock, wait: &mut Wait) -> Result<()> {
        let condition = Condition::to_sleep(lock)?;
        let mut sleep = |seen, needs_mutex| {
            wait_or_discard(&mut &*lock, &self.address, |lock| {
                condition.sleep(seen, wait)?;
                if needs_mutex { lock.reacquire(wait) } else { Ok(()) }
            })
        };
        let Some(predicate) = &self.until else {
            return sleep(condition.sequence()?, !self.command.is_empty());
        };
        while !holds(lock, predicate)? {
            // Read before the lock is released: whoever changes the condition after
            // that changes the number too.
            let seen = condition.sequence()?;
            lock.release()?;
            sleep(seen, true)?;
        }
        Ok(())
    }

    fn run_command(&self, io: &Io<'_>, lock: &Lock) -> anyhow::Result<Outcome> {
        if self.command.is_empty() {
            return Ok(Outcome::Done);
        }
        let died = lock.owner_died()?;
        if let Some(died) = &died {
            owner::died(io, died, &self.address, false, Hint::Reset(self.address.clone()))?;
        }
        Ok(lock.run(&self.command, false, died.is_some())?.into())
    }
}

/// Whether the predicate succeeds. It only looks, so its death leaves no mark, and it
/// gets no descriptor of the lock.
fn holds(lock: &Lock, predicate: &OsString) -> Result<bool> {
    let words = ["sh".into(), "-c".into(), "--".into(), predicate.clone()];
    let variables = [OwnerDied::variable(lock.owner_died()?.is_some())];
    let child = Child { variables: &variables, ..Child::new(&words) }.prepare()?;
    let signals = Forwarded::new()?;
    let (end, came) = child.run(&signals)?;
    if let Some(signal) = came {
        lock.discard();
        signals.give_back(signal);
    }
    let failed = |kind, problem: String| Err(Error::new(kind, "--until", problem));
    match end {
        End::Exited(126) => failed(ErrorKind::CommandRefused, "the command cannot be executed".to_owned()),
        End::Exited(127) => failed(ErrorKind::CommandMissing, "the command cannot be found".to_owned()),
        End::Killed(signal) => failed(ErrorKind::Failure, format!("the command was killed by signal {signal}")),
        End::Exited(status) => Ok(status == 0),
    }
}
