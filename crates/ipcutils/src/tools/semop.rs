//! semop: take and give semaphores, and hold them while a command runs.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use libipc::address::Form;
use libipc::mode::Mode;
use libipc::process::signals::{Deferred, Interrupting};
use libipc::sem::{Create, Op, OpenOptions, Ops, Semaphores, State, check_values};
use libipc::wait::Wait;
use libipc::{Address, Discard, Error, ErrorKind, Hint, Kind, Result};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};
use crate::existing;
use crate::owner::Waited;
use crate::show::status::Addressed;
use crate::undo::{or_discard, wait_or_discard};

/// Take and give semaphores; with a command, hold them while it runs
#[derive(clap::Parser, Debug)]
#[command(name = "semop", version, after_help = args::AFTER_HELP)]
#[command(override_usage = "semop [OPTIONS] ADDRESS [OP]... [COMMAND [ARG]...]
       semop --max VALUE ADDRESS +N
       semop --barrier N ADDRESS
       semop --get [-J] ADDRESS
       semop --set [I:]VALUE[,[I:]VALUE]... ADDRESS")]
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
    /// Say how long it has waited
    #[arg(short, long)]
    verbose: bool,
    /// Give only up to this value
    #[arg(long, value_name = "VALUE", value_parser = args::number::<u32>(0..=i32::MAX as u64), conflicts_with_all = ["command", "nonblock", "timeout"])]
    max: Option<u32>,
    /// Wait until N processes have arrived here
    #[arg(long, value_name = "N", value_parser = args::number::<u16>(1..=32767), conflicts_with_all = ["op", "command", "max"])]
    barrier: Option<u16>,
    /// Print the values, one a line
    #[arg(long, conflicts_with_all = ["create", "nonblock", "timeout", "set", "op", "command", "max", "barrier", "verbose"])]
    get: bool,
    /// With --get: JSON, with waiters and last process
    #[arg(short = 'J', long, requires = "get")]
    json: bool,
    /// Set the values, or that of element I: I:VALUE,...
    #[arg(long, value_name = "VALUE,...", value_parser = settings, conflicts_with_all = ["create", "nonblock", "timeout", "op", "command", "max", "barrier", "verbose"])]
    set: Option<Settings>,
    #[arg(value_parser = args::address(Kind::Sem), help = args::forms(Kind::Sem, &[]))]
    address: Address,
    /// -N takes N, +N gives N, =0 waits for zero; I:OP is for element I
    #[arg(value_parser = op, allow_negative_numbers = true)]
    op: Vec<Op>,
    /// Run this, then undo the OPs, or those with a u behind
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The values of a set, in order.
#[derive(Clone, Debug)]
struct Values(Vec<u32>);

fn value(text: &str) -> std::result::Result<u32, String> {
    args::number::<u32>(0..=i32::MAX as u64)(text)
}

fn values(text: &str) -> std::result::Result<Values, String> {
    text.split(',').map(value).collect::<std::result::Result<_, _>>().map(Values)
}

/// What `--set` sets: all values, or those of some elements.
#[derive(Clone, Debug)]
enum Settings {
    All(Values),
    Some(Vec<(u16, u32)>),
}

fn settings(text: &str) -> std::result::Result<Settings, String> {
    if !text.contains(':') {
        return values(text).map(Settings::All);
    }
    let one = |text: &str| {
        let (index, new) = text.split_once(':').ok_or_else(|| format!("{text:?} has no element: say I:VALUE"))?;
        Ok((element(index)?, value(new)?))
    };
    text.split(',').map(one).collect::<std::result::Result<_, _>>().map(Settings::Some)
}

fn element(text: &str) -> std::result::Result<u16, String> {
    args::number::<u16>(0..=65535)(text)
}

fn op(text: &str) -> std::result::Result<Op, String> {
    let refused = |why: String| format!("{text:?} is no OP: {why}");
    // ipcmd(1) has it so.
    if let Some((index, rest)) = text.split_once('=')
        && !index.is_empty()
        && element(index).is_ok()
    {
        let (rest, zero) = (rest.trim_end_matches('n'), if rest.starts_with(['-', '+']) { "" } else { "=" });
        return Err(refused(format!("say {index}:{zero}{rest}")));
    }
    let (index, change) = text.split_once(':').unwrap_or(("0", text));
    let (change, undo) = change.strip_suffix('u').map_or((change, false), |change| (change, true));
    if change.ends_with('n') {
        return Err(refused("say -n for all of them".to_owned()));
    }
    let number = args::number::<u16>(1..=32767);
    let element = element(index).map_err(refused)?;
    let change = match change.split_at_checked(1) {
        Some(("-", takes)) => -number(takes).map_err(refused)?.cast_signed(),
        Some(("+", gives)) => number(gives).map_err(refused)?.cast_signed(),
        Some(("=", "0")) if !undo => 0,
        _ => return Err(refused("say -N, +N or =0, with I: in front for element I".to_owned())),
    };
    Ok(Op { element, change, undo })
}

