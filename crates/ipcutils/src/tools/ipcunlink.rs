//! ipcunlink: remove shared memory, queues and semaphores.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use libipc::address::{Address, Kind, KindAddress, SysV};
use libipc::inventory::{self, Object, Others, Pattern, State};
use libipc::text::printable;
use libipc::wait::{Deadline, Steps};
use libipc::{Error, ErrorKind, Result, mq, process, sem, shm};

use crate::app::{self, Io, Outcome, Tool};
use crate::args;
use crate::records::Records;

/// Remove shared memory, message queues and semaphores
#[derive(clap::Parser, Debug)]
#[command(name = "ipcunlink", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what is held, too
    #[arg(long, conflicts_with = "orphans")]
    force: bool,
    /// What ipcls --orphans lists, printed unless --yes
    #[arg(long, conflicts_with_all = ["null", "objects"])]
    orphans: bool,
    /// Of the orphans one's own
    #[arg(long, requires = "orphans")]
    mine: bool,
    /// Of the orphans those that were not used for so long
    #[arg(long, value_name = "DURATION", value_parser = args::duration, requires = "orphans")]
    older: Option<Duration>,
    /// Of the orphans those whose address or name matches
    #[arg(long, value_name = "GLOB", value_parser = args::pattern(), requires = "orphans")]
    name: Option<Pattern>,
    /// Remove the orphans that --older or --name chooses
    #[arg(long, requires = "orphans", conflicts_with = "dry_run")]
    yes: bool,
    /// Addresses from standard input as well, ended by NUL
    #[arg(short = '0', long)]
    null: bool,
    /// As shm:/seg, mq:key:0x2a, sem:id:7, shm:file:PATH
    #[arg(value_name = "KIND:ADDRESS", value_parser = args::kind_address(), required_unless_present_any = ["null", "orphans"])]
    objects: Vec<KindAddress>,
}

/// More than any path, and what stands in front of it.
const LONGEST: usize = 8192;

/// Something to be removed, and what was seen of it.
struct Target {
    address: KindAddress,
    seen: Result<Object>,
}

impl Target {
    fn is_held(&self) -> bool {
        self.seen.as_ref().is_ok_and(|object| object.state == State::Held)
    }
}

/// How long a holder may take to end before it is refused.
const GRACE: Duration = Duration::from_secs(1);

impl Tool for Args {
    fn run(mut self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let targets = if self.orphans { self.orphans()? } else { self.named(io)? };
        let prints = self.dry_run || self.orphans;
        let removes = !self.dry_run && (!self.orphans || self.yes);
        let mut statuses = Vec::new();
        for Target { address, seen } in &targets {
            let done = self.check(io, address, seen).and_then(|()| match seen {
                // What cannot be looked at can perhaps be removed, and the kernel decides.
                Err(_) if removes => remove(address, None),
                Ok(object) if removes => remove(address, object.id),
                other => other.as_ref().map(drop).map_err(Clone::clone),
            });
            match done {
                Ok(()) if prints => io.print(address)?,
                Ok(()) => {}
                Err(error) => {
                    io.complain(format_args!("ipcunlink: {}:{error}", address.kind.as_str()));
                    statuses.push(app::status(error.kind));
                }
            }
        }
        if self.orphans && !removes && !self.dry_run && !targets.is_empty() {
            io.complain("ipcunlink: nothing was removed (--yes with --older or --name removes them)");
        }
        Ok(app::common(&statuses))
    }
}

impl Args {
    /// Those of the command line and of standard input. A word that is no address
    /// is seen before anything is removed.
    fn named(&mut self, io: &Io<'_>) -> Result<Vec<Target>> {
        let mut addresses = std::mem::take(&mut self.objects);
        if self.null {
            let mut records = Records::new(io.stdin()?, 0, LONGEST);
            while let Some((record, _)) = records.next()? {
                if record.len() > LONGEST {
                    let begin = printable(OsStr::from_bytes(&record[..40]));
                    return Err(Error::new(ErrorKind::Usage, format!("{begin}..."), "is too long for an address"));
                }
                addresses.push(KindAddress::parse(OsStr::from_bytes(record))?);
            }
        }
        let mut targets = look(addresses);
        // The last of a pipeline, or a guardian of semop(1), may just be ending.
        let deadline = Deadline::after(Some(GRACE));
        let mut steps = Steps::new();
        while !self.force && targets.iter().any(Target::is_held) && !deadline.passed() {
            steps.sleep(&deadline);
            let places: Vec<usize> = (0..targets.len()).filter(|&place| targets[place].is_held()).collect();
            let again = look(places.iter().map(|&place| targets[place].address.clone()).collect());
            for (place, target) in places.into_iter().zip(again) {
                targets[place] = target;
            }
        }
        Ok(targets)
    }

