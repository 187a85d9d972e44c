//! A name in a directory: what a POSIX object or a `file:` is on Linux.
//!
//! Names are opened so that nothing planted under them can block, be followed or be
//! written to. Content appears under them all at once: see `draft`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode as Bits, SFlag, fstat, fstatat, futimens};
use nix::sys::statvfs::fstatvfs;
use nix::sys::time::TimeSpec;

use super::temporary::sweep;
use crate::base::address::{Address, Name, PosixName};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::text::printable;
use crate::base::wait::{Backoff, Deadline};

/// Where Linux keeps POSIX shared memory and semaphores: shm_overview(7).
pub(crate) const SHM_DIR: &str = "/dev/shm";

/// How often a lost race for a name is run again before it is a failure.
pub(crate) const RACES: usize = 1000;

/// How long a name may be leased by another process before that is an error.
const LEASED: Duration = Duration::from_secs(1);

/// O_APPEND means nothing to a reader. It marks descriptors that only inspect, so
/// that two inspecting processes do not take each other for holders.
pub(crate) const LOOKING: OFlag = OFlag::O_RDONLY.union(OFlag::O_APPEND);

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading only.
    Read,
    /// Reading to see what the object is, however many names it has. The opener does
    /// not count as a holder.
    Look,
    /// Reading the state of an object that must have this name alone. The opener does
    /// not count as a holder.
    Inspect,
    /// Reading and writing.
    Write,
}

/// The names in a directory, without `.` and `..`. An error in between ends them.
pub(crate) fn names(dir: &Path) -> nix::Result<impl Iterator<Item = OsString>> {
    let listing = Dir::open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Bits::empty())?;
    let name = |entry: nix::dir::Entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
    Ok(listing.into_iter().map_while(nix::Result::ok).map(name).filter(|name| name != "." && name != ".."))
}

/// A name in an open directory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) dir: OwnedFd,
    pub(crate) leaf: OsString,
    name: Name,
    label: String,
}

impl Entry {
    /// The file of a POSIX shared memory object, or of a path. Symbolic links in the
    /// directories of a path are followed, a link at its end is not.
    pub(crate) fn new(name: &Name) -> Result<Self> {
        match name {
            Name::Posix(posix) => Self::within(Path::new(SHM_DIR), posix.leaf(), name),
            Name::File(path) => {
                // Path::file_name would forgive a slash at the end.
                let bytes = path.as_os_str().as_bytes();
                let cut = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
                let (dir, leaf) = (&bytes[..cut], &bytes[cut..]);
                if matches!(leaf, b"" | b"." | b"..") {
                    return Err(Error::errno(name, Errno::EISDIR));
                }
                let dir = if dir.is_empty() { b"." } else { dir };
                Self::within(Path::new(OsStr::from_bytes(dir)), OsStr::from_bytes(leaf), name)
            }
        }
    }

    /// The file of a POSIX named semaphore.
    pub(crate) fn semaphore(name: &PosixName) -> Result<Self> {
        let mut leaf = OsString::from("sem.");
        leaf.push(name.leaf());
        Self::within(Path::new(SHM_DIR), &leaf, &Name::Posix(name.clone()))
    }

