//! Names that this toolkit makes for an instant, and their sweep if their maker died.
//!
//! | name | is |
//! | --- | --- |
//! | `.ipcutils.LETTERS.INODE`, a file of that inode | new content, until rename(2) moves it over a name |
//! | `.ipcutils.LETTERS.INODE`, a directory | a name that is being removed lies in it: see `removal` |
//! | `.ipcutils.LETTERS`, an empty file | new content whose maker has not come further |
//!
//! There are twelve small letters. No other file is ever swept: a copy or a file of a
//! user has another inode. The maker of a file locks it before it gets such a name, and
//! the maker of a directory locks that: what nobody has locked was left by a dead maker.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::{FileStat, Mode as Bits, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, linkat, unlinkat};

use super::byte_lock::{LockMode, Range, is_held, try_lock};
use crate::base::wait::Deadline;

/// How the temporary names of this toolkit begin.
const BEGIN: &[u8] = b".ipcutils.";
pub(crate) const LETTERS: usize = 12;
/// How old an empty file must be, which has no inode in its name.
const ABANDONED: Duration = Duration::from_secs(10);
/// How long a sweep may take: others may fill the directory.
const SWEEP: Duration = Duration::from_millis(100);

/// A name of the form above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Temporary {
    inode: Option<u64>,
}

impl Temporary {
    fn parse(leaf: &[u8]) -> Option<Self> {
        let rest = leaf.strip_prefix(BEGIN)?;
        let (letters, rest) = rest.split_at_checked(LETTERS)?;
        if !letters.iter().all(u8::is_ascii_lowercase) {
            return None;
        }
        let inode = match rest {
            [] => None,
            [b'.', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
            }
            _ => return None,
        };
        Some(Temporary { inode })
    }

    /// Whether the file of this name is one that a maker leaves.
    fn is_of(self, stat: &FileStat) -> bool {
        match self.inode {
            Some(inode) => inode == stat.st_ino,
            None => stat.st_size == 0 && is_old(stat),
        }
    }
}

fn is_old(stat: &FileStat) -> bool {
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0));
    SystemTime::now().duration_since(changed).is_ok_and(|age| age > ABANDONED)
}

/// Whether the name has the form of a temporary one.
pub(crate) fn is_temporary(leaf: &[u8]) -> bool {
    Temporary::parse(leaf).is_some()
}

/// Whether a dead maker left this file under a temporary name. Locks nothing.
pub(crate) fn is_left(file: impl AsFd, leaf: &[u8]) -> bool {
    let Some(name) = Temporary::parse(leaf) else { return false };
    fstat(&file).is_ok_and(|stat| name.is_of(&stat)) && is_held(&file, LockMode::Shared, Range::ALL) == Ok(false)
}

/// Remove what dead makers of our own user left in this directory. A name that lost its
/// remover before it was removed gets its place back. A directory that is too full for
/// that is swept in part. Returns whether anything was left.
pub(crate) fn sweep(dir: impl AsFd) -> bool {
    let Ok(listing) = Dir::openat(dir.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Bits::empty()) else {
        return false;
    };
    let (mut swept, end) = (false, Deadline::after(Some(SWEEP)));
    for found in listing.into_iter().map_while(nix::Result::ok).take_while(|_| !end.passed()) {
        if let Some(name) = Temporary::parse(found.file_name().to_bytes()) {
            swept |= sweep_one(&dir, found.file_name(), name);
        }
    }
    swept
}

fn sweep_one(dir: impl AsFd, leaf: &CStr, name: Temporary) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(fd) = openat(dir.as_fd(), leaf, flags, Bits::empty()) else { return false };
    let Ok(stat) = fstat(&fd) else { return false };
    if stat.st_uid != geteuid().as_raw() {
        return false;
    }
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        // The lock is held while the name goes: the maker of an empty file may be about
        // to lock it, and must notice.
        SFlag::S_IFREG if name.is_of(&stat) => {
            try_lock(&fd, LockMode::Shared, Range::ALL) == Ok(true)
                && unlinkat(dir.as_fd(), leaf, UnlinkatFlags::NoRemoveDir).is_ok()
        }
        SFlag::S_IFDIR => name.inode.is_some_and(|inode| sweep_aside(dir, leaf, fd, inode, is_old(&stat))),
        _ => false,
    }
}

