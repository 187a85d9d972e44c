//! ipcls: what exists, who holds it, and what is left over.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use libipc::fs::copy::OUTPUT;
use libipc::inventory::{self, limits};
use libipc::text::printable;
use libipc::{Error, ErrorKind, Hint, Kind, KindAddress, Result};

use crate::app::{self, Io, Outcome, Tool};
use crate::args::{self, Filter};
use crate::hints;
use crate::show::{self, Colours, Column, Columns, Context, Row, View, screen};

/// List shared memory, message queues and semaphores, and who holds them
#[derive(clap::Parser, Debug)]
#[command(name = "ipcls", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// One JSON document
    #[arg(short = 'J', long, conflicts_with_all = ["raw", "no_headings", "addresses"])]
    json: bool,
    /// Fields separated by blanks, nothing shortened
    #[arg(short, long, conflicts_with = "addresses")]
    raw: bool,
    /// The columns, in this order
    #[arg(short = 'o', long = "output", value_name = "COLUMN,...", value_parser = args::columns)]
    columns: Option<Columns>,
    /// Do not name the columns
    #[arg(long)]
    no_headings: bool,
    /// Addresses alone, as ipcunlink takes them
    #[arg(short = 'A', long, conflicts_with = "columns")]
    addresses: bool,
    /// With -A, end each with a NUL
    #[arg(short = '0', long, requires = "addresses")]
    null: bool,
    /// Only these: shm, ring, lock, mq, sem
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = args::kind)]
    kind: Vec<Kind>,
    #[command(flatten)]
    filter: Filter,
    /// Only those of this user
    #[arg(long, value_name = "USER", conflicts_with = "mine")]
    user: Option<OsString>,
    /// Only those that are left over
    #[arg(long)]
    orphans: bool,
    /// Refresh every SECONDS [default: 1]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
        value_parser = args::positive_duration, conflicts_with_all = ["raw", "addresses"])]
    watch: Option<Duration>,
    /// The kernel's limits, and what is in use
    #[arg(long, conflicts_with_all = ["raw", "columns", "addresses", "kind", "Filter", "user", "orphans", "watch",
        "objects"])]
    limits: bool,
    /// Every detail of these: shm:/seg, mq:key:0x2a, sem:id:7
    #[arg(value_name = "KIND:ADDRESS", value_parser = args::kind_address(),
        conflicts_with_all = ["kind", "Filter", "user", "orphans"])]
    objects: Vec<KindAddress>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let out = io.stdout()?;
        if self.limits {
            let (found, failures) = limits::all();
            match self.json {
                true => io.print_json(&show::limits::json(&found))?,
                false => io.write(show::limits::table(&found, !self.no_headings, Colours::of(out)).as_bytes())?,
            }
            return Ok(report(io, &failures));
        }
        let context = Context::new();
        let filter = self.filter.wanted(self.wanted_user(&context)?, self.orphans);
        let columns = self.columns();
        let complete = self.columns.is_none();
        let view = View { columns: &columns, headings: !self.no_headings, complete, context: &context };
        let look = || self.look(&filter, &columns);
        if let Some(every) = self.watch {
            return self.watch(io, every, &view, look);
        }
        let (rows, failures) = look();
        if self.json {
            io.print_json(&view.json(&rows, words(&failures)))?;
            return Ok(report(io, &failures));
        }
        let bytes = if self.addresses {
            show::addresses(&rows, if self.null { 0 } else { b'\n' })
        } else if self.raw {
            view.raw(&rows).into_bytes()
        } else if self.objects.is_empty() || self.columns.is_some() {
            view.table(&rows, Colours::of(out)).into_bytes()
        } else {
            let details: Vec<_> = rows.iter().map(|row| show::details(row, &context)).collect();
            details.join("\n").into_bytes()
        };
        io.write(&bytes)?;
        Ok(report(io, &failures))
    }
}

/// Say what could not be listed.
fn report(io: &Io<'_>, failures: &[Error]) -> Outcome {
    app::combined(&failures.iter().map(|error| io.fail(error, &[])).collect::<Vec<_>>())
}

fn words(failures: &[Error]) -> Vec<String> {
    failures.iter().map(|error| hints::line(error, &[], "ipcls")).collect()
}

impl Args {
    fn watch(
        &self,
        io: &Io<'_>,
        every: Duration,
        view: &View<'_>,
        look: impl Fn() -> (Vec<Row>, Vec<Error>),
    ) -> anyhow::Result<Outcome> {
        if !self.json {
            if !io.stdout()?.is_terminal() {
                let problem = "--watch draws on a terminal, and standard output is none";
                let hint = Hint::Advice("say -J for a document a tick".into());
                return Err(Error::new(ErrorKind::Usage, OUTPUT, problem).hint(hint).into());
            }
            screen::watch(io, every, view, || {
                let (rows, failures) = look();
                (rows, words(&failures))
            })?;
            return Ok(Outcome::Done);
        }
        let mut next = Instant::now();
        loop {
            let (rows, failures) = look();
            io.print_json(&view.json(&rows, words(&failures)))?;
            next = (next + every).max(Instant::now());
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn wanted_user(&self, context: &Context) -> Result<Option<u32>> {
        let Some(user) = &self.user else { return Ok(None) };
        context.users().number(user).map(Some).ok_or_else(|| {
            let error = Error::new(ErrorKind::Usage, printable(OsStr::new(user)), "is no user of /etc/passwd");
            error.hint(Hint::Advice("say the number of the user".into()))
        })
    }

    fn columns(&self) -> Vec<&'static Column> {
        match &self.columns {
            Some(columns) => columns.0.clone(),
            None if self.json => Column::ALL.iter().collect(),
            None if self.watch.is_some() => Column::named(&Column::WATCHED),
            None => Column::named(&Column::DEFAULT),
        }
    }

    /// The objects that are wanted, in the order in which they are shown, and the
    /// errors.
    fn look(&self, filter: &inventory::Filter, columns: &[&Column]) -> (Vec<Row>, Vec<Error>) {
        let (mut objects, failures) = if self.objects.is_empty() {
            let kinds = if self.kind.is_empty() { &Kind::ALL } else { &self.kind[..] };
            inventory::list(kinds)
        } else {
            let (mut objects, mut failures) = (Vec::new(), Vec::new());
            for found in self.objects.iter().map(inventory::find) {
                match found {
                    Ok(object) => objects.push(object),
                    Err(error) => failures.push(error),
                }
            }
            (objects, failures)
        };
        objects.retain(|object| filter.admits(object));
        if self.objects.is_empty() {
            inventory::sort(&mut objects);
        }
        // Every process is looked at for that, so only if it is shown.
        let shown = !self.addresses && columns.iter().any(|column| column.needs_verdict());
        if !shown && !self.orphans {
            return (objects.into_iter().map(|object| Row { object, verdict: None }).collect(), failures);
        }
        let verdicts = inventory::judge(&objects);
        let judged = objects.into_iter().zip(verdicts).filter(|(_, verdict)| filter.accepts(verdict));
        (judged.map(|(object, verdict)| Row { object, verdict: Some(verdict) }).collect(), failures)
    }
}
