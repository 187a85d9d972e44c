//! System V segments, shmget(2) and shmctl(2).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use super::rules::{PutOptions, check_owner, room, too_long};
use super::transfer::{copy_in, copy_out};
use super::unfinished::{FILLING, NEW, Stat, State, by_id, check_whole, mark, publish};
pub(crate) use super::unfinished::{is_being_filled, is_half_filled};
use crate::base::address::{Key, Lookup, SysV};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::{Mode, Permissions, not_set};
use crate::base::owner::Owners;
use crate::base::sysctl;
use crate::fs::copy::{Control, OUTPUT};
use crate::fs::entry::RACES;
use crate::fs::input::Input;
use crate::fs::removal::hold;
use crate::process::signals::Deferred;
use crate::sys;
use crate::sys::memory::Region;

/// The identifier of the segment with this key, if there is one: shmget(2).
#[doc(alias = "shmget")]
pub fn find(key: Key) -> Option<i32> {
    sys::shm::get(key.get(), 0, 0).ok()
}

/// Remove a segment: shmctl(2), IPC_RMID. It lives on until the last process
/// has detached it.
pub(super) fn remove(address: &SysV) -> Result<()> {
    let id = address.resolve(|key| sys::shm::get(key, 0, 0))?;
    sys::shm::remove(id).map_err(|errno| Error::stale(address, errno))
}

/// Create a segment with the input as its content.
pub(super) fn put(
    address: &SysV,
    input: &Input<'_>,
    options: &PutOptions,
    control: &mut Control<'_>,
    announce: impl FnOnce(i32, &Deferred) -> Result<()>,
) -> Result<()> {
    let key = match address {
        SysV::Private => libc::IPC_PRIVATE,
        _ => match address.lookup()? {
            Lookup::Key(key) => key.get(),
            Lookup::Id(id) => {
                let stat = Stat::of(id).map_err(|errno| Error::stale(address, errno))?;
                return Err(exists(address, &stat));
            }
        },
    };
    let mode = options.mode.unwrap_or(Mode::PRIVATE).for_sysv();
    if mode == FILLING || mode == NEW {
        let what = format!("mode {mode:03o} marks a segment that is being filled");
        return Err(Error::new(ErrorKind::Usage, address, what));
    }
    refuse_short_life(address)?;
    // Refuse before the input is read, which may take long, and check again after.
    abandoned(address, key)?;
    let mut spool = None;
    let size = match (options.size, input.length()) {
        (Some(size), _) => size,
        (None, Some(length)) => length,
        (None, None) => {
            let (file, length) = input.spool(largest().saturating_add(1), control)?;
            spool = Some(file);
            length
        }
    };
    if size == 0 {
        return Err(Error::new(ErrorKind::Failure, address, "the input is empty, and no System V segment has size 0")
            .hint(Hint::Size));
    }
    let signals = Deferred::new()?;
    if let Some(dead) = abandoned(address, key)? {
        // By identifier: whoever was faster has made a segment with another one.
        match sys::shm::remove(dead) {
            Ok(()) | Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(errno) => return Err(Error::errno(address, errno)),
        }
    }
    let id = create(address, key, size)?;
    let mut control =
        Control { progress: control.progress.as_mut().map(|progress| &mut **progress as _), signals: Some(&signals) };
    let done = fill(address, id, size, input, spool.as_ref().map(AsFd::as_fd), options, &mut control)
        .and_then(|region| {
            let shadow = sys::process::Shadow::new();
            // Still attached: with nobody attached the filler counts as dead.
            let published = publish(address, id, mode);
            // The shadow detaches last. So the last to detach is not the creator,
            // which tells this segment from one that a dead program left behind.
            // Without a child it cannot be told.
            drop(region);
            drop(shadow);
            // The last change is not before the last detach, which tells the inventory
            // that nobody has used the segment since.
            if Stat::of(id).is_ok_and(|stat| stat.raw.shm_dtime > stat.raw.shm_ctime) {
                let _ = publish(address, id, mode);
            }
            published
        })
        .and_then(|()| if matches!(address, SysV::Private) { announce(id, &signals) } else { Ok(()) });
    if done.is_err() {
        let _ = sys::shm::remove(id);
    }
    done
}

/// Refuse where kernel.shm_rmid_forced is set: the segment would go when we detach it.
fn refuse_short_life(address: &SysV) -> Result<()> {
    let forced = sysctl::setting("kernel.shm_rmid_forced").is_some_and(|value| value == "1");
    if forced {
        let what = "kernel.shm_rmid_forced is 1, so the segment would be removed when its maker detaches it";
        return Err(Error::new(ErrorKind::Failure, address, what).hint(Hint::SysctlSet("kernel.shm_rmid_forced", "0")));
    }
    Ok(())
}

/// The largest segment that can be, in bytes.
fn largest() -> u64 {
    let pages: u64 = sysctl::number("kernel.shmall").unwrap_or(u64::MAX);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let all = pages.saturating_mul(page.cast_unsigned());
    sysctl::number("kernel.shmmax").unwrap_or(u64::MAX).min(all)
}

