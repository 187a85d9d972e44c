//! shmcat: a segment to standard output.

use std::time::Duration;

use libipc::copy::{self, Watch};
use libipc::wait::Deadline;
use libipc::{Address, Error, ErrorKind, shm};

use crate::app::{Io, Outcome, Tool};
use crate::args;
use crate::progress::Bar;

/// Write a segment of shared memory to standard output
#[derive(clap::Parser, Debug)]
#[command(name = "shmcat", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Begin at byte N
    #[arg(long, value_name = "N", value_parser = args::size, default_value = "0")]
    offset: u64,
    /// Write at most N bytes
    #[arg(long, value_name = "N", value_parser = args::size)]
    length: Option<u64>,
    /// Wait until the segment exists and has been filled
    #[arg(long)]
    wait: bool,
    /// Wait no longer than this: 2, .5, 500ms, 1m30s
    #[arg(short = 'w', long, value_name = "DURATION", value_parser = args::duration, requires = "wait")]
    timeout: Option<Duration>,
    /// Status instead of 75 (being filled), 124 (timeout)
    #[arg(short = 'E', long, value_name = "CODE", value_parser = args::exit_status)]
    busy_status: Option<u8>,
    /// Give a pipe the pages themselves, not a copy
    #[arg(long)]
    zero_copy: bool,
    /// Remove the segment once all of it has been written
    #[arg(long, conflicts_with_all = ["offset", "length"])]
    rm: bool,
    /// Draw a bar on stderr if it is a terminal
    #[arg(long)]
    progress: bool,
    #[arg(value_parser = args::address(), help = args::ADDRESS_HELP)]
    address: Address,
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.busy_status
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let out = io.stdout()?;
        let deadline = Deadline::after(self.timeout);
        let segment = shm::open(&self.address, self.wait.then_some(&deadline))?;
        let length = segment.size().saturating_sub(self.offset).min(self.length.unwrap_or(u64::MAX));
        let bar = Bar::new(self.progress, Some(length));
        let mut moved = bar.moved();
        let mut watch = Watch { progress: moved.as_mut().map(|moved| moved as _), signals: None };
        segment.copy_to(out, self.offset, self.length, self.zero_copy, &mut watch)?;
        if self.rm {
            copy::flush(out).map_err(|errno| Error::new(ErrorKind::Failure, shm::OUTPUT, errno.desc()))?;
            segment.remove_if_same()?;
        }
        Ok(Outcome::Done)
    }
}
