//! ipcset: change mode, owner and size of what exists.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use libipc::inventory::users::Names;
use libipc::inventory::{self, Changes};
use libipc::mode::{Mode, Permissions};
use libipc::text::printable;
use libipc::{Error, ErrorKind, Hint, KindAddress, Result};

use crate::app::{self, Io, Outcome, Tool};
use crate::args;

/// Change mode, owner or size of shared memory, queues and semaphores
#[derive(clap::Parser, Debug)]
#[command(name = "ipcset", version, after_help = args::AFTER_HELP)]
#[command(override_usage = "ipcset [OPTIONS] <KIND:ADDRESS>...")]
#[command(group = clap::ArgGroup::new("changes").multiple(true).required(true))]
pub struct Args {
    /// Permissions in octal
    #[arg(short, long, value_name = "OCTAL", value_parser = args::mode, group = "changes")]
    mode: Option<Mode>,
    /// Owner, owner and group, or :GROUP alone
    #[arg(short, long, value_name = "USER[:GROUP]", value_hint = clap::ValueHint::Username, group = "changes")]
    owner: Option<OsString>,
    /// Size of a POSIX segment or of a file
    #[arg(long, value_name = "N", value_parser = args::size, group = "changes")]
    size: Option<u64>,
    /// With --size: also take what somebody maps
    #[arg(long, requires = "size")]
    force: bool,
    /// Bytes that a System V queue holds
    #[arg(long, value_name = "N", value_parser = args::positive_size, group = "changes")]
    max_bytes: Option<u64>,
    /// As shm:/seg, mq:key:0x2a, sem:id:7, shm:file:PATH
    #[arg(value_name = "KIND:ADDRESS", value_parser = args::kind_address(), required = true)]
    objects: Vec<KindAddress>,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let changes = self.changes()?;
        // A change that one of them cannot have is noticed before anything is changed.
        self.objects.iter().try_for_each(|object| changes.check(object))?;
        let changed = self.objects.iter().map(|object| inventory::change(object, &changes));
        let statuses: Vec<_> = changed.filter_map(Result::err).map(|error| io.fail(&error, &[])).collect();
        Ok(app::combined(&statuses))
    }
}

impl Args {
    fn changes(&self) -> Result<Changes> {
        let Args { mode, size, force, max_bytes, .. } = *self;
        let (user, group) = self.owner.as_deref().map_or(Ok((None, None)), owner)?;
        Ok(Changes { permissions: Permissions { mode, user, group }, size, force, max_bytes })
    }
}

/// The numbers of USER, USER:GROUP or :GROUP.
fn owner(text: &OsStr) -> Result<(Option<u32>, Option<u32>)> {
    let bytes = text.as_bytes();
    let (user, group) = match memchr::memchr(b':', bytes) {
        Some(colon) => (&bytes[..colon], Some(&bytes[colon + 1..])),
        None => (bytes, None),
    };
    let number = |word: &[u8], names: fn() -> Names, what: &str| {
        let word = OsStr::from_bytes(word);
        names().number(word).ok_or_else(|| {
            let problem = format!("{:?} is no {what}", printable(word));
            Error::new(ErrorKind::Usage, "--owner", problem).hint(Hint::Advice("a number will do".into()))
        })
    };
    let only_group = user.is_empty() && group.is_some();
    let user = (!only_group).then(|| number(user, Names::of_users, "user of /etc/passwd")).transpose()?;
    let group = group.map(|group| number(group, Names::of_groups, "group of /etc/group")).transpose()?;
    Ok((user, group))
}
