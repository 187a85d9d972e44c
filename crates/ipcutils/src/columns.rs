//! The columns of ipcls: what can be said of an object, each by one word.

use std::time::Duration;

use libipc::inventory::users::Names;
use libipc::inventory::{Detail, Object, Others};

use crate::args;

/// What stands in a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// This kind has no such thing.
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
    /// Processes, and who else there may be.
    Holders(Vec<u64>, Others),
    /// How long ago.
    Age(Duration),
    /// A moment, in seconds since the epoch.
    Time(i64),
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
    /// Its word, as `-o` takes it.
    pub name: &'static str,
    /// Whether it asks for who holds the object.
    pub needs_holders: bool,
    value: fn(&Object, &Context) -> Value,
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Column {
    /// The column of this name.
    pub fn find(name: &str) -> Option<&'static Column> {
        ALL.iter().find(|column| column.name == name)
    }

    /// What it says of an object.
    pub fn value(&self, object: &Object, context: &Context) -> Value {
        (self.value)(object, context)
    }

    /// The name for JSON.
    pub fn member(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The columns of a table, if none are chosen.
pub const DEFAULT: [&str; 8] = ["state", "owner", "mode", "size", "use", "holders", "age", "address"];

/// The same for `--watch`.
pub const WATCHED: [&str; 6] = ["state", "use", "waiters", "holders", "age", "address"];

const fn column(name: &'static str, value: fn(&Object, &Context) -> Value) -> Column {
    Column { name, needs_holders: false, value }
}

const fn held(name: &'static str, value: fn(&Object, &Context) -> Value) -> Column {
    Column { name, needs_holders: true, value }
}

/// All columns, in the order of the manual.
pub const ALL: &[Column] = &[
    column("address", |object, _| Value::Text(object.address.to_string())),
    held("state", |object, _| Value::Text(object.state.as_str().into())),
    column("type", |object, _| Value::Text(object.address.kind.as_str().into())),
    column("api", |object, _| Value::Text(if object.is_sysv() { "sysv" } else { "posix" }.into())),
    column("key", |object, _| or_absent(object.key, |key| Value::Text(key.to_string()))),
    column("id", |object, _| or_absent(object.id, |id| Value::Number(u64::from(id.unsigned_abs())))),
    column("owner", |object, context| Value::Text(context.users.name(object.uid))),
    column("uid", |object, _| Value::Number(object.uid.into())),
    column("group", |object, context| Value::Text(context.groups.name(object.gid))),
    column("gid", |object, _| Value::Number(object.gid.into())),
    column("mode", |object, _| Value::Mode(object.mode)),
    column("size", size),
    column("use", in_use),
    column("messages", |object, _| queue(object, |queue| queue.0)),
    column("max-messages", |object, _| if object.is_sysv() { Value::Absent } else { queue(object, |queue| queue.1) }),
    column("message-size", |object, _| {
        match if object.is_sysv() { Value::Absent } else { queue(object, |queue| queue.2) } {
            Value::Number(bytes) => Value::Bytes(bytes),
            other => other,
        }
    }),
    column("max-bytes", |object, _| {
        match if object.is_sysv() { queue(object, |queue| queue.3) } else { Value::Absent } {
            Value::Number(bytes) => Value::Bytes(bytes),
            other => other,
        }
    }),
    column("values", values),
    column("waiters", waiters),
    held("holders", |object, _| {
        let pids = object.holders.iter().map(|holder| u64::from(holder.pid.unsigned_abs())).collect();
        Value::Holders(pids, object.others)
    }),
    held("others", |object, _| match object.others {
        Others::None => Value::Number(0),
        Others::Some(count) => Value::Number(count),
        Others::Unknown => Value::Unknown,
    }),
    column("attached", |object, _| or_absent(object.attached(), Value::Number)),
    column("removed", |object, _| match object.detail {
        Detail::Segment { removed, .. } if object.is_sysv() => Value::Flag(removed),
        _ => Value::Absent,
    }),
    column("resident", |object, _| segment(object, |segment| segment.map(|(resident, _)| Value::Bytes(resident)))),
    column("swapped", |object, _| segment(object, |segment| segment.map(|(_, swapped)| Value::Bytes(swapped)))),
    column("creator", |object, _| match object.creator {
        Some(creator) if object.attached().is_some() => creator.pid.map_or(Value::Unknown, pid),
        _ => Value::Absent,
    }),
    column("creator-gone", |object, _| match object.creator {
        Some(creator) if object.attached().is_some() => creator.gone.map_or(Value::Unknown, Value::Flag),
        _ => Value::Absent,
    }),
    column("creator-uid", |object, _| or_absent(object.creator, |creator| Value::Number(creator.uid.into()))),
    column("last-pid", last_pid),
    column("age", |object, _| Value::Age(object.age())),
    column("created", |object, _| time(object, "created")),
    column("changed", |object, _| time(object, "changed")),
    column("modified", |object, _| time(object, "modified")),
    column("attached-at", |object, _| time(object, "attached")),
    column("detached-at", |object, _| time(object, "detached")),
    column("sent-at", |object, _| time(object, "sent")),
    column("received-at", |object, _| time(object, "received")),
    column("operated-at", |object, _| time(object, "operated")),
];

fn or_absent<T>(value: Option<T>, then: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Absent, then)
}

