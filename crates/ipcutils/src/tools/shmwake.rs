//! shmwake: wake who waits for a condition.

use libipc::lock::{Condition, Lock, LockMode, OpenOptions};
use libipc::{Address, Kind};

use crate::app::{Io, Outcome, Tool};
use crate::args;

/// Wake one or all who wait for the condition of a lock
#[derive(clap::Parser, Debug)]
#[command(name = "shmwake", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Wake all who wait, not at least one
    #[arg(long)]
    all: bool,
    #[arg(value_parser = args::address(Kind::Lock), help = args::forms(Kind::Lock, &[]))]
    address: Address,
}

impl Tool for Args {
    fn run(self, _io: &Io<'_>) -> anyhow::Result<Outcome> {
        let lock = Lock::open(&self.address, &OpenOptions { mode: LockMode::Exclusive, create: None })?;
        Condition::to_wake(&lock)?.wake(self.all)?;
        Ok(Outcome::Done)
    }
}
