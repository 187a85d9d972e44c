//! mqrecv: messages out of a queue.

use libipc::address::Form;
use libipc::mq::{self, Direction, OpenOptions, Queue, Select};
use libipc::process::signals::Interrupting;
use libipc::rpc::{self, Body};
use libipc::wait::{Timeout, Wait};
use libipc::{Address, Error, ErrorKind, Hint, Kind, Result};

use crate::app::{Io, Outcome, Tool, combined};
use crate::args::{self, Ends, NewQueue, Waiting};
use crate::message::{Format, Output};
use crate::undo::{or_discard, wait_or_discard};

/// Receive messages from a queue
#[derive(clap::Parser, Debug)]
#[command(name = "mqrecv", version, after_help = args::AFTER_HELP)]
#[command(mut_arg("lines", |arg| arg.help("End each message with a newline")))]
#[command(mut_arg("null", |arg| arg.help("End each message with a NUL")))]
pub struct Args {
    #[command(flatten)]
    create: NewQueue,
    /// System V: the first message of this type
    #[arg(short, long, value_name = "TYPE", value_parser = args::number::<i64>(1..=args::LAST_TYPE))]
    r#type: Option<i64>,
    /// System V: the first of any other type
    #[arg(long, value_name = "TYPE", value_parser = args::number::<i64>(1..=args::LAST_TYPE), conflicts_with = "type")]
    except: Option<i64>,
    /// System V: the first of the lowest type up to this
    #[arg(long, value_name = "TYPE", value_parser = args::number::<i64>(1..=args::LAST_TYPE), conflicts_with_all = ["type", "except"])]
    up_to: Option<i64>,
    #[command(flatten)]
    ends: Ends,
    /// Keep receiving until interrupted
    #[arg(short, long, conflicts_with_all = ["drain", "count"])]
    follow: bool,
    /// Receive until the queue is empty
    #[arg(long, conflicts_with_all = ["count", "nonblock", "timeout"])]
    drain: bool,
    /// Receive N messages
    #[arg(long, value_name = "N", value_parser = args::number::<u64>(0..=u64::MAX))]
    count: Option<u64>,
    /// System V: copy, and leave the message in the queue
    #[arg(long, conflicts_with_all = ["follow", "type", "except", "up_to"])]
    peek: bool,
    /// POSIX: wait for a message and take none
    #[arg(long, conflicts_with_all = ["follow", "drain", "count", "peek", "Ends", "json"])]
    wait_only: bool,
    /// Cut longer messages to N bytes, and say so
    #[arg(long, value_name = "N", value_parser = args::size, conflicts_with = "wait_only")]
    truncate: Option<u64>,
    /// Wait for the queues to exist
    #[arg(long, conflicts_with_all = ["create", "nonblock"])]
    wait: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// Say each message's priority or type, and length
    #[arg(short, long)]
    verbose: bool,
    /// One JSON object per message
    #[arg(short = 'J', long, conflicts_with = "Ends")]
    json: bool,
    #[arg(required = true, value_parser = args::address(Kind::Mq), help = args::forms(Kind::Mq, &[Form::Private]))]
    address: Vec<Address>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        self.check_addresses()?;
        // Asked for before a queue is made: a failure must not leave one.
        let out = if self.wait_only { None } else { Some(io.stdout()?) };
        let mut wait = Wait::new(self.waiting.timeout());
        let mut queues = self.open(&mut wait)?;
        for (queue, address) in queues.iter().zip(&self.address) {
            self.create.report_existing(io, address, queue);
        }
        let longest = self.truncate.map(|longest| usize::try_from(longest).unwrap_or(usize::MAX));
        let said = self.verbose.then_some(io);
        let words: Vec<_> = self.address.iter().map(Address::to_string).collect();
        let failed = wait_or_discard(&mut queues[..], words.join(", "), |queues| {
            let Some(out) = out else { return mq::wait_for_any(queues, &mut wait).map(|_| Vec::new()) };
            let mut output = Output::new(io, out, self.format(), !self.peek).cut(longest, io).telling(said);
            let received = self.receive_all(queues, &mut wait, &mut output);
            // Taken messages are written whatever ended the receiving. An error of that
            // matters more.
            output.flush().and(received).map(|()| output.failed().to_vec())
        })?;
        Ok(combined(&failed))
    }
}

