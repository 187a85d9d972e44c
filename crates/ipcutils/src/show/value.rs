//! A field of ipcls: for a table, for scripts, and as JSON.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use libipc::inventory::{Call, Holder, Unseen, Waiter, program};
use serde::Serialize;

use crate::human;

/// The content of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// This kind of object has no such thing.
    Absent,
    /// It cannot be known.
    Unknown,
    /// Words.
    Text(String),
    /// A number.
    Number(u64),
    /// A number of bytes.
    Bytes(u64),
    /// How many were found, and whether these are all.
    Found(u64, bool),
    /// Permission bits.
    Mode(u32),
    /// A number for each element.
    Numbers(Vec<u64>),
    /// The semaphores of a set.
    Elements(Vec<Element>),
    /// Processes, and whether there may be others. True for a System V segment.
    Holders(Vec<Holder>, Unseen, bool),
    /// Processes that sleep on the object.
    Waiters(Vec<Waiter>),
    /// How long ago something was.
    Age(Duration),
    /// A moment.
    Time(SystemTime),
    /// Yes or no.
    Flag(bool),
}

/// A semaphore of a set. None for what may not be known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Element {
    /// Its place, from 0.
    pub index: usize,
    /// Its value.
    pub value: Option<u64>,
    /// How many wait for it to grow.
    pub waiting: Option<u64>,
    /// How many wait for it to become zero.
    pub waiting_for_zero: Option<u64>,
    /// The process that changed it last; None if nobody did.
    pub last_pid: Option<u64>,
    /// The program that this process runs; None if it has ended.
    pub last_command: Option<String>,
}

impl Element {
    /// The element in words.
    pub fn words(&self) -> String {
        let number = |number: Option<u64>| number.map_or("unknown".to_owned(), |number| number.to_string());
        let mut words = format!(
            "{}: value {}, waiting {}, for zero {}",
            self.index,
            number(self.value),
            number(self.waiting),
            number(self.waiting_for_zero)
        );
        if let Some(pid) = self.last_pid.filter(|&pid| pid != 0) {
            words += &format!(", last changed by {pid} {}", self.last_command.as_deref().unwrap_or("(ended)"));
        }
        words
    }
}

/// A process by its number, with the name of its program.
pub(super) fn process(pid: u64) -> String {
    match i32::try_from(pid).ok().and_then(program) {
        Some(program) => format!("{pid} {program}"),
        None => format!("{pid} (ended)"),
    }
}

/// How a process holds an object, in words.
pub(super) fn ways(holder: &Holder, attached: bool) -> Vec<&'static str> {
    let mapped = if attached { "attached" } else { "mapped" };
    [("open", holder.open), (mapped, holder.mapped)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(way, _)| way)
        .collect()
}

/// The call in which a process sleeps, as the manual names it.
pub(super) fn call(call: Call) -> &'static str {
    match call {
        Call::Operate => "semop(2)",
        Call::Send => "msgsnd(2)",
        Call::Receive => "msgrcv(2)",
        Call::TimedSend => "mq_timedsend(2)",
        Call::TimedReceive => "mq_timedreceive(2)",
        Call::Futex => "futex(2)",
    }
}

#[derive(Serialize)]
struct HolderJson {
    pid: i32,
    command: Option<String>,
    access: Vec<&'static str>,
    open: u64,
    mapped: u64,
}

#[derive(Serialize)]
struct WaiterJson {
    pid: i32,
    command: Option<String>,
    call: &'static str,
}

fn pids<T>(all: &[T], pid: impl Fn(&T) -> i32) -> Vec<u64> {
    all.iter().map(|one| u64::from(pid(one).unsigned_abs())).collect()
}

/// The first of these, and how many more there are.
fn few(pids: &[u64], unseen: u64) -> String {
    const SHOWN: usize = 2;
    let mut words: Vec<String> = pids.iter().take(SHOWN).map(u64::to_string).collect();
    let more = pids.len().saturating_sub(SHOWN) as u64 + unseen;
    if more > 0 {
        words.push(format!("+{more}"));
    }
    if words.is_empty() { "-".into() } else { words.join(",") }
}

