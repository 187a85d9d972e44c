//! POSIX segments, shm_overview(7), and mapped files: both are files, and
//! differ only in where their names lie.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::{Whence, ftruncate, lseek};

use super::{Input, OUTPUT, PutOptions, check_owner, copy_failed, too_long};
use crate::address::Kind;
use crate::copy::{Watch, copy, splice_to_pipe};
use crate::draft::{Draft, Replace, TEMPORARY};
use crate::entry::{Access, Entry, Object};
use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::sys;
use crate::wait::{Deadline, Steps};

/// The first bytes of a ring's object.
pub const RING_MAGIC: [u8; 8] = *b"\x89ipcring";
/// The first bytes of a lock's object.
pub const LOCK_MAGIC: [u8; 8] = *b"\x89ipclock";

/// Create the object with the input as its content, or replace it by rename.
pub(super) fn put(entry: &Entry, input: &Input<'_>, options: &PutOptions, watch: &mut Watch<'_>) -> Result<()> {
    check_name(entry)?;
    let check = |old: &Object| check_target(entry, old, options.foreign);
    // Refuse before the input is taken, which may be long, and again after.
    if entry.stat()?.is_some() {
        if options.exclusive {
            return Err(entry.errno(Errno::EEXIST));
        }
        match entry.open(Access::Write) {
            Ok(old) => check(&old)?,
            Err(error) if error.kind == ErrorKind::Missing => {}
            Err(error) => return Err(error),
        }
    }
    let draft = entry.draft(options.mode.unwrap_or(Mode::PRIVATE))?;
    let filled = fill(
        entry,
        &draft,
        input,
        options.size,
        &mut Watch { progress: watch.progress.as_mut().map(|progress| &mut **progress as _), signals: draft.signals() },
    );
    if let Err(error) = filled {
        draft.abandon();
        return Err(error);
    }
    let replace =
        if options.exclusive { Replace::Never } else { Replace::Checked { keep_mode: options.mode.is_none() } };
    draft.publish(replace, check)
}

/// Names that mean something else to this toolkit or to the C library.
pub(crate) fn check_name(entry: &Entry) -> Result<()> {
    let refuse = |what: &str| Err(Error::new(ErrorKind::Unexpected, entry.shown(), what));
    if is_semaphore(entry) {
        return refuse("is the file of a POSIX semaphore, not a segment");
    }
    if entry.leaf().as_bytes().starts_with(TEMPORARY.as_bytes()) {
        return refuse("names that begin with .ipcutils. are temporary, and swept");
    }
    Ok(())
}

/// Whether an existing object may be written or replaced.
fn check_target(entry: &Entry, old: &Object, foreign: bool) -> Result<()> {
    check_owner(entry.shown(), old.owner(), foreign)?;
    match kind_of(old.file()) {
        Kind::Shm => Ok(()),
        kind => Err(is_a(entry, kind).mend(format!("ipcunlink {}:{} removes it", kind.as_str(), entry.shown()))),
    }
}

/// Segment, ring or lock: the first bytes tell.
pub(crate) fn kind_of(file: &File) -> Kind {
    let mut magic = [0; 8];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if magic == RING_MAGIC => Kind::Ring,
        Ok(()) if magic == LOCK_MAGIC => Kind::Lock,
        _ => Kind::Shm,
    }
}

fn is_a(entry: &Entry, kind: Kind) -> Error {
    let what = match kind {
        Kind::Ring => "is a ring",
        Kind::Lock => "is a lock",
        _ => "is a segment",
    };
    Error::new(ErrorKind::Unexpected, entry.shown(), what)
}

/// Remove the name, if `kind` is what it means.
pub(super) fn remove(entry: &Entry, kind: Kind) -> Result<()> {
    check_kind(entry, kind)?;
    entry.remove()
}

/// [`ErrorKind::Unexpected`] if the name means another kind. Of what cannot be
/// read nobody knows, and the kernel decides what may be done with it.
pub(crate) fn check_kind(entry: &Entry, kind: Kind) -> Result<()> {
    if is_semaphore(entry) {
        return Err(Error::new(ErrorKind::Unexpected, entry.shown(), "is the file of a POSIX semaphore")
            .mend("say sem:/NAME, without the sem. in front"));
    }
    match entry.open(Access::Look).map(|object| kind_of(object.file())) {
        Ok(found) if found != kind => Err(is_a(entry, found).mend(format!("say {}:{}", found.as_str(), entry.shown()))),
        _ => Ok(()),
    }
}

fn is_semaphore(entry: &Entry) -> bool {
    entry.leaf().as_bytes().starts_with(b"sem.") && entry.is_in_shm()
}