impl Tool for Args {
    /// Words that could be meant as OPs are none of a command.
    fn is_own(place: usize, operand: &OsStr) -> bool {
        let is_program = |byte: &u8| byte.is_ascii_alphabetic() || b"/._~".contains(byte);
        place == 0 || operand.as_bytes().contains(&b':') || !operand.as_bytes().first().is_some_and(is_program)
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut wait = Wait::new(self.waiting.timeout());
        if self.get {
            self.print(io)?;
            return Ok(Outcome::Done);
        }
        if let Some(settings) = &self.set {
            self.set(settings, &mut wait)?;
            return Ok(Outcome::Done);
        }
        let create = self.create()?;
        let ops = Ops::new(&self.address, self.ops()?, create.as_ref())?;
        let mut semaphores = self.open(io, create, &mut wait)?;
        let waited = Waited::begin(io, &self.address, self.verbose);
        if !self.command.is_empty() {
            // While a new one is waited for, a signal does not leave it behind.
            let signals = if semaphores.is_new() { Interrupting::new(&self.address).ok() } else { None };
            let signals = Cell::new(signals);
            let performed = || {
                drop(signals.take());
                waited.say();
            };
            let ended = semaphores.run(&ops, &self.command, &mut wait, performed);
            return Ok(or_discard(&semaphores, ended)?.into());
        }
        if self.op.is_empty() && self.barrier.is_none() {
            return Ok(Outcome::Done);
        }
        wait_or_discard(&mut semaphores, &self.address, |semaphores| match (&self.op[..], self.max, self.barrier) {
            ([op], Some(max), _) => semaphores.give_up_to(op.element, op.change.unsigned_abs().into(), max),
            (.., Some(count)) => semaphores.barrier(count, &mut wait),
            _ => semaphores.operate(&ops, &mut wait),
        })?;
        waited.say();
        Ok(Outcome::Done)
    }
}

impl Args {
    fn usage<T>(&self, problem: &str, advice: &str) -> Result<T> {
        Err(Error::new(ErrorKind::Usage, &self.address, problem).hint(Hint::Advice(advice.into())))
    }

    fn set(&self, settings: &Settings, wait: &mut Wait) -> Result<()> {
        let values = match settings {
            Settings::All(Values(values)) => values.clone(),
            // Each by itself: they need not be a set.
            Settings::Some(some) => some.iter().map(|&(_, value)| value).max().into_iter().collect(),
        };
        check_values(&self.address, &values)?;
        let semaphores = Semaphores::open(&self.address, &OpenOptions::default(), wait)?;
        match settings {
            Settings::All(Values(values)) => semaphores.set(values),
            Settings::Some(some) => some.iter().try_for_each(|&(index, value)| semaphores.set_element(index, value)),
        }
    }

    /// The operations. With a command those are undone that say so, and all if none does.
    fn ops(&self) -> Result<Vec<Op>> {
        let some = self.op.iter().any(|op| op.undo);
        match (self.max, &self.op[..]) {
            (Some(_), [Op { change: 1.., undo: false, .. }]) | (None, _) => {}
            _ => return self.usage("--max is for one OP that gives", "say --max VALUE ADDRESS +1"),
        }
        if some && self.command.is_empty() {
            let problem = "without a command an OP cannot be undone: it would be at once";
            return self.usage(problem, "leave the u out, or say what to run");
        }
        let all = !some && !self.command.is_empty();
        Ok(self.op.iter().map(|op| Op { undo: op.undo || all, ..*op }).collect())
    }

    /// How to make semaphores that are absent; refused if there is nothing to do.
    fn create(&self) -> Result<Option<Create>> {
        let Args { exclusive, mode, .. } = *self;
        let create = self.create.as_ref().map(|Values(values)| Create { values: values.clone(), exclusive, mode });
        check_values(&self.address, create.as_ref().map_or(&[], |create| &create.values))?;
        let only_creates = create.is_some() && self.command.is_empty();
        if self.op.is_empty() && self.barrier.is_none() && !only_creates {
            return self.usage("there is no OP", "say -1 to take one, +1 to give one");
        }
        if create.is_none() && self.address.form() == Form::Private {
            return self.usage("makes a new set, and its values are missing", "say -c VALUE,...");
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