/// A directory in which the name of the object with this inode was to be removed.
fn sweep_aside(dir: impl AsFd, leaf: &CStr, aside: OwnedFd, inode: u64, old: bool) -> bool {
    let aside = File::from(aside);
    if aside.try_lock().is_err() {
        return false;
    }
    let Ok(listing) = Dir::openat(aside.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Bits::empty()) else {
        return false;
    };
    let mut empty = true;
    for found in listing.into_iter().map_while(nix::Result::ok) {
        let name = OsStr::from_bytes(found.file_name().to_bytes());
        if name != "." && name != ".." {
            empty = false;
            let _ = end_removal(&aside, name, &dir, inode);
        }
    }
    // The maker of an empty one may be about to lock it.
    (!empty || old) && unlinkat(dir.as_fd(), leaf, UnlinkatFlags::RemoveDir).is_ok()
}

/// Unlink a name in the directory `aside` if it means the object with this inode, and
/// return true. Otherwise move it back to `dir`, if no other object has its place.
pub(super) fn end_removal(aside: impl AsFd, leaf: &OsStr, dir: impl AsFd, inode: u64) -> nix::Result<bool> {
    let stat = fstatat(&aside, leaf, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let is_regular = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    if is_regular && stat.st_ino == inode {
        unlinkat(aside, leaf, UnlinkatFlags::NoRemoveDir)?;
        return Ok(true);
    }
    match renameat2(&aside, leaf, &dir, leaf, RenameFlags::RENAME_NOREPLACE) {
        // The file system lacks that flag.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            linkat(&aside, leaf, &dir, leaf, AtFlags::empty())?;
            unlinkat(aside, leaf, UnlinkatFlags::NoRemoveDir)?;
        }
        other => other?,
    }
    Ok(false)
}

/// A temporary name for the object of this inode, or of a file that is not made yet.
/// Nobody can guess it.
pub(super) fn temporary_name(inode: Option<u64>) -> OsString {
    let mut name = BEGIN.to_vec();
    name.extend(letters());
    if let Some(inode) = inode {
        name.extend(format!(".{inode}").bytes());
    }
    std::os::unix::ffi::OsStringExt::from_vec(name)
}

/// Small letters by chance.
pub(crate) fn letters() -> [u8; LETTERS] {
    let mut random = [0; LETTERS];
    if getrandom::fill(&mut random).is_err() {
        // A name that can be guessed can be taken, and then another one is tried.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let seed = now.to_ne_bytes().into_iter().zip(std::process::id().to_ne_bytes().into_iter().cycle());
        random.iter_mut().zip(seed).for_each(|(byte, (now, pid))| *byte = now ^ pid);
    }
    random.map(|byte| b'a' + byte % 26)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_temporary_name_is_exact() {
        let parse = |text: &str| Temporary::parse(text.as_bytes());
        assert_eq!(parse(".ipcutils.abcdefghijkl"), Some(Temporary { inode: None }));
        assert_eq!(parse(".ipcutils.abcdefghijkl.7"), Some(Temporary { inode: Some(7) }));
        for text in [
            "",
            ".ipcutils.",
            ".ipcutils.conf",
            ".ipcutils.abcdefghijk",
            ".ipcutils.abcdefghijklm",
            ".ipcutils.Abcdefghijkl",
            ".ipcutils.abcdefghijk1",
            ".ipcutils.abcdefghijkl.",
            ".ipcutils.abcdefghijkl.x",
            ".ipcutils.abcdefghijkl.7.7",
            ".ipcutils.abcdefghijkl.+7",
            ".ipcutils.abcdefghijkl.99999999999999999999",
            "ipcutils.abcdefghijkl",
            ".ipcutils.aside.abcdefghijkl",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let name = temporary_name(Some(42));
        assert_eq!(Temporary::parse(name.as_bytes()), Some(Temporary { inode: Some(42) }));
        assert_ne!(name, temporary_name(Some(42)));
    }
}
