//! semop: take and give semaphores, and hold them while a command runs.

use std::ffi::OsString;

use libipc::address::Form;
use libipc::mode::Mode;
use libipc::process::command;
use libipc::process::signals::Deferred;
use libipc::sem::{Create, Op, OpenOptions, Ops, Semaphores, State, check_values};
use libipc::wait::Wait;
use libipc::{Address, Error, ErrorKind, Hint, Kind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};
use crate::existing;
use crate::show::status::Addressed;
use crate::undo::{or_discard, wait_or_discard};

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
    /// Their permissions [default: 0600 less the umask]
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
    #[arg(value_parser = args::address(Kind::Sem), help = args::forms(Kind::Sem, &[]))]
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
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut wait = Wait::new(self.waiting.timeout());
        if self.get {
            self.print(io)?;
            return Ok(Outcome::Done);
        }
        if let Some(Values(values)) = &self.set {
            check_values(&self.address, values)?;
            Semaphores::open(&self.address, &OpenOptions::default(), &mut wait)?.set(values)?;
            return Ok(Outcome::Done);
        }
        let create = self.create()?;
        let ops = Ops::new(&self.address, self.op.clone(), create.as_ref())?;
        let mut semaphores = self.open(io, create, &mut wait)?;
        wait_or_discard(&mut semaphores, &self.address, |semaphores| match (&self.op[..], &self.command[..]) {
            ([], _) => Ok(()),
            (_, []) => semaphores.operate(&ops, &mut wait),
            _ => semaphores.operate_with_undo(&ops, &mut wait),
        })?;
        if self.command.is_empty() { Ok(Outcome::Done) } else { Err(command::exec(&self.command).into()) }
    }
}

impl Args {
    /// How to make semaphores that are absent; refused if there is nothing to do.
    fn create(&self) -> Result<Option<Create>> {
        let Args { exclusive, mode, .. } = *self;
        let create = self.create.as_ref().map(|Values(values)| Create { values: values.clone(), exclusive, mode });
        let usage = |problem: &str, advice: &str| {
            Err(Error::new(ErrorKind::Usage, &self.address, problem).hint(Hint::Advice(advice.into())))
        };
        check_values(&self.address, create.as_ref().map_or(&[], |create| &create.values))?;
        if self.op.is_empty() && (create.is_none() || !self.command.is_empty()) {
            return usage("there is no OP", "say -1 to take one, +1 to give one");
        }
        if create.is_none() && self.address.form() == Form::Private {
            return usage("makes a new set, and its values are missing", "say -c VALUE,...");
        }
        Ok(create)
    }

    /// Open or make the semaphores. A new set that no key finds is announced, or
    /// discarded.
    fn open(&self, io: &Io<'_>, create: Option<Create>, wait: &mut Wait) -> Result<Semaphores> {
        let signals = if self.address.form() == Form::Private { Some(Deferred::new()?) } else { None };
        let semaphores = Semaphores::open(&self.address, &OpenOptions { create }, wait)?;
        if self.mode.is_some() {
            existing::report(io, (Kind::Sem, &self.address), self.mode, semaphores.existing_mode(), None);
        }
        if let (Some(signals), Some(id)) = (signals, semaphores.id()) {
            or_discard(&semaphores, io.announce(id, &signals))?;
        }
        Ok(semaphores)
    }

    fn print(&self, io: &Io<'_>) -> Result<()> {
        let semaphores = Semaphores::inspect(&self.address)?;
        if !self.json {
            let lines: Vec<_> = semaphores.values()?.iter().map(u32::to_string).collect();
            return io.print(lines.join("\n"));
        }
        let elements = semaphores.states()?.into_iter().enumerate().map(Element::from).collect();
        io.print_json(&Addressed { address: self.address.to_string(), status: Elements { elements } })
    }
}

/// What --get -J prints.
#[derive(serde::Serialize)]
struct Elements {
    elements: Vec<Element>,
}

#[derive(serde::Serialize)]
struct Element {
    index: usize,
    value: u32,
    waiting: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for_zero: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_pid: Option<i32>,
}

impl From<(usize, State)> for Element {
    fn from((index, state): (usize, State)) -> Self {
        let State { value, waiting, waiting_for_zero, last_pid } = state;
        Element { index, value, waiting, waiting_for_zero, last_pid }
    }
}
