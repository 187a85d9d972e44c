//! Who has an object open, mapped or attached: one pass over /proc for any number of
//! objects.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{FileStat, Mode, fstat, major, makedev, minor};

use super::turns::Turns;
use crate::base::error::errno_of;
use crate::base::wait::Deadline;
use crate::fs::entry::{LOOKING, names};
use crate::sys;

/// What a process can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Backing {
    /// A file, by device and inode.
    File(u64, u64),
    /// A System V segment of our IPC namespace, by identifier.
    Segment(u64),
}

impl Backing {
    pub(super) fn of(stat: &FileStat) -> Self {
        Backing::File(stat.st_dev, stat.st_ino)
    }
}

/// A process, and how it holds an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number in our PID namespace.
    pub pid: i32,
    /// How many descriptors it has.
    pub open: u64,
    /// How many mappings, or attachments, it has.
    pub mapped: u64,
}

/// Holders that were not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// There are none.
    None,
    /// This many attachments are of processes that cannot be seen.
    Some(u64),
    /// Whether there are any cannot be known.
    Unknown,
}

/// Who could not be looked at, and may hold or wait for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Processes that may not be looked at.
    pub pids: Vec<i32>,
    /// Whether there may be processes that cannot even be counted: of another
    /// PID namespace, or hidden by an option of /proc.
    pub elsewhere: bool,
}

impl Hidden {
    /// Whether everybody was looked at.
    pub fn is_nobody(&self) -> bool {
        self.pids.is_empty() && !self.elsewhere
    }
}

/// Who holds what.
#[derive(Debug, Default)]
pub(super) struct Holders {
    holders: BTreeMap<Backing, Vec<Holder>>,
    pub(super) hidden: Hidden,
}

/// The inode of /proc/PID/ns/pid in the first namespace; linux/proc_ns.h.
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Bytes of the longest list of mappings that is read.
const LONGEST_MAP: u64 = 16 << 20;

impl Holders {
    /// Look through these processes for files of these devices and, if asked for,
    /// System V segments.
    pub(super) fn of(pids: &[i32], devices: &[u64], segments: bool, turns: &mut Turns) -> Self {
        let mut all =
            Holders { hidden: Hidden { elsewhere: some_are_hidden(), ..Hidden::default() }, ..Holders::default() };
        let segments = if segments { Segments::new() } else { Segments::default() };
        let mut buffer = Vec::new();
        for &pid in pids {
            let looked = turns.take(pid, |end| all.look_at(pid, devices, &segments, &mut buffer, end));
            if matches!(looked, Err(Errno::EACCES | Errno::EPERM | Errno::ETIME | Errno::EFBIG)) {
                all.hidden.pids.push(pid);
            }
        }
        all
    }

    /// The processes that are known to hold it.
    pub(super) fn holding(&self, backing: Backing) -> &[Holder] {
        self.holders.get(&backing).map_or(&[], Vec::as_slice)
    }

    /// All that is held.
    pub(super) fn all(&self) -> impl Iterator<Item = (Backing, &[Holder])> {
        self.holders.iter().map(|(backing, holders)| (*backing, holders.as_slice()))
    }

    /// The processes that hold any of these.
    pub(super) fn pids(&self, backings: impl Iterator<Item = Backing>) -> Vec<i32> {
        let pids: BTreeSet<i32> = backings.flat_map(|backing| self.holding(backing)).map(|holder| holder.pid).collect();
        pids.into_iter().collect()
    }

    /// These could not be looked at either.
    pub(super) fn hide(&mut self, pids: &BTreeSet<i32>) {
        self.hidden.pids.extend(pids);
        self.hidden.pids.sort_unstable();
        self.hidden.pids.dedup();
    }

    fn found(&mut self, backing: Backing, pid: i32) -> &mut Holder {
        let holders = self.holders.entry(backing).or_default();
        if holders.last().is_none_or(|last| last.pid != pid) {
            holders.push(Holder { pid, open: 0, mapped: 0 });
        }
        let last = holders.len() - 1;
        &mut holders[last]
    }

