//! Taking a name away from the object that it means, and from no other.
//!
//! unlink(2) takes a name, not an object, and the name may mean another object by then.
//!
//! - Among processes of this toolkit a name changes hands only under a flock(2) of the
//!   object that has it: see [`Object::hold_name`]. The name is looked at under the
//!   lock.
//! - Against other programs the name is first moved into a directory of our own, and
//!   unlinked there if it means the object. Otherwise it is moved back. The directory
//!   has the object's inode in its name, so that a sweep does the same for a remover
//!   that was killed.

use std::ffi::OsString;
use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode as Bits, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::entry::{Entry, Object, is_same};
use super::temporary::{end_removal, temporary_name};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::{Backoff, Deadline};
use crate::process::signals::with_signals_blocked;
use crate::sys::lease::Lease;

/// How long another process may hold the lock of a name. Ours hold it for microseconds;
/// a process that wants to be in the way must not be.
const PATIENCE: Duration = Duration::from_millis(500);

/// Take the flock(2) of an open file, which goes when the file is closed. Whoever can
/// open the file can have it, so the wait is bounded, and its end is no error.
pub(crate) fn hold(file: &File) {
    let deadline = Deadline::after(Some(PATIENCE));
    let mut backoff = Backoff::short();
    while matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) && !deadline.passed() {
        backoff.sleep(&deadline);
    }
}

impl Object {
    /// Keep other processes of this toolkit from giving the object's name to another
    /// object, or removing it, until the object is dropped. Without the lock a removal is
    /// as exact, but its steps can be seen.
    pub(crate) fn hold_name(&self) {
        hold(self.file());
    }
}

impl Entry {
    /// Remove the name of this object. Processes that have it open keep it.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the name means another object, or none;
    /// [`ErrorKind::Denied`].
    pub(crate) fn remove(&self, object: &Object) -> Result<()> {
        object.hold_name();
        self.remove_inode(&object.stat)
    }

    /// Remove this object, which was made in vain, unless somebody else has it open, or
    /// the kernel does not say.
    pub(crate) fn discard(&self, object: &Object) {
        if let Lease::Alone(lease) = Lease::take(object.file())
            && lease.is_undisturbed()
        {
            let _ = self.remove(object);
        }
    }

    /// Remove the name of an object that cannot be opened.
    pub(crate) fn remove_inode(&self, object: &FileStat) -> Result<()> {
        if !self.stat()?.is_some_and(|stat| is_same(&stat, object)) {
            return Err(self.was_replaced());
        }
        with_signals_blocked(|| match Aside::new(self, object.st_ino) {
            Ok(aside) => aside.remove(object),
            // No directory can be made: no inode is free, say. The look above must do.
            Err(_) => self.unlink(),
        })
    }

    fn unlink(&self) -> Result<()> {
        match unlinkat(&self.dir, self.leaf(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) => Err(self.was_replaced()),
            Err(errno) => Err(self.errno(errno)),
        }
    }

    fn was_replaced(&self) -> Error {
        Error::new(ErrorKind::Gone, self.label(), "was replaced or removed meanwhile, and is left as it is")
    }
}

/// A directory for one name, locked by its maker.
struct Aside<'a> {
    entry: &'a Entry,
    name: OsString,
    dir: File,
}

impl<'a> Aside<'a> {
    fn new(entry: &'a Entry, inode: u64) -> nix::Result<Self> {
        let name = temporary_name(Some(inode));
        mkdirat(&entry.dir, name.as_os_str(), Bits::S_IRWXU)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let locked = openat(&entry.dir, name.as_os_str(), flags, Bits::empty()).map(File::from);
        let locked = locked.and_then(|dir| match dir.try_lock() {
            Ok(()) => Ok(dir),
            Err(_) => Err(Errno::EAGAIN),
        });
        match locked {
            Ok(dir) => Ok(Aside { entry, name, dir }),
            Err(errno) => {
                let _ = unlinkat(&entry.dir, name.as_os_str(), UnlinkatFlags::RemoveDir);
                Err(errno)
            }
        }
    }

    fn remove(self, object: &FileStat) -> Result<()> {
        let leaf = self.entry.leaf();
        let done = match renameat(&self.entry.dir, leaf, &self.dir, leaf) {
            Err(Errno::ENOENT) => Err(self.entry.was_replaced()),
            Err(errno) => Err(self.entry.errno(errno)),
            Ok(()) => match end_removal(&self.dir, leaf, &self.entry.dir, object.st_ino) {
                Ok(true) => Ok(()),
                Ok(false) => Err(self.entry.was_replaced()),
                Err(errno) => Err(self.kept(errno)),
            },
        };
        let _ = unlinkat(&self.entry.dir, self.name.as_os_str(), UnlinkatFlags::RemoveDir);
        done
    }

    /// The error of an object that could be neither removed nor put back.
    fn kept(&self, errno: Errno) -> Error {
        let name = self.name.to_string_lossy();
        let leaf = crate::base::text::printable(self.entry.leaf());
        let mut error = self.entry.errno(errno);
        error.problem += &format!(": it is kept as {name}/{leaf} beside it");
        error
    }
}
