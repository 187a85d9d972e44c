//! Making a ring, and what a new stream waits for.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use nix::errno::Errno;

use super::super::SMALLEST;
use super::super::away::Patience;
use super::super::handle::{Handle, entry};
use super::super::layout::{HEADER, Owner, Stream, lock, new_header, owner, position};
use super::super::options::WriteOptions;
use super::super::slots::Slots;
use crate::base::address::Address;
use crate::base::error::{Error, ErrorKind, Hint, Result, errno_of};
use crate::fs::byte_lock::{LockMode, try_lock, unlock};
use crate::fs::draft::{Draft, Replace};
use crate::fs::kind::check_name;
use crate::fs::space::reserve;
use crate::shared::memory::Memory;
use crate::sys::memory;

/// Make a ring. We are its writer from the moment that it has a name.
pub(super) fn create(address: &Address, options: &WriteOptions) -> Result<Handle> {
    let entry = entry(address)?;
    check_name(&entry)?;
    let failed = |errno| entry.errno(errno);
    let WriteOptions { capacity, mode, many, overwrite, .. } = *options;
    if capacity < SMALLEST {
        let problem = format!("a ring holds at least {SMALLEST} bytes, and {capacity} were asked for");
        return Err(Error::new(ErrorKind::Usage, address, problem));
    }
    let stream = Stream { generation: 1, ended: false, many, overwrite, died_before: false };
    let size = capacity.checked_add(HEADER as u64).ok_or_else(|| failed(Errno::EFBIG))?;
    let draft = Draft::new(&entry, mode)?;
    let make = || {
        // Reserve: memory that is missing must be noticed now.
        if !reserve(draft.file().as_fd(), 0, size, true)? {
            nix::unistd::ftruncate(draft.file(), i64::try_from(size).map_err(|_| Errno::EFBIG)?)?;
        }
        let errno = |error| errno_of(&error);
        draft.file().write_all_at(&new_header(capacity, stream), 0).map_err(errno)?;
        try_lock(draft.file(), if many { LockMode::Shared } else { LockMode::Exclusive }, lock::WRITER)?;
        // A ring that we cannot map must not get a name.
        memory::map(draft.file(), usize::try_from(size).map_err(|_| Errno::EFBIG)?)?.guarded()
    };
    let region = match make() {
        Ok(region) => region,
        Err(errno) => {
            // What was reserved counts as used: free it before the free space is read.
            let _ = nix::unistd::ftruncate(draft.file(), 0);
            draft.abandon();
            return Err(failed(errno));
        }
    };
    let object = draft.publish(Replace::Never, |_| Ok(()))?;
    // A draft that had a temporary name was locked as a whole.
    for bytes in lock::BUT_WRITER {
        let _ = unlock(object.file(), bytes);
    }
    Ok(Handle::of_new(entry, object, region, capacity))
}

/// Whether every reader has read the stream up to `head`. A name that is away, and has
/// read all of it, moves on to the next stream.
pub(super) fn all_read(handle: &Handle, head: u64, [last, next]: [u32; 2], patience: Patience) -> Result<bool> {
    let ring = &handle.ring;
    let mut all = true;
    for slot in 0..ring.slots {
        let who = handle.owner(slot)?;
        if who == Owner::Free {
            continue;
        }
        // Acquire pairs with the Release of `consume`: it is done with what it read.
        let read = || ring.memory.load(position(slot), Acquire) == head;
        match Slots(handle).sweep(slot, patience)? {
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

/// For a message: which reader the writer waits for, and a hint if that one is away.
pub(super) fn slowest_reader(handle: &Handle, head: u64) -> (&'static str, Option<Hint>) {
    let Ok(slowest) = handle.ring.slowest(head) else { return ("", None) };
    let Some(slot) = slowest.slot else { return (", and it has no reader", None) };
    let named = matches!(handle.ring.owner(slot), Ok(Owner::Named(_)));
    match handle.is_held(lock::reader(slot)) {
        Ok(false) if named => {
            let name = Slots(handle).name(slot).ok().map(std::ffi::OsString::from_vec);
            (", and a reader is away", name.map(|name| Hint::ReaderAway(name, handle.address())))
        }
        _ => (", and a reader is slow", None),
    }
}