    fn look_at(
        &mut self,
        pid: i32,
        devices: &[u64],
        segments: &Segments,
        buffer: &mut Vec<u8>,
        end: &Deadline,
    ) -> nix::Result<()> {
        buffer.clear();
        let maps = File::open(format!("/proc/{pid}/maps"));
        let read =
            maps.and_then(|maps| maps.take(LONGEST_MAP).read_to_end(buffer)).map_err(|error| errno_of(&error))?;
        if read as u64 == LONGEST_MAP {
            return Err(Errno::EFBIG);
        }
        let mut in_our_namespace = None;
        for line in buffer.split(|&byte| byte == b'\n') {
            let Some((device, inode, path)) = mapping(line) else { continue };
            let is_segment = segments.devices.contains(&device) && path.starts_with(b"/SYSV");
            let backing = if is_segment {
                // Asked once, and only of a process that has a segment: identifiers of
                // another namespace mean other segments.
                if !*in_our_namespace.get_or_insert_with(|| segments.namespace.has(pid)) {
                    continue;
                }
                Backing::Segment(inode)
            } else if devices.contains(&device) {
                Backing::File(device, inode)
            } else {
                continue;
            };
            self.found(backing, pid).mapped += 1;
        }
        if devices.is_empty() { Ok(()) } else { self.look_at_descriptors(pid, devices, end) }
    }

    fn look_at_descriptors(&mut self, pid: i32, devices: &[u64], end: &Deadline) -> nix::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::open(format!("/proc/{pid}/fd").as_str(), flags, Mode::empty())?;
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        let root = open(format!("/proc/{pid}/fd").as_str(), flags | OFlag::O_PATH, Mode::empty())?;
        for entry in dir.iter().map_while(nix::Result::ok) {
            if end.passed() {
                return Err(Errno::ETIME);
            }
            let name = entry.file_name();
            if name.to_bytes().first().is_none_or(|byte| !byte.is_ascii_digit()) {
                continue;
            }
            let Ok(stat) = sys::statx::statx(&root, name, 0, libc::STATX_INO) else { continue };
            let device = makedev(stat.stx_dev_major.into(), stat.stx_dev_minor.into());
            if devices.contains(&device) {
                let list = if only_asks(pid, name) { &mut asked } else { &mut found };
                list.push(Backing::File(device, stat.stx_ino));
            }
        }
        for backing in found {
            self.found(backing, pid).open += 1;
        }
        // Who asks may map what it asks about: the state of a ring lies in memory.
        for backing in asked {
            if let Some(holders) = self.holders.get_mut(&backing) {
                holders.pop_if(|last| last.pid == pid && last.open == 0);
            }
        }
        Ok(())
    }
}

/// Every process but this one; None if /proc cannot be listed.
pub(super) fn all_pids() -> Option<Vec<i32>> {
    let own = std::process::id().cast_signed();
    let pids = names(Path::new("/proc")).ok()?.filter_map(|name| name.to_str()?.parse().ok());
    Some(pids.filter(|&pid| pid != own).collect())
}

/// The file that a descriptor of a process means.
pub(super) fn backing_of(pid: i32, descriptor: i32) -> Option<Backing> {
    let meta = std::fs::metadata(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    use std::os::unix::fs::MetadataExt;
    Some(Backing::File(meta.dev(), meta.ino()))
}

/// The file or segment that is mapped at an address of a process.
pub(super) fn backing_at(pid: i32, address: u64) -> Option<Backing> {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).ok()?;
    let line =
        maps.split(|&byte| byte == b'\n').find(|line| range(line).is_some_and(|range| range.contains(&address)))?;
    let (device, inode, path) = mapping(line)?;
    Some(if path.starts_with(b"/SYSV") { Backing::Segment(inode) } else { Backing::File(device, inode) })
}