fn pid(pid: i32) -> Value {
    Value::Number(u64::from(pid.unsigned_abs()))
}

fn time(object: &Object, name: &str) -> Value {
    or_absent(object.times.iter().find(|(found, _)| *found == name), |(_, time)| Value::Time(*time))
}

fn size(object: &Object, _: &Context) -> Value {
    match (object.size, &object.detail) {
        (_, Detail::Semaphores { count, .. }) => Value::Number(*count),
        (None, _) => Value::Unknown,
        (Some(bytes), _) => Value::Bytes(bytes),
    }
}

type QueueNumbers = (Option<u64>, Option<u64>, Option<u64>, Option<u64>);

fn queue(object: &Object, choose: impl Fn(QueueNumbers) -> Option<u64>) -> Value {
    match object.detail {
        Detail::Queue { messages, max_messages, message_size, max_bytes, .. } => {
            choose((messages, max_messages, message_size, max_bytes)).map_or(Value::Unknown, Value::Number)
        }
        _ => Value::Absent,
    }
}

fn segment(object: &Object, choose: impl Fn(Option<(u64, u64)>) -> Option<Value>) -> Value {
    match object.detail {
        Detail::Segment { resident, .. } => choose(resident).unwrap_or(Value::Absent),
        _ => Value::Absent,
    }
}

fn values(object: &Object, _: &Context) -> Value {
    match &object.detail {
        Detail::Semaphores { values: Some(values), .. } => {
            Value::Numbers(values.iter().map(|value| u64::from(*value)).collect())
        }
        Detail::Semaphores { .. } => Value::Unknown,
        _ => Value::Absent,
    }
}

fn waiters(object: &Object, _: &Context) -> Value {
    match object.detail {
        Detail::Semaphores { .. } => object.waiters().map_or(Value::Unknown, Value::Pairs),
        _ => Value::Absent,
    }
}

fn last_pid(object: &Object, _: &Context) -> Value {
    match &object.detail {
        Detail::Segment { last_pid: Some(last), .. } => pid(*last),
        Detail::Queue { last: Some((sender, receiver)), .. } => {
            Value::Numbers([sender, receiver].into_iter().map(|pid| u64::from(pid.unsigned_abs())).collect())
        }
        Detail::Semaphores { .. } if object.is_sysv() => object.last_pids().map_or(Value::Unknown, Value::Numbers),
        _ => Value::Absent,
    }
}

/// How full a queue is, the values of semaphores, what a ring or a lock says.
fn in_use(object: &Object, _: &Context) -> Value {
    let text = match &object.detail {
        Detail::Segment { .. } => return Value::Absent,
        Detail::Queue { messages: None, .. } | Detail::Semaphores { values: None, .. } => return Value::Unknown,
        Detail::Queue { messages: Some(messages), max_messages: Some(max), .. } => format!("{messages}/{max}"),
        Detail::Queue { messages: Some(messages), max_bytes, .. } => match (object.size, max_bytes) {
            (Some(size), Some(max)) if *max > 0 => {
                format!("{messages}, {}%", u128::from(size) * 100 / u128::from(*max))
            }
            _ => messages.to_string(),
        },
        Detail::Semaphores { values: Some(values), .. } => {
            const SHOWN: usize = 4;
            let mut text = values.iter().take(SHOWN).map(u32::to_string).collect::<Vec<_>>().join(",");
            if values.len() > SHOWN {
                text += ",..";
            }
            text
        }
        Detail::Ours(ours) => match &ours.summary {
            Some(summary) => summary.clone(),
            None => return ours.in_use.map_or(Value::Unknown, |_| Value::Absent),
        },
    };
    Value::Text(text)
}

impl Value {
    /// For people, in a table.
    pub fn in_table(&self) -> String {
        match self {
            Value::Bytes(bytes) => args::human_size(*bytes),
            Value::Age(age) => args::human_age(*age),
            Value::Pairs(pairs) => pairs.iter().map(|(one, other)| one + other).sum::<u64>().to_string(),
            Value::Holders(pids, others) => {
                const SHOWN: usize = 2;
                let mut words: Vec<String> = pids.iter().take(SHOWN).map(u64::to_string).collect();
                let more = pids.len().saturating_sub(SHOWN) as u64;
                match others {
                    Others::Unknown if more > 0 => words.push(format!("+{more}+?")),
                    Others::Unknown if words.is_empty() => words.push("?".into()),
                    Others::Unknown => words.push("+?".into()),
                    Others::None if more == 0 => {}
                    Others::None => words.push(format!("+{more}")),
                    Others::Some(unseen) => words.push(format!("+{}", more + unseen)),
                }
                if words.is_empty() { "-".into() } else { words.join(",") }
            }
            other => other.plain(),
        }
    }

    /// For scripts, and where there is room: nothing shortened.
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
                    Others::None => {}
                    Others::Some(count) => words.push(format!("+{count}")),
                    Others::Unknown => words.push("?".into()),
                }
                join(words)
            }
            Value::Age(age) => age.as_secs().to_string(),
            Value::Time(time) => args::timestamp(*time),
            Value::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
        }
    }

    /// Whether it stands at the right of its column.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Value::Number(_) | Value::Bytes(_) | Value::Age(_) | Value::Mode(_))
    }

    /// One field of a line: blanks are escaped as well.
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
