//! ipcls: what exists, who holds it, and what is left over.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use libipc::fs::copy::OUTPUT;
use libipc::inventory::{State, limits, space};
use libipc::{Error, ErrorKind, Hint, Kind, KindAddress};

use crate::app::{self, Io, Outcome, Tool};
use crate::args::{self, Filter};
use crate::hints;
use crate::show::listing::{Choice, Listing};
use crate::show::{self, Colours, Column, Columns, Context, View, screen};

/// List shared memory, message queues and semaphores, and who holds them
#[derive(clap::Parser, Debug)]
#[command(name = "ipcls", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// One JSON document
    #[arg(short = 'J', long, conflicts_with_all = ["raw", "pairs", "no_headings", "addresses"])]
    json: bool,
    /// Fields separated by blanks, nothing shortened
    #[arg(short, long, conflicts_with_all = ["addresses", "pairs"])]
    raw: bool,
    /// Lines of COLUMN="value", for eval
    #[arg(short = 'P', long, conflicts_with = "addresses")]
    pairs: bool,
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
    /// Sort by this column; -COLUMN for the largest first
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, value_parser = args::sort_key)]
    sort: Option<(&'static Column, bool)>,
    #[command(flatten)]
    kinds: Kinds,
    #[command(flatten)]
    filter: Filter,
    /// Only those that are left over
    #[arg(long)]
    orphans: bool,
    /// Only locks and rings whose holder or writer died
    #[arg(long)]
    died: bool,
    /// Only those that nobody was seen to hold
    #[arg(long)]
    idle: bool,
    /// Only those that this process holds or waits for
    #[arg(long, value_name = "PID", value_parser = args::number::<i32>(1..=i32::MAX as u64))]
    pid: Option<i32>,
    /// In the namespaces of this process, as root
    #[arg(long, value_name = "PID", value_parser = args::number::<i32>(1..=i32::MAX as u64))]
    namespace: Option<i32>,
    /// Refresh every SECONDS [default: 1]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
        value_parser = args::positive_duration, conflicts_with_all = ["raw", "pairs", "addresses"])]
    watch: Option<Duration>,
    /// The kernel's limits, and what is in use
    #[arg(long, conflicts_with_all = ["raw", "pairs", "columns", "addresses", "sort", "Kinds", "Filter", "orphans",
        "died", "idle", "pid", "watch", "why", "objects"])]
    limits: bool,
    /// What fills /dev/shm, folders and removed files too
    #[arg(long, conflicts_with_all = ["raw", "pairs", "columns", "addresses", "sort", "Kinds", "Filter", "orphans",
        "died", "idle", "pid", "watch", "limits", "why", "objects"])]
    space: bool,
    /// What speaks for and against these being left over
    #[arg(long, requires = "objects", conflicts_with_all = ["raw", "pairs", "columns", "addresses", "watch"])]
    why: bool,
    /// Every detail of these: shm:/seg, mq:key:0x2a, sem:id:7
    #[arg(value_name = "KIND:ADDRESS", value_parser = args::kind_address(),
        conflicts_with_all = ["Kinds", "mine", "user", "name", "orphans", "died", "idle", "pid"])]
    objects: Vec<KindAddress>,
}

/// Which kinds are listed.
#[derive(clap::Args, Debug)]
struct Kinds {
    /// Only these: shm, ring, lock, mq, sem
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = args::kind)]
    kind: Vec<Kind>,
    /// Shared memory, as --kind shm
    #[arg(short = 'm', long, hide = true)]
    shmems: bool,
    /// Message queues, as --kind mq
    #[arg(short = 'q', long, hide = true)]
    queues: bool,
    /// Semaphores, as --kind sem
    #[arg(short = 's', long, hide = true)]
    semaphores: bool,
    /// Only those of this interface: sysv, posix
    #[arg(long, value_name = "API", value_parser = ["sysv", "posix"], hide_possible_values = true)]
    api: Option<String>,
}