impl Args {
    /// Refuse what these queues cannot do, before anything is opened.
    fn check_addresses(&self) -> Result<()> {
        for address in &self.address {
            let usage = |problem: &str, advice: &str| {
                Err(Error::new(ErrorKind::Usage, address, problem).hint(Hint::Advice(advice.into())))
            };
            let refused = match address {
                Address::SysV(_) if address.form() == Form::Private => {
                    usage("makes a new queue, which has no message", "say id:N")
                }
                Address::SysV(_) if self.address.len() > 1 => {
                    usage("System V queues cannot be waited for together", "use POSIX queues, /name")
                }
                Address::SysV(_) if self.wait_only => {
                    usage("System V cannot wait without taking a message", "use --peek, or a POSIX queue")
                }
                Address::Name(_) if self.peek => {
                    usage("a POSIX queue cannot be looked into", "use --wait-only, or a System V queue")
                }
                Address::Name(_) if self.r#type.or(self.except).or(self.up_to).is_some() => usage(
                    "messages of POSIX queues have no type",
                    "the highest priority comes first, and -w is the timeout",
                ),
                Address::SysV(_) | Address::Name(_) => Ok(()),
            };
            refused.and(self.create.wanted(false, address))?;
        }
        Ok(())
    }

    fn open(&self, wait: &mut Wait) -> Result<Vec<Queue>> {
        let mut queues = Vec::new();
        for address in &self.address {
            let create = self.create.wanted(false, address)?;
            let options = OpenOptions { direction: Direction::Receive, create };
            let opened = match self.wait {
                true => Queue::open_when_there(address, &options, wait),
                false => Queue::open(address, &options),
            };
            queues.push(or_discard(&queues[..], opened)?);
        }
        Ok(queues)
    }

    fn format(&self) -> Format {
        match self.ends.end() {
            Some(end) => Format::Ended(end),
            None if self.json => Format::Json,
            None => Format::Raw,
        }
    }

    /// Which message is wanted after `done` others.
    fn select(&self, done: u64) -> Select {
        match (self.r#type, self.except, self.up_to) {
            (Some(kind), ..) => Select::Type(kind),
            (_, Some(kind), _) => Select::Except(kind),
            (.., Some(kind)) => Select::UpTo(kind),
            _ if self.peek => Select::Copy(u32::try_from(done).unwrap_or(u32::MAX)),
            _ => Select::First,
        }
    }

    fn receive_all(&self, queues: &mut [Queue], wait: &mut Wait, output: &mut Output<'_>) -> Result<()> {
        let mut at_once = Wait::new(Timeout::Now);
        if self.follow || self.drain || self.count.is_some() {
            at_once = at_once.spinning();
        }
        let wanted = if self.follow || self.drain { u64::MAX } else { self.count.unwrap_or(1) };
        let mut done = 0;
        // Set at the first wait, which no descriptor tells the end of.
        let mut signals = None;
        while done < wanted {
            let select = self.select(done);
            output.hold()?;
            let written = if let Some(written) = self.receive_now(queues, select, &mut at_once, output)? {
                written
            } else {
                // Written before blocking: taken messages must not sit in our buffer.
                output.flush()?;
                if self.drain {
                    return Ok(());
                }
                match &mut *queues {
                    [queue] if queue.id().is_some() => {
                        if signals.is_none() {
                            signals = Some(Interrupting::new(&self.address[0])?);
                        }
                        let (message, number) = queue.receive(select, wait)?;
                        output.hold()?;
                        put(output, &self.address[0], message, number)?
                    }
                    // Waiting takes no message: another process may take it first.
                    queues => {
                        mq::wait_for_any(queues, wait)?;
                        continue;
                    }
                }
            };
            wait.reset();
            // The next message is taken for one that cannot be written. A copy is counted by
            // its place.
            if written || self.peek {
                done += 1;
            }
        }
        Ok(())
    }

    /// Receive a message without waiting, from the first queue of the command line that
    /// has one. Returns whether it was written, if one had.
    fn receive_now(
        &self,
        queues: &mut [Queue],
        select: Select,
        at_once: &mut Wait,
        output: &mut Output<'_>,
    ) -> Result<Option<bool>> {
        for (queue, address) in queues.iter_mut().zip(&self.address) {
            match queue.receive(select, at_once) {
                Ok((message, number)) => return put(output, address, message, number).map(Some),
                Err(error) if error.kind == ErrorKind::Busy => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Write a message, or the body that it tells of; false if that cannot be.
fn put(output: &mut Output<'_>, address: &Address, message: &[u8], number: i64) -> Result<bool> {
    if rpc::is_call(message) {
        let problem = "has a call of mqcall, which waits for an answer of mqserve";
        return Ok(output.refuse(address, &Error::new(ErrorKind::Unexpected, address, problem)));
    }
    match Body::of(message) {
        Some(body) => output.put_body(address, body, number),
        None => output.put(address, message, number).map(|()| true),
    }
}
