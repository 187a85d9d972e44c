//! Every detail of an object, and why it is judged as it is: lines of `name: value`.

use libipc::inventory::{Detail, Hidden, Unseen, Verdict, Weight};

use super::column::{Column, Context, Row};
use super::status::{lock_lines, ring_lines};
use super::value::{Value, call, process, ways};
use crate::human;

/// Every detail of an object, a name and a value a line.
pub fn details(row: &Row, context: &Context, hidden: &Hidden) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.extend([name, ": ", value, "\n"]);
    for column in Column::ALL {
        let value = column.value(row, context);
        match (&value, column.name) {
            (Value::Absent, _) | (_, "use" | "others") => {}
            (Value::Waiters(waiters), _) => {
                for waiter in waiters {
                    let pid = u64::from(waiter.pid.unsigned_abs());
                    line("waiter", &format!("{} ({})", process(pid), call(waiter.call)));
                }
            }
            (Value::Elements(elements), _) if row.object.is_sysv() => {
                elements.iter().for_each(|element| line("element", &element.words()));
            }
            (Value::Elements(_), _) => {}
            (Value::Bytes(bytes), name) if *bytes >= 10_000 => {
                line(name, &format!("{bytes} ({})", human::size(*bytes)));
            }
            (Value::Age(age), name) => line(name, &human::age(*age)),
            (Value::Unknown, name) => line(name, "unknown"),
            (Value::Holders(..), _) => {
                for (name, value) in row.verdict.iter().flat_map(|verdict| holders(verdict, row, hidden)) {
                    line(name, &value);
                }
            }
            (value, name) => line(name, &value.plain()),
        }
    }
    let more = match &row.object.detail {
        Detail::Ring(Ok(status), _) => ring_lines(status),
        // The name "state" is taken: every object has one.
        Detail::Lock(Ok(status), _) => lock_lines("lock", status),
        Detail::Ring(Err(error), _) | Detail::Lock(Err(error), _) => vec![("error", error.problem.clone())],
        Detail::Segment(_) | Detail::Queue(_) | Detail::Semaphores(_) => Vec::new(),
    };
    for (name, value) in more {
        line(name, &value);
    }
    text
}

/// Who holds an object, one line each, and whether others may.
fn holders(verdict: &Verdict, row: &Row, hidden: &Hidden) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for holder in &verdict.holders {
        let pid = u64::from(holder.pid.unsigned_abs());
        let count = |way: &&str| if **way == *"open" { holder.open } else { holder.mapped };
        let ways: Vec<_> =
            ways(holder, row.object.is_sysv()).iter().map(|way| format!("{} {way}", count(way))).collect();
        lines.push(("holder", format!("{} ({})", process(pid), ways.join(", "))));
    }
    let name = if verdict.holders.is_empty() { "holders" } else { "others" };
    match verdict.unseen {
        // Who uses a System V queue or set does not open it.
        Unseen::None if !row.object.has_holders() => lines.push((name, "not known to the kernel".into())),
        Unseen::None if verdict.holders.is_empty() => lines.push((name, "none".into())),
        Unseen::None => {}
        Unseen::Some(count) => lines.push((name, format!("{count} attached by processes that cannot be seen"))),
        Unseen::Unknown => lines.push((name, format!("unknown ({})", hiding(hidden)))),
    }
    lines
}

/// Who could not be looked at, in words.
pub(super) fn hiding(hidden: &Hidden) -> String {
    const SHOWN: usize = 3;
    let who = |pid: &i32| process(u64::from(pid.unsigned_abs()));
    let mut words: Vec<String> = hidden.pids.iter().take(SHOWN).map(who).collect();
    let more = hidden.pids.len().saturating_sub(SHOWN);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    if hidden.elsewhere {
        words.push("other PID namespaces".into());
    }
    format!("not looked at: {}", if words.is_empty() { "its object".into() } else { words.join(", ") })
}

/// What speaks for an object being left over, and what against, a sign a line.
pub fn why(row: &Row) -> String {
    let Some(verdict) = &row.verdict else { return String::new() };
    let mut text = format!("{}: {}\n", row.object.address, verdict.state.as_str());
    for sign in &verdict.signs {
        let mark = match sign.weight {
            Weight::For => "for",
            Weight::Against => "against",
            Weight::Neither => "known",
        };
        text += &format!("  {mark:8}{}\n", sign.words);
    }
    text
}
