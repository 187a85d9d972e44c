//! mqsend: messages into a queue.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use libipc::mq::{Direction, Queue};
use libipc::signals::Deferred;
use libipc::wait::Patience;
use libipc::{Address, Error, ErrorKind, Result, SysV};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, NewQueue, Waiting};
use crate::records::{Records, whole};

const OPERANDS_HELP: &str = "/name, key:N, id:N, ftok:PATH[:PROJ] or private:, then messages";

/// Longer than any message: the kernel's ceiling is 16 MiB for POSIX queues. A
/// queue refuses what is longer than its own limit.
const LONGEST: usize = 16 << 20;

/// Send messages to a queue: the arguments, or standard input
#[derive(clap::Parser, Debug)]
#[command(name = "mqsend", version, override_usage = "mqsend [OPTIONS] ADDRESS [MESSAGE]...")]
#[command(after_help = args::AFTER_HELP)]
pub struct Args {
    #[command(flatten)]
    create: NewQueue,
    /// Only create: status 4 if it exists
    #[arg(short = 'x', long)]
    exclusive: bool,
    /// POSIX: 0 to 32767, higher ones first [default: 0]
    #[arg(short, long, value_parser = args::number::<u32>(0..=32767), conflicts_with = "type")]
    priority: Option<u32>,
    /// System V: 1 or more [default: 1]
    #[arg(short, long, value_parser = args::number::<i64>(1..=args::LAST_TYPE))]
    r#type: Option<i64>,
    /// Each line of standard input is a message
    #[arg(short, long, conflicts_with = "null")]
    lines: bool,
    /// The same for records that end with a NUL
    #[arg(short = '0', long)]
    null: bool,
    #[command(flatten)]
    waiting: Waiting,
    // One operand, so that what follows the address is no option.
    #[arg(value_name = "ADDRESS", num_args = 1.., required = true, trailing_var_arg = true, help = OPERANDS_HELP)]
    address: Vec<OsString>,
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let Some((address, messages)) = self.address.split_first() else { return Ok(Outcome::Done) };
        let address = Address::parse(address)?;
        let messages = messages.strip_prefix(&[OsString::from("--")]).unwrap_or(messages);
        if (self.lines || self.null) && !messages.is_empty() {
            let what = "with -l or -0 the messages come from standard input";
            return Err(Error::new(ErrorKind::Usage, address, what).into());
        }
        Sending { args: &self, address, messages }.run(io)?;
        Ok(Outcome::Done)
    }
}

/// What was asked for, the operands taken apart.
struct Sending<'a> {
    args: &'a Args,
    address: Address,
    messages: &'a [OsString],
}

impl Sending<'_> {
    fn run(&self, io: &Io<'_>) -> Result<()> {
        let number = self.number()?;
        let mut patience = Patience::new(self.args.waiting.limit());
        if self.args.lines || self.args.null {
            patience = patience.in_a_stream();
        }
        // A queue that is made is not seen before there is a message for it.
        let mut queue = if self.makes_one() { None } else { Some(self.open(io)?) };
        let mut sent = 0;
        let done = self.each_message(io, |message, waited| {
            let queue = match &mut queue {
                Some(queue) => queue,
                none => none.insert(self.open(io)?),
            };
            if waited {
                queue.check_linked()?;
            }
            queue.send(message, number, &mut patience)?;
            sent += 1;
            Ok(())
        });
        let done = done.and_then(|()| queue.as_ref().map_or_else(|| self.open(io).map(drop), Queue::check_linked));
        if let Err(mut error) = done {
            if sent == 0 {
                queue.iter().for_each(Queue::discard);
            }
            // A caller that sends many can go on where it stopped.
            if self.args.lines || self.args.null || self.messages.len() > 1 {
                error.what += &format!("; messages sent: {sent}");
            }
            return Err(error);
        }
        Ok(())
    }

    /// The priority or type, as the kind of queue has it.
    fn number(&self) -> Result<i64> {
        let usage = |what: &str| Err(Error::new(ErrorKind::Usage, &self.address, what));
        match (&self.address, self.args.priority, self.args.r#type) {
            (Address::SysV(_), Some(_), _) => usage("messages of System V have a type, -t, and no priority"),
            (Address::SysV(_), _, kind) => Ok(kind.unwrap_or(1)),
            (_, _, Some(_)) => usage("messages of POSIX queues have a priority, -p, and no type"),
            (_, priority, _) => Ok(priority.unwrap_or(0).into()),
        }
    }

    fn is_private(&self) -> bool {
        self.address == Address::SysV(SysV::Private)
    }

    /// Whether a queue may have to be made, after a look at standard input.
    fn makes_one(&self) -> bool {
        self.messages.is_empty() && (self.args.create.is_asked_for() || self.args.exclusive || self.is_private())
    }

    /// Open the queue; a new one that no key finds is announced, or is not.
    fn open(&self, io: &Io<'_>) -> Result<Queue> {
        let create = self.args.create.wanted(self.args.exclusive, self.is_private(), &self.address)?;
        let open = || {
            let queue = Queue::open(&self.address, Direction::Send, create.as_ref())?;
            self.args.create.report_other_limits(io, "mqsend", &self.address, &queue);
            Ok(queue)
        };
        if !self.is_private() {
            return open();
        }
        // A death by SIGPIPE would leave a queue that nobody was told of.
        let signals = Deferred::new()?;
        let queue = open()?;
        if let Queue::SysV(new) = &queue {
            io.print_while(format_args!("id:{}", new.id()), Some(&signals)).inspect_err(|_| queue.discard())?;
        }
        Ok(queue)
    }

    /// Call with each message, and whether it may have been waited for.
    fn each_message(&self, io: &Io<'_>, mut send: impl FnMut(&[u8], bool) -> Result<()>) -> Result<()> {
        if !self.messages.is_empty() {
            return self.messages.iter().try_for_each(|message| send(message.as_bytes(), false));
        }
        if !self.args.lines && !self.args.null {
            return send(&whole(io.stdin()?, LONGEST)?, true);
        }
        let mut records = Records::new(io.stdin()?, if self.args.null { 0 } else { b'\n' }, LONGEST);
        while let Some((record, waited)) = records.next()? {
            send(record, waited)?;
        }
        Ok(())
    }
}