fn fill(entry: &Entry, draft: &Draft<'_>, input: &Input<'_>, size: Option<u64>, watch: &mut Watch<'_>) -> Result<()> {
    let file = draft.file();
    let failed = |errno| {
        // What was written counts as used: give it back before looking.
        let _ = ftruncate(file, 0);
        entry.errno(errno)
    };
    // Reserved first: a sparse object would kill the program that touches it.
    let reserved = size.map(|size| reserve(file.as_fd(), 0, size, true)).transpose().map_err(failed)?;
    copy(input.fd(), file, size.unwrap_or(u64::MAX), watch).map_err(|e| copy_failed(e, input.shown(), failed))?;
    if let Some(size) = size {
        if !input.at_end(watch)? {
            return Err(too_long(entry.shown(), size).mend("give a larger --size"));
        }
        if reserved == Some(false) {
            ftruncate(file, size.cast_signed()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Have the file system set the bytes aside; false where it cannot. EFBIG for a
/// size that no file can have.
pub(crate) fn reserve(file: BorrowedFd<'_>, offset: u64, length: u64, grow: bool) -> nix::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mode = if grow { FallocateFlags::empty() } else { FallocateFlags::FALLOC_FL_KEEP_SIZE };
    let number = |n: u64| i64::try_from(n).map_err(|_| Errno::EFBIG);
    loop {
        match fallocate(file, mode, number(offset)?, number(length)?) {
            Ok(()) => return Ok(true),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Write into the open object, whose size stays.
pub(super) fn write_in_place(
    entry: &Entry,
    input: &Input<'_>,
    offset: u64,
    foreign: bool,
    watch: &mut Watch<'_>,
) -> Result<()> {
    check_name(entry)?;
    let object = entry.open(Access::Write)?;
    check_target(entry, &object, foreign)?;
    let room = super::room(entry.shown(), object.size(), offset)?;
    let (spool, length) = input.at_most(room, watch)?.ok_or_else(|| too_long(entry.shown(), room))?;
    let failed = |errno| entry.errno(errno);
    let check_name = |when: &str| match entry.means(&object)? {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Gone, entry.shown(), format!("was replaced or removed {when}"))),
    };
    // The input may have taken long.
    check_name("before anything was written")?;
    if length > 0 {
        reserve(object.file().as_fd(), offset, length, false).map_err(failed)?;
        // Through a mapping: write(2) would make an object that is truncated
        // meanwhile long again.
        let region = sys::memory::map(object.file(), object.size() as usize).map_err(failed)?;
        let from = spool.as_ref().map_or(input.fd(), |spool| spool.as_fd());
        let written = region.copy_in(offset, length, from, spool.is_some(), watch).map_err(|error| {
            copy_failed(error, input.shown(), |errno| match errno {
                // Without a truncation, memory that is not there is a file
                // system that is full and could reserve nothing.
                Errno::EFAULT => was_truncated(entry, &object, "written").err().unwrap_or(failed(Errno::ENOSPC)),
                errno => failed(errno),
            })
        })?;
        if written < length {
            return Err(Error::new(ErrorKind::Failure, input.shown(), "became shorter while it was read"));
        }
    }
    was_truncated(entry, &object, "written")?;
    input.check_end(spool.is_some(), watch)?;
    check_name("while it was written")
}

/// [`ErrorKind::Gone`] if the object is shorter than when it was opened.
fn was_truncated(entry: &Entry, object: &Object, done: &str) -> Result<()> {
    let now = object.size_now().map_err(|errno| entry.errno(errno))?;
    if now < object.size() {
        let what = format!("was truncated from {} to {now} bytes while it was {done}", object.size());
        return Err(Error::new(ErrorKind::Gone, entry.shown(), what));
    }
    Ok(())
}

/// Write a part of the object to `out`.
pub(super) fn copy_to(
    entry: &Entry,
    object: &Object,
    out: BorrowedFd<'_>,
    offset: u64,
    length: u64,
    zero_copy: bool,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let failed = |errno: Errno| Error::new(ErrorKind::Failure, entry.shown(), errno.desc());
    lseek(object.file(), offset.cast_signed(), Whence::SeekSet).map_err(failed)?;
    let transfer = if zero_copy { splice_to_pipe } else { copy };
    let done = transfer(object.file().as_fd(), out, length, watch).map_err(|error| {
        copy_failed(error, entry.shown(), |errno| Error::new(ErrorKind::Failure, OUTPUT, errno.desc()))
    })?;
    // Truncated within its last page it reads as zeroes: the size tells.
    was_truncated(entry, object, "read")?;
    if done < length {
        return Err(Error::new(ErrorKind::Gone, entry.shown(), "was truncated for a moment while it was read"));
    }
    Ok(())
}

/// Waits for a name to appear: inotify(7) on its directory where it can be had,
/// else looks in growing steps.
pub(crate) struct Watcher {
    events: Option<(Inotify, Entry)>,
    steps: Steps,
}

impl Watcher {
    /// Looked at again so often in any case: a mount or a full event queue
    /// hides events.
    const LONGEST: Duration = Duration::from_secs(1);

    pub(crate) fn new(entry: Option<Entry>) -> Self {
        let events = entry.and_then(|entry| {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
            let dir = format!("/proc/self/fd/{}", entry.dir.as_raw_fd());
            inotify.add_watch(dir.as_str(), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO).ok()?;
            Some((inotify, entry))
        });
        Watcher { events, steps: Steps::new() }
    }

    /// Until something has appeared in the directory, or for a while.
    pub(crate) fn wait(&mut self, deadline: &Deadline) {
        let Some((inotify, _dir)) = &self.events else { return self.steps.sleep(deadline) };
        let step = deadline.at_most(Self::LONGEST);
        // Rounded up: a rest of a millisecond must not become a busy loop.
        let timeout = PollTimeout::try_from(step + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout);
        let _ = inotify.read_events();
    }
}
