//! The permission bits of new objects, and the umask.
//!
//! | mode | the object gets |
//! | --- | --- |
//! | [`Mode::PRIVATE`], the default | 0600 without the bits of the umask |
//! | [`Mode::exact`], which somebody has asked for | these bits, whatever the umask |
//!
//! So it is for every kind. The kernel applies the umask to files and POSIX queues, and
//! not to System V objects. At no instant an object has more permissions than in the end.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::ipc_perm;
use nix::sys::stat::{self, FchmodatFlags, fchmod, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};

use super::error::{Error, ErrorKind};

/// Permission bits of a new object, 0 to 0777.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    bits: u32,
    exact: bool,
}

impl Mode {
    /// 0600, read and write for the owner, without the bits of the umask: the default of
    /// new objects.
    pub const PRIVATE: Mode = Mode { bits: 0o600, exact: false };

    /// These bits, whatever the umask; None if there are others than 0777.
    pub fn exact(bits: u32) -> Option<Self> {
        (bits <= 0o777).then_some(Mode { bits, exact: true })
    }

    /// The bits, before the umask.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The bits of a System V object.
    #[doc(alias = "umask")]
    pub(crate) fn for_sysv(self) -> u32 {
        if self.exact { self.bits } else { self.bits & !umask() }
    }

    /// The bits to open a new file with, which [`Mode::settle`] completes. Those of group
    /// and others are left out: the group's would be the mask of an access control list
    /// that the file inherits.
    pub(crate) fn for_file(self) -> stat::Mode {
        stat::Mode::from_bits_truncate(self.bits & 0o700)
    }

    /// The bits to open a new queue with, which [`Mode::settle`] completes.
    pub(crate) fn for_queue(self) -> stat::Mode {
        stat::Mode::from_bits_truncate(self.bits)
    }

    /// Give a new file or queue what the umask has taken: fchmod(2).
    pub(crate) fn settle(self, file: impl AsFd) -> nix::Result<()> {
        if self.exact { fchmod(file, stat::Mode::from_bits_truncate(self.bits)) } else { Ok(()) }
    }
}

/// Owner, group and mode for an object that exists; what is None stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// The permission bits.
    pub mode: Option<Mode>,
    /// The user who owns it.
    pub user: Option<u32>,
    /// Its group.
    pub group: Option<u32>,
}

impl Permissions {
    /// Change those of a System V object, for IPC_SET.
    pub(crate) fn put_into(self, perm: &mut ipc_perm) {
        perm.uid = self.user.unwrap_or(perm.uid);
        perm.gid = self.group.unwrap_or(perm.gid);
        perm.mode = self.mode.map_or(perm.mode, |mode| mode.bits() as _);
    }

    /// Change those of a file or a queue, of which `file` may be an O_PATH descriptor.
    /// Between the calls nobody may do what he may do neither before nor after.
    pub(crate) fn give(self, file: impl AsFd) -> nix::Result<()> {
        let file = file.as_fd();
        let before = stat::fstat(file)?.st_mode & 0o777;
        let after = self.mode.map_or(before, Mode::bits);
        let changes_owner = self.user.is_some() || self.group.is_some();
        if changes_owner {
            if before & after != before {
                chmod(file, before & after)?;
            }
            let (user, group) = (self.user.map(Uid::from_raw), self.group.map(Gid::from_raw));
            fchownat(file, "", user, group, AtFlags::AT_EMPTY_PATH).inspect_err(|_| {
                let _ = chmod(file, before);
            })?;
        }
        if after != if changes_owner { before & after } else { before } { chmod(file, after) } else { Ok(()) }
    }
}

fn chmod(file: BorrowedFd<'_>, bits: u32) -> nix::Result<()> {
    let bits = stat::Mode::from_bits_truncate(bits);
    match fchmod(file, bits) {
        // An O_PATH descriptor: only its link in /proc will do.
        Err(Errno::EBADF) => {
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            fchmodat(AT_FDCWD, link.as_str(), bits, FchmodatFlags::FollowSymlink)
        }
        other => other,
    }
}

/// The error of IPC_SET for an object that is still `there`, or not.
pub(crate) fn not_set(address: impl ToString, errno: Errno, there: bool) -> Error {
    match errno {
        Errno::EINVAL if there => {
            Error::new(ErrorKind::Failure, address, "this user namespace has no such user or group")
        }
        errno => Error::stale(address, errno),
    }
}

/// The process's umask.
///
/// umask(2) can only be read by setting it, which other threads would see, so
/// proc_pid_status(5) is asked first.
fn umask() -> u32 {
    let from_proc = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    from_proc.unwrap_or_else(|| {
        let mask = stat::umask(stat::Mode::from_bits_truncate(0o077));
        stat::umask(mask);
        mask.bits()
    })
}