    fn orphans(&self) -> Result<Vec<Target>> {
        if self.yes && self.older.is_none() && self.name.is_none() {
            let what = "would remove every orphan at once";
            return Err(Error::new(ErrorKind::Usage, "--orphans --yes", what).mend("choose with --older or --name"));
        }
        // Queues and semaphores are never orphans.
        let (mut objects, _) = inventory::list(&[Kind::Shm, Kind::Ring, Kind::Lock]);
        inventory::settle(&mut objects);
        objects.retain(|object| {
            object.state == State::Orphan
                && (!self.mine || object.uid == process::own_uid())
                && self.name.as_ref().is_none_or(|pattern| object.matches(pattern))
                && self.older.is_none_or(|older| object.age() >= older)
        });
        inventory::sort(&mut objects);
        Ok(objects.into_iter().map(|object| Target { address: object.address.clone(), seen: Ok(object) }).collect())
    }

    /// Refuse what is held, unless it is forced away.
    fn check(&self, io: &Io<'_>, address: &KindAddress, seen: &Result<Object>) -> Result<()> {
        let Some(object) = seen.as_ref().ok().filter(|object| object.state == State::Held) else { return Ok(()) };
        if !self.force {
            return Err(Error::new(ErrorKind::Failure, &address.address, format!("is held by {}", holders(object)))
                .mend("--force removes it all the same"));
        }
        if address.kind == Kind::Lock {
            io.complain(format_args!(
                "ipcunlink: {address}: is held by {}, whom the next holder will not exclude",
                holders(object)
            ));
        }
        Ok(())
    }
}

/// Find them, with one look at all processes for all of them.
fn look(addresses: Vec<KindAddress>) -> Vec<Target> {
    let (mut objects, mut places) = (Vec::new(), Vec::new());
    let mut targets: Vec<Target> = Vec::new();
    for (place, address) in addresses.into_iter().enumerate() {
        let mut seen = Err(Error::new(ErrorKind::Missing, &address.address, "does not exist"));
        match inventory::find(&address) {
            Ok(object) => {
                objects.push(object);
                places.push(place);
            }
            Err(error) => seen = Err(error),
        }
        targets.push(Target { address, seen });
    }
    inventory::settle(&mut objects);
    for (place, object) in places.into_iter().zip(objects) {
        targets[place].seen = Ok(object);
    }
    targets
}

/// Who holds it, in words.
fn holders(object: &Object) -> String {
    const SHOWN: usize = 4;
    let shown = object.holders.iter().take(SHOWN);
    let mut words: Vec<String> = shown
        .map(|holder| match inventory::program(holder.pid) {
            Some(program) => format!("{} ({program})", holder.pid),
            None => holder.pid.to_string(),
        })
        .collect();
    let more = object.holders.len().saturating_sub(SHOWN);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    match object.others {
        Others::Some(count) => words.push(format!("{count} that cannot be seen")),
        _ if words.is_empty() => words.push("one that cannot be seen".into()),
        _ => {}
    }
    words.join(", ")
}

/// A System V object by the identifier that was looked at: its key may mean
/// another by now.
fn remove(object: &KindAddress, id: Option<i32>) -> Result<()> {
    let by_id = id.map(|id| Address::SysV(SysV::Id(id)));
    let removed = match (object.kind, by_id.as_ref().unwrap_or(&object.address)) {
        (Kind::Mq, Address::Posix(name)) => mq::posix::remove(name),
        (Kind::Mq, Address::SysV(sysv)) => mq::sysv::remove(sysv),
        (Kind::Sem, Address::Posix(name)) => sem::posix::remove(name),
        (Kind::Sem, Address::SysV(sysv)) => sem::sysv::remove(sysv),
        (_, address) => shm::remove(address, object.kind),
    };
    removed.map_err(|error| match id {
        Some(_) => Error { object: object.address.to_string(), ..error },
        None => error,
    })
}
