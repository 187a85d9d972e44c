//! New content for a name: written to a file without a name, then published all at
//! once.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode as Bits, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, linkat, unlinkat};

use super::byte_lock::{LockMode, Range, try_lock, unlock};
use super::copy::flush;
use super::entry::{Access, Entry, Object, RACES};
use super::temporary::{sweep, temporary_name};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::Mode;
use crate::process::signals::{Deferred, with_signals_blocked};
use crate::sys::xattr;

/// Whether an existing object may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replace {
    /// The name must be free: [`ErrorKind::Exists`] otherwise.
    Never,
    /// An object that passes the caller's check is replaced.
    Checked {
        /// The new object gets the old one's permissions.
        keep_mode: bool,
    },
}

/// New content that was not published yet.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    entry: &'a Entry,
    file: File,
    name: Option<OsString>,
    signals: Option<Deferred>,
}

impl<'a> Draft<'a> {
    /// Begin new content for a name, in a file that has no name yet.
    ///
    /// What dead makers left is swept first, as it may be what fills the memory.
    pub(crate) fn new(entry: &'a Entry, mode: Mode) -> Result<Self> {
        sweep(&entry.dir);
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        match openat(&entry.dir, ".", flags, mode.for_file()) {
            Ok(fd) => Draft { entry, file: File::from(fd), name: None, signals: None }.settle(mode),
            // O_TMPFILE holds O_DIRECTORY, so old kernels and file systems say
            // EISDIR or ENOENT.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => Self::named(entry, mode),
            Err(errno) => Err(entry.errno(errno)),
        }
    }

