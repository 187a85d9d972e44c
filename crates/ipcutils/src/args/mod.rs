//! What the tools' options share: groups of options, and parsers of values.

mod values;

use std::ffi::OsString;
use std::time::Duration;

use libipc::address::{Address, Form, Kind};
use libipc::inventory::users::Names;
use libipc::inventory::{self, Patience, State};
use libipc::mode::Mode;
use libipc::mq::{Create, Queue};
use libipc::ring::Framing;
use libipc::text::printable;
use libipc::wait::Timeout;
use libipc::{Error, ErrorKind, Hint, Result};

use crate::app::Io;
use crate::existing;
pub use values::*;

/// The last line of each help.
pub const AFTER_HELP: &str = "Addresses, durations and exit statuses: see ipcutils(7).";

/// The forms of an address of this kind, for help texts, without those that the tool
/// cannot use.
pub fn forms(kind: Kind, but: &[Form]) -> String {
    let forms: Vec<_> = kind.forms().filter(|form| !but.contains(form)).map(Form::as_str).collect();
    let Some((last, rest)) = forms.split_last() else { return String::new() };
    format!("{} or {last}", rest.join(", "))
}

/// How long to wait.
#[derive(clap::Args, Debug)]
pub struct Waiting {
    /// Do not wait: status 75 instead
    #[arg(short, long, conflicts_with = "timeout")]
    nonblock: bool,
    /// Wait no longer than this: 2, .5, 1m30s
    #[arg(short = 'w', long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Status instead of 75 and 124
    #[arg(short = 'E', long, value_name = "CODE", value_parser = exit_status)]
    pub busy_status: Option<u8>,
    /// No message for 75 and 124
    #[arg(short, long)]
    pub quiet: bool,
}

impl Waiting {
    /// The timeout, for the library.
    pub fn timeout(&self) -> Timeout {
        match self.timeout {
            _ if self.nonblock => Timeout::Now,
            Some(timeout) => Timeout::After(timeout),
            None => Timeout::Never,
        }
    }
}

/// Which objects are wanted.
#[derive(clap::Args, Debug)]
pub struct Filter {
    /// Only your own
    #[arg(long)]
    mine: bool,
    /// Only those of this user
    #[arg(long, value_name = "USER", conflicts_with = "mine")]
    user: Option<OsString>,
    /// Only those not used or changed for this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older: Option<Duration>,
    /// Only those whose address or name matches
    #[arg(long, value_name = "GLOB", value_parser = pattern())]
    name: Option<inventory::Pattern>,
}

impl Filter {
    /// Whether an option other than that of a user chooses among the objects.
    pub fn chooses(&self) -> bool {
        self.older.is_some() || self.name.is_some()
    }

    /// What makes an orphan.
    pub fn patience(&self) -> Patience {
        Patience::older(self.older)
    }

    /// The filter, for the library: objects in these states, or in any.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no such user.
    pub fn wanted(&self, users: &Names, states: Vec<State>) -> Result<inventory::Filter> {
        let uid = match &self.user {
            _ if self.mine => Some(libipc::process::life::own_uid()),
            Some(user) => Some(users.number(user).ok_or_else(|| {
                let error = Error::new(ErrorKind::Usage, printable(user), "is no user of /etc/passwd");
                error.hint(Hint::Advice("say the number of the user".into()))
            })?),
            None => None,
        };
        Ok(inventory::Filter { uid, pattern: self.name.clone(), older: self.older, states })
    }
}

/// Where records end.
#[derive(clap::Args, Debug)]
pub struct Ends {
    /// Records are lines
    #[arg(short, long, conflicts_with = "null")]
    lines: bool,
    /// Records end with a NUL
    #[arg(short = '0', long)]
    null: bool,
}

impl Ends {
    /// The byte that ends a record, if there are records.
    pub fn end(&self) -> Option<u8> {
        match (self.lines, self.null) {
            (true, _) => Some(b'\n'),
            (_, true) => Some(0),
            _ => None,
        }
    }
}

/// How the records of a stream are told apart.
#[derive(clap::Args, Debug)]
pub struct Framed {
    /// Records are lines
    #[arg(short, long, conflicts_with_all = ["null", "binary"])]
    lines: bool,
    /// Records end with a NUL
    #[arg(short = '0', long, conflicts_with = "binary")]
    null: bool,
    /// Records have their length before them: 4 bytes
    #[arg(short = 'B', long)]
    binary: bool,
}

impl Framed {
    /// The framing, for the library.
    pub fn framing(&self) -> Framing {
        match (self.lines, self.null, self.binary) {
            (true, ..) => Framing::End(b'\n'),
            (_, true, _) => Framing::End(0),
            (.., true) => Framing::Length,
            _ => Framing::Bytes,
        }
    }
}

/// How to make a queue.
#[derive(clap::Args, Debug)]
pub struct NewQueue {
    /// Create the queue if it is absent
    #[arg(short, long)]
    create: bool,
    /// POSIX: the number of messages it holds
    #[arg(long, value_name = "N", value_parser = number::<u64>(1..=u64::MAX))]
    max_messages: Option<u64>,
    /// POSIX: the largest message in bytes
    #[arg(long, value_name = "N", value_parser = positive_size)]
    message_size: Option<u64>,
    /// Its permissions [default: 0600 less the umask]
    #[arg(short, long, value_name = "OCTAL", value_parser = mode)]
    mode: Option<Mode>,
}

impl NewQueue {
    /// How to make the queue at this address; None if it must exist.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], before anything is opened.
    pub fn wanted(&self, exclusive: bool, address: &Address) -> Result<Option<Create>> {
        let NewQueue { mode, max_messages, message_size, .. } = *self;
        let usage = |problem, advice: &str| {
            Err(Error::new(ErrorKind::Usage, address, problem).hint(Hint::Advice(advice.into())))
        };
        if address.form() != Form::Posix && (max_messages.is_some() || message_size.is_some()) {
            let problem = "a System V queue has the limits kernel.msgmax and kernel.msgmnb";
            return usage(problem, "set them with sysctl, or use a POSIX queue, /name");
        }
        if self.create || exclusive || address.form() == Form::Private {
            return Ok(Some(Create { exclusive, mode, max_messages, message_size, foreign: false }));
        }
        if mode.is_some() || max_messages.is_some() || message_size.is_some() {
            let problem = "--mode, --max-messages and --message-size are for a new queue";
            return usage(problem, "say -c to create it");
        }
        Ok(None)
    }

    /// Say if a queue that exists is not as it was to be made.
    pub fn report_existing(&self, io: &Io<'_>, address: &Address, queue: &Queue) {
        if self.mode.is_none() && self.max_messages.is_none() && self.message_size.is_none() {
            return;
        }
        let differs = |asked: Option<u64>, has| asked.is_some_and(|asked| asked != has);
        let other = queue
            .attributes()
            .filter(|has| differs(self.max_messages, has.max_messages) || differs(self.message_size, has.message_size));
        let room = other.map(|has| format!("room for {} messages of {} bytes", has.max_messages, has.message_size));
        existing::report(io, (Kind::Mq, address), self.mode, queue.existing_mode(), room);
    }
}
