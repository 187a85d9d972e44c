//! ringput: standard input, or a file, into a ring.

use std::path::PathBuf;

use libipc::mode::Mode;
use libipc::ring::{self, Begin, Status, Write, Writer};
use libipc::shm::Input;
use libipc::wait::Patience;
use libipc::{Address, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};
use crate::operand::Operand;
use crate::records::Records;

/// Copy standard input, or FILE, into a ring of shared memory
#[derive(clap::Parser, Debug)]
#[command(name = "ringput", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Bytes that a new ring holds
    #[arg(short, long, value_parser = args::ring_size, default_value = "1M")]
    size: u64,
    /// Begin when N readers are there
    #[arg(long, value_name = "N", value_parser = args::number::<usize>(1..=64))]
    readers: Option<usize>,
    /// Share the stream with other writers of whole records
    #[arg(long, requires = "records")]
    many: bool,
    /// Wait for no reader: slow ones lose bytes
    #[arg(long)]
    overwrite: bool,
    /// Go on with a stream, ended or not
    #[arg(long)]
    resume: bool,
    /// Begin a stream though the last has no end
    #[arg(long, conflicts_with = "resume")]
    restart: bool,
    /// Only mark the end of the stream of --many writers
    #[arg(long, conflicts_with_all = ["size", "readers", "many", "overwrite", "resume", "restart", "records", "mode", "position", "file"])]
    close: bool,
    /// Only print how many bytes were committed
    #[arg(long, conflicts_with_all = ["size", "readers", "many", "overwrite", "resume", "restart", "records", "mode", "file", "nonblock", "timeout"])]
    position: bool,
    /// Commit whole lines alone
    #[arg(short, long, group = "records")]
    lines: bool,
    /// The same for records that end with a NUL
    #[arg(short = '0', long, group = "records", conflicts_with = "lines")]
    null: bool,
    /// Permissions of a new ring [default: 0600]
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode)]
    mode: Option<Mode>,
    #[command(flatten)]
    waiting: Waiting,
    #[arg(value_parser = args::address(), help = args::RING_HELP)]
    address: Address,
    /// What to copy [default: standard input, as for -]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut patience = Patience::new(self.waiting.limit());
        if self.position {
            io.print(Status::of(&self.address)?.position)?;
        } else if self.close {
            ring::close(&self.address, &mut patience)?;
        } else {
            let file = Operand::open(self.file.as_deref())?;
            let input = file.input(io)?;
            let mut writer = Writer::open(&self.address, &self.how(), &mut patience)?;
            let copied = self.copy(&mut writer, &input, &mut patience);
            copied.and_then(|()| writer.check()).map_err(|mut error| {
                error.what += &format!("; bytes committed: {}", writer.position());
                error
            })?;
            writer.end();
        }
        Ok(Outcome::Done)
    }
}

impl Args {
    fn how(&self) -> Write {
        let begin = match (self.resume, self.restart) {
            (true, _) => Begin::Resume,
            (_, true) => Begin::Restart,
            _ => Begin::New,
        };
        let mode = self.mode.unwrap_or(Mode::PRIVATE);
        Write { capacity: self.size, mode, begin, many: self.many, overwrite: self.overwrite }
    }

    fn copy(&self, writer: &mut Writer, input: &Input<'_>, patience: &mut Patience) -> Result<()> {
        if let Some(count) = self.readers {
            writer.wait_for_readers(count, patience)?;
        }
        let end = match (self.lines, self.null) {
            (true, _) => b'\n',
            (_, true) => 0,
            _ => return writer.copy_from(input, patience),
        };
        let longest = usize::try_from(writer.capacity()).unwrap_or(usize::MAX);
        let mut records = Records::new(input.fd(), end, longest);
        loop {
            // Another writer's next record must not become a part of the last.
            let Some(some) = records.some(self.many, |fd| writer.wait_for_input(fd))? else { return Ok(()) };
            writer.append(some, end, patience)?;
        }
    }
}
