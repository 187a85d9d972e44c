//! ipcunlink: remove shared memory, queues and semaphores.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use libipc::fs::input::Input;
use libipc::inventory::users::Names;
use libipc::inventory::{self, Admit, Object, State, Unseen, Verdict};
use libipc::wait::{Backoff, Deadline};
use libipc::{Error, ErrorKind, Hint, Kind, KindAddress, Result, lock, mq, ring, sem, shm};

use crate::app::{self, INPUT, Io, Outcome, Tool};
use crate::args::{self, Filter};
use crate::records::Records;

/// Remove shared memory, message queues and semaphores
#[derive(clap::Parser, Debug)]
#[command(name = "ipcunlink", version, after_help = args::AFTER_HELP)]
#[command(mut_arg("mine", |arg| arg.requires("orphans").help("With --orphans: only your own")))]
#[command(mut_arg("user", |arg| arg.requires("orphans").help("With --orphans: only those of this user")))]
#[command(mut_arg("older", |arg| arg.requires("orphans").help("With --orphans: only those not used for this long")))]
#[command(mut_arg("name", |arg| arg.requires("orphans").help("With --orphans: only those whose name matches")))]
pub struct Args {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Also remove what somebody holds or waits for
    #[arg(long, conflicts_with = "orphans")]
    force: bool,
    /// Print what ipcls --orphans lists; --yes removes it
    #[arg(long, conflicts_with_all = ["null", "objects"])]
    orphans: bool,
    /// With --orphans: also locks and rings of the dead
    #[arg(long, requires = "orphans")]
    died: bool,
    #[command(flatten)]
    filter: Filter,
    /// Remove the orphans that --older or --name chooses
    #[arg(long, requires = "orphans", conflicts_with = "dry_run")]
    yes: bool,
    /// In the namespaces of this process, as root
    #[arg(long, value_name = "PID", value_parser = args::number::<i32>(1..=i32::MAX as u64))]
    namespace: Option<i32>,
    /// Addresses from standard input as well, ended by NUL
    #[arg(short = '0', long)]
    null: bool,
    /// As shm:/seg, mq:key:0x2a, sem:id:7, shm:file:PATH
    #[arg(value_name = "KIND:ADDRESS", value_parser = args::kind_address(), required_unless_present_any = ["null", "orphans"])]
    objects: Vec<KindAddress>,
}

/// The longest address: more than any path, and the kind in front of it.
const LONGEST: usize = 8192;

/// How long a holder may take to end before it is refused.
const GRACE: Duration = Duration::from_secs(1);

/// An object to remove, and what was seen of it.
type Target = (KindAddress, Result<(Object, Verdict)>);

impl Tool for Args {
    fn namespace(&self) -> Option<i32> {
        self.namespace
    }

    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let targets = if self.orphans { self.orphans()? } else { self.named(io)? };
        let prints = self.dry_run || self.orphans;
        let removes = !self.dry_run && (!self.orphans || self.yes);
        let mut statuses = Vec::new();
        for (address, seen) in &targets {
            let done = if removes { self.remove(io, address, seen) } else { self.allowed(address, seen) };
            match done {
                Ok(()) if prints => io.print(address)?,
                Ok(()) => {}
                // It went by itself, was replaced or is used again: no orphan any more.
                Err(error) if self.orphans && matches!(error.kind, ErrorKind::Gone | ErrorKind::Missing) => {}
                Err(error) => statuses.push(io.fail(&error, &[])),
            }
        }
        if self.orphans && !removes && !self.dry_run && !targets.is_empty() {
            io.warn("nothing was removed (--yes with --older or --name removes them)");
        }
        Ok(app::combined(&statuses))
    }
}

impl Args {
    /// The objects of the command line and of standard input. A word that is no
    /// address is noticed before anything is removed.
    fn named(&self, io: &Io<'_>) -> Result<Vec<Target>> {
        let mut addresses = self.objects.clone();
        if self.null {
            let input = Input::new(io.stdin()?, INPUT)?;
            let mut records = Records::new(&input, 0, LONGEST);
            let too_long = || Error::new(ErrorKind::Usage, INPUT, "has a word that is too long for an address");
            while let Some((record, _)) = records.next(too_long)? {
                addresses.push(KindAddress::parse(OsStr::from_bytes(record))?);
            }
        }
        let mut seen = inventory::find_all(&addresses, &self.filter.patience());
        // The last command of a pipeline, or a guardian of semop(1), may just be ending.
        let deadline = Deadline::after(Some(GRACE));
        let mut backoff = Backoff::new();
        while !self.force && seen.iter().any(is_held) && !deadline.passed() {
            backoff.sleep(&deadline);
            let places: Vec<usize> = (0..seen.len()).filter(|&place| is_held(&seen[place])).collect();
            let held: Vec<_> = places.iter().map(|&place| addresses[place].clone()).collect();
            for (place, again) in places.into_iter().zip(inventory::find_all(&held, &self.filter.patience())) {
                seen[place] = again;
            }
        }
        Ok(addresses.into_iter().zip(seen).collect())
    }

