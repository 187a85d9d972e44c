//! ringput: standard input, or a file, into a ring.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use libipc::fs::copy::Control;
use libipc::fs::input::Input;
use libipc::mode::Mode;
use libipc::ring::{self, Framing, OnUnfinished, Status, WriteOptions, Writer};
use libipc::wait::Wait;
use libipc::{Address, Kind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Framed, Waiting};
use crate::existing;
use crate::operand::Operand;
use crate::records::Records;
use crate::undo::{or_discard, wait_or_discard};

/// Copy standard input, or FILE, into a ring of shared memory
#[derive(clap::Parser, Debug)]
#[command(name = "ringput", version, after_help = args::AFTER_HELP)]
#[command(mut_arg("lines", |arg| arg.help("Commit only whole lines")))]
#[command(mut_arg("null", |arg| arg.help("Commit only whole records, each ended by a NUL")))]
pub struct Args {
    /// Bytes that a new ring holds [default: 1M]
    #[arg(short, long, value_parser = args::ring_size)]
    size: Option<u64>,
    /// Begin when N readers are there
    #[arg(long, value_name = "N", value_parser = args::number::<usize>(1..=64))]
    readers: Option<usize>,
    /// Share the stream with other writers of whole records
    #[arg(long, requires = "Framed")]
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
    /// End by SIGPIPE when the last reader has gone
    #[arg(long)]
    while_read: bool,
    /// Bytes that a named reader holds back while away
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    max_lag: Option<u64>,
    /// How long one that is away holds bytes back
    #[arg(long, value_name = "DURATION", value_parser = args::duration)]
    expire: Option<Duration>,
    /// Draw a bar on stderr if it is a terminal
    #[arg(long)]
    progress: bool,
    /// Only mark the end of the stream of --many writers
    #[arg(long, conflicts_with_all = ["size", "readers", "many", "overwrite", "resume", "restart", "while_read", "max_lag", "expire", "progress", "Framed", "mode", "foreign", "position", "file"])]
    end: bool,
    /// Only print how many bytes were committed
    #[arg(long, conflicts_with_all = ["size", "readers", "many", "overwrite", "resume", "restart", "while_read", "max_lag", "expire", "progress", "Framed", "mode", "foreign", "file", "nonblock", "timeout"])]
    position: bool,
    #[command(flatten)]
    framed: Framed,
    /// Mode of a new ring [default: 0600 less the umask]
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode)]
    mode: Option<Mode>,
    /// Also write into a ring of another user
    #[arg(long)]
    foreign: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[arg(value_parser = args::address(Kind::Ring), help = args::forms(Kind::Ring, &[]))]
    address: Address,
    /// What to copy [default: standard input, as for -]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut wait = Wait::new(self.waiting.timeout());
        if self.position {
            io.print(Status::inspect(&self.address)?.position)?;
        } else if self.end {
            ring::end(&self.address, &mut wait)?;
        } else {
            let file = Operand::open(self.file.as_deref())?;
            let input = file.input(io)?;
            let bar = io.progress(self.progress, input.length());
            let mut counter = bar.counter();
            let mut control = Control { progress: counter.as_mut().map(|counter| counter as _), signals: None };
            let mut writer = Writer::open(&self.address, &self.options(), &mut wait)?;
            let other = self.size.filter(|&asked| asked != writer.capacity());
            let size = other.map(|_| format!("{} bytes", writer.capacity()));
            existing::report(io, (Kind::Ring, &self.address), self.mode, writer.existing_mode(), size);
            let copied = self.wait_for_readers(&mut writer, &mut wait);
            let copied = copied.and_then(|()| self.copy(&mut writer, &input, &mut wait, &mut control));
            let copied = or_discard(&writer, copied.and_then(|()| writer.check()));
            copied.with_context(|| format!("bytes committed: {}", writer.position()))?;
            writer.end();
        }
        Ok(Outcome::Done)
    }
}

impl Args {
    fn options(&self) -> WriteOptions {
        let on_unfinished = match (self.resume, self.restart) {
            (true, _) => OnUnfinished::Resume,
            (_, true) => OnUnfinished::Restart,
            _ => OnUnfinished::Refuse,
        };
        let mode = self.mode.unwrap_or(Mode::PRIVATE);
        let Args { many, overwrite, foreign, while_read, max_lag, expire, .. } = *self;
        let capacity = self.size.unwrap_or(WriteOptions::default().capacity);
        WriteOptions { capacity, mode, foreign, on_unfinished, many, overwrite, while_read, max_lag, expire }
    }

    fn wait_for_readers(&self, writer: &mut Writer, wait: &mut Wait) -> Result<()> {
        let Some(count) = self.readers else { return Ok(()) };
        wait_or_discard(writer, &self.address, |writer| writer.wait_for_readers(count, wait))
    }

    fn copy(&self, writer: &mut Writer, input: &Input<'_>, wait: &mut Wait, control: &mut Control<'_>) -> Result<()> {
        let framing = self.framed.framing();
        if framing == Framing::Bytes {
            return writer.copy_from(input, wait, control);
        }
        let longest = usize::try_from(writer.capacity()).unwrap_or(usize::MAX);
        let mut records = Records::framed(input, framing, longest);
        loop {
            // Another writer's next record must not become a part of the last.
            let Some(some) = records.some(self.many, |fd| writer.wait_for_input(fd))? else { return Ok(()) };
            writer.append(some, framing, wait)?;
            if let Some(progress) = &mut control.progress {
                progress(some.len() as u64);
            }
        }
    }
}
