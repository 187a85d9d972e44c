//! What fills /dev/shm: objects, other names, and files that have lost their name but
//! are still open or mapped.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::libc::{self, statx};
use nix::sys::stat::{Mode, makedev};
use nix::sys::statvfs::statvfs;

use super::holders::{Backing, Hidden, Holder, Holders, all_pids};
use super::posix;
use super::turns::Turns;
use crate::base::address::KindAddress;
use crate::base::wait::Deadline;
use crate::fs::entry::{SHM_DIR, names};
use crate::sys;

/// What takes room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An object.
    Object(KindAddress),
    /// A folder, with all that is in it.
    Folder(OsString),
    /// A file that has lost this name, and goes when it is closed.
    Removed(OsString),
}

/// A part of the room that is taken.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub what: What,
    /// Bytes of memory. None if not all of a folder could be counted.
    pub bytes: Option<u64>,
    /// Who is known to have it open or mapped. Not of folders.
    pub holders: Vec<Holder>,
    backing: Option<Backing>,
}

/// The room in /dev/shm.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// Its size in bytes; 0 if it has no limit.
    pub size: u64,
    /// How many bytes are in use.
    pub used: u64,
    /// What they are in use for, the largest first.
    pub parts: Vec<Part>,
    /// Who could not be looked at, and may hold removed files.
    pub hidden: Hidden,
}

impl Space {
    /// The bytes of which nobody knows what they are for.
    pub fn unaccounted(&self) -> u64 {
        self.used.saturating_sub(self.parts.iter().filter_map(|part| part.bytes).sum())
    }
}

/// How long to look, and how many files of folders to count: others can put any number
/// there.
const LOOKING: Duration = Duration::from_secs(10);
const FILES: usize = 1_000_000;
/// How deep folders are followed.
const DEPTH: usize = 64;

/// What fills /dev/shm.
pub fn of_shm() -> Space {
    let mut space = Space::default();
    if let Ok(fs) = statvfs(SHM_DIR) {
        space.size = fs.blocks() * fs.fragment_size();
        space.used = fs.blocks().saturating_sub(fs.blocks_free()) * fs.fragment_size();
    }
    let Ok(dir) = nix::fcntl::open(SHM_DIR, posix::DIRECTORY, Mode::empty()) else { return space };
    let deadline = Deadline::after(Some(LOOKING));
    let mut known = Known { seen: BTreeSet::new(), deadline, device: None };
    known.device = stat(&dir, c".").map(|stat| device(&stat));
    posix::for_each_name(&dir, |leaf| space.parts.extend(known.part(&dir, leaf)));
    let (Some(device), Some(pids)) = (known.device, all_pids()) else { return space };
    let holders = Holders::of(&pids, &[device], false, &mut Turns::new());
    for part in &mut space.parts {
        part.holders = part.backing.map_or(Vec::new(), |backing| holders.holding(backing).to_vec());
    }
    space.parts.extend(holders.all().filter_map(|(backing, holders)| known.removed(backing, holders)));
    space.parts.sort_by_key(|part| std::cmp::Reverse(part.bytes.unwrap_or(0)));
    space.hidden = holders.hidden;
    space
}

/// The files that were counted.
struct Known {
    seen: BTreeSet<u64>,
    deadline: Deadline,
    device: Option<u64>,
}

impl Known {
    fn part(&mut self, dir: &OwnedFd, leaf: &CStr) -> Option<Part> {
        if leaf == c"." || leaf == c".." {
            return None;
        }
        let stat = stat(dir, leaf)?;
        let name = || OsString::from_vec(leaf.to_bytes().to_vec());
        match u32::from(stat.stx_mode) & libc::S_IFMT {
            libc::S_IFREG => {
                self.seen.insert(stat.stx_ino);
                let address = posix::object_at(dir, leaf, &stat, true)?.address;
                let backing = Some(posix::backing(&stat));
                Some(Part {
                    what: What::Object(address),
                    bytes: Some(stat.stx_blocks * 512),
                    holders: Vec::new(),
                    backing,
                })
            }
            libc::S_IFDIR => {
                let bytes = self.folder(dir, leaf, 0);
                Some(Part { what: What::Folder(name()), bytes, holders: Vec::new(), backing: None })
            }
            _ => None,
        }
    }

    /// The bytes in a folder; None if not all could be counted.
    fn folder(&mut self, parent: &OwnedFd, leaf: &CStr, depth: usize) -> Option<u64> {
        let flags = posix::DIRECTORY | OFlag::O_NOFOLLOW;
        let dir = openat(parent.as_fd(), leaf, flags, Mode::empty()).ok()?;
        let mut bytes = Some(0);
        let listing = Dir::openat(dir.as_fd(), ".", posix::DIRECTORY, Mode::empty()).ok()?;
        for entry in listing.into_iter().map_while(nix::Result::ok) {
            let leaf = CString::from(entry.file_name());
            if leaf.as_c_str() == c"." || leaf.as_c_str() == c".." {
                continue;
            }
            if self.seen.len() >= FILES || self.deadline.passed() || depth >= DEPTH {
                return None;
            }
            let Some(stat) = stat(&dir, &leaf) else { continue };
            // Not of another file system, and a file of several names once.
            if Some(device(&stat)) != self.device || !self.seen.insert(stat.stx_ino) {
                continue;
            }
            let more = match u32::from(stat.stx_mode) & libc::S_IFMT {
                libc::S_IFDIR => self.folder(&dir, &leaf, depth + 1),
                _ => Some(stat.stx_blocks * 512),
            };
            bytes = bytes.zip(more).map(|(bytes, more)| bytes + more);
        }
        bytes
    }

    /// A file that is open or mapped, if it has no name.
    fn removed(&self, backing: Backing, holders: &[Holder]) -> Option<Part> {
        let Backing::File(device, inode) = backing else { return None };
        if self.seen.contains(&inode) {
            return None;
        }
        let (name, bytes) = holders.iter().find_map(|holder| removed_of(holder.pid, device, inode))?;
        Some(Part { what: What::Removed(name), bytes, holders: holders.to_vec(), backing: None })
    }
}

/// The last name of a removed file that a process has, and its bytes.
fn removed_of(pid: i32, device: u64, inode: u64) -> Option<(OsString, Option<u64>)> {
    ["fd", "map_files"].into_iter().find_map(|place| {
        let dir = PathBuf::from(format!("/proc/{pid}/{place}"));
        names(&dir).ok()?.map(|name| dir.join(name)).find_map(|path| {
            let meta = std::fs::metadata(&path).ok()?;
            if (meta.dev(), meta.ino()) != (device, inode) || meta.nlink() > 0 {
                return None;
            }
            Some((last_name(&std::fs::read_link(&path).ok()?), Some(meta.blocks() * 512)))
        })
    })
}

/// The name within /dev/shm, as far as the kernel knows it.
fn last_name(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    let bytes = bytes.strip_prefix(SHM_DIR.as_bytes()).and_then(|rest| rest.strip_prefix(b"/")).unwrap_or(bytes);
    OsStr::from_bytes(bytes).to_owned()
}

fn stat(dir: &OwnedFd, leaf: &CStr) -> Option<statx> {
    sys::statx::statx(dir, leaf, libc::AT_SYMLINK_NOFOLLOW, libc::STATX_BASIC_STATS).ok()
}

fn device(stat: &statx) -> u64 {
    makedev(stat.stx_dev_major.into(), stat.stx_dev_minor.into())
}
