//! ringcat: what is written to a ring, to standard output.

use std::ffi::OsString;

use libipc::ring::{self, From, Read, Reader, Status};
use libipc::text::printable;
use libipc::wait::Patience;
use libipc::{Address, Error, ErrorKind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};

/// Write what comes into a ring of shared memory to standard output
#[derive(clap::Parser, Debug)]
#[command(name = "ringcat", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Keep the position under this name
    #[arg(long = "as", value_name = "NAME")]
    name: Option<OsString>,
    /// Only give up a name and what it has not read
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "from", "follow", "wait", "lines", "null", "count", "status"])]
    forget: Option<OsString>,
    /// oldest, newest or bytes [default: oldest]
    #[arg(long, value_name = "POSITION", value_parser = from)]
    from: Option<From>,
    /// At the end of a stream wait for the next
    #[arg(short, long)]
    follow: bool,
    /// Wait until the ring exists
    #[arg(long)]
    wait: bool,
    /// Whole lines alone
    #[arg(short, long, conflicts_with = "null")]
    lines: bool,
    /// The same for records that end with a NUL
    #[arg(short = '0', long)]
    null: bool,
    /// End after N records, without -l and -0 bytes
    #[arg(long, value_name = "N", value_parser = args::number::<u64>(0..=u64::MAX - 1))]
    count: Option<u64>,
    /// Only show the ring: its writer and its readers
    #[arg(long, conflicts_with_all = ["name", "from", "follow", "wait", "lines", "null", "count", "nonblock", "timeout"])]
    status: bool,
    /// With --status: as JSON
    #[arg(short = 'J', long, requires = "status")]
    json: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[arg(value_parser = args::address(), help = args::RING_HELP)]
    address: Address,
}

/// Where to begin.
fn from(text: &str) -> std::result::Result<From, String> {
    match text {
        "oldest" => Ok(From::Oldest),
        "newest" => Ok(From::Newest),
        _ => match args::number(0..=u64::MAX)(text) {
            Ok(position) => Ok(From::Position(position)),
            Err(_) => Err(format!("{text:?} is no position: oldest, newest or a number of bytes")),
        },
    }
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        if self.status {
            io.print(self.show(&Status::of(&self.address)?)?)?;
            return Ok(Outcome::Done);
        }
        let mut patience = Patience::new(self.waiting.limit());
        if let Some(name) = &self.forget {
            ring::forget(&self.address, name, &mut patience)?;
            return Ok(Outcome::Done);
        }
        let out = io.stdout()?;
        let mut reader = Reader::open(&self.address, self.how(), &mut patience)?;
        let mut total = 0u64;
        let mut lost = |bytes: u64| {
            total = total.saturating_add(bytes);
            io.complain(format_args!("ringcat: {}: the writer was faster, bytes lost: {bytes}", self.address));
        };
        let copied = reader.copy_to(out, &mut patience, &mut lost);
        reader.leave();
        copied?;
        // Said already; but a script must be able to tell.
        Ok(if total > 0 { Outcome::Failed(1) } else { Outcome::Done })
    }
}

impl Args {
    fn how(&self) -> Read {
        let end = match (self.lines, self.null) {
            (true, _) => Some(b'\n'),
            (_, true) => Some(0),
            _ => None,
        };
        Read {
            wait: self.wait,
            name: self.name.clone(),
            from: self.from.unwrap_or(From::Oldest),
            follow: self.follow,
            end,
            count: self.count,
        }
    }

    /// The status: a `name: value` a line, or an object.
    fn show(&self, status: &Status) -> Result<String> {
        if self.json {
            return serde_json::to_string(&Json::new(status))
                .map_err(|error| Error::new(ErrorKind::Failure, &self.address, error.to_string()));
        }
        let writers = match (status.many, status.overwrite) {
            (false, false) => "",
            (true, false) => " many",
            (false, true) => " overwrite",
            (true, true) => " many overwrite",
        };
        let mut text = format!(
            "capacity: {}\ngeneration: {}\nwriter: {}{writers}\nposition: {}\noldest: {}",
            status.capacity,
            status.generation,
            status.writer.as_str(),
            status.position,
            status.oldest,
        );
        for reader in &status.readers {
            let state = if reader.live { "live" } else { "away" };
            text += &format!("\nreader: {state} position={} lag={}", reader.position, reader.lag);
            if let Some(name) = &reader.name {
                text += &format!(" name={}", printable(name));
            }
        }
        Ok(text)
    }
}

/// A status as JSON; names as in messages.
#[derive(serde::Serialize)]
struct Json {
    capacity: u64,
    generation: u32,
    writer: &'static str,
    many: bool,
    overwrite: bool,
    position: u64,
    oldest: u64,
    orphan: bool,
    readers: Vec<JsonReader>,
}

#[derive(serde::Serialize)]
struct JsonReader {
    name: Option<String>,
    live: bool,
    position: u64,
    lag: u64,
}

impl Json {
    fn new(status: &Status) -> Self {
        let Status { capacity, generation, writer, many, overwrite, position, oldest, orphan, ref readers, .. } = *status;
        let reader = |reader: &ring::Attached| JsonReader {
            name: reader.name.as_deref().map(printable),
            live: reader.live,
            position: reader.position,
            lag: reader.lag,
        };
        let readers = readers.iter().map(reader).collect();
        Json { capacity, generation, writer: writer.as_str(), many, overwrite, position, oldest, orphan, readers }
    }
}