impl Kinds {
    fn wanted(&self) -> Vec<Kind> {
        let short = [(self.shmems, Kind::Shm), (self.queues, Kind::Mq), (self.semaphores, Kind::Sem)];
        let short = short.into_iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| kind);
        let kinds: Vec<Kind> = self.kind.iter().copied().chain(short).collect();
        if kinds.is_empty() { Kind::ALL.into() } else { kinds }
    }
}

impl Tool for Args {
    fn namespace(&self) -> Option<i32> {
        self.namespace
    }

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
        if self.space {
            let found = space::of_shm();
            match self.json {
                true => io.print_json(&show::space::json(&found))?,
                false => io.write(show::space::table(&found, !self.no_headings, Colours::of(out)).as_bytes())?,
            }
            return Ok(Outcome::Done);
        }
        let context = Context::new();
        let columns = self.columns();
        let complete = self.columns.is_none();
        let view = View { columns: &columns, headings: !self.no_headings, complete, context: &context };
        let kinds = self.kinds.wanted();
        let states = [
            (self.orphans || self.idle, State::Orphan),
            (self.died || self.idle, State::Died),
            (self.idle, State::Idle),
        ];
        let states = states.into_iter().filter(|(wanted, _)| *wanted).map(|(_, state)| state).collect();
        let sorted = self.sort.is_some_and(|(column, _)| column.needs_verdict());
        let choice = Choice {
            named: &self.objects,
            kinds: &kinds,
            sysv: self.kinds.api.as_ref().map(|api| api == "sysv"),
            filter: self.filter.wanted(context.users(), states)?,
            pid: self.pid,
            sort: self.sort,
            judged: self.why || sorted || !self.addresses && columns.iter().any(|column| column.needs_verdict()),
        };
        let look = || choice.look(&context);
        if let Some(every) = self.watch {
            return self.watch(io, every, &view, look);
        }
        let listing = look();
        let rows = &listing.rows;
        if self.json {
            io.print_json(&view.json(&listing, words(&listing.failures)))?;
            return Ok(report(io, &listing.failures));
        }
        let bytes = if self.addresses {
            show::addresses(rows, if self.null { 0 } else { b'\n' })
        } else if self.raw {
            view.raw(rows).into_bytes()
        } else if self.pairs {
            view.pairs(rows).into_bytes()
        } else if self.why {
            rows.iter().map(show::why).collect::<String>().into_bytes()
        } else if self.objects.is_empty() || self.columns.is_some() {
            let mut text = view.table(rows, Colours::of(out));
            if out.is_terminal() && self.objects.is_empty() {
                text += &show::footer(&listing);
            }
            text.into_bytes()
        } else {
            let details: Vec<_> = rows.iter().map(|row| show::details(row, &context, &listing.hidden)).collect();
            details.join("\n").into_bytes()
        };
        io.write(&bytes)?;
        Ok(report(io, &listing.failures))
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
        look: impl Fn() -> Listing,
    ) -> anyhow::Result<Outcome> {
        if !self.json {
            if !io.stdout()?.is_terminal() {
                let problem = "--watch draws on a terminal, and standard output is none";
                let hint = Hint::Advice("say -J for a document a tick".into());
                return Err(Error::new(ErrorKind::Usage, OUTPUT, problem).hint(hint).into());
            }
            screen::watch(io, every, view, || {
                let listing = look();
                let failures = words(&listing.failures);
                (listing, failures)
            })?;
            return Ok(Outcome::Done);
        }
        let mut next = Instant::now();
        loop {
            let listing = look();
            io.print_json(&view.json(&listing, words(&listing.failures)))?;
            next = (next + every).max(Instant::now());
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn columns(&self) -> Vec<&'static Column> {
        match &self.columns {
            Some(columns) => columns.0.clone(),
            None if self.json => Column::ALL.iter().collect(),
            None if self.watch.is_some() => Column::named(&Column::WATCHED),
            None => Column::named(&Column::DEFAULT),
        }
    }
}
