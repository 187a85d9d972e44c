//! How ipcls shows the limits of the kernel.

use libipc::inventory::limits::{KernelLimit, Max, Unit};
use serde::Serialize;

use super::table::{self, Cell, Colours};
use crate::human;

/// The limits as a table.
pub fn table(limits: &[KernelLimit], headings: bool, colours: Colours) -> String {
    let names = ["LIMIT", "MAX", "USED", "USE%", "", "UNIT", "TO RAISE IT"].map(str::to_owned);
    let rows: Vec<_> = limits
        .iter()
        .map(|limit| {
            let number = |number: u64| if limit.unit == Unit::Bytes { human::size(number) } else { number.to_string() };
            let max = match &limit.max {
                Max::Number(max) => number(*max),
                Max::Unlimited => "no limit".into(),
                Max::Switch(word, _) => word.clone(),
                Max::Unknown => "?".into(),
            };
            let used = match (limit.used, &limit.max) {
                (Some(used), _) => number(used),
                (None, Max::Switch(..)) => "-".into(),
                (None, _) => "?".into(),
            };
            let percent = limit.percent().map_or("-".into(), |percent| format!("{percent}%"));
            let alarm = limit.is_close();
            let mut cells = vec![
                Cell::left(limit.name),
                Cell::right(max),
                Cell::right(used),
                Cell::right(percent),
                Cell::left(if alarm { "!" } else { "" }),
                Cell::left(limit.unit.as_str()),
                Cell::left(limit.hint.as_ref().unwrap_or(&limit.raise)),
            ];
            cells.iter_mut().for_each(|cell| cell.alarm = alarm);
            cells
        })
        .collect();
    table::table(headings.then_some(&names), &rows, colours)
}

/// A limit as JSON; null stands for what cannot be known.
#[derive(serde::Serialize)]
struct Json<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'a str>,
    unlimited: bool,
    max: Option<u64>,
    used: Option<u64>,
    percent: Option<u64>,
    unit: &'a str,
    /// Of one unit, where that is not a byte but some.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_each: Option<u64>,
    close: bool,
    raise: &'a str,
}

impl<'a> Json<'a> {
    fn of(limit: &'a KernelLimit) -> Self {
        Json {
            name: limit.name,
            setting: if let Max::Switch(word, _) = &limit.max { Some(word) } else { None },
            unlimited: limit.max == Max::Unlimited,
            max: if let Max::Number(max) = limit.max { Some(max) } else { None },
            used: limit.used,
            percent: limit.percent(),
            unit: limit.unit.as_str(),
            bytes_each: if let Unit::Pages(bytes) = limit.unit { Some(bytes) } else { None },
            close: limit.is_close(),
            raise: &limit.raise,
        }
    }
}

/// The limits as one JSON document.
pub fn json(limits: &[KernelLimit]) -> impl Serialize + '_ {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        limits: Vec<Json<'a>>,
    }
    Document { limits: limits.iter().map(Json::of).collect() }
}
