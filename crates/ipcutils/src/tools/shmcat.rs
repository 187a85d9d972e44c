//! shmcat: a segment to standard output.

use std::time::Duration;

use libipc::address::Form;
use libipc::fs::copy::{self, Control};
use libipc::shm::{ReadOptions, Segment};
use libipc::wait::{Timeout, Wait};
use libipc::{Address, Kind};

use crate::app::{Io, Outcome, Tool};
use crate::args;

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
    /// Wait until it has N bytes; 1 for "not empty"
    #[arg(long, value_name = "N", value_parser = args::positive_size)]
    size: Option<u64>,
    /// Wait for the next change of a name
    #[arg(long)]
    changed: bool,
    /// Wait no longer than this: 2, .5, 500ms, 1m30s
    #[arg(short = 'w', long, value_name = "DURATION", value_parser = args::duration)]
    timeout: Option<Duration>,
    /// Status instead of 75 (being filled), 124 (timeout)
    #[arg(short = 'E', long, value_name = "CODE", value_parser = args::exit_status)]
    pub busy_status: Option<u8>,
    /// No message for 75 and 124
    #[arg(short, long)]
    quiet: bool,
    /// Read the bytes of a ring or a lock, too
    #[arg(long)]
    raw: bool,
    /// Give a pipe the pages themselves, not a copy
    #[arg(long)]
    zero_copy: bool,
    /// Remove the segment once all of it has been written
    #[arg(long, conflicts_with_all = ["offset", "length"])]
    rm: bool,
    /// Draw a bar on stderr if it is a terminal
    #[arg(long)]
    progress: bool,
    #[arg(value_parser = args::address(Kind::Shm), help = args::forms(Kind::Shm, &[Form::Private]))]
    address: Address,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let out = io.stdout()?;
        let timeout = self.timeout.map_or(Timeout::Never, Timeout::After);
        let Args { size, changed, raw, .. } = self;
        let wait = self.wait || self.timeout.is_some();
        let options = ReadOptions { wait, size, changed, raw };
        let segment = Segment::open(&self.address, &options, &mut Wait::new(timeout))?;
        let length = segment.size().saturating_sub(self.offset).min(self.length.unwrap_or(u64::MAX));
        let bar = io.progress(self.progress, Some(length));
        let mut counter = bar.counter();
        let mut control = Control { progress: counter.as_mut().map(|counter| counter as _), signals: None };
        segment.copy_to(out, self.offset, self.length, self.zero_copy, &mut control)?;
        if self.rm {
            copy::flush_output(out)?;
            segment.remove_if_same()?;
        }
        Ok(Outcome::Done)
    }
}
