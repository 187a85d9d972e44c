//! System V segments, shmget(2) and shmctl(2).
//!
//! A key cannot be moved to another segment, so new content cannot appear under
//! it at once. Instead a segment that is being filled has the mode `FILLING`, which
//! lets nobody in and which our readers understand, and gets its own when it is whole.
//!
//! Another program may choose any mode. So a segment whose filler died is replaced only
//! if it has the group `MARK` too, which no other program gives a segment.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::libc::{self, shmid_ds};

use super::rules::{PutOptions, check_owner, room, too_long};
use super::transfer::{copy_in, copy_out};
use crate::base::address::{Address, Key, Kind, KindAddress, Lookup, SysV};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::{Mode, Permissions, not_set};
use crate::base::owner::Owners;
use crate::base::sysctl;
use crate::fs::copy::{Control, OUTPUT};
use crate::fs::entry::RACES;
use crate::fs::input::Input;
use crate::fs::removal::hold;
use crate::process::life;
use crate::process::signals::Deferred;
use crate::sys;
use crate::sys::memory::Region;

/// Mode of a segment that is being filled. These bits have no meaning to the kernel:
/// nobody may read or write it.
const FILLING: u32 = 0o011;
/// Mode of a segment from its creation until its maker has attached it, which
/// [`FILLING`] would forbid.
const NEW: u32 = FILLING | 0o600;
/// Group of a segment that is being filled, "ipcu" in ASCII. A user namespace may lack
/// it: then a segment whose filler died there stays until somebody removes it.
const MARK: u32 = 0x6970_6375;
/// Set by the kernel in the mode of a segment that goes at its last detach.
const SHM_DEST: u32 = 0o1000;
/// How old a segment that is being filled must be before its maker counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// The identifier of the segment with this key, if there is one: shmget(2).
#[doc(alias = "shmget")]
pub fn find(key: Key) -> Option<i32> {
    sys::shm::get(key.get(), 0, 0).ok()
}

/// Remove a segment: shmctl(2), IPC_RMID. It lives on until the last process
/// has detached it.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`].
#[doc(alias = "shmctl")]
pub fn remove(address: &SysV) -> Result<()> {
    let id = address.resolve(|key| sys::shm::get(key, 0, 0))?;
    sys::shm::remove(id).map_err(|errno| Error::stale(address, errno))
}

/// What the kernel knows of a segment.
struct Stat {
    id: i32,
    raw: shmid_ds,
}

impl Stat {
    /// Needs no permission, which a segment that is being filled gives to nobody.
    fn of(id: i32) -> nix::Result<Self> {
        Ok(Stat { id, raw: sys::shm::stat_any(id)? })
    }

    fn size(&self) -> u64 {
        self.raw.shm_segsz as u64
    }

    /// Whether both are of one segment, whose owners and mode have not changed.
    fn is_same(&self, other: &Stat) -> bool {
        let (a, b) = (&self.raw, &other.raw);
        let perm = |perm: &libc::ipc_perm| (perm.uid, perm.gid, perm.cuid, perm.cgid, u32::from(perm.mode) & 0o777);
        (self.size(), a.shm_cpid, a.shm_ctime) == (other.size(), b.shm_cpid, b.shm_ctime)
            && perm(&a.shm_perm) == perm(&b.shm_perm)
    }

    fn state(&self) -> State {
        let mode = self.mode();
        if mode != FILLING && mode != NEW {
            return State::Whole;
        }
        let attached = self.raw.shm_nattch > 0;
        if mode == NEW && self.raw.shm_lpid != 0 && !attached {
            return State::Doubtful;
        }
        let maker = self.raw.shm_cpid;
        let since = UNIX_EPOCH + Duration::from_secs(u64::try_from(self.raw.shm_ctime).unwrap_or(0));
        // A clock that was set back tells no age.
        let old = SystemTime::now().duration_since(since).map_or(true, |age| age > DEAD_AFTER);
        // A live filler is attached, except for the instant before NEW ends. So a
        // maker in another PID namespace, number 0, need not be looked up.
        let gone = life::ended_since(maker, since) || (mode == FILLING && maker == 0);
        match old && !attached && gone {
            false => State::BeingFilled,
            true if mode == FILLING && self.raw.shm_perm.gid == MARK => State::Abandoned,
            true => State::Doubtful,
        }
    }

