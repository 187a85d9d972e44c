//! System V segments that are not whole yet: what the kernel knows of a segment, and the
//! marks of one that is being filled.
//!
//! A key cannot be moved to another segment, so new content cannot appear under
//! it at once. Instead a segment that is being filled has the mode [`FILLING`], which
//! lets nobody in and which our readers understand, and gets its own when it is whole.
//!
//! Another program may choose any mode. So a segment whose filler died is replaced only
//! if it has the group [`MARK`] too, which no other program gives a segment.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::libc::{self, shmid_ds};

use crate::base::address::{Address, Kind, KindAddress, SysV};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::process::life;
use crate::sys;

/// Mode of a segment that is being filled. These bits have no meaning to the kernel:
/// nobody may read or write it.
pub(super) const FILLING: u32 = 0o011;
/// Mode of a segment from its creation until its maker has attached it, which
/// [`FILLING`] would forbid.
pub(super) const NEW: u32 = FILLING | 0o600;
/// Group of a segment that is being filled, "ipcu" in ASCII. A user namespace may lack
/// it: then a segment whose filler died there stays until somebody removes it.
const MARK: u32 = 0x6970_6375;
/// Set by the kernel in the mode of a segment that goes at its last detach.
const SHM_DEST: u32 = 0o1000;
/// How old a segment that is being filled must be before its maker counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// What the kernel knows of a segment.
pub(super) struct Stat {
    pub(super) id: i32,
    pub(super) raw: shmid_ds,
}

impl Stat {
    /// Needs no permission, which a segment that is being filled gives to nobody.
    pub(super) fn of(id: i32) -> nix::Result<Self> {
        Ok(Stat { id, raw: sys::shm::stat_any(id)? })
    }

    pub(super) fn size(&self) -> u64 {
        self.raw.shm_segsz as u64
    }

    /// Whether both are of one segment, whose owners and mode have not changed.
    pub(super) fn is_same(&self, other: &Stat) -> bool {
        let (a, b) = (&self.raw, &other.raw);
        let perm = |perm: &libc::ipc_perm| (perm.uid, perm.gid, perm.cuid, perm.cgid, u32::from(perm.mode) & 0o777);
        (self.size(), a.shm_cpid, a.shm_ctime) == (other.size(), b.shm_cpid, b.shm_ctime)
            && perm(&a.shm_perm) == perm(&b.shm_perm)
    }

    pub(super) fn state(&self) -> State {
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

    /// Whether it has been removed, and lives on for those who have it attached.
    pub(super) fn is_removed(&self) -> bool {
        u32::from(self.raw.shm_perm.mode) & SHM_DEST != 0
    }
}

/// Whether the segment, which has these permission bits, was left half filled by a dead
/// process of this toolkit.
pub(crate) fn is_half_filled(id: i32, mode: u32) -> bool {
    mode == FILLING && Stat::of(id).is_ok_and(|stat| stat.state() == State::Abandoned)
}

/// Whether a segment with these permission bits, which somebody has attached, is being
/// filled.
pub(crate) fn is_being_filled(mode: u32) -> bool {
    mode == FILLING
}

/// How far a segment is.
#[derive(PartialEq, Eq)]
pub(super) enum State {
    Whole,
    BeingFilled,
    Abandoned,
    /// It has a mode that ours have until they are whole, and not the mark: its filler
    /// was killed before it set that, or a program chose the mode for a whole one.
    /// Nobody can tell, so it is neither read nor removed.
    Doubtful,
}

/// Check that a segment may be read.
pub(super) fn check_whole(address: &SysV, stat: &Stat) -> Result<()> {
    let unexpected = |what: &str| Error::new(ErrorKind::Unexpected, address, what);
    Err(match stat.state() {
        State::Whole => return Ok(()),
        State::BeingFilled => Error::new(ErrorKind::Busy, address, "is being filled"),
        State::Abandoned => {
            unexpected("is half filled, and the process that filled it is dead").hint(Hint::PutAgain(by_id(stat.id)))
        }
        State::Doubtful => {
            let mode = stat.mode();
            unexpected(&format!("is perhaps half filled: its mode is {mode:04o}, as of one that is being filled"))
                .hint(Hint::ModeOrRemove(by_id(stat.id)))
        }
    })
}

/// Mark a segment as one that is being filled, where the user namespace has the group.
pub(super) fn mark(address: &SysV, id: i32) -> Result<()> {
    let fill = |group: Option<u32>| {
        set_permissions(address, id, |perm| {
            perm.mode = FILLING as _;
            perm.gid = group.unwrap_or(perm.gid);
        })
    };
    match fill(Some(MARK)) {
        // It was removed, or there is no such group.
        Err(error) if error.kind == ErrorKind::Gone => fill(None),
        other => other,
    }
}

/// Give a segment that is whole its mode, and the group that it was made with.
pub(super) fn publish(address: &SysV, id: i32, mode: u32) -> Result<()> {
    set_permissions(address, id, |perm| {
        perm.mode = mode as _;
        perm.gid = perm.cgid;
    })
}

/// IPC_SET.
fn set_permissions(address: &SysV, id: i32, change: impl FnOnce(&mut libc::ipc_perm)) -> Result<()> {
    let failed = |errno| match errno {
        Errno::EINVAL | Errno::EIDRM => Error::errno(address, Errno::EIDRM),
        errno => Error::errno(address, errno),
    };
    let stat = Stat::of(id).map_err(failed)?;
    if stat.is_removed() {
        return Err(failed(Errno::EIDRM));
    }
    let mut raw = stat.raw;
    change(&mut raw.shm_perm);
    sys::shm::set(id, raw).map_err(failed)
}

/// A segment by its identifier: its key may mean another by now.
pub(super) fn by_id(id: i32) -> KindAddress {
    KindAddress { kind: Kind::Shm, address: Address::SysV(SysV::Id(id)) }
}
