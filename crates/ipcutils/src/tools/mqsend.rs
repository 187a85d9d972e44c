//! mqsend: messages into a queue.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;

use anyhow::Context;
use libipc::address::Form;
use libipc::fs::input::Input;
use libipc::mq::{Create, Direction, LARGEST_PRIORITY, OpenOptions, Queue, longer_than_any, longest_message};
use libipc::process::signals::Deferred;
use libipc::rpc::{is_envelope, send_spilled};
use libipc::wait::Wait;
use libipc::{Address, Discard, Error, ErrorKind, Kind, Result};

use crate::app::{INPUT, Io, Outcome, Tool};
use crate::args::{self, Ends, NewQueue, Waiting};
use crate::records::{Records, whole};
use crate::undo::or_discard;

/// Send messages to a queue: the arguments, or standard input
#[derive(clap::Parser, Debug)]
#[command(name = "mqsend", version, override_usage = "mqsend [OPTIONS] ADDRESS [MESSAGE]...")]
#[command(after_help = args::AFTER_HELP)]
#[command(mut_arg("lines", |arg| arg.help("Each line of standard input is a message")))]
#[command(mut_arg("null", |arg| arg.help("Each record, ended by a NUL, is a message")))]
pub struct Args {
    #[command(flatten)]
    create: NewQueue,
    /// Create it, also empty: status 4 if it exists
    #[arg(short = 'x', long)]
    exclusive: bool,
    /// With -c: also send to a queue of another user
    #[arg(long, requires = "create")]
    foreign: bool,
    /// POSIX: 0 to 32767, higher ones first [default: 0]
    #[arg(short, long, value_parser = args::number::<u32>(0..=LARGEST_PRIORITY.into()), conflicts_with = "type")]
    priority: Option<u32>,
    /// System V: 1 or more [default: 1]
    #[arg(short, long, value_parser = args::number::<i64>(1..=args::LAST_TYPE))]
    r#type: Option<i64>,
    /// Messages that are too long go through memory
    #[arg(long, value_name = "SIZE", value_parser = args::size, num_args = 0..=1, require_equals = true, default_missing_value = "1T")]
    spill: Option<u64>,
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    waiting: Waiting,
    // One operand, so that a word after the address is never an option.
    #[arg(value_name = "ADDRESS", num_args = 1.., required = true, trailing_var_arg = true,
        help = args::forms(Kind::Mq, &[]) + ", then messages")]
    address: Vec<OsString>,
}

/// More is not read into memory.
const LONGEST_SPILLED: usize = 1 << 40;

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let Some((address, messages)) = self.address.split_first() else { return Ok(Outcome::Done) };
        let address = Kind::Mq.parse(address)?;
        let messages = messages.strip_prefix(&[OsString::from("--")]).unwrap_or(messages);
        if self.ends.end().is_some() && !messages.is_empty() {
            let problem = "with -l or -0 the messages come from standard input";
            return Err(Error::new(ErrorKind::Usage, address, problem).into());
        }
        let number = self.number(&address)?;
        let create = self.create.wanted(self.exclusive, &address)?;
        let create = create.map(|create| Create { foreign: self.foreign, ..create });
        // A new queue is not made before there is a message for it.
        let makes_one = messages.is_empty() && create.is_some();
        let mut target = Target { args: &self, io, address: &address, create, queue: None };
        if !makes_one {
            target.queue()?;
        }
        let mut wait = Wait::new(self.waiting.timeout());
        if self.ends.end().is_some() {
            wait = wait.spinning();
        }
        let mut sent = 0u64;
        let done = self.each_message(io, &address, messages, |message, waited| {
            let queue = target.queue()?;
            if waited {
                queue.check_linked()?;
            }
            if self.spills(queue, message) {
                send_spilled(queue, message, number, &mut wait)?;
            } else {
                queue.send(message, number, &mut wait)?;
            }
            sent += 1;
            Ok(())
        });
        // Without a message the queue is made all the same, if that was asked for.
        let done = done.and_then(|()| target.queue()?.check_linked());
        if done.is_err() && sent == 0 {
            target.queue.as_slice().discard();
        }
        // A caller that sends many can go on where it stopped.
        let many = self.ends.end().is_some() || messages.len() > 1;
        if many {
            done.with_context(|| format!("messages sent: {sent}"))?
        } else {
            done?
        }
        Ok(Outcome::Done)
    }
}

impl Args {
    /// The priority or the type, whichever this kind of queue has.
    fn number(&self, address: &Address) -> Result<i64> {
        let usage = |problem: &str| Err(Error::new(ErrorKind::Usage, address, problem));
        match (address, self.priority, self.r#type) {
            (Address::SysV(_), Some(_), _) => usage("messages of System V have a type, -t, and no priority"),
            (Address::SysV(_), None, kind) => Ok(kind.unwrap_or(1)),
            (Address::Name(_), _, Some(_)) => usage("messages of POSIX queues have a priority, -p, and no type"),
            (Address::Name(_), priority, None) => Ok(priority.unwrap_or(0).into()),
        }
    }

    fn longest(&self, address: &Address) -> usize {
        if self.spill.is_some() { LONGEST_SPILLED } else { longest_message(address) }
    }

    /// Whether a message does not go through the queue itself. What looks like a
    /// reference or a call must not be taken for one.
    fn spills(&self, queue: &Queue, message: &[u8]) -> bool {
        let long = |most: u64| message.len() as u64 > most.min(queue.largest() as u64) || is_envelope(message);
        self.spill.is_some_and(long)
    }

    /// Call `send` with each message, and whether it may have been waited for.
    fn each_message(
        &self,
        io: &Io<'_>,
        address: &Address,
        messages: &[OsString],
        mut send: impl FnMut(&[u8], bool) -> Result<()>,
    ) -> Result<()> {
        if !messages.is_empty() {
            return messages.iter().try_for_each(|message| send(message.as_bytes(), false));
        }
        let (input, longest) = (Input::new(io.stdin()?, INPUT)?, self.longest(address));
        let too_long = || longer_than_any(address);
        let Some(end) = self.ends.end() else {
            // Nobody types a message to a command that is to make a queue.
            let nothing = self.exclusive && io.stdin()?.is_terminal();
            let message = if nothing { Vec::new() } else { whole(&input, longest, too_long)? };
            return if self.exclusive && message.is_empty() { Ok(()) } else { send(&message, true) };
        };
        let mut records = Records::new(&input, end, longest);
        while let Some((record, waited)) = records.next(too_long)? {
            send(record, waited)?;
        }
        Ok(())
    }
}

/// The queue, which is opened or made when it is first needed.
struct Target<'a> {
    args: &'a Args,
    io: &'a Io<'a>,
    address: &'a Address,
    create: Option<Create>,
    queue: Option<Queue>,
}

impl Target<'_> {
    fn queue(&mut self) -> Result<&mut Queue> {
        let queue = match self.queue.take() {
            Some(queue) => queue,
            None => self.open()?,
        };
        Ok(self.queue.insert(queue))
    }

    /// Open or make the queue. A new one that no key finds is announced, or discarded.
    fn open(&self) -> Result<Queue> {
        let signals = if self.address.form() == Form::Private { Some(Deferred::new()?) } else { None };
        let queue = Queue::open(self.address, &OpenOptions { direction: Direction::Send, create: self.create })?;
        self.args.create.report_existing(self.io, self.address, &queue);
        if let (Some(signals), Some(id)) = (signals, queue.id()) {
            or_discard(&queue, self.io.announce(id, &signals))?;
        }
        Ok(queue)
    }
}
