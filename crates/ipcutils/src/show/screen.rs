//! `ipcls --watch` on a terminal: the table drawn anew at each tick, with a
//! little history of what changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use libipc::Result;
use libipc::inventory::{Detail, Object, Queue, Semaphores};
use libipc::process::terminal::{Event, Terminal};

use super::column::Row;
use super::listing::Listing;
use super::table::{Cell, Colours, table};
use super::view::View;
use crate::app::Io;
use crate::human;

/// How many ticks are remembered.
const HISTORY: usize = 10;
/// How many steps a sparkline has without Unicode.
const ASCII_STEPS: usize = 8;
/// Switch to the other screen, without a cursor and without wrapping long lines.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What one object was at the last ticks.
#[derive(Debug, Default)]
struct Track {
    levels: VecDeque<f64>,
    /// The full height, where the object has a limit.
    full: Option<f64>,
    position: Option<(u64, Instant)>,
    rate: Option<f64>,
}

impl Track {
    fn add(&mut self, object: &Object, now: Instant) {
        let level = match &object.detail {
            Detail::Queue(Queue { messages: Some(messages), max_messages: Some(max), .. }) => {
                self.full = Some(*max as f64);
                *messages as f64
            }
            Detail::Queue(Queue { max_bytes: Some(max), .. }) => {
                self.full = Some(*max as f64);
                object.size.unwrap_or(0) as f64
            }
            Detail::Semaphores(Semaphores { values: Some(values), .. }) => {
                values.iter().map(|value| f64::from(*value)).sum()
            }
            Detail::Ring(Ok(status), _) => {
                let position = status.total;
                let rate = self.position.map_or(0.0, |(before, then)| {
                    position.saturating_sub(before) as f64 / now.duration_since(then).as_secs_f64().max(1e-3)
                });
                self.position = Some((position, now));
                self.rate = Some(rate);
                rate
            }
            _ => return,
        };
        if self.levels.len() == HISTORY {
            self.levels.pop_front();
        }
        self.levels.push_back(level);
    }

    fn draw(&self, steps: &[char]) -> String {
        let highest = self.full.unwrap_or_else(|| self.levels.iter().copied().fold(1.0, f64::max)).max(1.0);
        let top = steps.len() - 1;
        // A level above zero is always visible.
        let step = |level: &f64| (((level / highest) * top as f64).ceil() as usize).min(top);
        let mut text: String = self.levels.iter().map(|level| steps[step(level)]).collect();
        if let Some(rate) = self.rate {
            text += &format!(" {}/s", human::size(rate as u64));
        }
        text
    }
}

/// The steps of a sparkline, for the terminal's character set.
fn steps() -> &'static [char] {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        &[' ', '.', ':', '-', '=', '+', '*', '#']
    }
}

/// What was seen at a tick: the objects, and what could not be listed.
type Seen = (Listing, Vec<String>);

/// Draw the table at each tick until the user quits.
///
/// # Errors
/// If there is no terminal to read keys from, or it cannot be written to.
pub fn watch(io: &Io<'_>, every: Duration, view: &View<'_>, mut look: impl FnMut() -> Seen) -> Result<()> {
    let mut terminal = Terminal::new(io.stdin().ok())?;
    let colours = Colours::of(io.stdout()?);
    let write = |text: &str| io.write(text.as_bytes());
    let mut tracks = BTreeMap::new();
    let done = (|| {
        write(ENTER)?;
        let mut seen = look();
        remember(&mut tracks, &seen.0.rows);
        let mut next = Instant::now() + every;
        loop {
            write(&frame(view, &seen, &tracks, terminal.size(), colours))?;
            match terminal.wait(next.saturating_duration_since(Instant::now())) {
                Event::Tick => {
                    seen = look();
                    remember(&mut tracks, &seen.0.rows);
                    // Late ticks are left out.
                    next = (next + every).max(Instant::now());
                }
                Event::Key(b'q' | b'Q') | Event::End => return Ok(()),
                Event::Stop => {
                    write(LEAVE)?;
                    terminal.stop();
                    write(ENTER)?;
                }
                Event::Key(_) | Event::Redraw => {}
            }
        }
    })();
    let left = write(LEAVE);
    drop(terminal);
    done.and(left)
}

/// What tells objects apart: an object that was made anew has another identifier.
fn identity(object: &Object) -> (Vec<u8>, Option<i32>) {
    (object.address.to_bytes(), object.id)
}

type Tracks = BTreeMap<(Vec<u8>, Option<i32>), Track>;

fn remember(tracks: &mut Tracks, rows: &[Row]) {
    let now = Instant::now();
    let mut before = std::mem::take(tracks);
    for Row { object, .. } in rows {
        let key = identity(object);
        let mut track = before.remove(&key).unwrap_or_default();
        track.add(object, now);
        tracks.insert(key, track);
    }
}

fn frame(
    view: &View<'_>,
    (listing, failures): &Seen,
    tracks: &Tracks,
    (columns, rows): (usize, usize),
    colours: Colours,
) -> String {
    let steps = steps();
    let seen = &listing.rows;
    let mut lines = Vec::new();
    let title = listing.counts();
    let clock = format!("{}  q quits", human::timestamp(SystemTime::now()));
    lines.push(format!("{title}{clock:>width$}", width = columns.saturating_sub(title.len()).max(clock.len() + 2)));
    lines.push(String::new());
    // The history stands before the address, which may be long.
    let names = view.columns.iter().map(|column| column.name.to_uppercase());
    let mut headings: Vec<String> = names.collect();
    let place = headings.len().saturating_sub(1);
    headings.insert(place, "HISTORY".into());
    let below: Vec<String> = listing.note().into_iter().chain(failures.first().cloned()).collect();
    let room = rows.saturating_sub(lines.len() + 1 + below.len());
    let fits = if seen.len() > room { room.saturating_sub(1) } else { seen.len() };
    let cells: Vec<Vec<Cell>> = seen[..fits]
        .iter()
        .map(|row| {
            let history = tracks.get(&identity(&row.object)).map_or(String::new(), |track| track.draw(steps));
            let mut cells = view.cells(row);
            cells.insert(place, Cell::left(format!("{history:HISTORY$}")));
            cells
        })
        .collect();
    lines.extend(table(Some(&headings), &cells, colours).lines().map(str::to_owned));
    if fits < seen.len() {
        lines.push(format!("and {} more, for which the window is too small", seen.len() - fits));
    }
    lines.extend(below);
    // A mark stands for what was cut off, so that nothing is taken for a whole address.
    let mark = if steps.len() > ASCII_STEPS { "…" } else { "+" };
    let mut text = String::from("\x1b[H");
    for (i, line) in lines.iter().take(rows).enumerate() {
        // Erase first: after a full line the cursor stands on its last character.
        text.extend([if i == 0 { "" } else { "\r\n" }, "\x1b[2K", &console::truncate_str(line, columns, mark)]);
    }
    text + "\x1b[J"
}