    fn within(dir: &Path, leaf: &OsStr, name: &Name) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match open(dir, flags, Bits::empty()) {
            Ok(dir) => Ok(Entry { dir, leaf: leaf.to_owned(), name: name.clone(), label: name.to_string() }),
            Err(Errno::ENOENT) if dir == Path::new(SHM_DIR) => {
                Err(Error::new(ErrorKind::Failure, name, format!("{SHM_DIR} does not exist"))
                    .hint(Hint::advice(format!("mount -t tmpfs tmpfs {SHM_DIR}"))))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                Err(Error::new(ErrorKind::Missing, name, "its directory does not exist"))
            }
            Err(errno) => Err(Error::errno(name, errno)),
        }
    }

    /// The object as the user wrote it.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Its address.
    pub(crate) fn address(&self) -> Address {
        Address::Name(self.name.clone())
    }

    fn is_posix(&self) -> bool {
        matches!(self.name, Name::Posix(_))
    }

    /// The name without its directory.
    pub(crate) fn leaf(&self) -> &OsStr {
        &self.leaf
    }

    pub(crate) fn errno(&self, errno: Errno) -> Error {
        if errno == Errno::ENOSPC || errno == Errno::EDQUOT {
            return self.full(errno);
        }
        Error::errno(&self.label, errno)
    }

    /// The error of a full file system, with its size and what is free.
    fn full(&self, errno: Errno) -> Error {
        let mut error = Error::errno(&self.label, errno);
        let mut option = "size";
        if let Ok(fs) = fstatvfs(&self.dir) {
            let (size, free) = (fs.blocks() * fs.fragment_size(), fs.blocks_available() * fs.fragment_size());
            let found = if fs.files() > 0 && fs.files_available() == 0 {
                option = "nr_inodes";
                format!("its file system has no inode free, of {}", fs.files())
            } else {
                format!("its file system has {size} bytes, of which {free} are free")
            };
            error.problem += &format!(": {found}");
        }
        error.hint(if self.is_posix() { Hint::MakeRoomOrRemount(option) } else { Hint::MakeRoom })
    }

    /// What the name means now, or None. Nothing is opened, so that a planted
    /// FIFO or device notices nothing.
    pub(crate) fn stat(&self) -> Result<Option<FileStat>> {
        match fstatat(&self.dir, self.leaf.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.errno(errno)),
        }
    }

    /// Open the file, which must be regular and have one name.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Denied`];
    /// [`ErrorKind::Unexpected`] for a FIFO, a directory, a link, or a file with a
    /// second name, which [`Access::Look`] permits; [`ErrorKind::Busy`] if another
    /// process keeps a lease of it.
    pub(crate) fn open(&self, access: Access) -> Result<Object> {
        let (lease, mut backoff) = (Deadline::after(Some(LEASED)), Backoff::short());
        for _ in 0..RACES {
            let Some(stat) = self.stat()? else { return Err(self.errno(Errno::ENOENT)) };
            self.check_regular(&stat)?;
            let rights = match access {
                Access::Read => OFlag::O_RDONLY,
                Access::Look | Access::Inspect => LOOKING,
                Access::Write => OFlag::O_RDWR,
            };
            let flags = rights | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let fd = match openat(&self.dir, self.leaf.as_os_str(), flags, Bits::empty()) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => continue,
                // It is leased, as for a removal: fcntl_setlease(2). Without O_NONBLOCK
                // this would wait for the holder of the lease.
                Err(Errno::EAGAIN) if !lease.passed() => {
                    backoff.sleep(&lease);
                    continue;
                }
                Err(Errno::EAGAIN) => {
                    let problem = "another process has a lease of it";
                    return Err(Error::new(ErrorKind::Busy, &self.label, problem));
                }
                Err(errno) => return Err(self.errno(errno)),
            };
            let stat = fstat(&fd).map_err(|errno| self.errno(errno))?;
            self.check_regular(&stat)?;
            match stat.st_nlink {
                // Removed or replaced between the two calls: look again.
                0 => continue,
                1 => return Ok(Object::new(File::from(fd), stat)),
                _ if access == Access::Look => return Ok(Object::new(File::from(fd), stat)),
                // A second name may be a temporary one of a dead maker.
                _ if sweep(&self.dir) => continue,
                _ => return Err(self.second_name()),
            }
        }
        Err(Error::new(ErrorKind::Gone, &self.label, "is replaced faster than it can be opened"))
    }

    /// A descriptor of the file, which must be regular and have one name, without
    /// permission to read it: O_PATH of open(2).
    pub(crate) fn path(&self) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let failed = |errno| self.errno(errno);
        let fd = openat(&self.dir, self.leaf.as_os_str(), flags, Bits::empty()).map_err(failed)?;
        let stat = fstat(&fd).map_err(failed)?;
        self.check_regular(&stat)?;
        if stat.st_nlink == 1 { Ok(fd) } else { Err(self.second_name()) }
    }

    fn second_name(&self) -> Error {
        Error::new(ErrorKind::Unexpected, &self.label, "has a second name, a hard link")
            .hint(Hint::advice("remove the other name, or copy the file"))
    }

    /// Check that it is a regular file: [`ErrorKind::Unexpected`] otherwise.
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
            Error::new(ErrorKind::Unexpected, &self.label, format!("is {what}, not an object of shared memory"));
        let path = Path::new(SHM_DIR).join(&self.leaf);
        let advice = || Hint::advice(format!("rm or rmdir {}", printable(path.as_os_str())));
        Err(if self.is_posix() { error.hint(advice()) } else { error })
    }

    /// Whether the name still means the object that was opened.
    pub(crate) fn means(&self, object: &Object) -> Result<bool> {
        Ok(self.stat()?.is_some_and(|stat| is_same(&stat, &object.stat)))
    }

    /// Whether this is a POSIX name, or the path of one.
    pub(crate) fn is_in_shm(&self) -> bool {
        let there = || nix::Result::Ok(is_same(&fstat(&self.dir)?, &nix::sys::stat::stat(SHM_DIR)?));
        self.is_posix() || there().unwrap_or(false)
    }
}

/// Whether both are of one object.
pub(crate) fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// An open file behind a name, and what fstat(2) said of it then.
#[derive(Debug)]
pub(crate) struct Object {
    file: File,
    pub(crate) stat: FileStat,
    /// The last trace of a use, in seconds since the epoch.
    traced: AtomicI64,
}

impl Object {
    /// The object of an open file.
    pub(crate) fn of(file: File) -> nix::Result<Self> {
        let stat = fstat(&file)?;
        Ok(Object::new(file, stat))
    }

    /// The object of an open file of which this is known.
    pub(super) fn new(file: File, stat: FileStat) -> Self {
        Object { file, traced: AtomicI64::new(stat.st_ctime), stat }
    }

    /// Leave a trace of a use, for whoever judges an object by its age: the kernel
    /// records neither what is read nor what is changed in memory. The trace is the time
    /// of the last change of the inode, which no look changes. One a second is enough.
    ///
    /// It takes the owner, or write permission. Others leave none.
    pub(crate) fn trace_use(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        // Only a number: it orders nothing.
        if self.traced.swap(now, Ordering::Relaxed) == now {
            return;
        }
        let (now, left) = (TimeSpec::UTIME_NOW, TimeSpec::UTIME_OMIT);
        let _ = futimens(&self.file, &now, &left).or_else(|_| futimens(&self.file, &now, &now));
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Its size in bytes when it was opened.
    pub(crate) fn size(&self) -> u64 {
        self.stat.st_size.cast_unsigned()
    }

    /// Its size in bytes now.
    pub(crate) fn size_now(&self) -> nix::Result<u64> {
        Ok(fstat(&self.file)?.st_size.cast_unsigned())
    }
}
