//! ipcls: what exists, who holds it, and what is left over.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use libipc::address::{Kind, KindAddress};
use libipc::inventory::{self, Object, Pattern, State};
use libipc::{Error, ErrorKind, Result, copy, shm};

use crate::app::{self, Io, Outcome, Tool};
use crate::args::{self, Columns};
use crate::columns::{self, Column, Context};
use crate::listing::{self, Colours, View};
use crate::{limits, screen};

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
    /// Only one's own
    #[arg(long, conflicts_with = "user")]
    mine: bool,
    /// Only those of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only those that are certainly left over
    #[arg(long)]
    orphans: bool,
    /// Only those whose address or name matches
    #[arg(long, value_name = "GLOB", value_parser = args::pattern())]
    name: Option<Pattern>,
    /// Only those that were not used for so long
    #[arg(long, value_name = "DURATION", value_parser = args::duration)]
    older: Option<Duration>,
    /// Look again each second, or so often
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1",
        value_parser = args::positive_duration, conflicts_with_all = ["raw", "addresses"])]
    watch: Option<Duration>,
    /// The kernel's limits, and what is in use
    #[arg(long, conflicts_with_all = ["raw", "columns", "addresses", "kind", "mine", "user", "orphans", "name",
        "older", "watch", "objects"])]
    limits: bool,
    /// Every detail of these: shm:/seg, mq:key:0x2a, sem:id:7
    #[arg(value_name = "KIND:ADDRESS", value_parser = args::kind_address(),
        conflicts_with_all = ["kind", "mine", "user", "orphans", "name", "older"])]
    objects: Vec<KindAddress>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let out = io.stdout()?;
        let write = |bytes: &[u8]| {
            copy::write_all(out, bytes, None)
                .map_err(|(_, errno)| Error::new(ErrorKind::Failure, shm::OUTPUT, errno.desc()))
        };
        if self.limits {
            let (found, failures) = inventory::limits::all();
            let table = || limits::table(&found, !self.no_headings, Colours::of(out));
            let text = if self.json { limits::json(&found)? } else { table() };
            write(text.as_bytes())?;
            return Ok(report(io, &failures));
        }
        let context = Context::new();
        let user = self.wanted_user(&context)?;
        let columns = self.columns();
        let view = View { columns: &columns, headings: !self.no_headings, context: &context };
        let look = || self.look(user, &columns);
        if let Some(every) = self.watch {
            if !self.json && !out.is_terminal() {
                let what = "--watch draws on a terminal, and standard output is none";
                return Err(Error::new(ErrorKind::Usage, shm::OUTPUT, what).mend("say -J for a document a tick").into());
            }
            if !self.json {
                screen::watch(out, io.stdin().ok(), every, &view, look)?;
                return Ok(Outcome::Done);
            }
            let mut next = Instant::now();
            loop {
                let (objects, failures) = look();
                write(view.json(&objects, &failures)?.as_bytes())?;
                next = (next + every).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
        let (objects, failures) = look();
        let text = if self.addresses {
            listing::addresses(&objects, if self.null { 0 } else { b'\n' })
        } else if self.json {
            view.json(&objects, &failures)?.into_bytes()
        } else if self.raw {
            view.raw(&objects).into_bytes()
        } else if self.objects.is_empty() || self.columns.is_some() {
            view.table(&objects, Colours::of(out)).into_bytes()
        } else {
            let details: Vec<_> = objects.iter().map(|object| listing::details(object, &context)).collect();
            details.join("\n").into_bytes()
        };
        write(&text)?;
        Ok(report(io, &failures))
    }
}

/// Say what could not be listed.
fn report(io: &Io<'_>, failures: &[Error]) -> Outcome {
    for error in failures {
        io.complain(format_args!("ipcls: {error}"));
    }
    app::common(&failures.iter().map(|error| app::status(error.kind)).collect::<Vec<_>>())
}

impl Args {
    fn wanted_user(&self, context: &Context) -> Result<Option<u32>> {
        match &self.user {
            _ if self.mine => Ok(Some(libipc::process::own_uid())),
            None => Ok(None),
            Some(user) => context.users().number(user).map(Some).ok_or_else(|| {
                let user = libipc::text::printable(&OsString::from(user));
                Error::new(ErrorKind::Usage, user, "is no user of /etc/passwd").mend("say the number of the user")
            }),
        }
    }

    fn columns(&self) -> Vec<&'static Column> {
        let named = |names: &[&str]| names.iter().filter_map(|name| Column::find(name)).collect();
        match &self.columns {
            Some(columns) => columns.0.clone(),
            None if self.json => columns::ALL.iter().collect(),
            None if self.watch.is_some() => named(&columns::WATCHED),
            None => named(&columns::DEFAULT),
        }
    }

    /// What is wanted, in the order in which it is shown; and what failed.
    fn look(&self, user: Option<u32>, columns: &[&Column]) -> (Vec<Object>, Vec<Error>) {
        let (mut objects, failures) = if self.objects.is_empty() {
            let kinds = if self.kind.is_empty() { &Kind::ALL } else { &self.kind[..] };
            inventory::list(kinds)
        } else {
            self.found()
        };
        objects.retain(|object| {
            user.is_none_or(|user| object.uid == user)
                && self.name.as_ref().is_none_or(|pattern| object.matches(pattern))
                && self.older.is_none_or(|older| object.age() >= older)
        });
        // Who holds them is asked of every process, so only if it is shown.
        if self.orphans || !self.addresses && columns.iter().any(|column| column.needs_holders) {
            inventory::settle(&mut objects);
        }
        objects.retain(|object| !self.orphans || object.state == State::Orphan);
        if self.objects.is_empty() {
            inventory::sort(&mut objects);
        }
        (objects, failures)
    }

    fn found(&self) -> (Vec<Object>, Vec<Error>) {
        let mut failures = Vec::new();
        let mut objects = Vec::new();
        for address in &self.objects {
            match inventory::find(address) {
                Ok(object) => objects.push(object),
                Err(error) => {
                    let object = format!("{}:{}", address.kind.as_str(), error.object);
                    failures.push(Error { object, ..error });
                }
            }
        }
        (objects, failures)
    }
}
