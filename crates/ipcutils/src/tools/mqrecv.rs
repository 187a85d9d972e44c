//! mqrecv: messages out of a queue.

use libipc::mq::{self, Direction, Queue, Select};
use libipc::wait::{Limit, Patience};
use libipc::{Address, Error, ErrorKind, Result, SysV};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, NewQueue, Waiting};
use crate::messages::{Format, Output};

/// Receive messages from a queue
#[derive(clap::Parser, Debug)]
#[command(name = "mqrecv", version, after_help = args::AFTER_HELP)]
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
    /// End each message with a newline
    #[arg(short, long, conflicts_with_all = ["null", "json"])]
    lines: bool,
    /// End each message with a NUL
    #[arg(short = '0', long, conflicts_with = "json")]
    null: bool,
    /// Go on for ever
    #[arg(short, long, conflicts_with_all = ["drain", "count"])]
    follow: bool,
    /// Go on until the queue is empty
    #[arg(long, conflicts_with_all = ["count", "nonblock", "timeout"])]
    drain: bool,
    /// Receive N messages
    #[arg(long, value_name = "N", value_parser = args::number::<u64>(0..=u64::MAX))]
    count: Option<u64>,
    /// System V: copy, and leave the message in the queue
    #[arg(long, conflicts_with_all = ["follow", "type", "except", "up_to"])]
    peek: bool,
    /// POSIX: wait for a message and take none
    #[arg(long, conflicts_with_all = ["follow", "drain", "count", "peek", "lines", "null", "json"])]
    wait_only: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// A JSON object a message
    #[arg(short = 'J', long)]
    json: bool,
    #[arg(required = true, value_parser = args::address(), help = args::QUEUE_HELP)]
    address: Vec<Address>,
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        self.check_addresses()?;
        // Asked for before a queue is made, which a failure would leave.
        let out = if self.wait_only { None } else { Some(io.stdout()?) };
        let mut queues = Vec::new();
        for address in &self.address {
            match Queue::open(address, Direction::Receive, self.create.wanted(false, false, address)?.as_ref()) {
                Ok(queue) => queues.push(queue),
                Err(error) => {
                    // A failed command leaves nothing behind.
                    queues.iter().for_each(Queue::discard);
                    return Err(error.into());
                }
            }
        }
        for (queue, address) in queues.iter().zip(&self.address) {
            self.create.report_other_limits(io, "mqrecv", address, queue);
        }
        let mut patience = Patience::new(self.waiting.limit());
        let Some(out) = out else {
            mq::posix::ready(&posix(&queues), &mut patience)?;
            return Ok(Outcome::Done);
        };
        let mut output = Output::new(out, self.format(), !self.peek);
        let received = self.receive_all(&mut queues, &mut patience, &mut output);
        // What was taken is put out, whatever ended it; and that error matters more.
        output.flush()?;
        received?;
        Ok(Outcome::Done)
    }
}

impl Args {
    /// What this kind of queue cannot do is refused before anything is opened.
    fn check_addresses(&self) -> Result<()> {
        for address in &self.address {
            let usage = |what: &str, mend: &str| Err(Error::new(ErrorKind::Usage, address, what).mend(mend));
            match address {
                Address::SysV(SysV::Private) => return usage("makes a new queue, which has no message", "say id:N"),
                Address::SysV(_) if self.address.len() > 1 => {
                    return usage("System V queues cannot be waited for together", "use POSIX queues, /name");
                }
                Address::SysV(_) if self.wait_only => {
                    return usage("System V cannot wait without taking a message", "use --peek, or a POSIX queue");
                }
                Address::Posix(_) if self.peek => {
                    return usage("a POSIX queue cannot be looked into", "use --wait-only, or a System V queue");
                }
                Address::Posix(_) if self.r#type.or(self.except).or(self.up_to).is_some() => {
                    return usage("messages of POSIX queues have no type", "the highest priority comes first");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn format(&self) -> Format {
        match (self.lines, self.null, self.json) {
            (true, ..) => Format::Ended(b'\n'),
            (_, true, _) => Format::Ended(0),
            (.., true) => Format::Json,
            _ => Format::Raw,
        }
    }

    /// Which message is wanted next, `done` having been received.
    fn select(&self, done: u64) -> Select {
        match (self.r#type, self.except, self.up_to) {
            (Some(kind), ..) => Select::Type(kind),
            (_, Some(kind), _) => Select::Except(kind),
            (.., Some(kind)) => Select::UpTo(kind),
            _ if self.peek => Select::Copy(u32::try_from(done).unwrap_or(u32::MAX)),
            _ => Select::First,
        }
    }

    fn receive_all(&self, queues: &mut [Queue], patience: &mut Patience, output: &mut Output<'_>) -> Result<()> {
        let mut at_once = Patience::new(Limit::Nonblock);
        if self.follow || self.drain || self.count.is_some() {
            at_once = at_once.in_a_stream();
        }
        let wanted = if self.follow || self.drain { u64::MAX } else { self.count.unwrap_or(1) };
        let mut done = 0;
        while done < wanted {
            let select = self.select(done);
            // What is there comes first, in the order of the command line.
            let mut found = false;
            output.hold()?;
            for (queue, address) in queues.iter_mut().zip(&self.address) {
                match queue.receive(select, &mut at_once) {
                    Ok((message, number)) => output.put(address, message, number)?,
                    Err(error) if error.kind == ErrorKind::Busy => continue,
                    Err(error) => return Err(error),
                }
                found = true;
                break;
            }
            if !found {
                // Nobody should wait for what has been taken while we wait.
                output.flush()?;
                if self.drain {
                    return Ok(());
                }
                match &mut *queues {
                    [queue @ Queue::SysV(_)] => {
                        let (message, number) = queue.receive(select, patience)?;
                        output.put(&self.address[0], message, number)?;
                    }
                    // Nothing is taken by that; another may take it first.
                    posix_queues => {
                        mq::posix::ready(&posix(posix_queues), patience)?;
                        continue;
                    }
                }
            }
            patience.start_over();
            done += 1;
        }
        Ok(())
    }
}

fn posix(queues: &[Queue]) -> Vec<&mq::posix::Queue> {
    let mut posix = Vec::new();
    for queue in queues {
        if let Queue::Posix(queue) = queue {
            posix.push(queue);
        }
    }
    posix
}
