//! mqserve: run a command for each message of a queue.

use std::ffi::OsString;
use std::time::Duration;

use libipc::address::Form;
use libipc::mq::{Direction, OpenOptions, Queue};
use libipc::rpc::{Event, Options, Service, Watch};
use libipc::wait::Timeout;
use libipc::{Address, Error, ErrorKind, Hint, Kind, Result};

use crate::app::{Io, Outcome, Tool, status};
use crate::args::{self, NewQueue};
use crate::report;
use crate::undo::or_discard;

/// Run a command for each message of a queue, and lose none
#[derive(clap::Parser, Debug)]
#[command(name = "mqserve", version, after_help = args::AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    create: NewQueue,
    /// How many run at once; 0: all processors
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = args::number::<u32>(0..=MOST_JOBS))]
    jobs: u32,
    /// How often a message is tried again
    #[arg(long, value_name = "N", default_value = "3", value_parser = args::number::<u32>(0..=MOST_RETRIES))]
    retry: u32,
    /// The queue for messages that cannot be done
    #[arg(long, value_name = "ADDRESS", value_parser = args::address(Kind::Mq))]
    dead: Option<Address>,
    /// How long the command may take
    #[arg(long, value_name = "DURATION", value_parser = args::positive_duration)]
    timeout: Option<Duration>,
    /// Take N messages
    #[arg(long, value_name = "N", value_parser = args::number::<u64>(0..=u64::MAX))]
    count: Option<u64>,
    /// End when the queue is empty and all is done
    #[arg(long, conflicts_with_all = ["count", "nonblock", "wait"])]
    drain: bool,
    /// COMMAND runs on, and answers each line with a line
    #[arg(short, long)]
    lines: bool,
    /// With json: an object for each event
    #[arg(long, value_name = "FORMAT", default_value = "text", value_enum, hide_possible_values = true)]
    log: Log,
    /// Do not wait: status 75 without a message
    #[arg(short, long)]
    nonblock: bool,
    /// Status 124 if no message comes for so long
    #[arg(short, value_name = "DURATION", value_parser = args::duration, conflicts_with = "nonblock")]
    wait: Option<Duration>,
    #[arg(value_parser = args::address(Kind::Mq), help = args::forms(Kind::Mq, &[Form::Private]))]
    address: Address,
    /// What to run: the message is its standard input
    #[arg(last = true, required = true, value_name = "COMMAND")]
    handler: Vec<OsString>,
}

const MOST_JOBS: u64 = 1024;
const MOST_RETRIES: u64 = 1_000_000;

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        if self.address.form() == Form::Private {
            let problem = "makes a new queue, which has no message";
            return Err(Error::new(ErrorKind::Usage, &self.address, problem)
                .hint(Hint::Advice("say id:N".into()))
                .into());
        }
        let create = self.create.wanted(false, &self.address)?;
        let dead =
            self.dead.as_ref().map(|dead| Queue::open(dead, &OpenOptions { direction: Direction::Send, create }));
        let dead = dead.transpose()?;
        let open = OpenOptions { direction: Direction::Receive, create };
        let queue = or_discard(dead.as_slice(), Queue::open(&self.address, &open))?;
        self.create.report_existing(io, &self.address, &queue);
        let service = Service::new(queue, dead, self.options())?;
        Ok(match service.run(&Reports { io, address: &self.address, log: self.log })? {
            0 => Outcome::Done,
            status => Outcome::Failed(status),
        })
    }
}

impl Args {
    fn options(&self) -> Options<'_> {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from) as u32;
        Options {
            command: &self.handler,
            lines: self.lines,
            jobs: if self.jobs == 0 { processors() } else { self.jobs },
            retry: self.retry,
            timeout: self.timeout,
            count: self.count,
            drain: self.drain,
            wait: match self.wait {
                _ if self.nonblock => Timeout::Now,
                Some(wait) => Timeout::After(wait),
                None => Timeout::Never,
            },
        }
    }
}

/// How it is told what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Log {
    /// A line for what goes wrong.
    Text,
    /// A JSON object for each event.
    Json,
}

/// What happens, as lines on standard error.
struct Reports<'a> {
    io: &'a Io<'a>,
    address: &'a Address,
    log: Log,
}

impl Watch for Reports<'_> {
    fn event(&self, event: &Event<'_>) {
        match self.log {
            Log::Json => self.io.log(&report::Logged::new(self.address, event)),
            Log::Text => {
                if let Some(line) = report::line(event) {
                    self.io.warn(format_args!("{}: {line}", self.address));
                }
            }
        }
    }

    fn answer(&self, line: &[u8]) -> Result<()> {
        self.io.write(line)
    }

    fn failed(&self, error: &Error, told: bool) -> u8 {
        if told { status(error.kind) } else { self.io.fail(error, &[]) }
    }
}
