//! shmlock: run a command while a mutex is held.

use std::ffi::OsString;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use libipc::entry::Access;
use libipc::lock::{self, Holder, Lock, Participant, State, Status, pthread};
use libipc::mode::Mode;
use libipc::ofd::Hold;
use libipc::wait::Patience;
use libipc::{Address, Error};

use crate::app::{Io, Outcome, Tool};
use crate::args::{self, Waiting};

/// Run a command while a mutex in shared memory is held
#[derive(clap::Parser, Debug)]
#[command(name = "shmlock", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Mode of a new lock, less the umask [default: 0600]
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode)]
    mode: Option<Mode>,
    /// A reader's lock: many at once, and no writer
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// End with status 7 if the last holder died inside
    #[arg(long)]
    strict: bool,
    /// Keep the lock's descriptor from the command
    #[arg(long)]
    close: bool,
    /// Print who holds the lock and who waits
    #[arg(long, conflicts_with_all = ["mode", "shared", "nonblock", "timeout", "strict", "close", "reset", "command"])]
    status: bool,
    /// With --status: as a JSON object
    #[arg(short = 'J', long, requires = "status", conflicts_with_all = ["reset", "command"])]
    json: bool,
    /// Say that the data is sound, though a holder died
    #[arg(long, conflicts_with_all = ["mode", "shared", "strict", "close", "command"])]
    reset: bool,
    /// Lock the robust pthread mutex there in a segment
    #[arg(long, value_name = "OFFSET", value_parser = args::size, conflicts_with_all = ["mode", "shared", "close", "status"])]
    pthread: Option<u64>,
    #[arg(value_name = "LOCK", value_parser = args::address(), help = args::LOCK_HELP)]
    lock: Address,
    /// What to run
    #[arg(last = true, required_unless_present_any = ["status", "reset"])]
    command: Vec<OsString>,
}

impl Tool for Args {
    fn busy_status(&self) -> Option<u8> {
        self.waiting.busy_status
    }

    fn runs_command(&self) -> bool {
        !self.command.is_empty()
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let mut patience = Patience::new(self.waiting.limit());
        if let Some(offset) = self.pthread {
            return self.run_pthread(io, offset, &mut patience);
        }
        let entry = lock::entry(&self.lock)?;
        if self.status {
            let status = Status::of(&entry)?;
            let report = Report::new(entry.shown(), &status);
            if self.json {
                io.print(serde_json::to_string(&report)?)?;
            } else {
                io.print(report)?;
            }
            return Ok(Outcome::Done);
        }
        let hold = if self.shared { Hold::Shared } else { Hold::Exclusive };
        if self.reset {
            // It must exist: a new one has nothing to mend.
            Lock::open(&entry, Access::Write)?;
            lock::take(&entry, hold, Mode::PRIVATE, &mut patience)?.reset()?;
            return Ok(Outcome::Done);
        }
        let lock = lock::take(&entry, hold, self.mode.unwrap_or(Mode::PRIVATE), &mut patience)?;
        let died = lock.owner_died()?;
        if let Some(holder) = &died {
            tell(io, "shmlock", lock.shown(), self.strict, Some(holder))?;
        }
        Ok(lock.run(&self.command, hold, self.close, died.is_some())?.into())
    }
}

impl Args {
    fn run_pthread(&self, io: &Io<'_>, offset: u64, patience: &mut Patience) -> anyhow::Result<Outcome> {
        let mutex = pthread::Mutex::open(&self.lock, offset)?;
        let died = mutex.lock(patience)?;
        if self.reset {
            mutex.unlock(died)?;
            return Ok(Outcome::Done);
        }
        if died {
            // Left as it is, it tells the next one again.
            tell(io, "shmlock", &self.lock.to_string(), self.strict, None)?;
        }
        Ok(mutex.run(&self.command, died)?.into())
    }
}

/// The last holder died inside: say so, or with `strict` fail.
pub(super) fn tell(io: &Io<'_>, tool: &str, shown: &str, strict: bool, holder: Option<&Holder>) -> Result<(), Error> {
    if strict {
        return Err(lock::refuse(shown, holder));
    }
    io.complain(format_args!("{tool}: {shown}: {} (see that the data is sound)", lock::died(holder)));
    Ok(())
}

/// What --status prints.
#[derive(serde::Serialize)]
struct Report<'a> {
    lock: &'a str,
    state: &'static str,
    holders: Vec<Who>,
    #[serde(skip_serializing_if = "Option::is_none")]
    died: Option<Who>,
    waiters: Vec<Who>,
    sleepers: Vec<Who>,
}

/// A process, as it said itself.
#[derive(serde::Serialize)]
struct Who {
    pid: u32,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<u64>,
    /// Whether it has ended: then its command has the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<bool>,
}

impl<'a> Report<'a> {
    fn new(lock: &'a str, status: &Status) -> Self {
        let participants = |all: &[Participant]| all.iter().map(Who::new).collect();
        let mark = status.mark.as_ref().map(Who::marked);
        let held = status.state == State::Held;
        let (holder, died) = if held { (mark, None) } else { (None, mark) };
        Report {
            lock,
            state: status.state.as_str(),
            holders: if held { holder.into_iter().collect() } else { participants(&status.readers) },
            died,
            waiters: participants(&status.waiters),
            sleepers: participants(&status.sleepers),
        }
    }
}

impl Who {
    fn new(participant: &Participant) -> Self {
        Who { pid: participant.pid, since: time(participant.since), namespace: None, ended: None }
    }

    fn marked(holder: &Holder) -> Self {
        let since = time(holder.since);
        Who { pid: holder.pid, since, namespace: Some(holder.namespace), ended: holder.has_ended() }
    }
}

fn time(at: SystemTime) -> String {
    args::timestamp(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed())
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state {}", self.state)?;
        let all = [("holder", &self.holders), ("waiter", &self.waiters), ("sleeper", &self.sleepers)];
        let rows = all.iter().flat_map(|(role, who)| who.iter().map(move |who| (*role, who)));
        for (role, who) in rows.chain(self.died.iter().map(|who| ("died", who))) {
            write!(f, "\n{role} {} {}", who.pid, who.since)?;
            if role == "holder" && who.ended == Some(true) {
                write!(f, " ended")?;
            }
        }
        Ok(())
    }
}
