//! ringcat: what is written to a ring, to standard output.

use std::ffi::OsString;

use libipc::fs::copy::Control;
use libipc::process::command;
use libipc::ring::{self, Output, ReadOptions, Reader, StartAt, Status};
use libipc::wait::{Timeout, Wait};
use libipc::{Address, Kind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Framed, Waiting};
use crate::show::status::{self, Addressed};

/// Write what comes into a ring of shared memory to standard output
#[derive(clap::Parser, Debug)]
#[command(name = "ringcat", version, after_help = args::AFTER_HELP)]
#[command(mut_arg("lines", |arg| arg.help("Write only whole lines")))]
#[command(mut_arg("null", |arg| arg.help("Write only whole records, each ended by a NUL")))]
pub struct Args {
    /// Keep the position under this name
    #[arg(long = "as", value_name = "NAME")]
    name: Option<OsString>,
    /// Only give up a name and what it has not read
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "from", "follow", "wait", "Framed", "count", "drain", "exec", "progress", "status"])]
    forget: Option<OsString>,
    /// oldest, newest or bytes [default: oldest]
    #[arg(long, value_name = "POSITION", value_parser = start_at)]
    from: Option<StartAt>,
    /// At the end of a stream wait for the next
    #[arg(short, long)]
    follow: bool,
    /// Wait until the ring exists
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    framed: Framed,
    /// End after N records, or bytes without -l or -0
    #[arg(long, value_name = "N", value_parser = args::number::<u64>(0..=u64::MAX - 1))]
    count: Option<u64>,
    /// End when all that is there has been read
    #[arg(long, conflicts_with_all = ["follow", "nonblock", "timeout"])]
    drain: bool,
    /// Run COMMAND for each record, which is its input
    #[arg(long, requires_all = ["Framed", "command"])]
    exec: bool,
    /// Draw a bar on stderr if it is a terminal
    #[arg(long, conflicts_with = "exec")]
    progress: bool,
    /// Only show the ring: its writer and its readers
    #[arg(long, conflicts_with_all = ["name", "from", "follow", "wait", "Framed", "count", "drain", "exec", "progress", "nonblock", "timeout"])]
    status: bool,
    /// With --status: as JSON
    #[arg(short = 'J', long, requires = "status")]
    json: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[arg(value_parser = args::address(Kind::Ring), help = args::forms(Kind::Ring, &[]))]
    address: Address,
    /// With --exec: what to run
    #[arg(last = true, requires = "exec")]
    command: Vec<OsString>,
}

/// Where to begin.
fn start_at(text: &str) -> std::result::Result<StartAt, String> {
    match text {
        "oldest" => Ok(StartAt::Oldest),
        "newest" => Ok(StartAt::Newest),
        _ => match args::number(0..=u64::MAX)(text) {
            Ok(position) => Ok(StartAt::Position(position)),
            Err(_) => Err(format!("{text:?} is no position: oldest, newest or a number of bytes")),
        },
    }
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        if self.status {
            self.print(io, &Status::inspect(&self.address)?)?;
            return Ok(Outcome::Done);
        }
        if let Some(name) = &self.forget {
            ring::forget(&self.address, name, &mut Wait::new(self.waiting.timeout()))?;
            return Ok(Outcome::Done);
        }
        if !self.exec {
            let mut out = Output::Descriptor(io.stdout()?);
            return self.read(io, &mut out);
        }
        let framing = self.framed.framing();
        let mut ended = Outcome::Done;
        let mut run = |record: &[u8]| {
            ended = command::run_on(&self.command, framing.content(record))?.into();
            Ok(ended == Outcome::Done)
        };
        let outcome = self.read(io, &mut Output::Records(&mut run))?;
        Ok(if ended == Outcome::Done { outcome } else { ended })
    }
}

impl Args {
    fn read(&self, io: &Io<'_>, out: &mut Output<'_>) -> anyhow::Result<Outcome> {
        let options = ReadOptions {
            wait: self.wait,
            name: self.name.clone(),
            start_at: self.from.unwrap_or(StartAt::Oldest),
            follow: self.follow,
            framing: self.framed.framing(),
            count: self.count,
            drain: self.drain,
        };
        let timeout = if self.drain { Timeout::Now } else { self.waiting.timeout() };
        let mut wait = Wait::new(timeout);
        let bar = io.progress(self.progress, None);
        let mut counter = bar.counter();
        let mut control = Control { progress: counter.as_mut().map(|counter| counter as _), signals: None };
        let mut reader = Reader::open(&self.address, &options, &mut wait)?;
        let mut total = 0u64;
        let mut lost = |bytes: u64| {
            total = total.saturating_add(bytes);
            io.warn(format_args!("{}: the writer did not wait, bytes lost: {bytes}", self.address));
        };
        let copied = reader.copy_to(out, &mut wait, &mut lost, &mut control);
        reader.leave();
        copied?;
        // Said already; but a script must be able to tell.
        Ok(if total > 0 { Outcome::Failed(1) } else { Outcome::Done })
    }

    fn print(&self, io: &Io<'_>, status: &Status) -> Result<()> {
        if self.json {
            return io.print_json(&Addressed { address: self.address.to_string(), status: status::Ring::new(status) });
        }
        io.print(status::text(&status::ring_lines(status)))
    }
}
