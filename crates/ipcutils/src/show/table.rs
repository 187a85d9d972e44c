//! Aligned cells, and colours.

use std::io::IsTerminal;
use std::os::fd::BorrowedFd;

/// Whether text is coloured.
#[derive(Clone, Copy, Debug)]
pub struct Colours(bool);

const RED: &str = "\x1b[1;31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

impl Colours {
    /// No colours.
    pub const NONE: Colours = Colours(false);

    /// Colours on a terminal that has them, unless NO_COLOR is set.
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
pub(super) struct Cell {
    /// Its content.
    pub(super) text: String,
    /// Whether the text stands at the right.
    pub(super) right: bool,
    /// Whether the text is coloured.
    pub(super) alarm: bool,
}

impl Cell {
    /// Words, at the left.
    pub(super) fn left(text: impl Into<String>) -> Self {
        Cell { text: text.into(), right: false, alarm: false }
    }

    /// A number, at the right.
    pub(super) fn right(text: impl Into<String>) -> Self {
        Cell { text: text.into(), right: true, alarm: false }
    }

    fn width(&self) -> usize {
        console::measure_text_width(&self.text)
    }
}

/// Lines of aligned cells. The last column is not padded. If any cell of a column stands
/// at the right, all do.
pub(super) fn table(headings: Option<&[String]>, rows: &[Vec<Cell>], colours: Colours) -> String {
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
