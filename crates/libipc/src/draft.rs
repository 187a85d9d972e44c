//! New content on its way to a name: written to a file that has none, and
//! published all at once.
//!
//! To replace a name takes a second one for an instant, as linkat(2) refuses an
//! existing name. Its maker holds an OFD lock on the file, so that a name that
//! nobody holds locked was left by a dead one, and is swept.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode as Bits, SFlag, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, linkat, unlinkat};

use crate::entry::{Access, Entry, Object, RACES};
use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::ofd::{Bytes, Hold, in_the_way, try_lock};
use crate::signals::{Deferred, undisturbed};

/// What begins the temporary names of this toolkit; random letters follow.
pub const TEMPORARY: &str = ".ipcutils.";

/// What begins the name of an object that is moved aside.
const ASIDE: &str = ".ipcutils.aside.";
/// How long one is left alone.
const ASIDE_FOR: Duration = Duration::from_secs(10);

impl Entry {
    /// Begin new content for this name, in a file that has none yet.
    ///
    /// What dead makers left is swept first: it may be what fills the memory.
    pub fn draft(&self, mode: Mode) -> Result<Draft<'_>> {
        sweep(&self.dir);
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        match openat(&self.dir, ".", flags, mode.for_open()) {
            Ok(fd) => Ok(Draft { entry: self, file: File::from(fd), name: None, signals: None }),
            // O_TMPFILE holds O_DIRECTORY, so old kernels and file systems say
            // EISDIR or ENOENT.
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT | Errno::EINVAL) => self.named_draft(mode),
            Err(errno) => Err(self.errno(errno)),
        }
    }

    /// Where a file cannot be without a name it has a temporary one, and signals
    /// wait until it is published or removed.
    fn named_draft(&self, mode: Mode) -> Result<Draft<'_>> {
        let signals = Deferred::new()?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        for _ in 0..RACES {
            let name = temporary_name();
            let file = match openat(&self.dir, name.as_os_str(), flags, mode.for_open()) {
                Ok(fd) => File::from(fd),
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(self.errno(errno)),
            };
            let locked = try_lock(&file, Hold::Exclusive, Bytes::ALL).and_then(|held| Ok((held, fstat(&file)?)));
            match locked {
                // Until it was locked it looked like a leftover to everyone, and
                // is being swept or has been.
                Ok((false, _)) => continue,
                Ok((_, stat)) if stat.st_nlink == 0 => continue,
                Ok(_) => return Ok(Draft { entry: self, file, name: Some(name), signals: Some(signals) }),
                Err(errno) => {
                    let _ = unlinkat(&self.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
                    return Err(self.errno(errno));
                }
            }
        }
        Err(Error::new(ErrorKind::Failure, &self.shown, "no temporary name is free beside it"))
    }
}

/// Whether a name may be taken from what stands under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// The name must be free: [`ErrorKind::Exists`] otherwise.
    Never,
    /// Take it from what passes the caller's check, keeping its mode or not.
    Checked {
        /// The new object gets the old one's permission bits.
        keep_mode: bool,
    },
}

/// Content on its way to a name.
#[derive(Debug)]
pub struct Draft<'a> {
    entry: &'a Entry,
    file: File,
    name: Option<OsString>,
    signals: Option<Deferred>,
}

