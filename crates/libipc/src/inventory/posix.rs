//! POSIX objects: names in /dev/shm and in the file system of message queues.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::libc::{self, statx, statx_timestamp};
use nix::mqueue::{MQ_OFlag, mq_open};
use nix::sys::stat::{Mode, makedev};
use nix::sys::statfs::{FsType, fstatfs};

use super::holders::Backing;
use super::object::{Detail, Object, Queue, Segment, Semaphores, Times, missing, moment};
use crate::base::address::{Kind, KindAddress, Name, PosixName};
use crate::base::error::{Error, ErrorKind, Hint, Result, errno_of};
use crate::base::text::printable;
use crate::base::wait::Deadline;
use crate::fs::byte_lock::{LockMode, Range, is_held};
use crate::fs::entry::{self, Access, Entry, LOOKING, SHM_DIR};
use crate::fs::kind::{SEMAPHORE, check_kind, is_a, kind_of};
use crate::fs::temporary::{is_left, is_temporary};
use crate::mq::posix::attributes;
use crate::process::life::own_uid;
use crate::sem::posix::peek;
use crate::sys::mq::Descriptor;
use crate::{lock, ring, sys};

pub(super) const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// Where the file system of queues is, if it is mounted: mq_overview(7).
const MQUEUE_DIR: &str = "/dev/mqueue";
/// Its magic number; linux/magic.h.
const MQUEUE_MAGIC: i64 = 0x1980_0202;
/// How long a listing looks into the objects of other users, who can make any number
/// of them. Those that come later are listed as segments, and nothing else is known.
const FOREIGN: Duration = Duration::from_millis(300);

/// Segments, rings, locks and semaphores.
pub(super) fn in_shm_dir(objects: &mut Vec<Object>) {
    let Ok(dir) = open(SHM_DIR, DIRECTORY, Mode::empty()) else { return };
    let (own, foreign) = (own_uid(), Deadline::after(Some(FOREIGN)));
    for_each_name(&dir, |leaf| {
        let Some(stat) = stat_regular(&dir, leaf) else { return };
        let looks = stat.stx_uid == own || stat.stx_uid == 0 || !foreign.passed();
        objects.extend(object_at(&dir, leaf, &stat, looks));
    });
}

/// The object of a name in /dev/shm, whose status this is.
pub(super) fn object_at(dir: &OwnedFd, leaf: &CStr, stat: &statx, looks: bool) -> Option<Object> {
    address_of(leaf.to_bytes()).map(|address| shm_object(dir, leaf, address, stat, looks))
}

pub(super) fn for_each_name(dir: &OwnedFd, mut each: impl FnMut(&CStr)) {
    let Ok(listing) = Dir::openat(dir.as_fd(), ".", DIRECTORY, Mode::empty()) else { return };
    for entry in listing.into_iter().map_while(nix::Result::ok) {
        each(entry.file_name());
    }
}

/// The status of a regular file. None for anything else, and for a name that is gone.
fn stat_regular(dir: &OwnedFd, leaf: &CStr) -> Option<statx> {
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let stat = sys::statx::statx(dir, leaf, libc::AT_SYMLINK_NOFOLLOW, mask).ok()?;
    (u32::from(stat.stx_mode) & libc::S_IFMT == libc::S_IFREG).then_some(stat)
}

/// The address of a name in /dev/shm, taken for a segment until it is opened.
fn address_of(leaf: &[u8]) -> Option<KindAddress> {
    let (kind, leaf) = match leaf.strip_prefix(SEMAPHORE) {
        Some(name) if !name.is_empty() => (Kind::Sem, name),
        _ => (Kind::Shm, leaf),
    };
    let name = PosixName::parse(OsStr::from_bytes(&[b"/", leaf].concat())).ok()?;
    Some(KindAddress { kind, address: name.into() })
}

/// What a process that holds the file has open or mapped.
pub(super) fn backing(stat: &statx) -> Backing {
    Backing::File(makedev(stat.stx_dev_major.into(), stat.stx_dev_minor.into()), stat.stx_ino)
}

fn object(address: KindAddress, stat: &statx, detail: Detail) -> Object {
    let time = |time: statx_timestamp| Some(moment(time.tv_sec));
    let times = Times {
        created: if stat.stx_mask & libc::STATX_BTIME != 0 { time(stat.stx_btime) } else { None },
        changed: time(stat.stx_ctime),
        modified: time(stat.stx_mtime),
        ..Times::default()
    };
    Object {
        address,
        key: None,
        id: None,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mode: u32::from(stat.stx_mode) & 0o777,
        size: Some(stat.stx_size),
        detail,
        creator: None,
        times,
        backing: Some(backing(stat)),
    }
}

