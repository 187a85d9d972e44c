//! How ipcls shows objects: as a table, raw, as JSON, or in every detail.

use std::io::IsTerminal;
use std::os::fd::BorrowedFd;

use base64::Engine;
use libipc::Error;
use libipc::inventory::{self, Object, Others, State};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::args;
use crate::columns::{ALL, Column, Context, Value};

/// Escape sequences, or none.
#[derive(Clone, Copy, Debug)]
pub struct Colours(bool);

const RED: &str = "\x1b[1;31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

impl Colours {
    /// None at all.
    pub const NONE: Colours = Colours(false);

    /// On a terminal that has them, unless NO_COLOR is set.
    pub fn of(out: BorrowedFd<'_>) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Colours(out.is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb"))
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.0 { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn heading(self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    fn alarm(self, text: &str) -> String {
        self.paint(RED, text)
    }
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What stands in it.
    pub text: String,
    /// At the right.
    pub right: bool,
    /// In colour.
    pub alarm: bool,
}

impl Cell {
    /// Words, at the left.
    pub fn left(text: impl Into<String>) -> Self {
        Cell { text: text.into(), right: false, alarm: false }
    }

    /// A number, at the right.
    pub fn right(text: impl Into<String>) -> Self {
        Cell { text: text.into(), right: true, alarm: false }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Lines of aligned cells. The last column may be as long as it is; a column
/// is at the right if any of its cells is.
pub fn table(headings: Option<&[String]>, rows: &[Vec<Cell>], colours: Colours) -> String {
    let headings: Vec<Vec<Cell>> = headings.into_iter().map(|words| words.iter().map(Cell::left).collect()).collect();
    let all = || headings.iter().chain(rows);
    let columns = all().map(Vec::len).max().unwrap_or(0);
    let (mut widths, mut right) = (vec![0; columns], vec![false; columns]);
    for (i, cell) in all().flat_map(|row| row.iter().enumerate()) {
        widths[i] = widths[i].max(cell.width());
        right[i] |= cell.right;
    }
    let mut text = String::new();
    for (row, is_heading) in headings.iter().map(|row| (row, true)).chain(rows.iter().map(|row| (row, false))) {
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.width());
            let painted = match (is_heading, cell.alarm) {
                (true, _) => colours.heading(&cell.text),
                (false, true) => colours.alarm(&cell.text),
                (false, false) => cell.text.clone(),
            };
            let gap = if i == 0 { "" } else { "  " };
            match (right[i], i + 1 == columns) {
                (true, _) => text.extend([gap, &pad, &painted]),
                (false, true) => text.extend([gap, &painted]),
                (false, false) => text.extend([gap, &painted, &pad]),
            }
        }
        text.push('\n');
    }
    text
}

/// What is to be shown, and of what.
#[derive(Debug)]
pub struct View<'a> {
    /// The columns.
    pub columns: &'a [&'static Column],
    /// Whether they are named first.
    pub headings: bool,
    /// Where names come from.
    pub context: &'a Context,
}

impl View<'_> {
    fn headings(&self) -> Option<Vec<String>> {
        self.headings.then(|| self.columns.iter().map(|column| column.name.to_uppercase()).collect())
    }

    /// The cells of an object.
    pub fn cells(&self, object: &Object) -> Vec<Cell> {
        let cell = |column: &&Column| {
            let value = column.value(object, self.context);
            let alarm = column.name == "state" && object.state == State::Orphan;
            Cell { text: value.in_table(), right: value.is_numeric(), alarm }
        };
        self.columns.iter().map(cell).collect()
    }

    /// A table for people.
    pub fn table(&self, objects: &[Object], colours: Colours) -> String {
        let rows: Vec<_> = objects.iter().map(|object| self.cells(object)).collect();
        table(self.headings().as_deref(), &rows, colours)
    }

    /// A line for each object, its fields ended by blanks, in which blanks are
    /// escaped.
    pub fn raw(&self, objects: &[Object]) -> String {
        let mut text = self.headings().map(|headings| headings.join(" ") + "\n").unwrap_or_default();
        for object in objects {
            let fields = self.columns.iter().map(|column| column.value(object, self.context).raw());
            text += &fields.collect::<Vec<_>>().join(" ");
            text.push('\n');
        }
        text
    }

    /// One document, on one line.
    ///
    /// # Errors
    /// None that serde_json knows of for such values.
    pub fn json(&self, objects: &[Object], failures: &[Error]) -> serde_json::Result<String> {
        #[derive(serde::Serialize)]
        struct Document<'a> {
            time: String,
            objects: Vec<Json<'a>>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            errors: Vec<String>,
        }
        let objects = objects.iter().map(|object| Json { view: self, object }).collect();
        let errors = failures.iter().map(ToString::to_string).collect();
        Ok(serde_json::to_string(&Document { time: args::timestamp(args::now()), objects, errors })? + "\n")
    }
}

/// An object as JSON: what its kind does not have is left out, and null is what
/// cannot be known.
struct Json<'a> {
    view: &'a View<'a>,
    object: &'a Object,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for column in self.view.columns {
            let value = column.value(self.object, self.view.context);
            if value == Value::Absent {
                continue;
            }
            map.serialize_entry(&column.member(), &value)?;
            let raw = self.object.raw_address();
            if column.name == "address" && value.plain().as_bytes() != raw {
                map.serialize_entry("address_base64", &base64::prelude::BASE64_STANDARD.encode(raw))?;
            }
        }
        map.end()
    }
}

/// Addresses alone, each with this byte after it. Ended by NUL they are the bytes
/// that ipcunlink(1) takes.
pub fn addresses(objects: &[Object], end: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for object in objects {
        match end {
            0 => bytes.extend(object.raw_address()),
            _ => bytes.extend(object.address.to_string().into_bytes()),
        }
        bytes.push(end);
    }
    bytes
}

/// Every detail of an object, a name and a value a line.
pub fn details(object: &Object, context: &Context) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.extend([name, ": ", value, "\n"]);
    for column in ALL {
        let value = column.value(object, context);
        match (&value, column.name) {
            (Value::Absent, _) | (_, "use" | "others") => {}
            (Value::Bytes(bytes), name) if *bytes >= 10_000 => {
                line(name, &format!("{bytes} ({})", args::human_size(*bytes)));
            }
            (Value::Age(age), name) => line(name, &args::human_age(*age)),
            (Value::Unknown, name) => line(name, "unknown"),
            (Value::Holders(..), name) => {
                for holder in &object.holders {
                    let program = inventory::program(holder.pid).unwrap_or_else(|| "?".into());
                    let mut ways = Vec::new();
                    if holder.open > 0 {
                        ways.push(format!("{} open", holder.open));
                    }
                    if holder.mapped > 0 {
                        let way = if object.is_sysv() { "attached" } else { "mapped" };
                        ways.push(format!("{} {way}", holder.mapped));
                    }
                    line("holder", &format!("{} {program} ({})", holder.pid, ways.join(", ")));
                }
                match object.others {
                    Others::None if object.holders.is_empty() => line(name, "none"),
                    Others::None => {}
                    Others::Some(count) => {
                        line("others", &format!("{count} attached by processes that cannot be seen"))
                    }
                    Others::Unknown => line("others", "unknown: not every process can be looked at"),
                }
            }
            (value, name) => line(name, &value.plain()),
        }
    }
    if let inventory::Detail::Ours(ours) = &object.detail {
        for (name, value) in &ours.more {
            line(name, value);
        }
    }
    text
}