/// The identifier of a segment that a dead maker of this toolkit left under the key;
/// None if the key is free. Any other segment is [`ErrorKind::Exists`].
fn abandoned(address: &SysV, key: i32) -> Result<Option<i32>> {
    if key == libc::IPC_PRIVATE {
        return Ok(None);
    }
    let Ok(stat) = sys::shm::get(key, 0, 0).and_then(Stat::of) else { return Ok(None) };
    let ours = Owners::of_sysv(&stat.raw.shm_perm).other().is_none();
    if ours && stat.state() == State::Abandoned { Ok(Some(stat.id)) } else { Err(exists(address, &stat)) }
}

fn exists(address: &SysV, stat: &Stat) -> Error {
    let remove = || Hint::Remove(by_id(stat.id));
    let (problem, hint) = match stat.state() {
        State::Whole if matches!(address, SysV::Id(_)) => {
            ("exists already, and an identifier cannot be chosen", Hint::WriteInPlace(None))
        }
        State::Whole => (
            "exists already, and a System V key cannot be moved to another segment",
            Hint::WriteInPlace(Some(by_id(stat.id))),
        ),
        State::BeingFilled => ("exists already, and is being filled", Hint::advice("try again when it is filled")),
        State::Abandoned => ("exists already, half filled by a process that died", remove()),
        State::Doubtful => ("exists already, perhaps half filled by a process that died", remove()),
    };
    Error::new(ErrorKind::Exists, address, problem).hint(hint)
}

fn create(address: &SysV, key: i32, size: u64) -> Result<i32> {
    let bytes = usize::try_from(size).map_err(|_| Error::errno(address, Errno::ENOMEM))?;
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | NEW.cast_signed();
    sys::shm::get(key, bytes, flags).map_err(|errno| {
        let no_room =
            |what: String, name: &'static str| Error::new(ErrorKind::NoRoom, address, what).hint(Hint::Sysctl(name));
        match errno {
            Errno::EEXIST => {
                let what = "exists already: somebody has just created it";
                Error::new(ErrorKind::Exists, address, what)
            }
            Errno::EINVAL => {
                let name = "kernel.shmmax";
                no_room(format!("{size} bytes are more than {name} allows, {}", sysctl::in_words(name)), name)
            }
            Errno::ENOSPC if sysctl::number("kernel.shmmni").is_some_and(|limit: usize| segments() >= limit) => {
                let name = "kernel.shmmni";
                let limit = sysctl::in_words(name);
                no_room(format!("there are as many segments as {name} allows, {limit}; no disk is full"), name)
            }
            Errno::ENOSPC => {
                let name = "kernel.shmall";
                no_room(format!("{size} bytes more than {name} allows in all, {} pages", sysctl::in_words(name)), name)
            }
            Errno::ENOMEM => {
                Error::new(ErrorKind::NoRoom, address, format!("there is not enough memory for {size} bytes"))
                    .hint(Hint::AskForLess)
            }
            errno => Error::errno(address, errno),
        }
    })
}

/// How many segments there are: /proc/sysvipc/shm has a line for each.
fn segments() -> usize {
    std::fs::read_to_string("/proc/sysvipc/shm").map_or(0, |table| table.lines().count().saturating_sub(1))
}

fn fill(
    address: &SysV,
    id: i32,
    size: u64,
    input: &Input<'_>,
    spool: Option<BorrowedFd<'_>>,
    options: &PutOptions,
    control: &mut Control<'_>,
) -> Result<Region> {
    let region = sys::shm::attach(id, size as usize, false).map_err(|errno| Error::errno(address, errno))?;
    mark(address, id)?;
    let moved = copy_in(&region, 0, size, spool.unwrap_or(input.fd()), spool.is_some(), control)
        .map_err(|e| e.explain(input.label(), |errno| Error::errno(address, errno)))?;
    if spool.is_none() {
        let at_end = input.at_end(control)?;
        if !at_end && options.size.is_some() {
            return Err(too_long(&address.to_string(), size).hint(Hint::LargerSize));
        }
        if options.size.is_none() && (moved < size || !at_end) {
            return Err(Error::new(ErrorKind::Failure, input.label(), "changed its size while it was read"));
        }
    }
    Ok(region)
}

/// Write into an existing segment, whose size stays.
pub(super) fn write_in_place(
    address: &SysV,
    input: &Input<'_>,
    offset: u64,
    foreign: bool,
    control: &mut Control<'_>,
) -> Result<()> {
    let label = address.to_string();
    let (stat, region) =
        attach(address, false, |stat| check_owner(&label, Owners::of_sysv(&stat.raw.shm_perm), foreign))?;
    let space = room(&label, stat.size(), offset)?;
    let (spool, length) = input.at_most(space, control)?.ok_or_else(|| too_long(&label, space))?;
    let check_removed = |when: &str| match Stat::of(stat.id) {
        Ok(stat) if !stat.is_removed() => Ok(()),
        _ => Err(Error::new(ErrorKind::Gone, address, format!("was removed {when}"))),
    };
    // Reading the input may have taken long.
    check_removed("before anything was written")?;
    let from = spool.as_ref().map_or(input.fd(), |spool| spool.as_fd());
    let written = copy_in(&region, offset, length, from, spool.is_some(), control)
        .map_err(|e| e.explain(input.label(), |errno| Error::errno(address, errno)))?;
    if written < length {
        return Err(Error::new(ErrorKind::Failure, input.label(), "became shorter while it was read"));
    }
    input.check_end(spool.is_some(), control)?;
    check_removed("while it was written")
}