/// Open a name without following links, blocking, or counting as a holder.
fn look_into(dir: impl AsFd, leaf: &CStr) -> Option<File> {
    let flags = LOOKING | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(dir, leaf, flags, Mode::empty()).ok().map(File::from)
}

fn shm_object(dir: &OwnedFd, leaf: &CStr, address: KindAddress, stat: &statx, looks: bool) -> Object {
    // A segment without a byte says nothing more, unless it is a leftover.
    let says = stat.stx_size > 0 || is_temporary(leaf.to_bytes());
    let file = if looks && says { look_into(dir, leaf) } else { None };
    of_file(file, leaf.to_bytes(), address, stat)
}

fn of_file(file: Option<File>, leaf: &[u8], mut address: KindAddress, stat: &statx) -> Object {
    if address.kind == Kind::Sem {
        let word = file.as_ref().and_then(peek);
        let values = word.map(|(value, _)| vec![value]);
        let waiting = word.map(|(_, waiting)| waiting);
        let detail = Semaphores { count: 1, values, waiting, corrupt: file.is_some() && word.is_none() };
        return Object { size: None, ..object(address, stat, Detail::Semaphores(detail)) };
    }
    let temporary = is_temporary(leaf);
    let kind = file.as_ref().map_or(Kind::Shm, kind_of);
    let detail = match (file, kind) {
        (Some(file), Kind::Ring) if !temporary => {
            address.kind = kind;
            let in_use = in_use(&file);
            Detail::Ring(ring::Status::of(file, &address.address).map(Box::new), in_use)
        }
        (Some(file), Kind::Lock) if !temporary => {
            address.kind = kind;
            Detail::Lock(lock::Status::of(&file, &address.address).map(Box::new), in_use(&file))
        }
        (file, _) => {
            let leftover = temporary && file.as_ref().is_some_and(|file| is_left(file, leaf));
            let filling = temporary && file.is_some() && !leftover;
            Detail::Segment(Segment { leftover, filling, ..Segment::default() })
        }
    };
    object(address, stat, detail)
}

/// The object behind an open file. Byte locks of this file are nobody's.
pub(super) fn describe(address: &KindAddress, entry: &Entry, opened: &entry::Object) -> Result<Object> {
    let failed = |errno| Error::errno(entry.label(), errno);
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let stat = sys::statx::statx(opened.file(), c"", libc::AT_EMPTY_PATH, mask).map_err(failed)?;
    let file = opened.file().try_clone().map_err(|error| failed(errno_of(&error)))?;
    let found = of_file(Some(file), entry.leaf().as_bytes(), entry.kind_address(address.kind), &stat);
    if found.address.kind != address.kind {
        return Err(is_a(entry, found.address.kind));
    }
    Ok(found)
}

/// Whether anybody takes part in a ring or a lock: every live participant holds a
/// byte lock, which the kernel drops with it.
fn in_use(file: &File) -> Option<bool> {
    is_held(file, LockMode::Exclusive, Range::ALL).ok()
}

/// A segment, ring or lock of this name, or in this file.
pub(super) fn find(kind: Kind, name: &Name) -> Result<Object> {
    let entry = Entry::new(name)?;
    check_kind(&entry, kind)?;
    of_entry(kind, &entry)
}

/// A POSIX semaphore.
pub(super) fn find_semaphore(name: &PosixName) -> Result<Object> {
    of_entry(Kind::Sem, &Entry::semaphore(name)?)
}

fn of_entry(kind: Kind, entry: &Entry) -> Result<Object> {
    let leaf = CString::new(entry.leaf().as_bytes()).map_err(|_| missing(entry.label()))?;
    let Some(stat) = stat_regular(&entry.dir, &leaf) else {
        // It is something else, or nothing: the entry has the words for that.
        entry.open(Access::Look)?;
        return Err(missing(entry.label()));
    };
    Ok(shm_object(&entry.dir, &leaf, entry.kind_address(kind), &stat, true))
}

