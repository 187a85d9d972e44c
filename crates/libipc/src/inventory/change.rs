//! Changing what exists: owner, mode and size.
//!
//! | of | how |
//! | --- | --- |
//! | a file | fchmod(2), fchown(2) of the file that was looked at |
//! | a POSIX queue | the same |
//! | a System V object | IPC_SET, owner and mode in one step |

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mqueue::{MQ_OFlag, mq_open};
use nix::sys::stat::{Mode as Bits, major, minor};
use nix::unistd::{SysconfVar, ftruncate, sysconf};

use super::holders::Unseen;
use super::judge::judge;
use super::lives::program;
use super::posix::{describe, queue_dir};
use super::removal::lease;
use super::signs::Patience;
use crate::base::address::{Address, Form, Kind, KindAddress, Name, PosixName, SysV};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::{Mode, Permissions};
use crate::base::text::printable;
use crate::fs::entry::{Access, Entry, Object};
use crate::fs::kind::{check_name, check_object};
use crate::fs::space::reserve;
use crate::sys::lease::Lease;
use crate::sys::mq::Descriptor;
use crate::{mq, sem, shm};

/// What to change of an object; what is None stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Owner, group and mode.
    pub permissions: Permissions,
    /// The size of a segment, or of a file, in bytes.
    pub size: Option<u64>,
    /// Take memory away from processes that have it mapped, which ends those that touch
    /// it: SIGBUS.
    pub force: bool,
    /// How many bytes a System V queue holds: msg_qbytes.
    pub max_bytes: Option<u64>,
}

impl Changes {
    /// Check that an object of this address has what is to be changed. Nothing is looked
    /// up.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`].
    pub fn check(&self, object: &KindAddress) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(ErrorKind::Usage, object, what));
        let sysv = matches!(object.address, Address::SysV(_));
        match object.kind {
            _ if object.address.form() == Form::Private => refuse("names no object that exists"),
            Kind::Shm if sysv && self.size.is_some() => refuse("the size of a System V segment cannot change"),
            Kind::Shm => Ok(()),
            kind if self.size.is_some() => refuse(&format!("the size of a {} cannot change", kind.noun())),
            _ => Ok(()),
        }?;
        let has_limit = sysv && object.kind == Kind::Mq;
        match self.max_bytes {
            Some(_) if !has_limit => refuse("only a System V queue has a number of bytes that can change"),
            // The kernel would take the lower 32 bits.
            Some(bytes) if i32::try_from(bytes).is_err() => refuse("no queue holds 2147483648 bytes or more"),
            _ => Ok(()),
        }
    }
}

/// Change an object.
///
/// # Errors
/// - those of [`Changes::check`];
/// - [`ErrorKind::Missing`], [`ErrorKind::Denied`];
/// - [`ErrorKind::Unexpected`] for an object of another kind;
/// - [`ErrorKind::NoRoom`] for more memory than there is, or a limit;
/// - [`ErrorKind::Failure`] if somebody has mapped what would go, without
///   [`Changes::force`]: then nothing was changed.
pub fn change(object: &KindAddress, changes: &Changes) -> Result<()> {
    changes.check(object)?;
    let new = changes.permissions;
    let changed = match (&object.address, object.kind) {
        (Address::SysV(sysv), kind) => change_sysv(kind, sysv, changes),
        (Address::Name(Name::Posix(name)), Kind::Mq) => change_queue(name, new),
        (Address::Name(Name::Posix(name)), Kind::Sem) => {
            Entry::semaphore(name).and_then(|entry| change_file(&entry, Kind::Sem, new))
        }
        (Address::Name(name), kind) => Entry::new(name).and_then(|entry| match changes.size {
            Some(size) => resize(&entry, object, size, changes),
            None => change_file(&entry, kind, new),
        }),
    };
    changed.map_err(|error| Error { object: object.to_string(), ..error })
}

fn change_sysv(kind: Kind, address: &SysV, changes: &Changes) -> Result<()> {
    match kind {
        Kind::Mq => mq::sysv::change(address, changes.permissions, changes.max_bytes),
        Kind::Sem => sem::sysv::change(address, changes.permissions),
        Kind::Shm | Kind::Ring | Kind::Lock => shm::sysv::change(address, changes.permissions),
    }
}

fn change_file(entry: &Entry, kind: Kind, new: Permissions) -> Result<()> {
    let failed = |errno| entry.errno(errno);
    if kind != Kind::Sem {
        check_name(entry)?;
    }
    match entry.open(Access::Inspect) {
        Ok(object) => {
            if kind != Kind::Sem {
                check_object(entry, &object, kind)?;
            }
            new.give(object.file()).map_err(failed)
        }
        // Its owner may change a mode that lets nobody read, and its kind is not known.
        Err(error) if error.kind == ErrorKind::Denied => new.give(entry.path()?).map_err(failed),
        Err(error) => Err(error),
    }
}

