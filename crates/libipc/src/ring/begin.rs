//! Making a ring, and what a new stream waits for.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use nix::errno::Errno;

use super::algorithm::Memory;
use super::handle::Handle;
use super::layout::{HEADER, Owner, Stream, lock, new_header, owner, position};
use super::writer::Write;
use crate::draft::Replace;
use crate::entry::{Access, Entry, Object};
use crate::error::{Result, errno_of};
use crate::ofd::{Hold, try_lock, unlock};
use crate::shm;
use crate::sys::memory;
use crate::text::printable;

/// Make a ring, whose writer we are from the moment that it has a name.
pub(super) fn create(entry: Entry, how: &Write) -> Result<Handle> {
    shm::posix::check_name(&entry)?;
    let failed = |errno| entry.errno(errno);
    let stream = Stream { generation: 1, ended: false, many: how.many, overwrite: how.overwrite, died_before: false };
    let size = how.capacity.checked_add(HEADER as u64).ok_or_else(|| failed(Errno::EFBIG))?;
    let draft = entry.draft(how.mode)?;
    let make = || {
        // Reserved: memory that cannot be had must not be missed later.
        if !shm::posix::reserve(draft.file().as_fd(), 0, size, true)? {
            nix::unistd::ftruncate(draft.file(), i64::try_from(size).map_err(|_| Errno::EFBIG)?)?;
        }
        let errno = |error| errno_of(&error);
        draft.file().write_all_at(&new_header(how.capacity, stream), 0).map_err(errno)?;
        try_lock(draft.file(), if how.many { Hold::Shared } else { Hold::Exclusive }, lock::WRITER)?;
        // What we cannot map nobody is to find.
        memory::map(draft.file(), usize::try_from(size).map_err(|_| Errno::EFBIG)?)?;
        Object::of(draft.file().try_clone().map_err(errno)?)
    };
    let object = match make() {
        Ok(object) => object,
        Err(errno) => {
            // What was reserved counts as used: give it back before looking.
            let _ = nix::unistd::ftruncate(draft.file(), 0);
            draft.abandon();
            return Err(failed(errno));
        }
    };
    draft.publish(Replace::Never, |_| Ok(()))?;
    // A draft that had a temporary name was locked as a whole.
    for bytes in lock::BUT_WRITER {
        let _ = unlock(object.file(), bytes);
    }
    Handle::of(entry, object, Access::Write)
}

/// Whether every reader has read the stream up to `head`. Names that are away
/// and have move on to the next stream.
pub(super) fn all_read(handle: &Handle, head: u64, last: u32, next: u32) -> Result<bool> {
    let ring = &handle.ring;
    let mut all = true;
    for slot in 0..ring.slots {
        let who = handle.owner(slot)?;
        if who == Owner::Free {
            continue;
        }
        // Acquire: it has done with what it read, from `consume`.
        let read = || ring.memory.load(position(slot), Acquire) == head;
        match handle.sweep(slot)? {
            // It lives, and goes on to the next stream or leaves by itself.
            None => all &= who.generation() == Some(last) && read(),
            // It may have left before it noticed that this stream had begun.
            Some(Owner::Named(_)) if !read() => all = false,
            Some(who @ Owner::Named(_)) => {
                // Nobody joins meanwhile: the table is locked.
                ring.memory.store(owner(slot), who.in_generation(next).encode(), Relaxed);
            }
            Some(_) => {}
        }
    }
    Ok(all)
}

/// For a message: the reader that is waited for. `last` if it is for the end of
/// the last stream.
pub(super) fn who_is_behind(handle: &Handle, head: u64, last: bool) -> String {
    let slowest = handle.ring.slowest(head);
    let Ok(slot) = slowest.map(|slowest| slowest.slot) else { return String::new() };
    let Some(slot) = slot else { return if last { String::new() } else { ", and it has no reader".to_owned() } };
    let name = handle.reader_name(slot);
    let named = matches!(handle.ring.owner(slot), Ok(Owner::Named(_)));
    match handle.is_held(lock::reader(slot)) {
        Ok(false) if named => {
            let name = printable(std::ffi::OsStr::from_bytes(&name));
            format!(", and the reader {name} is away (ringcat --as {name} reads on, --forget {name} gives it up)")
        }
        _ => ", and a reader is slow".to_owned(),
    }
}
