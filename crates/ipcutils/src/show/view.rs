//! How ipcls shows objects: as a table, raw, as JSON, or in every detail.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libipc::inventory::{Detail, State, Unseen, Verdict, program};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::column::{Column, Context, Row, Value};
use super::status::{Lock, Ring, lock_lines, ring_lines};
use super::table::{Cell, Colours, table};
use crate::human;

/// What to show of objects.
#[derive(Debug)]
pub struct View<'a> {
    /// The columns.
    pub columns: &'a [&'static Column],
    /// Whether the first line names the columns.
    pub headings: bool,
    /// Whether JSON has also what is no column.
    pub complete: bool,
    /// The names of users and groups.
    pub context: &'a Context,
}

impl View<'_> {
    fn headings(&self) -> Option<Vec<String>> {
        self.headings.then(|| self.columns.iter().map(|column| column.name.to_uppercase()).collect())
    }

    /// The cells of an object.
    pub(super) fn cells(&self, row: &Row) -> Vec<Cell> {
        let orphan = row.verdict.as_ref().is_some_and(|verdict| verdict.state == State::Orphan);
        let cell = |column: &&Column| {
            let value = column.value(row, self.context);
            Cell { text: value.in_table(), right: value.is_numeric(), alarm: orphan && column.name == "state" }
        };
        self.columns.iter().map(cell).collect()
    }

    /// The objects as a table for people.
    pub fn table(&self, rows: &[Row], colours: Colours) -> String {
        let rows: Vec<_> = rows.iter().map(|row| self.cells(row)).collect();
        table(self.headings().as_deref(), &rows, colours)
    }

    /// A line for each object. Blanks separate the fields, and are escaped in them.
    pub fn raw(&self, rows: &[Row]) -> String {
        let mut text = self.headings().map(|headings| headings.join(" ") + "\n").unwrap_or_default();
        for row in rows {
            let fields = self.columns.iter().map(|column| column.value(row, self.context).raw());
            text += &fields.collect::<Vec<_>>().join(" ");
            text.push('\n');
        }
        text
    }

    /// The objects as one JSON document.
    pub fn json<'v>(&'v self, rows: &'v [Row], errors: Vec<String>) -> impl Serialize + 'v {
        #[derive(serde::Serialize)]
        struct Document<'a> {
            time: String,
            objects: Vec<Json<'a>>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            errors: Vec<String>,
        }
        let objects = rows.iter().map(|row| Json { view: self, row }).collect();
        Document { time: human::timestamp(std::time::SystemTime::now()), objects, errors }
    }
}

/// An object as JSON. What its kind does not have is left out; null stands for what
/// cannot be known.
struct Json<'a> {
    view: &'a View<'a>,
    row: &'a Row,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for column in self.view.columns {
            let value = column.value(self.row, self.view.context);
            if value == Value::Absent {
                continue;
            }
            map.serialize_entry(&column.member(), &value)?;
            let raw = self.row.object.address.to_bytes();
            if column.name == "address" && value.plain().as_bytes() != raw {
                map.serialize_entry("address_base64", &BASE64_STANDARD.encode(raw))?;
            }
        }
        if self.view.complete {
            match &self.row.object.detail {
                Detail::Ring(Ok(status), _) => map.serialize_entry("ring", &Ring::new(status))?,
                Detail::Lock(Ok(status), _) => map.serialize_entry("lock", &Lock::new(status))?,
                _ => {}
            }
        }
        map.end()
    }
}

/// The addresses of objects, each followed by this byte. With NUL they are the bytes
/// that ipcunlink(1) takes, else they are printable.
pub fn addresses(rows: &[Row], end: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Row { object, .. } in rows {
        match end {
            0 => bytes.extend(object.address.to_bytes()),
            _ => bytes.extend(object.address.to_string().into_bytes()),
        }
        bytes.push(end);
    }
    bytes
}

/// Every detail of an object, a name and a value a line.
pub fn details(row: &Row, context: &Context) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.extend([name, ": ", value, "\n"]);
    for column in Column::ALL {
        let value = column.value(row, context);
        match (&value, column.name) {
            (Value::Absent, _) | (_, "use" | "others") => {}
            (Value::Bytes(bytes), name) if *bytes >= 10_000 => {
                line(name, &format!("{bytes} ({})", human::size(*bytes)));
            }
            (Value::Age(age), name) => line(name, &human::age(*age)),
            (Value::Unknown, name) => line(name, "unknown"),
            (Value::Holders(..), _) => {
                for (name, value) in row.verdict.iter().flat_map(|verdict| holders(verdict, row.object.is_sysv())) {
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
fn holders(verdict: &Verdict, sysv: bool) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for holder in &verdict.holders {
        let program = program(holder.pid).unwrap_or_else(|| "?".into());
        let mut ways = Vec::new();
        if holder.open > 0 {
            ways.push(format!("{} open", holder.open));
        }
        if holder.mapped > 0 {
            ways.push(format!("{} {}", holder.mapped, if sysv { "attached" } else { "mapped" }));
        }
        lines.push(("holder", format!("{} {program} ({})", holder.pid, ways.join(", "))));
    }
    match verdict.unseen {
        Unseen::None if verdict.holders.is_empty() => lines.push(("holders", "none".into())),
        Unseen::None => {}
        Unseen::Some(count) => lines.push(("others", format!("{count} attached by processes that cannot be seen"))),
        Unseen::Unknown => lines.push(("others", "unknown: not every process can be looked at".into())),
    }
    lines
}
