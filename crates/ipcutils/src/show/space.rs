//! How ipcls shows what fills /dev/shm.

use libipc::inventory::space::{Part, Space, What};
use libipc::inventory::{Holder, Unseen};
use libipc::text::printable;
use serde::Serialize;

use super::details::hiding;
use super::table::{Cell, Colours, table as aligned};
use super::value::Value;
use crate::human;

fn name(what: &What) -> (&'static str, String) {
    match what {
        What::Object(address) => ("object", address.to_string()),
        What::Folder(name) => ("folder", format!("/dev/shm/{}", printable(name))),
        What::Removed(name) => ("removed", format!("/dev/shm/{}", printable(name))),
    }
}

fn held(holders: &[Holder]) -> Value {
    Value::Holders(holders.to_vec(), Unseen::None, false)
}

/// A line for each part, and what is left over.
pub fn table(space: &Space, headings: bool, colours: Colours) -> String {
    let names = ["SIZE", "HOLDERS", "WHAT", "NAME"].map(str::to_owned);
    let row = |part: &Part| {
        let (what, name) = name(&part.what);
        let size = part.bytes.map_or("?".into(), human::size);
        vec![Cell::right(size), Cell::left(held(&part.holders).in_table()), Cell::left(what), Cell::left(name)]
    };
    let mut rows: Vec<_> = space.parts.iter().map(row).collect();
    let unknown = space.unaccounted();
    if unknown > 0 {
        let why = hiding(&space.hidden);
        rows.push(vec![Cell::right(human::size(unknown)), Cell::left("?"), Cell::left("unknown"), Cell::left(why)]);
    }
    aligned(headings.then_some(&names), &rows, colours)
}

#[derive(Serialize)]
struct Json {
    what: &'static str,
    name: String,
    /// Null if not all could be counted.
    size: Option<u64>,
    holders: Value,
}

/// What fills /dev/shm as one JSON document.
pub fn json(space: &Space) -> impl Serialize + use<> {
    #[derive(Serialize)]
    struct Document {
        size: u64,
        used: u64,
        unknown: u64,
        parts: Vec<Json>,
    }
    let part = |part: &Part| {
        let (what, name) = name(&part.what);
        Json { what, name, size: part.bytes, holders: held(&part.holders) }
    };
    let (size, used, unknown) = (space.size, space.used, space.unaccounted());
    Document { size, used, unknown, parts: space.parts.iter().map(part).collect() }
}
