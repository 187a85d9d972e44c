//! The columns of ipcls: what can be said of an object, each by one word.

use std::time::{Duration, SystemTime};

use libipc::inventory::users::Names;
use libipc::inventory::{Detail, Object, Queue, Segment, Semaphores, Unseen, Verdict};

use super::status::{lock_summary, ring_summary};
use crate::human;

/// An object, and its verdict if the columns ask for one.
#[derive(Clone, Debug)]
pub struct Row {
    /// The object.
    pub object: Object,
    /// Who holds it.
    pub verdict: Option<Verdict>,
}

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
    /// Permission bits.
    Mode(u32),
    /// A number for each element.
    Numbers(Vec<u64>),
    /// Two numbers for each element.
    Pairs(Vec<(u64, u64)>),
    /// Processes, and whether there may be others.
    Holders(Vec<u64>, Unseen),
    /// How long ago something was.
    Age(Duration),
    /// A moment.
    Time(SystemTime),
    /// Yes or no.
    Flag(bool),
}

/// What values are made from.
#[derive(Debug)]
pub struct Context {
    users: Names,
    groups: Names,
}

impl Context {
    /// Read the names of users and groups.
    pub fn new() -> Self {
        Context { users: Names::of_users(), groups: Names::of_groups() }
    }

    /// The names of users.
    pub fn users(&self) -> &Names {
        &self.users
    }
}

impl Default for Context {
    fn default() -> Self {
        Context::new()
    }
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// The word for it, as `-o` takes it.
    pub name: &'static str,
    value: Source,
}

/// What a value is made from.
#[derive(Debug)]
enum Source {
    Object(fn(&Object, &Context) -> Value),
    /// From the verdict, for which all processes are looked at.
    Verdict(fn(&Verdict) -> Value),
}

/// Columns that were chosen.
#[derive(Clone, Debug)]
pub struct Columns(pub Vec<&'static Column>);

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Column {
    /// The column of this name.
    pub fn find(name: &str) -> Option<&'static Column> {
        Self::ALL.iter().find(|column| column.name == name)
    }

    /// The columns of these names.
    pub fn named(names: &[&str]) -> Vec<&'static Column> {
        names.iter().filter_map(|name| Self::find(name)).collect()
    }

    /// Whether it needs the verdict on an object.
    pub fn needs_verdict(&self) -> bool {
        matches!(self.value, Source::Verdict(_))
    }

    /// The value of this column for an object.
    pub fn value(&self, row: &Row, context: &Context) -> Value {
        match (&self.value, &row.verdict) {
            (Source::Object(value), _) => value(&row.object, context),
            (Source::Verdict(value), Some(verdict)) => value(verdict),
            (Source::Verdict(_), None) => Value::Unknown,
        }
    }

    /// The name for JSON.
    pub fn member(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The columns of a table, if none are chosen.
    pub const DEFAULT: [&str; 8] = ["state", "owner", "mode", "size", "use", "holders", "age", "address"];

    /// The columns of `--watch`, if none are chosen.
    pub const WATCHED: [&str; 6] = ["state", "use", "waiters", "holders", "age", "address"];

    /// All columns, in the order of the manual.
    pub const ALL: &[Column] = &[
        column("address", |object, _| Value::Text(object.address.to_string())),
        judged("state", |verdict| Value::Text(verdict.state.as_str().into())),
        column("type", |object, _| Value::Text(object.address.kind().as_str().into())),
        column("api", |object, _| Value::Text(if object.is_sysv() { "sysv" } else { "posix" }.into())),
        column("key", |object, _| or_absent(object.key, |key| Value::Text(key.to_string()))),
        column("id", |object, _| or_absent(object.id, |id| Value::Number(u64::from(id.unsigned_abs())))),
        column("owner", owner),
        column("uid", |object, _| Value::Number(object.uid.into())),
        column("group", |object, context| Value::Text(context.groups.name(object.gid))),
        column("gid", |object, _| Value::Number(object.gid.into())),
        column("mode", |object, _| Value::Mode(object.mode)),
        column("size", size),
        column("use", in_use),
        column("messages", |object, _| queue(object, |queue| queue.messages)),
        column("max-messages", |object, _| {
            if object.is_sysv() { Value::Absent } else { queue(object, |queue| queue.max_messages) }
        }),
        column("message-size", |object, _| {
            match if object.is_sysv() { Value::Absent } else { queue(object, |queue| queue.message_size) } {
                Value::Number(bytes) => Value::Bytes(bytes),
                other => other,
            }
        }),
        column("max-bytes", |object, _| {
            match if object.is_sysv() { queue(object, |queue| queue.max_bytes) } else { Value::Absent } {
                Value::Number(bytes) => Value::Bytes(bytes),
                other => other,
            }
        }),
        column("values", values),
        column("waiters", waiters),
        judged("holders", |verdict| {
            let pids = verdict.holders.iter().map(|holder| u64::from(holder.pid.unsigned_abs())).collect();
            Value::Holders(pids, verdict.unseen)
        }),
        judged("others", |verdict| match verdict.unseen {
            Unseen::None => Value::Number(0),
            Unseen::Some(count) => Value::Number(count),
            Unseen::Unknown => Value::Unknown,
        }),
        column("attached", |object, _| segment(object, |segment| segment.attached.map(Value::Number))),
        column("removed", |object, _| match object.detail {
            Detail::Segment(Segment { removed, .. }) if object.is_sysv() => Value::Flag(removed),
            _ => Value::Absent,
        }),
        column("resident", |object, _| segment(object, |segment| segment.resident.map(Value::Bytes))),
        column("swapped", |object, _| segment(object, |segment| segment.swapped.map(Value::Bytes))),
        column("creator", |object, _| match object.creator {
            Some(creator) if is_sysv_segment(object) => creator.pid.map_or(Value::Unknown, pid),
            _ => Value::Absent,
        }),
        column("creator-gone", |object, _| match object.creator {
            Some(creator) if is_sysv_segment(object) => creator.gone.map_or(Value::Unknown, Value::Flag),
            _ => Value::Absent,
        }),
        column("creator-uid", |object, _| or_absent(object.creator, |creator| Value::Number(creator.uid.into()))),
        column("last-pid", last_pid),
        column("age", |object, _| Value::Age(object.age())),
        column("created", |object, _| or_absent(object.times.created, Value::Time)),
        column("changed", |object, _| or_absent(object.times.changed, Value::Time)),
        column("modified", |object, _| or_absent(object.times.modified, Value::Time)),
        column("attached-at", |object, _| or_absent(object.times.attached, Value::Time)),
        column("detached-at", |object, _| or_absent(object.times.detached, Value::Time)),
        column("sent-at", |object, _| or_absent(object.times.sent, Value::Time)),
        column("received-at", |object, _| or_absent(object.times.received, Value::Time)),
        column("operated-at", |object, _| or_absent(object.times.operated, Value::Time)),
    ];
}

