//! shmput: standard input, or a file, becomes the content of a segment.

use std::path::PathBuf;

use libipc::fs::copy::Control;
use libipc::mode::Mode;
use libipc::shm::{self, PutOptions};
use libipc::{Address, Kind};

use crate::app::{Io, Outcome, Tool};
use crate::args;
use crate::operand::Operand;

/// Put standard input, or FILE, into a segment of shared memory
#[derive(clap::Parser, Debug)]
#[command(name = "shmput", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Write into the existing segment, which keeps its size
    #[arg(short, long, conflicts_with_all = ["exclusive", "size", "mode"])]
    in_place: bool,
    /// Only create: status 4 if it exists
    #[arg(short = 'x', long)]
    exclusive: bool,
    /// Where to write to, with -i
    #[arg(long, value_name = "N", value_parser = args::size, requires = "in_place", default_value = "0")]
    offset: u64,
    /// Make it N bytes, the rest zero
    #[arg(long, value_name = "N", value_parser = args::size)]
    size: Option<u64>,
    /// Permissions [default: as before, or 0600 less the umask]
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode)]
    mode: Option<Mode>,
    /// Also write to an object of another user
    #[arg(long)]
    foreign: bool,
    /// Draw a bar on stderr if it is a terminal
    #[arg(long)]
    progress: bool,
    #[arg(value_parser = args::address(Kind::Shm), help = args::forms(Kind::Shm, &[]))]
    address: Address,
    /// What to put [default: standard input, as for -]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let file = Operand::open(self.file.as_deref())?;
        let input = file.input(io)?;
        let bar = io.progress(self.progress, input.length());
        let mut counter = bar.counter();
        let mut control = Control { progress: counter.as_mut().map(|counter| counter as _), signals: None };
        if self.in_place {
            shm::write_in_place(&self.address, &input, self.offset, self.foreign, &mut control)?;
        } else {
            let options =
                PutOptions { exclusive: self.exclusive, size: self.size, mode: self.mode, foreign: self.foreign };
            shm::put(&self.address, &input, &options, &mut control, |id, signals| io.announce(id, signals))?;
        }
        Ok(Outcome::Done)
    }
}