fn change_queue(name: &PosixName, new: Permissions) -> Result<()> {
    let failed = |errno| Error::errno(printable(name.as_os_str()), errno);
    let opened = |rights| {
        let flags = rights | MQ_OFlag::O_NONBLOCK | MQ_OFlag::O_CLOEXEC;
        mq_open(name.as_os_str(), flags, Bits::empty(), None).map(Descriptor::from)
    };
    match opened(MQ_OFlag::O_RDONLY).or_else(|_| opened(MQ_OFlag::O_WRONLY)) {
        Ok(queue) => new.give(&queue).map_err(failed),
        Err(Errno::EACCES) => {
            let denied = || failed(Errno::EACCES);
            let dir = queue_dir().map_err(|error| Error { hint: error.hint, ..denied() })?.ok_or_else(denied)?;
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let leaf = std::ffi::OsStr::from_bytes(&name.as_os_str().as_bytes()[1..]);
            let queue: OwnedFd = openat(&dir, leaf, flags, Bits::empty()).map_err(failed)?;
            new.give(&queue).map_err(failed)
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// Change the size, and the rest before, which is more likely to be refused and can be
/// taken back.
fn resize(entry: &Entry, address: &KindAddress, size: u64, changes: &Changes) -> Result<()> {
    check_name(entry)?;
    let object = entry.open(Access::Write)?;
    check_object(entry, &object, Kind::Shm)?;
    let stat = &object.stat;
    let before = Permissions {
        mode: Mode::exact(stat.st_mode & 0o777),
        user: changes.permissions.user.and(Some(stat.st_uid)),
        group: changes.permissions.group.and(Some(stat.st_gid)),
    };
    changes.permissions.give(object.file()).map_err(|errno| entry.errno(errno))?;
    set_size(entry, address, &object, size, changes.force).inspect_err(|_| {
        let _ = before.give(object.file());
    })
}

fn set_size(entry: &Entry, address: &KindAddress, object: &Object, size: u64, force: bool) -> Result<()> {
    let failed = |errno| entry.errno(errno);
    let length = i64::try_from(size).map_err(|_| failed(Errno::EFBIG))?;
    let before = object.size();
    if size > before {
        // Memory of its own: without it, who touches it in a full file system is killed.
        let reserved = reserve(object.file().as_fd(), before, size - before, true).map_err(failed)?;
        return if reserved { Ok(()) } else { ftruncate(object.file(), length).map_err(failed) };
    }
    // Held until the end: nobody maps the rest meanwhile.
    let lease = lease(object);
    if size < before && !force && !matches!(lease, Lease::Alone(_)) {
        check_unmapped(entry, address, object, size)?;
    }
    ftruncate(object.file(), length).map_err(failed)
}

/// Check that no process has mapped more than the first `size` bytes.
fn check_unmapped(entry: &Entry, address: &KindAddress, object: &Object, size: u64) -> Result<()> {
    let refuse = |who: &str| {
        let problem = format!("{who} what would go, and would end by SIGBUS when it touches it");
        Err(Error::new(ErrorKind::Failure, entry.label(), problem).hint(Hint::Force))
    };
    let described = describe(address, entry, object)?;
    let Some(verdict) = judge(&[described], &Patience::default()).0.pop() else { return Ok(()) };
    // The last page of a mapping is whole.
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, i64::cast_unsigned);
    let end = size.div_ceil(page) * page;
    for holder in verdict.holders.iter().filter(|holder| holder.mapped > 0) {
        if mapped_end(holder.pid, object).is_none_or(|mapped| mapped > end) {
            return refuse(&format!("{} has mapped", named(holder.pid)));
        }
    }
    // Elsewhere than in /dev/shm a map may show another device than the file has.
    if verdict.unseen == Unseen::None && entry.is_in_shm() {
        return Ok(());
    }
    refuse("a process that cannot be looked at may have mapped")
}

/// Where the last mapping of the object by this process ends, in its bytes. None if that
/// cannot be known.
fn mapped_end(pid: i32, object: &Object) -> Option<u64> {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).ok()?;
    let (device, inode) = (object.stat.st_dev, object.stat.st_ino);
    // Range, permissions, offset, device, inode.
    let wanted = format!("{:02x}:{:02x} {inode} ", major(device), minor(device));
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let ends = maps.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = String::from_utf8_lossy(line);
        let mut fields = line.splitn(4, ' ');
        let (range, _, offset, rest) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (from, to) = range.split_once('-')?;
        rest.starts_with(&wanted).then(|| Some(hex(offset)? + (hex(to)? - hex(from)?)))
    });
    ends.collect::<Option<Vec<_>>>()?.into_iter().max().or(Some(0))
}

/// A process in words.
fn named(pid: i32) -> String {
    program(pid).map_or_else(|| pid.to_string(), |program| format!("{pid} ({program})"))
}