const fn column(name: &'static str, value: fn(&Object, &Context) -> Value) -> Column {
    Column { name, value: Source::Object(value) }
}

const fn judged(name: &'static str, value: fn(&Verdict) -> Value) -> Column {
    Column { name, value: Source::Verdict(value) }
}

fn or_absent<T>(value: Option<T>, then: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Absent, then)
}

fn pid(pid: i32) -> Value {
    Value::Number(u64::from(pid.unsigned_abs()))
}

fn is_sysv_segment(object: &Object) -> bool {
    object.is_sysv() && matches!(object.detail, Detail::Segment(_))
}

/// The creator of a System V object has the rights of its owner.
fn owner(object: &Object, context: &Context) -> Value {
    let owner = context.users.name(object.uid);
    Value::Text(match object.creator {
        Some(creator) if creator.uid != object.uid => format!("{owner},{}", context.users.name(creator.uid)),
        _ => owner,
    })
}

fn size(object: &Object, _: &Context) -> Value {
    match (object.size, &object.detail) {
        (_, Detail::Semaphores(Semaphores { count, .. })) => Value::Number(*count),
        (None, _) => Value::Unknown,
        (Some(bytes), _) => Value::Bytes(bytes),
    }
}

fn queue(object: &Object, choose: impl Fn(&Queue) -> Option<u64>) -> Value {
    match &object.detail {
        Detail::Queue(queue) => choose(queue).map_or(Value::Unknown, Value::Number),
        _ => Value::Absent,
    }
}

fn segment(object: &Object, choose: impl Fn(&Segment) -> Option<Value>) -> Value {
    match &object.detail {
        Detail::Segment(segment) => choose(segment).unwrap_or(Value::Absent),
        _ => Value::Absent,
    }
}

fn values(object: &Object, _: &Context) -> Value {
    match &object.detail {
        Detail::Semaphores(Semaphores { values: Some(values), .. }) => {
            Value::Numbers(values.iter().map(|value| u64::from(*value)).collect())
        }
        Detail::Semaphores(_) => Value::Unknown,
        _ => Value::Absent,
    }
}

fn waiters(object: &Object, _: &Context) -> Value {
    match object.detail {
        Detail::Semaphores(_) => object.waiting().map_or(Value::Unknown, Value::Pairs),
        _ => Value::Absent,
    }
}

