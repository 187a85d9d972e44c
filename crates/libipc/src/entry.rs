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
use nix::libc;
use nix::sys::stat::{FileStat, Mode as Bits, SFlag, fstat, fstatat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::address::PosixName;
use crate::draft::{lock, temporary_name};
use crate::error::{Error, ErrorKind, Result};
use crate::signals::undisturbed;
use crate::text::printable;

/// Where Linux keeps POSIX shared memory and semaphores: shm_overview(7).
pub const SHM_DIR: &str = "/dev/shm";

/// How often a race for a name is run again before it is called a failure.
pub(crate) const RACES: usize = 1000;

/// What a file will be opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone.
    Read,
    /// Reading and writing.
    Write,
}

/// A name in an open directory.
#[derive(Debug)]
pub struct Entry {
    pub(crate) dir: OwnedFd,
    pub(crate) leaf: OsString,
    pub(crate) shown: String,
}

impl Entry {
    /// The file of a POSIX shared memory object.
    pub fn shm(name: &PosixName) -> Result<Self> {
        Self::within(Path::new(SHM_DIR), name.leaf(), printable(name.as_os_str()))
    }

    /// The file of a POSIX named semaphore.
    pub fn semaphore(name: &PosixName) -> Result<Self> {
        let mut leaf = OsString::from("sem.");
        leaf.push(name.leaf());
        Self::within(Path::new(SHM_DIR), &leaf, printable(name.as_os_str()))
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
        Self::within(Path::new(OsStr::from_bytes(dir)), OsStr::from_bytes(leaf), shown)
    }

    fn within(dir: &Path, leaf: &OsStr, shown: String) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(dir, flags, Bits::empty()) {
            Ok(dir) => Ok(Entry { dir, leaf: leaf.to_owned(), shown }),
            Err(Errno::ENOENT) if dir == Path::new(SHM_DIR) => {
                Err(Error::new(ErrorKind::Failure, shown, format!("{SHM_DIR} does not exist"))
                    .mend(format!("mount -t tmpfs tmpfs {SHM_DIR}")))
            }
            Err(Errno::ENOENT) => Err(Error::new(ErrorKind::Missing, shown, "its directory does not exist")),
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
        if let Ok(fs) = fstatvfs(&self.dir) {
            let (size, free) = (fs.blocks() * fs.fragment_size(), fs.blocks_available() * fs.fragment_size());
            error.what = format!("{}: its file system has {size} bytes, of which {free} are free", error.what);
        }
        error.mend("remove what is not needed with ipcunlink, or enlarge it: mount -o remount,size=SIZE /dev/shm")
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
    /// with a second name.
    pub fn open(&self, access: Access) -> Result<Object> {
        for _ in 0..RACES {
            let Some(stat) = self.stat()? else { return Err(self.errno(Errno::ENOENT)) };
            self.check(&stat)?;
            let rights = if access == Access::Read { OFlag::O_RDONLY } else { OFlag::O_RDWR };
            let flags = rights | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let fd = match openat(&self.dir, self.leaf.as_os_str(), flags, Bits::empty()) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(self.errno(errno)),
            };
            let stat = fstat(&fd).map_err(|errno| self.errno(errno))?;
            if stat.st_nlink == 0 {
                continue; // removed or replaced between the two calls: look again
            }
            self.check(&stat)?;
            return Ok(Object { file: File::from(fd), stat });
        }
        Err(Error::new(ErrorKind::Gone, &self.shown, "is replaced faster than it can be opened"))
    }

    /// A regular file with one name, or [`ErrorKind::Unexpected`].
    fn check(&self, stat: &FileStat) -> Result<()> {
        self.check_regular(stat)?;
        if stat.st_nlink > 1 {
            return Err(Error::new(ErrorKind::Unexpected, &self.shown, "has a second name, a hard link")
                .mend("remove the other name, or copy the file"));
        }
        Ok(())
    }

    fn check_regular(&self, stat: &FileStat) -> Result<()> {
        let what = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => return Ok(()),
            SFlag::S_IFIFO => "a FIFO",
            SFlag::S_IFDIR => "a directory",
            SFlag::S_IFLNK => "a symbolic link",
            SFlag::S_IFSOCK => "a socket",
            _ => "a device",
        };
        Err(Error::new(ErrorKind::Unexpected, &self.shown, format!("is {what}, not an object of shared memory")))
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
        let same = |stat: &FileStat| (stat.st_dev, stat.st_ino) == (object.stat.st_dev, object.stat.st_ino);
        if !self.stat()?.as_ref().is_some_and(same) {
            return Err(gone());
        }
        // Others take an unlocked temporary name for a leftover. Who holds a
        // lock on it already, as its maker does for a while, serves as well.
        let _ = lock(&object.file, libc::F_RDLCK);
        let aside = temporary_name();
        undisturbed(|| {
            match renameat2(
                &self.dir,
                self.leaf.as_os_str(),
                &self.dir,
                aside.as_os_str(),
                RenameFlags::RENAME_NOREPLACE,
            ) {
                Ok(()) => {}
                Err(Errno::ENOENT) => return Err(gone()),
                // A file system without that call: what was compared above must do.
                Err(Errno::EINVAL | Errno::ENOSYS) => return self.remove(),
                Err(errno) => return Err(self.errno(errno)),
            }
            let moved = fstatat(&self.dir, aside.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            if moved.is_ok_and(|stat| same(&stat)) {
                return match unlinkat(&self.dir, aside.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                    // Swept by somebody else, if there was no lock after all.
                    Ok(()) | Err(Errno::ENOENT) => Ok(()),
                    Err(errno) => Err(self.errno(errno)),
                };
            }
            // Another object's name: back, unless yet another has taken it.
            let back = renameat2(
                &self.dir,
                aside.as_os_str(),
                &self.dir,
                self.leaf.as_os_str(),
                RenameFlags::RENAME_NOREPLACE,
            );
            back.map_err(|errno| self.errno(errno)).and(Err(gone()))
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
