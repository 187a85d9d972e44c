//! shmlock: run a command while a mutex is held.

use std::ffi::{OsStr, OsString};

use libipc::lock::{Lock, LockMode, OpenOptions, OwnerDied, Status, pthread};
use libipc::mode::Mode;
use libipc::wait::Wait;
use libipc::{Address, Error, ErrorKind, Hint, Kind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};
use crate::existing;
use crate::owner::{self, Waited};
use crate::show::status::{self, Addressed};
use crate::undo::or_discard;

/// Run a command while a mutex in shared memory is held
#[derive(clap::Parser, Debug)]
#[command(name = "shmlock", version, after_help = args::AFTER_HELP)]
#[command(override_usage = "shmlock [OPTIONS] ADDRESS COMMAND [ARG]...
       shmlock [OPTIONS] ADDRESS -c STRING
       shmlock [OPTIONS] --fd N [--unlock] ADDRESS
       shmlock --status [-J] ADDRESS
       shmlock --reset ADDRESS")]
pub struct Args {
    /// Mode of a new lock [default: 0600 less the umask]
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode)]
    mode: Option<Mode>,
    /// A reader's lock: many at once, and no writer
    #[arg(short, long)]
    shared: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// Say how long it has waited
    #[arg(short, long)]
    verbose: bool,
    /// End with status 7 if the last holder died inside
    #[arg(long)]
    strict: bool,
    /// Keep the lock's descriptor from the command
    #[arg(short = 'o', long)]
    close: bool,
    /// Run this string with sh
    #[arg(short = 'c', long = "command", value_name = "STRING", conflicts_with = "command")]
    #[arg(value_hint = clap::ValueHint::CommandString)]
    shell: Option<OsString>,
    /// Lock for the shell, until its descriptor N is closed
    #[arg(long, value_name = "N", value_parser = args::number::<i32>(0..=i32::MAX as u64))]
    #[arg(conflicts_with_all = ["mode", "close", "status", "reset", "pthread", "command", "shell"])]
    fd: Option<i32>,
    /// With --fd: unlock
    #[arg(short, long, requires = "fd", conflicts_with_all = ["shared", "nonblock", "timeout", "strict", "verbose"])]
    unlock: bool,
    /// Print who holds the lock and who waits
    #[arg(long, conflicts_with_all = ["mode", "shared", "nonblock", "timeout", "strict", "close", "reset", "command", "shell", "verbose"])]
    status: bool,
    /// With --status: as a JSON object
    #[arg(short = 'J', long, requires = "status", conflicts_with_all = ["reset", "command", "shell"])]
    json: bool,
    /// Mark the data as sound after a holder died
    #[arg(long, conflicts_with_all = ["mode", "shared", "strict", "close", "command", "shell"])]
    reset: bool,
    /// Lock the robust pthread mutex at OFFSET in a segment
    #[arg(long, value_name = "OFFSET", value_parser = args::size, conflicts_with_all = ["mode", "shared", "close", "status"])]
    pthread: Option<u64>,
    // With --pthread it is the address of a segment.
    #[arg(help = args::forms(Kind::Lock, &[]) + "; made if it is absent")]
    address: OsString,
    /// What to run
    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Tool for Args {
    fn is_own(place: usize, _operand: &OsStr) -> bool {
        place == 0
    }

    fn run(mut self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut wait = Wait::new(self.waiting.timeout());
        if let Some(string) = self.shell.take() {
            self.command = ["sh".into(), "-c".into(), "--".into(), string].into();
        }
        if self.command.is_empty() && !(self.status || self.reset || self.fd.is_some()) {
            return self.no_command();
        }
        if let Some(offset) = self.pthread {
            return self.run_pthread(io, &Kind::Shm.parse(&self.address)?, offset, &mut wait);
        }
        let address = &self.lock_address()?;
        if self.status {
            self.print(io, address, &Lock::inspect(address)?)?;
            return Ok(Outcome::Done);
        }
        let mode = if self.shared { LockMode::Shared } else { LockMode::Exclusive };
        if self.reset {
            // The lock must exist: a new one has nothing to mend.
            let lock = Lock::acquire(address, &OpenOptions { mode, create: None }, &mut wait);
            lock.map_err(|error| owner::held(error, address))?.reset()?;
            return Ok(Outcome::Done);
        }
        if let Some(descriptor) = self.fd.filter(|_| self.unlock) {
            Lock::release_adopted(descriptor, address)?;
            return Ok(Outcome::Done);
        }
        let waited = Waited::begin(io, address, self.verbose);
        let create = Some(self.mode.unwrap_or(Mode::PRIVATE));
        let lock = match self.fd {
            Some(descriptor) => Lock::adopt(descriptor, address, mode, &mut wait),
            None => Lock::acquire(address, &OpenOptions { mode, create }, &mut wait),
        };
        let lock = lock.map_err(|error| owner::held(error, address))?;
        waited.say();
        existing::report(io, (Kind::Lock, address), self.mode, lock.existing_mode(), None);
        let run = || {
            let died = lock.owner_died()?;
            if let Some(died) = &died {
                owner::died(io, died, address, self.strict, Hint::Reset(address.clone()))?;
            }
            match self.fd {
                Some(_) => Ok(Outcome::Done),
                None => Ok(lock.run(&self.command, self.close, died.is_some(), self.strict)?.into()),
            }
        };
        let done: Result<Outcome> = run();
        if done.is_err() && self.fd.is_some() {
            // The caller has the lock, too.
            let _ = lock.release();
        }
        Ok(or_discard(&lock, done)?)
    }
}

impl Args {
    fn lock_address(&self) -> Result<Address> {
        let text = self.address.as_encoded_bytes();
        if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
            let problem = "is the number of a descriptor, and no lock";
            let advice = format!("say --fd {0} /name, after exec {0}<>/dev/shm/name", self.address.display());
            return Err(Error::new(ErrorKind::Usage, self.address.display(), problem).hint(Hint::Advice(advice)));
        }
        Kind::Lock.parse(&self.address)
    }

    fn no_command(&self) -> anyhow::Result<Outcome> {
        let address = if self.pthread.is_some() { Kind::Shm.parse(&self.address)? } else { self.lock_address()? };
        let hint = Hint::Advice("what to run follows ADDRESS".into());
        Err(Error::new(ErrorKind::Usage, address, "there is no command").hint(hint).into())
    }

    fn run_pthread(&self, io: &Io<'_>, address: &Address, offset: u64, wait: &mut Wait) -> anyhow::Result<Outcome> {
        let waited = Waited::begin(io, address, self.verbose);
        let mutex = pthread::Mutex::open(address, offset)?;
        let died = mutex.lock(wait)?;
        waited.say();
        if self.reset {
            mutex.unlock(died)?;
            return Ok(Outcome::Done);
        }
        if died {
            // If it is left as it is, the next owner is told again.
            let hint = Hint::ResetMutex(offset, address.clone());
            owner::died(io, &OwnerDied { holder: None }, address, self.strict, hint)?;
        }
        Ok(mutex.run(&self.command, died, self.strict)?.into())
    }

    fn print(&self, io: &Io<'_>, address: &Address, status: &Status) -> Result<()> {
        if self.json {
            return io.print_json(&Addressed { address: address.to_string(), status: status::Lock::new(status) });
        }
        io.print(status::text(&status::lock_lines("state", status)))
    }
}