fn last_pid(object: &Object, _: &Context) -> Value {
    match &object.detail {
        Detail::Segment(Segment { last_pid: Some(last), .. }) => pid(*last),
        Detail::Queue(Queue { last_sender: Some(sender), last_receiver: Some(receiver), .. }) => {
            Value::Numbers([sender, receiver].into_iter().map(|pid| u64::from(pid.unsigned_abs())).collect())
        }
        Detail::Semaphores(_) if object.is_sysv() => object.last_pids().map_or(Value::Unknown, Value::Numbers),
        _ => Value::Absent,
    }
}

/// How full a queue is, the values of semaphores, the state of a ring or a lock.
fn in_use(object: &Object, _: &Context) -> Value {
    let text = match &object.detail {
        Detail::Segment(_) => return Value::Absent,
        Detail::Queue(Queue { messages: None, .. }) | Detail::Semaphores(Semaphores { values: None, .. }) => {
            return Value::Unknown;
        }
        Detail::Queue(Queue { messages: Some(messages), max_messages: Some(max), .. }) => format!("{messages}/{max}"),
        Detail::Queue(Queue { messages: Some(messages), max_bytes, .. }) => match (object.size, max_bytes) {
            (Some(size), Some(max)) if *max > 0 => {
                format!("{messages}, {}%", u128::from(size) * 100 / u128::from(*max))
            }
            _ => messages.to_string(),
        },
        Detail::Semaphores(Semaphores { values: Some(values), .. }) => {
            const SHOWN: usize = 4;
            let mut text = values.iter().take(SHOWN).map(u32::to_string).collect::<Vec<_>>().join(",");
            if values.len() > SHOWN {
                text += ",..";
            }
            text
        }
        Detail::Ring(Ok(status), _) => ring_summary(status),
        Detail::Lock(Ok(status), _) => lock_summary(status),
        Detail::Ring(Err(_), _) | Detail::Lock(Err(_), _) => "corrupt".to_owned(),
    };
    Value::Text(text)
}

impl Value {
    /// The value for people, in a table.
    pub fn in_table(&self) -> String {
        match self {
            Value::Bytes(bytes) => human::size(*bytes),
            Value::Age(age) => human::age(*age),
            Value::Pairs(pairs) => pairs.iter().map(|(one, other)| one + other).sum::<u64>().to_string(),
            Value::Holders(pids, others) => {
                const SHOWN: usize = 2;
                let mut words: Vec<String> = pids.iter().take(SHOWN).map(u64::to_string).collect();
                let more = pids.len().saturating_sub(SHOWN) as u64;
                match others {
                    Unseen::Unknown if more > 0 => words.push(format!("+{more}+?")),
                    Unseen::Unknown if words.is_empty() => words.push("?".into()),
                    Unseen::Unknown => words.push("+?".into()),
                    Unseen::None if more == 0 => {}
                    Unseen::None => words.push(format!("+{more}")),
                    Unseen::Some(unseen) => words.push(format!("+{}", more + unseen)),
                }
                if words.is_empty() { "-".into() } else { words.join(",") }
            }
            other => other.plain(),
        }
    }

    /// The value for scripts, and where there is room: nothing is shortened.
    pub fn plain(&self) -> String {
        let join = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(",") };
        match self {
            Value::Absent => "-".into(),
            Value::Unknown => "?".into(),
            Value::Text(text) => text.clone(),
            Value::Number(number) | Value::Bytes(number) => number.to_string(),
            Value::Mode(mode) => format!("{mode:04o}"),
            Value::Numbers(numbers) => join(numbers.iter().map(u64::to_string).collect()),
            Value::Pairs(pairs) => join(pairs.iter().map(|(one, other)| format!("{one}+{other}")).collect()),
            Value::Holders(pids, others) => {
                let mut words: Vec<String> = pids.iter().map(u64::to_string).collect();
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
        matches!(self, Value::Number(_) | Value::Bytes(_) | Value::Age(_) | Value::Mode(_))
    }

    /// The value as one field of a line: blanks are escaped too.
    pub fn raw(&self) -> String {
        self.plain().replace(' ', "\\x20")
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Absent | Value::Unknown => serializer.serialize_none(),
            Value::Number(number) | Value::Bytes(number) => serializer.serialize_u64(*number),
            Value::Numbers(numbers) | Value::Holders(numbers, _) => serializer.collect_seq(numbers),
            Value::Pairs(pairs) => serializer.collect_seq(pairs),
            Value::Age(age) => serializer.serialize_u64(age.as_secs()),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            other => serializer.serialize_str(&other.plain()),
        }
    }
}
