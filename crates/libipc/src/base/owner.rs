//! Whose an object is: the users to whom the kernel gives an owner's rights.

use nix::libc::ipc_perm;
use nix::sys::stat::FileStat;
use nix::unistd::geteuid;

use super::address::Kind;
use super::error::{Error, ErrorKind, Hint, Result};

/// The users who may read, write and change an object whatever its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owners {
    owner: u32,
    /// A System V object keeps its creator, who has the same rights when IPC_SET has
    /// made another user its owner: sysvipc(7).
    creator: u32,
}

impl Owners {
    /// The user, not the effective one, to whom the object belongs too; None if it
    /// belongs to the effective user alone. Root is a user as any other here.
    pub(crate) fn other(self) -> Option<u32> {
        let own = geteuid().as_raw();
        [self.creator, self.owner].into_iter().find(|&user| user != own)
    }

    /// The same, but for root, which may read and write everything anyway.
    pub(crate) fn stranger(self) -> Option<u32> {
        let own = geteuid().as_raw();
        [self.creator, self.owner].into_iter().find(|&user| user != own && user != 0)
    }

    /// Refuse data for an object of a stranger, who would read it. This is for tools that
    /// make an object which is absent: whoever makes it first must not get what was meant
    /// for a new one.
    pub(crate) fn refuse_stranger(self, kind: Kind, object: impl ToString, foreign: bool) -> Result<()> {
        match self.stranger() {
            Some(user) if !foreign => Err(belongs_to(kind, object, user)),
            _ => Ok(()),
        }
    }

    /// Of a file.
    pub(crate) fn of_file(stat: &FileStat) -> Self {
        Owners { owner: stat.st_uid, creator: stat.st_uid }
    }

    /// Of a System V object.
    pub(crate) fn of_sysv(perm: &ipc_perm) -> Self {
        Owners { owner: perm.uid, creator: perm.cuid }
    }
}

/// The error of an object of another user.
pub(crate) fn belongs_to(kind: Kind, object: impl ToString, user: u32) -> Error {
    let problem = format!("belongs to another user, uid {user}");
    Error::new(ErrorKind::Denied, object, problem).hint(Hint::Foreign(kind))
}
