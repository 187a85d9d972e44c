//! shmwake: wake who waits for a condition.

use libipc::entry::Access;
use libipc::lock::{self, Condition, Lock};
use libipc::Address;

use crate::app::{Io, Outcome, Tool};
use crate::args;

/// Wake one or all who wait for the condition of a lock
#[derive(clap::Parser, Debug)]
#[command(name = "shmwake", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Wake all who wait, not at least one
    #[arg(long)]
    all: bool,
    /// /name or file:PATH
    #[arg(value_name = "LOCK", value_parser = args::address())]
    lock: Address,
}

impl Tool for Args {
    fn run(self, _io: &Io<'_>) -> anyhow::Result<Outcome> {
        let entry = lock::entry(&self.lock)?;
        let lock = Lock::open(&entry, Access::Write)?;
        Condition::new(&lock, Access::Write)?.wake(self.all)?;
        Ok(Outcome::Done)
    }
}
