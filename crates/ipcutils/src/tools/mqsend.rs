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

/// Send messages to a queue: the arguments, or standard input
#[derive(clap::Parser, Debug)]
#[command(name = "mqsend", version, after_help = args::AFTER_HELP)]
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
    #[arg(short, long, conflicts_with_all = ["null", "message"])]
    lines: bool,
    /// The same for records that end with a NUL
    #[arg(short = '0', long, conflicts_with = "message")]
    null: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[arg(value_parser = args::address(), help = args::QUEUE_HELP)]
    address: Address,
    /// A message each [default: standard input, one message]
    message: Vec<OsString>,
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let number = self.number()?;
        let mut queue = self.open(io)?;
        self.create.report_other_limits(io, "mqsend", &self.address, &queue);
        let mut patience = Patience::new(self.waiting.limit()).in_a_stream();
        let mut sent = 0;
        let done = self.each_message(io, queue.largest(), |message| {
            queue.send(message, number, &mut patience)?;
            sent += 1;
            Ok(())
        });
        if let Err(mut error) = done {
            if sent == 0 {
                queue.discard();
            }
            // A caller that sends many can go on where it stopped.
            if self.lines || self.null || self.message.len() > 1 {
                error.what += &format!("; messages sent: {sent}");
            }
            return Err(error.into());
        }
        Ok(Outcome::Done)
    }
}

impl Args {
    /// The priority or type, as the kind of queue has it.
    fn number(&self) -> Result<i64> {
        let usage = |what: &str| Err(Error::new(ErrorKind::Usage, &self.address, what));
        match (&self.address, self.priority, self.r#type) {
            (Address::SysV(_), Some(_), _) => usage("messages of System V have a type, -t, and no priority"),
            (Address::SysV(_), _, kind) => Ok(kind.unwrap_or(1)),
            (_, _, Some(_)) => usage("messages of POSIX queues have a priority, -p, and no type"),
            (_, priority, _) => Ok(priority.unwrap_or(0).into()),
        }
    }

    /// Open the queue; a new one that no key finds is announced, or is not.
    fn open(&self, io: &Io<'_>) -> Result<Queue> {
        let private = self.address == Address::SysV(SysV::Private);
        let create = self.create.wanted(self.exclusive, private, &self.address)?;
        let open = || Queue::open(&self.address, Direction::Send, create.as_ref());
        if !private {
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

    fn each_message(&self, io: &Io<'_>, longest: usize, mut send: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if !self.message.is_empty() {
            return self.message.iter().try_for_each(|message| send(message.as_bytes()));
        }
        if !self.lines && !self.null {
            return send(&whole(io.stdin()?, longest)?);
        }
        let mut records = Records::new(io.stdin()?, if self.null { 0 } else { b'\n' }, longest);
        while let Some(record) = records.next()? {
            send(record)?;
        }
        Ok(())
    }
}
