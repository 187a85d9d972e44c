//! Names that this toolkit makes for an instant, and their sweep if their maker died.
//!
//! Replacing a name takes a second one, as linkat(2) refuses an existing name. Its
//! maker holds a byte lock on the file: if nobody does, a dead maker left the name.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode as Bits, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::byte_lock::{LockMode, Range, is_held, try_lock};

/// How the temporary names of this toolkit begin; random letters follow.
pub(crate) const TEMPORARY: &str = ".ipcutils.";

/// How the name of an object that is moved aside begins.
const ASIDE: &str = ".ipcutils.aside.";
/// How long an object that was moved aside is left alone.
const ASIDE_FOR: Duration = Duration::from_secs(10);

/// Remove what dead makers left in this directory: temporary names of our own user
/// whose files nobody has locked. Returns whether there were any.
pub(crate) fn sweep(dir: impl AsFd) -> bool {
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
        // Lock the file while its name is removed: its maker may be between making
        // and locking it, and must notice.
        if ours && !is_just_aside(leaf.to_bytes(), &stat) && try_lock(&fd, LockMode::Shared, Range::ALL) == Ok(true) {
            swept |= unlinkat(dir.as_fd(), leaf, UnlinkatFlags::NoRemoveDir).is_ok();
        }
    }
    swept
}

/// Whether a dead maker left this temporary name. Locks nothing.
pub(crate) fn is_left(file: impl AsFd, leaf: &[u8]) -> bool {
    let left = |stat: FileStat| !is_just_aside(leaf, &stat);
    fstat(&file).is_ok_and(left) && is_held(&file, LockMode::Shared, Range::ALL) == Ok(false)
}

/// Whether an object was moved aside just now, to be compared and put back. Nobody
/// locks it, but its change time says how long it has been there.
fn is_just_aside(leaf: &[u8], stat: &FileStat) -> bool {
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0));
    leaf.starts_with(ASIDE.as_bytes()) && SystemTime::now().duration_since(changed).is_ok_and(|age| age < ASIDE_FOR)
}

/// `.ipcutils.` and twelve letters that nobody can guess: std's hasher is keyed
/// from the system's random numbers.
pub(crate) fn temporary_name() -> OsString {
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
