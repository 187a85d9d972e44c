//! shmlock: run a command while a mutex is held.

use std::ffi::OsString;

use libipc::lock::{Lock, LockMode, OpenOptions, OwnerDied, Status, pthread};
use libipc::mode::Mode;
use libipc::wait::Wait;
use libipc::{Address, Hint, Kind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};
use crate::existing;
use crate::owner;
use crate::show::status::{self, Addressed};
use crate::undo::or_discard;

/// Run a command while a mutex in shared memory is held
#[derive(clap::Parser, Debug)]
#[command(name = "shmlock", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Mode of a new lock [default: 0600 less the umask]
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode)]
    mode: Option<Mode>,
    /// A reader's lock: many at once, and no writer
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// End with status 7 if the last holder died inside
    #[arg(long)]
    strict: bool,
    /// Keep the lock's descriptor from the command
    #[arg(long)]
    close: bool,
    /// Print who holds the lock and who waits
    #[arg(long, conflicts_with_all = ["mode", "shared", "nonblock", "timeout", "strict", "close", "reset", "command"])]
    status: bool,
    /// With --status: as a JSON object
    #[arg(short = 'J', long, requires = "status", conflicts_with_all = ["reset", "command"])]
    json: bool,
    /// Mark the data as sound after a holder died
    #[arg(long, conflicts_with_all = ["mode", "shared", "strict", "close", "command"])]
    reset: bool,
    /// Lock the robust pthread mutex at OFFSET in a segment
    #[arg(long, value_name = "OFFSET", value_parser = args::size, conflicts_with_all = ["mode", "shared", "close", "status"])]
    pthread: Option<u64>,
    // With --pthread it is the address of a segment.
    #[arg(value_parser = args::any_address(), help = args::forms(Kind::Lock, &[]) + "; made if it is absent")]
    address: Address,
    /// What to run
    #[arg(last = true, required_unless_present_any = ["status", "reset"])]
    command: Vec<OsString>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut wait = Wait::new(self.waiting.timeout());
        if let Some(offset) = self.pthread {
            Kind::Shm.check(&self.address)?;
            return self.run_pthread(io, offset, &mut wait);
        }
        Kind::Lock.check(&self.address)?;
        if self.status {
            self.print(io, &Lock::inspect(&self.address)?)?;
            return Ok(Outcome::Done);
        }
        let mode = if self.shared { LockMode::Shared } else { LockMode::Exclusive };
        if self.reset {
            // The lock must exist: a new one has nothing to mend.
            Lock::acquire(&self.address, &OpenOptions { mode, create: None }, &mut wait)?.reset()?;
            return Ok(Outcome::Done);
        }
        let create = Some(self.mode.unwrap_or(Mode::PRIVATE));
        let lock = Lock::acquire(&self.address, &OpenOptions { mode, create }, &mut wait)?;
        existing::report(io, (Kind::Lock, &self.address), self.mode, lock.existing_mode(), None);
        let run = || {
            let died = lock.owner_died()?;
            if let Some(died) = &died {
                owner::died(io, died, &self.address, self.strict, Hint::Reset(self.address.clone()))?;
            }
            lock.run(&self.command, self.close, died.is_some())
        };
        Ok(or_discard(&lock, run())?.into())
    }
}

impl Args {
    fn run_pthread(&self, io: &Io<'_>, offset: u64, wait: &mut Wait) -> anyhow::Result<Outcome> {
        let mutex = pthread::Mutex::open(&self.address, offset)?;
        let died = mutex.lock(wait)?;
        if self.reset {
            mutex.unlock(died)?;
            return Ok(Outcome::Done);
        }
        if died {
            // If it is left as it is, the next owner is told again.
            let hint = Hint::ResetMutex(offset, self.address.clone());
            owner::died(io, &OwnerDied { holder: None }, &self.address, self.strict, hint)?;
        }
        Ok(mutex.run(&self.command, died)?.into())
    }

    fn print(&self, io: &Io<'_>, status: &Status) -> Result<()> {
        if self.json {
            return io.print_json(&Addressed { address: self.address.to_string(), status: status::Lock::new(status) });
        }
        io.print(status::text(&status::lock_lines("state", status)))
    }
}
