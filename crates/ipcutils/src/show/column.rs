//! The columns of ipcls: what can be said of an object, each by one word.

use libipc::inventory::users::Names;
use libipc::inventory::{Detail, Object, Queue, Segment, Semaphores, Unseen, Verdict, program};

use super::status::{lock_summary, ring_summary};
use super::value::{Element, Value};

/// An object, and its verdict if the columns ask for one.
#[derive(Clone, Debug)]
pub struct Row {
    /// The object.
    pub object: Object,
    /// Who holds it.
    pub verdict: Option<Verdict>,
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
    /// From the verdict too, for which all processes are looked at.
    Verdict(fn(&Object, &Verdict) -> Value),
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
            (Source::Verdict(value), Some(verdict)) => value(&row.object, verdict),
            (Source::Verdict(_), None) => Value::Unknown,
        }
    }

    /// The name for JSON.
    pub fn member(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The columns of a table, if none are chosen.
    pub const DEFAULT: [&str; 9] = ["state", "owner", "mode", "size", "use", "waiting", "holders", "age", "address"];

    /// The columns of `--watch`, if none are chosen.
    pub const WATCHED: [&str; 6] = ["state", "use", "waiting", "holders", "age", "address"];

    /// All columns, in the order of the manual.
    pub const ALL: &[Column] = &[
        column("address", |object, _| Value::Text(object.address.to_string())),
        judged("state", |_, verdict| Value::Text(verdict.state.as_str().into())),
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
        column("elements", elements),
        judged("waiting", waiting),
        judged("waiters", |_, verdict| Value::Waiters(verdict.waiters.clone())),
        judged("holders", |object, verdict| Value::Holders(verdict.holders.clone(), verdict.unseen, object.is_sysv())),
        judged("others", |_, verdict| match verdict.unseen {
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
        column("used", |object, _| or_absent(object.times.used(), Value::Time)),
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

const fn judged(name: &'static str, value: fn(&Object, &Verdict) -> Value) -> Column {
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

fn elements(object: &Object, _: &Context) -> Value {
    let Detail::Semaphores(Semaphores { count, values, .. }) = &object.detail else { return Value::Absent };
    let (waiting, last) = (object.waiting(), object.last_pids());
    let last = |index: usize| last.as_ref().and_then(|last| last.get(index)).copied();
    // No process has the number 0, which is nobody's.
    let command = |pid: u64| i32::try_from(pid).ok().filter(|&pid| pid > 0).and_then(program);
    let element = |index: usize| Element {
        index,
        value: values.as_ref().and_then(|values| values.get(index)).map(|value| u64::from(*value)),
        waiting: waiting.as_ref().and_then(|waiting| waiting.get(index)).map(|waiting| waiting.0),
        waiting_for_zero: waiting.as_ref().and_then(|waiting| waiting.get(index)).map(|waiting| waiting.1),
        last_pid: last(index),
        last_command: last(index).and_then(command),
    };
    Value::Elements((0..usize::try_from(*count).unwrap_or(0)).map(element).collect())
}

/// How many wait: by the kernel's count, by the object's own, or as many as were found.
fn waiting(object: &Object, verdict: &Verdict) -> Value {
    match (&object.detail, verdict.waiting) {
        (Detail::Semaphores(Semaphores { waiting: Some(waiting), .. }), _) => Value::Number(u64::from(*waiting)),
        (Detail::Lock(Ok(status), _), _) => Value::Number((status.waiters.len() + status.sleepers.len()) as u64),
        (Detail::Segment(_) | Detail::Ring(..), Some(0) | None) => Value::Absent,
        (Detail::Semaphores(_), None) => Value::Unknown,
        (_, waiting) => Value::Found(waiting.unwrap_or(0), waiting.is_some()),
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
        Detail::Semaphores(Semaphores { corrupt: true, .. }) => "corrupt".to_owned(),
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
