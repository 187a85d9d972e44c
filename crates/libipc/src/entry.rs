//! A name in a directory: what a POSIX object or a `file:` is on Linux.
//!
//! Names are opened so that nothing planted under them can block, be followed
//! or be written to, and content appears under them all at once: it is written
//! to a file without a name, which is then linked.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat2};
use nix::sys::stat::{FileStat, Mode as Bits, SFlag, fstat, fstatat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::address::PosixName;
use crate::draft::{aside_name, sweep};
use crate::error::{Error, ErrorKind, Result};
use crate::signals::undisturbed;
use crate::text::printable;

/// Where Linux keeps POSIX shared memory and semaphores: shm_overview(7).
pub const SHM_DIR: &str = "/dev/shm";

/// How often a race for a name is run again before it is called a failure.
pub(crate) const RACES: usize = 1000;

/// O_APPEND means nothing to a reader, and marks the descriptors of those who
/// only ask, so that two that ask at once do not take each other for holders.
pub(crate) const LOOKING: OFlag = OFlag::O_RDONLY.union(OFlag::O_APPEND);

/// What a file will be opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone.
    Read,
    /// Reading by one who asks what it is: not counted among its holders.
    Look,
    /// Reading and writing.
    Write,
}

/// A name in an open directory.
#[derive(Debug)]
pub struct Entry {
    pub(crate) dir: OwnedFd,
    pub(crate) leaf: OsString,
    pub(crate) shown: String,
    posix: bool,
}

impl Entry {
    /// The file of a POSIX shared memory object.
    pub fn shm(name: &PosixName) -> Result<Self> {
        Self::within(Path::new(SHM_DIR), name.leaf(), printable(name.as_os_str()), true)
    }

    /// The file of a POSIX named semaphore.
    pub fn semaphore(name: &PosixName) -> Result<Self> {
        let mut leaf = OsString::from("sem.");
        leaf.push(name.leaf());
        Self::within(Path::new(SHM_DIR), &leaf, printable(name.as_os_str()), true)
    }

    /// A path. Links in its directories are followed, one at its end never.
    pub fn file(path: &Path) -> Result<Self> {
        let shown = format!("file:{}", printable(path.as_os_str()));
        // Path::file_name would forgive a slash at the end.
        let bytes = path.as_os_str().as_bytes();
        let cut = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (dir, leaf) = (&bytes[..cut], &bytes[cut..]);
        if matches!(leaf, b"" | b"." | b"..") {
            return Err(Error::new(ErrorKind::Unexpected, shown, "is a directory"));
        }
        let dir = if dir.is_empty() { b"." } else { dir };
        Self::within(Path::new(OsStr::from_bytes(dir)), OsStr::from_bytes(leaf), shown, false)
    }

