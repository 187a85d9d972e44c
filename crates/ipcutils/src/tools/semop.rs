//! semop: take and give semaphores, and hold them while a command runs.

use std::ffi::OsString;

use libipc::mode::Mode;
use libipc::sem::{self, Create, Op, Semaphores, State};
use libipc::signals::Deferred;
use libipc::wait::Patience;
use libipc::{Address, Error, ErrorKind, Result, SysV, command};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};

/// Take and give semaphores; with a command, hold them while it runs
#[derive(clap::Parser, Debug)]
#[command(name = "semop", version, after_help = args::AFTER_HELP)]
#[command(override_usage = "semop [OPTIONS] ADDRESS [OP]... [-- COMMAND [ARG]...]
       semop --get [-J] ADDRESS
       semop --set VALUE[,VALUE]... ADDRESS")]
pub struct Args {
    /// Create them with these values if absent
    #[arg(short, long, value_name = "VALUE,...", value_parser = values)]
    create: Option<Values>,
    /// Only create: status 4 if they exist
    #[arg(short = 'x', long, requires = "create")]
    exclusive: bool,
    /// Their permissions, less the umask [default: 0600]
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode, requires = "create")]
    mode: Option<Mode>,
    #[command(flatten)]
    waiting: Waiting,
    /// Print the values, one a line
    #[arg(long, conflicts_with_all = ["create", "nonblock", "timeout", "set", "op", "command"])]
    get: bool,
    /// With --get: JSON, with waiters and last process
    #[arg(short = 'J', long, requires = "get")]
    json: bool,
    /// Set the values
    #[arg(long, value_name = "VALUE,...", value_parser = values, conflicts_with_all = ["create", "nonblock", "timeout", "op", "command"])]
    set: Option<Values>,
    #[arg(value_parser = args::address(), help = args::SEMAPHORE_HELP)]
    address: Address,
    /// -N takes N, +N gives N, =0 waits for zero; I:OP is for element I
    #[arg(value_parser = op, allow_negative_numbers = true)]
    op: Vec<Op>,
    /// Run this, and undo the OPs when it ends
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The values of a set, in order.
#[derive(Clone, Debug)]
struct Values(Vec<u32>);

fn values(text: &str) -> std::result::Result<Values, String> {
    let value = args::number::<u32>(0..=i32::MAX as u64);
    text.split(',').map(value).collect::<std::result::Result<_, _>>().map(Values)
}

fn op(text: &str) -> std::result::Result<Op, String> {
    let (element, change) = text.split_once(':').unwrap_or(("0", text));
    let number = args::number::<u16>(1..=32767);
    let refused = |why: String| format!("{text:?} is no OP: {why}");
    let element = args::number::<u16>(0..=65535)(element).map_err(refused)?;
    let change = match change.split_at_checked(1) {
        Some(("-", takes)) => -number(takes).map_err(refused)?.cast_signed(),
        Some(("+", gives)) => number(gives).map_err(refused)?.cast_signed(),
        Some(("=", "0")) => 0,
        _ => return Err(refused("say -N, +N or =0, with I: in front for element I".to_owned())),
    };
    Ok(Op { element, change })
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn runs_command(&self) -> bool {
        !self.command.is_empty()
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let values = self.create.as_ref().or(self.set.as_ref()).map_or(&[][..], |values| &values.0);
        sem::check(&self.address, values, &self.op)?;
        if self.get {
            self.print(io)?;
            return Ok(Outcome::Done);
        }
        let mut patience = Patience::new(self.waiting.limit());
        if let Some(Values(values)) = &self.set {
            Semaphores::open(&self.address, None, &mut patience)?.set(values)?;
            return Ok(Outcome::Done);
        }
        if self.op.is_empty() && (self.create.is_none() || self.runs_command()) {
            let usage = Error::new(ErrorKind::Usage, &self.address, "there is no OP");
            return Err(usage.mend("say -1 to take one, +1 to give one").into());
        }
        let semaphores = self.open(io, &mut patience)?;
        if self.runs_command() {
            semaphores.hold(&self.op, &mut patience)?;
            return Err(command::exec(&self.command).into());
        }
        if !self.op.is_empty() {
            semaphores.perform(&self.op, &mut patience)?;
        }
        Ok(Outcome::Done)
    }
}

impl Args {
    /// Open the semaphores; a new set that no key finds is announced, or is not.
    fn open(&self, io: &Io<'_>, patience: &mut Patience) -> Result<Semaphores> {
        let Args { exclusive, mode, .. } = *self;
        let create = self.create.as_ref().map(|Values(values)| Create { values: values.clone(), exclusive, mode });
        if self.address != Address::SysV(SysV::Private) {
            return Semaphores::open(&self.address, create.as_ref(), patience);
        }
        if create.is_none() {
            let usage = Error::new(ErrorKind::Usage, &self.address, "makes a new set, of which the values are missing");
            return Err(usage.mend("say -c VALUE,..."));
        }
        // A death by SIGPIPE would leave a set that nobody was told of.
        let signals = Deferred::new()?;
        let semaphores = Semaphores::open(&self.address, create.as_ref(), patience)?;
        if let Semaphores::SysV(new) = &semaphores {
            io.print_while(format_args!("id:{}", new.id()), Some(&signals)).inspect_err(|_| new.discard())?;
        }
        Ok(semaphores)
    }

    fn print(&self, io: &Io<'_>) -> Result<()> {
        let semaphores = Semaphores::look(&self.address)?;
        if !self.json {
            let lines: Vec<_> = semaphores.values()?.iter().map(u32::to_string).collect();
            return io.print(lines.join("\n"));
        }
        let elements = semaphores.states()?.into_iter().enumerate().map(Element::from).collect();
        let json = Json { address: self.address.to_string(), elements };
        let text = serde_json::to_string(&json)
            .map_err(|error| Error::new(ErrorKind::Failure, &self.address, error.to_string()))?;
        io.print(text)
    }
}

/// What --get -J prints.
#[derive(serde::Serialize)]
struct Json {
    address: String,
    elements: Vec<Element>,
}

#[derive(serde::Serialize)]
struct Element {
    index: usize,
    value: u32,
    ncnt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    zcnt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
}

impl From<(usize, State)> for Element {
    fn from((index, state): (usize, State)) -> Self {
        let State { value, waiting, waiting_for_zero, last } = state;
        Element { index, value, ncnt: waiting, zcnt: waiting_for_zero, pid: last }
    }
}