/// The root of our IPC namespace's file system of queues. Whoever may mount needs no
/// mounted one. A mounted one may be another namespace's.
///
/// # Errors
/// [`ErrorKind::Failure`] if queues cannot be listed; None if this kernel has none.
pub(super) fn queue_dir() -> Result<Option<OwnedFd>> {
    if let Ok(root) = sys::mount::detached(c"mqueue") {
        return Ok(Some(root));
    }
    if !Path::new("/proc/sys/fs/mqueue").exists() {
        return Ok(None);
    }
    let cannot = |why: &str| Error::new(ErrorKind::Failure, "mq", format!("POSIX queues cannot be listed: {why}"));
    let dir = open(MQUEUE_DIR, DIRECTORY, Mode::empty()).ok();
    let Some(dir) = dir.filter(|dir| fstatfs(dir).is_ok_and(|fs| fs.filesystem_type() == FsType(MQUEUE_MAGIC))) else {
        return Err(
            cannot("/dev/mqueue is not mounted").hint(Hint::advice("mount -t mqueue none /dev/mqueue, or be root"))
        );
    };
    let mut foreign = false;
    for_each_name(&dir, |leaf| foreign |= is_foreign(&dir, leaf));
    if foreign {
        return Err(cannot("/dev/mqueue is of another IPC namespace").hint(Hint::advice("mount it anew, or be root")));
    }
    Ok(Some(dir))
}

/// Whether mq_open(3), which knows our namespace alone, finds another queue
/// under this name, or none.
fn is_foreign(dir: &OwnedFd, leaf: &CStr) -> bool {
    let there = |found: Option<&statx>| {
        let device = |stat: &statx| (stat.stx_dev_major, stat.stx_dev_minor);
        stat_regular(dir, leaf).is_some_and(|stat| found.map(device) != Some(device(&stat)))
    };
    match open_queue(OsStr::from_bytes(&[b"/", leaf.to_bytes()].concat())) {
        Err(Errno::ENOENT) => there(None),
        Err(_) => false,
        Ok((_, stat)) => there(Some(&stat)),
    }
}

pub(super) fn open_queue(path: &OsStr) -> nix::Result<(Descriptor, statx)> {
    let looking = MQ_OFlag::from_bits_retain(LOOKING.bits());
    let flags = looking | MQ_OFlag::O_NONBLOCK | MQ_OFlag::O_CLOEXEC;
    let queue = Descriptor::from(mq_open(path, flags, Mode::empty(), None)?);
    let stat = sys::statx::statx(queue.as_fd(), c"", libc::AT_EMPTY_PATH, libc::STATX_BASIC_STATS)?;
    Ok((queue, stat))
}

/// POSIX message queues.
pub(super) fn queues(objects: &mut Vec<Object>) -> Result<()> {
    let Some(dir) = queue_dir()? else { return Ok(()) };
    for_each_name(&dir, |leaf| objects.extend(queue(&dir, leaf)));
    Ok(())
}

fn queue(dir: &OwnedFd, leaf: &CStr) -> Option<Object> {
    let stat = stat_regular(dir, leaf)?;
    let name = PosixName::parse(OsStr::from_bytes(&[b"/", leaf.to_bytes()].concat())).ok()?;
    let (mut size, mut queue) = (None, None);
    if let Some(mut file) = look_into(dir, leaf) {
        // The content of the file begins with QSIZE: and the bytes of all messages.
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        size = text.split_whitespace().find_map(|word| word.strip_prefix("QSIZE:")?.parse().ok());
        queue = Some(Descriptor::from(file));
    }
    Some(queue_object(&name, &stat, size, queue.as_ref()))
}

fn queue_object(name: &PosixName, stat: &statx, size: Option<u64>, queue: Option<&Descriptor>) -> Object {
    let found = queue.and_then(|queue| attributes(queue).ok());
    let detail = found.map_or_else(Queue::default, |found| Queue {
        messages: Some(found.messages),
        max_messages: Some(found.max_messages),
        message_size: Some(found.message_size),
        ..Queue::default()
    });
    let address = KindAddress { kind: Kind::Mq, address: name.clone().into() };
    let object = object(address, stat, Detail::Queue(detail));
    // To read the file of a queue changes its time of change. Only a message that goes
    // in or out changes the time of its content.
    let times = Times { sent: object.times.modified, changed: None, modified: None, ..object.times };
    Object { size, times, ..object }
}

/// The POSIX queue of this name, from the file system of queues if that is possible,
/// else opened.
pub(super) fn find_queue(name: &PosixName) -> Result<Object> {
    let label = printable(name.as_os_str());
    let failed = |errno| Error::errno(&label, errno);
    let leaf = CString::new(name.leaf().as_bytes()).map_err(|_| failed(Errno::EINVAL))?;
    if let Ok(Some(dir)) = queue_dir() {
        return queue(&dir, &leaf).ok_or_else(|| missing(&label));
    }
    let (descriptor, stat) = open_queue(name.as_os_str()).map_err(failed)?;
    Ok(queue_object(name, &stat, None, Some(&descriptor)))
}