    fn orphans(&self) -> Result<Vec<Target>> {
        if self.yes && !self.filter.chooses() {
            let hint = Hint::Advice("choose with --older or --name".into());
            let problem = "would remove every orphan at once";
            return Err(Error::new(ErrorKind::Usage, "--orphans --yes", problem).hint(hint));
        }
        let filter = self.filter.wanted(&Names::of_users(), self.states())?;
        let (mut objects, _) = inventory::list(&Kind::ALL, None);
        objects.retain(|object| filter.admits(object));
        inventory::sort(&mut objects);
        let (verdicts, _) = inventory::judge(&objects, &filter.patience());
        let judged = objects.into_iter().zip(verdicts).filter(|(_, verdict)| filter.accepts(verdict));
        Ok(judged.map(|judged| (judged.0.address.clone(), Ok(judged))).collect())
    }

    /// The states of what --orphans means.
    fn states(&self) -> Vec<State> {
        if self.died { vec![State::Orphan, State::Died] } else { vec![State::Orphan] }
    }

    /// Whether what was seen may go.
    fn allowed(&self, address: &KindAddress, seen: &Result<(Object, Verdict)>) -> Result<()> {
        let (_, verdict) = seen.as_ref().map_err(Clone::clone)?;
        self.check(address, verdict)
    }

    /// Remove an object, if it may still go.
    fn remove(&self, io: &Io<'_>, address: &KindAddress, seen: &Result<(Object, Verdict)>) -> Result<()> {
        // The kernel decides about an object that cannot be looked at.
        let Ok((object, verdict)) = seen else { return unseen(address) };
        if !self.force {
            self.check(address, verdict)?;
            let admit = Admit { patience: &self.filter.patience(), check: &|_, verdict| self.check(address, verdict) };
            return inventory::remove(object, Some(admit));
        }
        if verdict.state.is_busy() && address.kind() == Kind::Lock {
            io.warn(format_args!("{address}: is held by {}, which does not exclude the next holder", holders(verdict)));
        }
        inventory::remove(object, None)
    }

    fn check(&self, address: &KindAddress, verdict: &Verdict) -> Result<()> {
        if self.orphans && !self.states().contains(&verdict.state) {
            return Err(Error::new(ErrorKind::Gone, address, "is no orphan any more"));
        }
        if !verdict.state.is_busy() {
            return Ok(());
        }
        let problem = match verdict.waiting {
            Some(waiting) if verdict.holders.is_empty() && waiting > 0 => {
                format!("is waited for by {}", waiters(verdict, waiting))
            }
            _ => format!("is held by {}", holders(verdict)),
        };
        let hint = Hint::Advice("--force removes it all the same".into());
        Err(Error::new(ErrorKind::Failure, address, problem).hint(hint))
    }
}

fn is_held(seen: &Result<(Object, Verdict)>) -> bool {
    seen.as_ref().is_ok_and(|(_, verdict)| verdict.state.is_busy())
}

/// How many processes a message names.
const SHOWN: usize = 4;

fn named(pids: impl Iterator<Item = i32>) -> Vec<String> {
    let word = |pid| match inventory::program(pid) {
        Some(program) => format!("{pid} ({program})"),
        None => pid.to_string(),
    };
    pids.take(SHOWN).map(word).collect()
}

/// Who holds it, in words.
fn holders(verdict: &Verdict) -> String {
    let mut words = named(verdict.holders.iter().map(|holder| holder.pid));
    let more = verdict.holders.len().saturating_sub(SHOWN);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    match verdict.unseen {
        Unseen::Some(count) => words.push(format!("{count} that cannot be seen")),
        _ if words.is_empty() => words.push("one that cannot be seen".into()),
        Unseen::None | Unseen::Unknown => {}
    }
    words.join(", ")
}

/// Who waits for it, in words.
fn waiters(verdict: &Verdict, waiting: u64) -> String {
    let mut words = named(verdict.waiters.iter().map(|waiter| waiter.pid));
    let more = waiting.saturating_sub(words.len() as u64);
    if more > 0 {
        words.push(if words.is_empty() { format!("{more} that cannot be seen") } else { format!("{more} more") });
    }
    words.join(", ")
}

/// Remove an object that could not be looked at.
fn unseen(object: &KindAddress) -> Result<()> {
    let address = object.address();
    let removed = match object.kind() {
        Kind::Shm => shm::remove(address),
        Kind::Ring => ring::remove(address),
        Kind::Lock => lock::remove(address),
        Kind::Mq => mq::remove(address),
        Kind::Sem => sem::remove(address),
    };
    removed.map_err(|error| Error { object: object.to_string(), ..error })
}