    fn mode(&self) -> u32 {
        u32::from(self.raw.shm_perm.mode) & 0o777
    }

    /// The group that it was made with.
    fn group_of_maker(&self) -> u32 {
        self.raw.shm_perm.cgid
    }

    /// Whether it has been removed, and lives on for those who have it attached.
    fn is_removed(&self) -> bool {
        u32::from(self.raw.shm_perm.mode) & SHM_DEST != 0
    }
}

/// Whether the segment, which has these permission bits, was left half filled by a dead
/// process of this toolkit.
pub(crate) fn is_half_filled(id: i32, mode: u32) -> bool {
    mode == FILLING && Stat::of(id).is_ok_and(|stat| stat.state() == State::Abandoned)
}

#[derive(PartialEq, Eq)]
enum State {
    Whole,
    BeingFilled,
    Abandoned,
    /// It has a mode that ours have until they are whole, and not the mark: its filler
    /// was killed before it set that, or a program chose the mode for a whole one.
    /// Nobody can tell, so it is neither read nor removed.
    Doubtful,
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
            let published = set_permissions(address, id, mode, Stat::group_of_maker);
            // The shadow detaches last. So the last to detach is not the creator,
            // which tells this segment from one that a dead program left behind.
            // Without a child it cannot be told.
            drop(region);
            drop(shadow);
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

/// A segment by its identifier: its key may mean another by now.
fn by_id(id: i32) -> KindAddress {
    KindAddress { kind: Kind::Shm, address: Address::SysV(SysV::Id(id)) }
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
    set_permissions(address, id, FILLING, |_| MARK).or_else(|error| match error.kind {
        ErrorKind::Gone => set_permissions(address, id, FILLING, Stat::group_of_maker),
        _ => Err(error),
    })?;
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

/// Set the permission bits and the group: IPC_SET. A group that the user namespace does
/// not have is [`ErrorKind::Gone`], as a removed segment is.
fn set_permissions(address: &SysV, id: i32, mode: u32, group: impl FnOnce(&Stat) -> u32) -> Result<()> {
    let failed = |errno| match errno {
        Errno::EINVAL | Errno::EIDRM => Error::errno(address, Errno::EIDRM),
        errno => Error::errno(address, errno),
    };
    let stat = Stat::of(id).map_err(failed)?;
    if stat.is_removed() {
        return Err(failed(Errno::EIDRM));
    }
    let group = group(&stat);
    let mut raw = stat.raw;
    raw.shm_perm.mode = mode as _;
    raw.shm_perm.gid = group;
    sys::shm::set(id, raw).map_err(failed)
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

fn check_whole(address: &SysV, stat: &Stat) -> Result<()> {
    let (kind, what, hint) = match stat.state() {
        State::Whole => return Ok(()),
        State::BeingFilled => return Err(Error::new(ErrorKind::Busy, address, "is being filled")),
        State::Abandoned => {
            let what = "is half filled, and the process that filled it is dead";
            (ErrorKind::Unexpected, what, Hint::PutAgain(by_id(stat.id)))
        }
        State::Doubtful => {
            let what =
                format!("is perhaps half filled: its mode is {:04o}, as of one that is being filled", stat.mode());
            let hint = Hint::ModeOrRemove(by_id(stat.id));
            return Err(Error::new(ErrorKind::Unexpected, address, what).hint(hint));
        }
    };
    Err(Error::new(kind, address, what).hint(hint))
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