impl Draft<'_> {
    /// Where the content is written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Signals to look for while writing, where a death would leave a name.
    pub fn signals(&self) -> Option<&Deferred> {
        self.signals.as_ref()
    }

    /// Remove the temporary name, if there is one.
    pub fn abandon(self) {
        self.drop_name();
    }

    fn drop_name(&self) {
        if let Some(name) = &self.name {
            let _ = unlinkat(&self.entry.dir, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    /// Put the content under its name, all at once. `check` looks at the object
    /// that would be replaced, and may refuse; it is called again for each new
    /// one that appears meanwhile.
    pub fn publish(self, replace: Replace, check: impl Fn(&Object) -> Result<()>) -> Result<()> {
        // On a disk: a name for content that is not there yet would be a mix
        // after a crash, and some file systems tell only now that they are full.
        if let Err(errno) = crate::copy::flush(&self.file) {
            self.drop_name();
            return Err(self.entry.errno(errno));
        }
        let published = self.try_publish(replace, check);
        if published.is_err() {
            self.drop_name();
        }
        published
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
                    self.adopt(&old.stat, keep_mode)?;
                    return self.replace().map_err(|errno| entry.errno(errno));
                }
                // Removed meanwhile: the name is free again.
                Err(error) if matches!(error.kind, ErrorKind::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Gone, &entry.shown, "is replaced faster than it can be looked at"))
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
            // Older kernels want a capability for that, and none for this.
            Err(Errno::ENOENT | Errno::EPERM) => {
                let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(AT_FDCWD, path.as_str(), dir, leaf, AtFlags::AT_SYMLINK_FOLLOW)
            }
            other => other,
        }
    }

    /// Take over owner, group and mode of the object that is to be replaced.
    fn adopt(&self, old: &FileStat, keep_mode: bool) -> Result<()> {
        let refuse =
            |errno| self.entry.errno(errno).mend("its owner and group cannot be kept: remove it with ipcunlink first");
        let new = fstat(&self.file).map_err(|errno| self.entry.errno(errno))?;
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
            fchown(&self.file, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid))).map_err(refuse)?;
        }
        if keep_mode {
            fchmod(&self.file, Bits::from_bits_truncate(old.st_mode & 0o777)).map_err(refuse)?;
        }
        Ok(())
    }

    /// linkat(2) refuses an existing name, so a second one is needed for an
    /// instant, and rename(2) moves it over the old object.
    fn replace(&self) -> nix::Result<()> {
        let (dir, leaf) = (&self.entry.dir, self.entry.leaf.as_os_str());
        if let Some(name) = &self.name {
            return renameat(dir, name.as_os_str(), dir, leaf);
        }
        // Locked before it has a name, so that nobody sweeps it.
        try_lock(&self.file, Hold::Exclusive, Bytes::ALL)?;
        undisturbed(|| {
            let name = loop {
                let name = temporary_name();
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

/// Remove what dead makers left in this directory: our own user's temporary
/// names that nobody holds locked. Whether there were any.
pub fn sweep(dir: impl AsFd) -> bool {
    let Ok(listing) = Dir::openat(dir.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Bits::empty()) else {
        return false;
    };
    let mut swept = false;
    for found in listing.into_iter().flatten() {
        let leaf = found.file_name();
        if !leaf.to_bytes().starts_with(TEMPORARY.as_bytes()) {
            continue;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Ok(fd) = openat(dir.as_fd(), leaf, flags, Bits::empty()) else { continue };
        let Ok(stat) = fstat(&fd) else { continue };
        let ours = stat.st_uid == geteuid().as_raw() && stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
        // Held while it is removed: its maker may be between making and locking
        // it, and must notice.
        if ours && !is_just_aside(leaf.to_bytes(), &stat) && try_lock(&fd, Hold::Shared, Bytes::ALL) == Ok(true) {
            swept |= unlinkat(dir.as_fd(), leaf, UnlinkatFlags::NoRemoveDir).is_ok();
        }
    }
    swept
}

/// Whether this temporary name was left by a dead maker; asks, and holds nothing.
pub(crate) fn is_left(file: impl AsFd, leaf: &[u8]) -> bool {
    let left = |stat: FileStat| !is_just_aside(leaf, &stat);
    fstat(&file).is_ok_and(left) && in_the_way(&file, Hold::Shared, Bytes::ALL) == Ok(false)
}

/// An object that was moved aside, to be looked at and put back, is locked by
/// nobody. Its change time tells how long it has been there.
fn is_just_aside(leaf: &[u8], stat: &FileStat) -> bool {
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0));
    leaf.starts_with(ASIDE.as_bytes()) && SystemTime::now().duration_since(changed).is_ok_and(|age| age < ASIDE_FOR)
}

/// `.ipcutils.` and twelve letters that nobody can guess: std's hasher is keyed
/// from the system's random numbers.
fn temporary_name() -> OsString {
    random_name(TEMPORARY)
}

/// A name for an object that is moved aside for an instant.
pub(crate) fn aside_name() -> OsString {
    random_name(ASIDE)
}

fn random_name(begin: &str) -> OsString {
    let mut random = RandomState::new().hash_one(begin);
    let mut name = String::from(begin);
    for _ in 0..12 {
        name.push(char::from(b'a' + (random % 26) as u8));
        random /= 26;
    }
    name.into()
}