    /// For file systems without unnamed files: a file with a temporary name. Signals
    /// are deferred until it is published or removed.
    fn named(entry: &'a Entry, mode: Mode) -> Result<Self> {
        let signals = Deferred::new()?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        for _ in 0..RACES {
            let name = temporary_name(None);
            let file = match openat(&entry.dir, name.as_os_str(), flags, mode.for_file()) {
                Ok(fd) => File::from(fd),
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(entry.errno(errno)),
            };
            let locked = try_lock(&file, LockMode::Exclusive, Range::ALL).and_then(|held| Ok((held, fstat(&file)?)));
            match locked {
                // Before it was locked it looked like a leftover, and somebody is
                // sweeping it or has swept it.
                Ok((false, _)) => continue,
                Ok((_, stat)) if stat.st_nlink == 0 => continue,
                Ok((_, stat)) => {
                    let draft = Draft { entry, file, name: Some(name), signals: Some(signals) };
                    return draft.name_by_inode(stat.st_ino)?.settle(mode);
                }
                Err(errno) => {
                    let _ = unlinkat(&entry.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
                    return Err(entry.errno(errno));
                }
            }
        }
        Err(Error::new(ErrorKind::Failure, entry.label(), "no temporary name is free beside it"))
    }

    /// From now on a sweep can tell that the name is ours, whatever is in the file.
    fn name_by_inode(mut self, inode: u64) -> Result<Self> {
        let name = temporary_name(Some(inode));
        let dir = &self.entry.dir;
        match renameat(dir, self.name.as_deref().unwrap_or_default(), dir, name.as_os_str()) {
            Ok(()) => {
                self.name = Some(name);
                Ok(self)
            }
            Err(errno) => {
                self.drop_name();
                Err(self.entry.errno(errno))
            }
        }
    }

    /// Give the file its mode, before it has its name. An access control list that the
    /// directory hands on would let others in whom the mode does not name.
    fn settle(self, mode: Mode) -> Result<Self> {
        match xattr::remove_access_list(&self.file).and_then(|()| mode.settle(&self.file)) {
            Ok(()) => Ok(self),
            Err(errno) => {
                self.drop_name();
                Err(self.entry.errno(errno))
            }
        }
    }

    /// The file to write the content to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Signals to check while writing; None if a death would leave no name.
    pub(crate) fn signals(&self) -> Option<&Deferred> {
        self.signals.as_ref()
    }

    /// Remove the temporary name, if there is one.
    pub(crate) fn abandon(self) {
        self.drop_name();
    }

    fn drop_name(&self) {
        if let Some(name) = &self.name {
            let _ = unlinkat(&self.entry.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Publish the content under its name, all at once. `check` is given the object
    /// that would be replaced, and may refuse. It is called again for each new object
    /// that appears meanwhile. Returns the object, whose file stays open: to open it by its
    /// name might fail.
    pub(crate) fn publish(self, replace: Replace, check: impl Fn(&Object) -> Result<()>) -> Result<Object> {
        // First to the disk: after a crash the name must not mean content that is
        // not there. Some file systems report only now that they are full.
        let stat = flush(&self.file).and_then(|()| fstat(&self.file)).map_err(|errno| self.entry.errno(errno));
        let published = stat.and_then(|stat| self.try_publish(replace, check).map(|()| stat));
        match published {
            Ok(stat) => Ok(Object::new(self.file, stat)),
            Err(error) => {
                self.drop_name();
                Err(error)
            }
        }
    }

    /// Publish content that all users of the object write, under a free name. They need
    /// these permission bits, as far as their owner has them.
    pub(crate) fn publish_shared(self, needs: u32) -> Result<Object> {
        let stat = fstat(&self.file).map_err(|errno| self.entry.errno(errno));
        let may = |stat: FileStat| stat.st_mode & needs == needs || geteuid().is_root();
        if !stat.is_ok_and(may) {
            self.drop_name();
            let problem = "its own maker may not use it";
            return Err(Error::new(ErrorKind::Denied, self.entry.label(), problem)
                .hint(Hint::advice("choose a mode and a umask that leave the owner 0600")));
        }
        let object = self.publish(Replace::Never, |_| Ok(()))?;
        // A file that had a temporary name was locked as a whole.
        let _ = unlock(object.file(), Range::ALL);
        Ok(object)
    }

    /// Publish the content under a name that is free, and keep the file.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`].
    pub(crate) fn publish_open(self) -> Result<File> {
        if let Err(errno) = self.take_free_name() {
            self.drop_name();
            return Err(self.entry.errno(errno));
        }
        Ok(self.file)
    }

    fn try_publish(&self, replace: Replace, check: impl Fn(&Object) -> Result<()>) -> Result<()> {
        let entry = self.entry;
        for _ in 0..RACES {
            match self.take_free_name() {
                Ok(()) => return Ok(()),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(entry.errno(errno)),
            }
            let Replace::Checked { keep_mode } = replace else {
                return Err(entry.errno(Errno::EEXIST));
            };
            match entry.open(Access::Write) {
                Ok(old) => {
                    check(&old)?;
                    self.adopt(&old, keep_mode)?;
                    // So that nobody of ours removes the new object for the old one.
                    old.hold_name();
                    if !entry.means(&old)? {
                        continue;
                    }
                    return self.replace().map_err(|errno| entry.errno(errno));
                }
                // Removed meanwhile: the name is free again.
                Err(error) if matches!(error.kind, ErrorKind::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Gone, entry.label(), "is replaced faster than it can be looked at"))
    }

    /// EEXIST if the name is taken.
    fn take_free_name(&self) -> nix::Result<()> {
        let (dir, leaf) = (&self.entry.dir, self.entry.leaf.as_os_str());
        let Some(name) = &self.name else { return self.link(leaf) };
        match renameat2(dir, name.as_os_str(), dir, leaf, RenameFlags::RENAME_NOREPLACE) {
            // A file system that knows neither unnamed files nor that flag.
            Err(Errno::EINVAL) => {
                linkat(dir, name.as_os_str(), dir, leaf, AtFlags::empty())?;
                unlinkat(dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir)
            }
            other => other,
        }
    }

    /// Give the unnamed file a name: open(2), O_TMPFILE.
    fn link(&self, leaf: &OsStr) -> nix::Result<()> {
        let dir = &self.entry.dir;
        match linkat(&self.file, "", dir, leaf, AtFlags::AT_EMPTY_PATH) {
            // Older kernels want a capability for that call, but not for this one.
            Err(Errno::ENOENT | Errno::EPERM) => {
                let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(AT_FDCWD, path.as_str(), dir, leaf, AtFlags::AT_SYMLINK_FOLLOW)
            }
            other => other,
        }
    }

    /// Take owner, group and permissions from the object that will be replaced.
    fn adopt(&self, old: &Object, keep_mode: bool) -> Result<()> {
        let stat = &old.stat;
        let refuse = |errno| self.entry.errno(errno).hint(Hint::RemoveFirst);
        let new = fstat(&self.file).map_err(|errno| self.entry.errno(errno))?;
        if (new.st_uid, new.st_gid) != (stat.st_uid, stat.st_gid) {
            fchown(&self.file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))).map_err(refuse)?;
        }
        if keep_mode {
            // With an access control list the bits of the group are those of its mask:
            // as bits they would give the group what others alone have.
            match xattr::access_list(old.file()).map_err(refuse)? {
                Some(list) => xattr::set_access_list(&self.file, &list).map_err(refuse)?,
                None => fchmod(&self.file, Bits::from_bits_truncate(stat.st_mode & 0o777)).map_err(refuse)?,
            }
        }
        Ok(())
    }

    /// Take the name of an existing object. linkat(2) refuses an existing name, so
    /// the file gets a temporary one for an instant, which rename(2) moves over it.
    fn replace(&self) -> nix::Result<()> {
        let (dir, leaf) = (&self.entry.dir, self.entry.leaf.as_os_str());
        if let Some(name) = &self.name {
            return renameat(dir, name.as_os_str(), dir, leaf);
        }
        // Locked before it has a name, so that nobody sweeps it.
        try_lock(&self.file, LockMode::Exclusive, Range::ALL)?;
        let inode = fstat(&self.file)?.st_ino;
        with_signals_blocked(|| {
            let name = loop {
                let name = temporary_name(Some(inode));
                match self.link(&name) {
                    Err(Errno::EEXIST) => {}
                    other => break other.map(|()| name),
                }
            }?;
            renameat(dir, name.as_os_str(), dir, leaf).inspect_err(|_| {
                let _ = unlinkat(dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
            })
        })
    }
}