/// Find the segment, check that it is whole and that `check` agrees, and attach it.
fn attach(address: &SysV, read_only: bool, check: impl Fn(&Stat) -> Result<()>) -> Result<(Stat, Region)> {
    for _ in 0..RACES {
        let id = address.resolve(|key| sys::shm::get(key, 0, 0))?;
        let stat = Stat::of(id).map_err(|errno| Error::stale(address, errno))?;
        check_whole(address, &stat)?;
        check(&stat)?;
        // An identifier can be used again, by others on purpose. While it is attached,
        // this one cannot change: it must be the one that was checked.
        match sys::shm::attach(id, stat.raw.shm_segsz, read_only) {
            Ok(region) if Stat::of(id).is_ok_and(|now| now.is_same(&stat)) => return Ok((stat, region)),
            Ok(_) | Err(Errno::EIDRM) => {}
            Err(errno) => return Err(Error::stale(address, errno)),
        }
    }
    Err(Error::new(ErrorKind::Gone, address, "is replaced faster than it can be attached"))
}

/// Give a segment that is not being filled other owners or another mode: IPC_SET.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Busy`] while it is being
/// filled, and [`ErrorKind::Unexpected`] if it is half filled for good.
pub(crate) fn change(address: &SysV, new: Permissions) -> Result<()> {
    let id = address.resolve(|key| sys::shm::get(key, 0, 0))?;
    let mut stat = Stat::of(id).map_err(|errno| Error::stale(address, errno))?;
    match stat.state() {
        // Who says so knows that it is whole.
        State::Whole | State::Doubtful => {}
        State::BeingFilled | State::Abandoned => check_whole(address, &stat)?,
    }
    new.put_into(&mut stat.raw.shm_perm);
    sys::shm::set(id, stat.raw).map_err(|errno| not_set(address, errno, Stat::of(id).is_ok()))
}

/// Attach a segment for writing if its owners and its mode pass the check. Returns its
/// identifier and size too.
///
/// # Errors
/// [`ErrorKind::Unexpected`] if it was made in another PID namespace.
pub(crate) fn attach_own(address: &SysV, check: impl Fn(Owners, u32) -> Result<()>) -> Result<(i32, u64, Region)> {
    let (stat, region) = attach(address, false, |stat| {
        let perm = &stat.raw.shm_perm;
        check(Owners::of_sysv(perm), u32::from(perm.mode))?;
        // The kernel has no number for a process that this namespace cannot see.
        if stat.raw.shm_cpid == 0 {
            let what = "was made in another PID namespace, where other threads may have the same numbers";
            return Err(Error::new(ErrorKind::Unexpected, address, what));
        }
        Ok(())
    })?;
    Ok((stat.id, stat.size(), region))
}

/// Whether the segment has not been removed.
pub(crate) fn is_there(id: i32) -> bool {
    Stat::of(id).is_ok_and(|stat| !stat.is_removed())
}

/// A segment attached for reading.
#[derive(Debug)]
pub(super) struct Attached {
    id: i32,
    size: u64,
    address: String,
    region: Region,
}

impl Attached {
    pub(super) fn open(address: &SysV) -> Result<Self> {
        let (stat, region) = attach(address, true, |_| Ok(()))?;
        Ok(Attached { id: stat.id, size: stat.size(), address: address.to_string(), region })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn label(&self) -> &str {
        &self.address
    }

    /// Remove the segment if nobody has done so yet. While it is attached, the kernel
    /// accepts a second removal: processes of this toolkit look and remove under a
    /// flock(2), of the kernel's table.
    pub(super) fn remove(&self) -> Result<()> {
        let gone = |errno| match errno {
            Errno::EINVAL | Errno::EIDRM | Errno::ENOENT => Error::errno(&self.address, Errno::EIDRM),
            errno => Error::errno(&self.address, errno),
        };
        let table = File::open("/proc/sysvipc/shm");
        let _ = table.as_ref().map(hold);
        if Stat::of(self.id).map_err(gone)?.is_removed() {
            return Err(gone(Errno::EIDRM));
        }
        sys::shm::remove(self.id).map_err(gone)
    }

    pub(super) fn copy_to(
        &self,
        out: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        zero_copy: bool,
        control: &mut Control<'_>,
    ) -> Result<()> {
        let moved = copy_out(&self.region, offset, length, out, zero_copy, control);
        moved.map(drop).map_err(|error| error.explain(&self.address, |errno| Error::io(OUTPUT, errno)))
    }
}