impl Value {
    /// The value for people, in a table.
    pub fn in_table(&self) -> String {
        match self {
            Value::Bytes(bytes) => human::size(*bytes),
            Value::Age(age) => human::age(*age),
            // Who could not be looked at is said once, below the table.
            Value::Found(0, false) => "-".into(),
            Value::Found(found, _) => found.to_string(),
            Value::Holders(holders, others, _) => {
                let unseen = if let Unseen::Some(unseen) = others { *unseen } else { 0 };
                few(&pids(holders, |holder| holder.pid), unseen)
            }
            Value::Waiters(waiters) => few(&pids(waiters, |waiter| waiter.pid), 0),
            other => other.plain(),
        }
    }

    /// The value for scripts, and where there is room: nothing is shortened.
    pub fn plain(&self) -> String {
        let join = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(",") };
        match self {
            Value::Absent => "-".into(),
            Value::Unknown | Value::Found(0, false) => "?".into(),
            Value::Found(found, _) => found.to_string(),
            Value::Text(text) => text.clone(),
            Value::Number(number) | Value::Bytes(number) => number.to_string(),
            Value::Mode(mode) => format!("{mode:04o}"),
            Value::Numbers(numbers) => join(numbers.iter().map(u64::to_string).collect()),
            Value::Elements(elements) => {
                join(elements.iter().map(|element| element.words().replace(", ", " ")).collect())
            }
            Value::Waiters(waiters) => join(waiters.iter().map(|waiter| waiter.pid.to_string()).collect()),
            Value::Holders(holders, others, _) => {
                let mut words: Vec<String> = holders.iter().map(|holder| holder.pid.to_string()).collect();
                match others {
                    Unseen::None => {}
                    Unseen::Some(count) => words.push(format!("+{count}")),
                    Unseen::Unknown => words.push("?".into()),
                }
                join(words)
            }
            Value::Age(age) => age.as_secs().to_string(),
            Value::Time(time) => human::timestamp(*time),
            Value::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
        }
    }

    /// Whether the value stands at the right of its column.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Value::Number(_) | Value::Bytes(_) | Value::Found(..) | Value::Age(_) | Value::Mode(_))
    }

    /// The value as one field of a line: blanks are escaped too.
    pub fn raw(&self) -> String {
        self.plain().replace(' ', "\\x20")
    }

    /// The value between the double quotes of a shell, for eval. Nothing in it means
    /// anything to the shell.
    pub fn quoted(&self) -> String {
        let escape = |c: char| match c {
            '"' | '$' | '`' | '!' => format!("\\x{:02x}", c as u32),
            c => c.to_string(),
        };
        // What is printable has a backslash as the begin of \\xHH alone.
        if matches!(self, Value::Absent | Value::Unknown) {
            String::new()
        } else {
            self.plain().chars().map(escape).collect()
        }
    }

    /// The order of values of one column: numbers by size, words by letters, and what is
    /// unknown last.
    pub fn compare(&self, other: &Value) -> Ordering {
        let number = |value: &Value| match value {
            Value::Number(number) | Value::Bytes(number) | Value::Found(number, _) => Some(u128::from(*number)),
            Value::Mode(mode) => Some(u128::from(*mode)),
            Value::Age(age) => Some(age.as_nanos()),
            Value::Flag(flag) => Some(u128::from(*flag)),
            _ => None,
        };
        let unknown = |value: &Value| matches!(value, Value::Absent | Value::Unknown);
        let by_number = || Some(number(self)?.cmp(&number(other)?));
        unknown(self).cmp(&unknown(other)).then_with(|| by_number().unwrap_or_else(|| self.plain().cmp(&other.plain())))
    }
}

impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Found(found, _) if *found > 0 => serializer.serialize_u64(*found),
            Value::Found(_, true) => serializer.serialize_u64(0),
            Value::Absent | Value::Unknown | Value::Found(..) => serializer.serialize_none(),
            Value::Number(number) | Value::Bytes(number) => serializer.serialize_u64(*number),
            Value::Numbers(numbers) => serializer.collect_seq(numbers),
            Value::Elements(elements) => serializer.collect_seq(elements),
            Value::Holders(holders, _, attached) => serializer.collect_seq(holders.iter().map(|holder| HolderJson {
                pid: holder.pid,
                command: program(holder.pid),
                access: ways(holder, *attached),
                open: holder.open,
                mapped: holder.mapped,
            })),
            Value::Waiters(waiters) => serializer.collect_seq(waiters.iter().map(|waiter| WaiterJson {
                pid: waiter.pid,
                command: program(waiter.pid),
                call: call(waiter.call),
            })),
            Value::Age(age) => serializer.serialize_u64(age.as_secs()),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            other => serializer.serialize_str(&other.plain()),
        }
    }
}