    fn within(dir: &Path, leaf: &OsStr, shown: String, posix: bool) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(dir, flags, Bits::empty()) {
            Ok(dir) => Ok(Entry { dir, leaf: leaf.to_owned(), shown, posix }),
            Err(Errno::ENOENT) if dir == Path::new(SHM_DIR) => {
                Err(Error::new(ErrorKind::Failure, shown, format!("{SHM_DIR} does not exist"))
                    .mend(format!("mount -t tmpfs tmpfs {SHM_DIR}")))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                Err(Error::new(ErrorKind::Missing, shown, "its directory does not exist"))
            }
            Err(errno) => Err(Error::errno(shown, errno)),
        }
    }

    /// The object as the user wrote it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The name without its directory.
    pub fn leaf(&self) -> &OsStr {
        &self.leaf
    }

    pub(crate) fn errno(&self, errno: Errno) -> Error {
        if errno == Errno::ENOSPC || errno == Errno::EDQUOT {
            return self.full(errno);
        }
        Error::errno(&self.shown, errno)
    }

    /// The file system is full: its size and what is free say how far off.
    fn full(&self, errno: Errno) -> Error {
        let mut error = Error::errno(&self.shown, errno);
        let mut option = "size";
        if let Ok(fs) = fstatvfs(&self.dir) {
            let (size, free) = (fs.blocks() * fs.fragment_size(), fs.blocks_available() * fs.fragment_size());
            let found = if fs.files() > 0 && fs.files_available() == 0 {
                option = "nr_inodes";
                format!("its file system has no inode free, of {}", fs.files())
            } else {
                format!("its file system has {size} bytes, of which {free} are free")
            };
            error.what = format!("{}: {found}", error.what);
        }
        error.mend(if self.posix {
            format!("remove what is not needed with ipcunlink, or mount -o remount,{option}=N {SHM_DIR}")
        } else {
            "remove what is not needed".to_owned()
        })
    }

    /// What the name means now, or None. Nothing is opened, so that a planted
    /// FIFO or device notices nothing.
    pub fn stat(&self) -> Result<Option<FileStat>> {
        match fstatat(&self.dir, self.leaf.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.errno(errno)),
        }
    }

    /// Open the file, if it is one: regular, under one name.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Denied`], and
    /// [`ErrorKind::Unexpected`] for a FIFO, a directory, a link, or a file
    /// with a second name, which does not matter to one who looks.
    pub fn open(&self, access: Access) -> Result<Object> {
        for _ in 0..RACES {
            let Some(stat) = self.stat()? else { return Err(self.errno(Errno::ENOENT)) };
            self.check_regular(&stat)?;
            let rights = match access {
                Access::Read => OFlag::O_RDONLY,
                Access::Look => LOOKING,
                Access::Write => OFlag::O_RDWR,
            };
            let flags = rights | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let fd = match openat(&self.dir, self.leaf.as_os_str(), flags, Bits::empty()) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(self.errno(errno)),
            };
            let stat = fstat(&fd).map_err(|errno| self.errno(errno))?;
            self.check_regular(&stat)?;
            match stat.st_nlink {
                // Removed or replaced between the two calls: look again.
                0 => continue,
                1 => return Ok(Object { file: File::from(fd), stat }),
                _ if access == Access::Look => return Ok(Object { file: File::from(fd), stat }),
                // A second name may be a temporary one of a dead maker.
                _ if sweep(&self.dir) => continue,
                _ => {
                    return Err(Error::new(ErrorKind::Unexpected, &self.shown, "has a second name, a hard link")
                        .mend("remove the other name, or copy the file"));
                }
            }
        }
        Err(Error::new(ErrorKind::Gone, &self.shown, "is replaced faster than it can be opened"))
    }

    /// A regular file, or [`ErrorKind::Unexpected`].
    fn check_regular(&self, stat: &FileStat) -> Result<()> {
        let what = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => return Ok(()),
            SFlag::S_IFIFO => "a FIFO",
            SFlag::S_IFDIR => "a directory",
            SFlag::S_IFLNK => "a symbolic link",
            SFlag::S_IFSOCK => "a socket",
            _ => "a device",
        };
        let error =
            Error::new(ErrorKind::Unexpected, &self.shown, format!("is {what}, not an object of shared memory"));
        let path = Path::new(SHM_DIR).join(&self.leaf);
        Err(if self.posix { error.mend(format!("rm or rmdir {}", printable(path.as_os_str()))) } else { error })
    }

    /// Whether the name still means the object that was opened.
    pub fn means(&self, object: &Object) -> Result<bool> {
        let same = |stat: FileStat| (stat.st_dev, stat.st_ino) == (object.stat.st_dev, object.stat.st_ino);
        Ok(self.stat()?.is_some_and(same))
    }

    /// Whether this is a POSIX name, or the path of one.
    pub fn is_in_shm(&self) -> bool {
        let identity = |stat: FileStat| (stat.st_dev, stat.st_ino);
        self.posix || fstat(&self.dir).map(identity).ok() == nix::sys::stat::stat(SHM_DIR).map(identity).ok()
    }

    /// Remove the name. Who has the object open keeps it.
    ///
    /// # Errors
    /// As of [`Entry::open`]; only a regular file is removed, or a temporary
    /// second name of ours.
    pub fn remove(&self) -> Result<()> {
        let Some(stat) = self.stat()? else { return Err(self.errno(Errno::ENOENT)) };
        // A second name is no reason: removing one harms no other.
        self.check_regular(&stat)?;
        unlinkat(&self.dir, self.leaf.as_os_str(), UnlinkatFlags::NoRemoveDir).map_err(|errno| self.errno(errno))
    }

    /// Remove the name if it still means `object`.
    ///
    /// There is no system call for that: the name is moved aside, looked at, and
    /// put back if it was another object by then.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the name means another object, or none.
    pub fn remove_if_same(&self, object: &Object) -> Result<()> {
        let gone =
            || Error::new(ErrorKind::Gone, &self.shown, "was replaced or removed meanwhile, and is left as it is");
        if !self.means(object)? {
            return Err(gone());
        }
        let aside = aside_name();
        let unlink = || match unlinkat(&self.dir, aside.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.errno(errno)),
        };
        let (leaf, away) = (self.leaf.as_os_str(), aside.as_os_str());
        let rename = |from, to| renameat2(&self.dir, from, &self.dir, to, RenameFlags::RENAME_NOREPLACE);
        undisturbed(|| {
            match rename(leaf, away) {
                Ok(()) => {}
                Err(Errno::ENOENT) => return Err(gone()),
                // A file system without that call: what was compared above must do.
                Err(Errno::EINVAL | Errno::ENOSYS) => return self.remove(),
                Err(errno) => return Err(self.errno(errno)),
            }
            let stat = fstatat(&self.dir, away, AtFlags::AT_SYMLINK_NOFOLLOW);
            if stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (object.stat.st_dev, object.stat.st_ino)) {
                return unlink();
            }
            // Another object's name: back. If it has been taken meanwhile, then
            // by an object that has replaced this one too.
            match rename(away, leaf) {
                Err(Errno::EEXIST) => unlink().and(Err(gone())),
                Err(errno) => Err(self.errno(errno)),
                Ok(()) => Err(gone()),
            }
        })
    }
}

/// An open file behind a name, and what fstat(2) said of it then.
#[derive(Debug)]
pub struct Object {
    file: File,
    pub(crate) stat: FileStat,
}

impl Object {
    /// What is behind an open file.
    pub(crate) fn of(file: File) -> nix::Result<Self> {
        let stat = fstat(&file)?;
        Ok(Object { file, stat })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        self.stat.st_size.cast_unsigned()
    }

    /// Its size in bytes now.
    pub fn size_now(&self) -> nix::Result<u64> {
        Ok(fstat(&self.file)?.st_size.cast_unsigned())
    }

    /// The user who owns it.
    pub fn owner(&self) -> u32 {
        self.stat.st_uid
    }
}