/// The addresses of a line of proc_pid_maps(5).
fn range(line: &[u8]) -> Option<std::ops::Range<u64>> {
    let word = std::str::from_utf8(line.split(|&byte| byte == b' ').next()?).ok()?;
    let (begin, end) = word.split_once('-')?;
    Some(u64::from_str_radix(begin, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Device, inode and path of a line of proc_pid_maps(5).
fn mapping(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    // Address, permissions, offset, device, inode, path.
    let mut fields = line.splitn(6, |&byte| byte == b' ').skip(3);
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let inode: u64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    if inode == 0 {
        return None;
    }
    let (high, low) = device.split_once(':')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((makedev(number(high)?, number(low)?), inode, fields.next().unwrap_or_default().trim_ascii_start()))
}

/// Whether a descriptor is one of this toolkit that only inspects the object.
fn only_asks(pid: i32, descriptor: &CStr) -> bool {
    let path = format!("/proc/{pid}/fdinfo/{}", descriptor.to_string_lossy());
    let info = std::fs::read_to_string(path).unwrap_or_default();
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    let looking = LOOKING | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    flags.is_some_and(|flags| {
        let flags = OFlag::from_bits_truncate(flags);
        flags.contains(looking) && flags & OFlag::O_ACCMODE == OFlag::O_RDONLY
    })
}

/// Whether processes may exist that /proc does not show.
fn some_are_hidden() -> bool {
    let first = std::fs::metadata("/proc/self/ns/pid").map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
    first.ok() != Some(FIRST_PID_NAMESPACE) || !Path::new("/proc/1").exists()
}

/// Our IPC namespace, in which our identifiers mean something.
#[derive(Debug, Default)]
pub(super) struct Namespace(Option<std::path::PathBuf>);

impl Namespace {
    pub(super) fn ours() -> Self {
        Namespace(std::fs::read_link("/proc/self/ns/ipc").ok())
    }

    /// Whether the process is in it.
    pub(super) fn has(&self, pid: i32) -> bool {
        std::fs::read_link(format!("/proc/{pid}/ns/ipc")).ok() == self.0
    }
}

/// How System V segments are recognised in a map.
#[derive(Debug, Default)]
struct Segments {
    /// The devices of their files: those of files that memfd_create(2) makes.
    devices: Vec<u64>,
    namespace: Namespace,
}

impl Segments {
    fn new() -> Self {
        let made = |flags| -> nix::Result<u64> {
            let fd: OwnedFd = memfd_create(c"ipcutils", flags | MFdFlags::MFD_CLOEXEC)?;
            Ok(fstat(fd.as_fd())?.st_dev)
        };
        let devices = [MFdFlags::empty(), MFdFlags::MFD_HUGETLB].into_iter().filter_map(|flags| made(flags).ok());
        // As maps show it, with the parts of the number that a map has.
        let devices = devices.map(|device| makedev(major(device), minor(device))).collect();
        Segments { devices, namespace: Namespace::ours() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = b"7fcd35ead000-7fcd35eaf000 rw-s 00000000 00:01 1                          /SYSV0000002a (deleted)";
        assert_eq!(mapping(line), Some((makedev(0, 1), 1, b"/SYSV0000002a (deleted)".as_slice())));
        let hostile = b"7fcd35ead000-7fcd35eaf000 rw-s 00000000 fe:0a 77    /dev/shm/a b 00:01 3 /SYSV";
        assert_eq!(mapping(hostile), Some((makedev(0xfe, 10), 77, b"/dev/shm/a b 00:01 3 /SYSV".as_slice())));
        for none in ["", "x", "7fcd35eb-7fcd35ec rw-p 00000000 00:00 0 ", "a b c d:e f g"] {
            assert_eq!(mapping(none.as_bytes()), None, "{none}");
        }
    }
}
