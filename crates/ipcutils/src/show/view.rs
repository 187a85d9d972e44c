//! How ipcls shows objects: as a table, raw, as JSON, or in every detail.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use libipc::inventory::{Detail, Hidden, State, Weight, program};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::column::{Column, Context, Row};
use super::listing::Listing;
use super::status::{Lock, Ring};
use super::table::{Cell, Colours, table};
use super::value::Value;
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

    /// Lines of COLUMN="value", for eval of a shell.
    pub fn pairs(&self, rows: &[Row]) -> String {
        let pair = |row: &Row, column: &Column| {
            format!("{}=\"{}\"", column.member().to_uppercase(), column.value(row, self.context).quoted())
        };
        let line = |row: &Row| self.columns.iter().map(|column| pair(row, column)).collect::<Vec<_>>().join(" ") + "\n";
        rows.iter().map(line).collect()
    }

    /// The objects as one JSON document.
    pub fn json<'v>(&'v self, listing: &'v Listing, errors: Vec<String>) -> impl Serialize + 'v {
        #[derive(serde::Serialize)]
        struct Document<'a> {
            time: String,
            objects: Vec<Json<'a>>,
            not_looked_at: NotLookedAt,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            errors: Vec<String>,
        }
        let objects = listing.rows.iter().map(|row| Json { view: self, row }).collect();
        let time = human::timestamp(std::time::SystemTime::now());
        Document { time, objects, not_looked_at: NotLookedAt::new(&listing.hidden), errors }
    }
}

/// Who could not be looked at.
#[derive(serde::Serialize)]
struct NotLookedAt {
    processes: Vec<Process>,
    other_pid_namespaces: bool,
}

#[derive(serde::Serialize)]
struct Process {
    pid: i32,
    command: Option<String>,
}

impl NotLookedAt {
    fn new(hidden: &Hidden) -> Self {
        let process = |&pid: &i32| Process { pid, command: program(pid) };
        NotLookedAt { processes: hidden.pids.iter().map(process).collect(), other_pid_namespaces: hidden.elsewhere }
    }
}

/// A sign as JSON.
#[derive(serde::Serialize)]
struct Sign<'a> {
    /// Whether it speaks for an orphan; null if it says nothing by itself.
    orphan: Option<bool>,
    words: &'a str,
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
                Detail::Ring(Err(error), _) | Detail::Lock(Err(error), _) => {
                    map.serialize_entry("error", &error.problem)?;
                }
                _ => {}
            }
            if let Some(verdict) = &self.row.verdict {
                let sign = |sign: &'_ libipc::inventory::Sign| -> Option<bool> {
                    match sign.weight {
                        Weight::For => Some(true),
                        Weight::Against => Some(false),
                        Weight::Neither => None,
                    }
                };
                let why: Vec<_> =
                    verdict.signs.iter().map(|one| Sign { orphan: sign(one), words: &one.words }).collect();
                map.serialize_entry("why", &why)?;
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

/// What stands below a table on a terminal: how many objects there are, and who could not
/// be looked at.
pub fn footer(listing: &Listing) -> String {
    let lines = std::iter::once(listing.counts()).chain(listing.note());
    lines.map(|line| line + "\n").collect()
}
