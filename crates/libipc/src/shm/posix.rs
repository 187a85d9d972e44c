//! POSIX segments, shm_overview(7), and mapped files: both are files, and
//! differ only in where their names lie.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, ftruncate, lseek};

use super::rules::{PutOptions, check_owner, room, too_long};
use super::transfer::copy_in;
use crate::base::address::Kind;
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::Mode;
use crate::base::owner::Owners;
use crate::fs::copy::{Control, OUTPUT, copy, splice_to_pipe};
use crate::fs::draft::{Draft, Replace};
use crate::fs::entry::{Access, Entry, Object};
use crate::fs::input::Input;
use crate::fs::kind::{check_name, is_a, kind_of};
use crate::fs::space::reserve;
use crate::sys;

/// Create the object with the input as its content, or replace it by rename.
pub(super) fn put(entry: &Entry, input: &Input<'_>, options: &PutOptions, control: &mut Control<'_>) -> Result<()> {
    check_name(entry)?;
    let check = |old: &Object| check_target(entry, old, options.foreign);
    // Refuse before the input is read, which may take long, and check again after.
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
    let draft = Draft::new(entry, options.mode.unwrap_or(Mode::PRIVATE))?;
    let filled = fill(
        entry,
        &draft,
        input,
        options.size,
        &mut Control {
            progress: control.progress.as_mut().map(|progress| &mut **progress as _),
            signals: draft.signals(),
        },
    );
    if let Err(error) = filled {
        draft.abandon();
        return Err(error);
    }
    let replace =
        if options.exclusive { Replace::Never } else { Replace::Checked { keep_mode: options.mode.is_none() } };
    draft.publish(replace, check).map(drop)
}

/// Whether an existing object may be written or replaced.
fn check_target(entry: &Entry, old: &Object, foreign: bool) -> Result<()> {
    check_owner(entry.label(), Owners::of_file(&old.stat), foreign)?;
    match kind_of(old.file()) {
        Kind::Shm => Ok(()),
        kind => Err(is_a(entry, kind).hint(Hint::Remove(entry.kind_address(kind)))),
    }
}

/// Refuse to read a ring or a lock as bytes.
pub(super) fn check_plain(entry: &Entry, object: &Object) -> Result<()> {
    match kind_of(object.file()) {
        Kind::Shm => Ok(()),
        kind => Err(is_a(entry, kind).hint(Hint::ReadAs(entry.kind_address(kind)))),
    }
}

fn fill(
    entry: &Entry,
    draft: &Draft<'_>,
    input: &Input<'_>,
    size: Option<u64>,
    control: &mut Control<'_>,
) -> Result<()> {
    let file = draft.file();
    let failed = |errno| {
        // What was written counts as used: free it before the free space is read.
        let _ = ftruncate(file, 0);
        entry.errno(errno)
    };
    // Reserve first: a sparse object would kill a program that touches it.
    let reserved = size.map(|size| reserve(file.as_fd(), 0, size, true)).transpose().map_err(failed)?;
    copy(input.fd(), file, size.unwrap_or(u64::MAX), control).map_err(|error| error.explain(input.label(), failed))?;
    if let Some(size) = size {
        if !input.at_end(control)? {
            return Err(too_long(entry.label(), size).hint(Hint::LargerSize));
        }
        if reserved == Some(false) {
            ftruncate(file, size.cast_signed()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Write into the open object, whose size stays.
pub(super) fn write_in_place(
    entry: &Entry,
    input: &Input<'_>,
    offset: u64,
    foreign: bool,
    control: &mut Control<'_>,
) -> Result<()> {
    check_name(entry)?;
    let object = entry.open(Access::Write)?;
    check_target(entry, &object, foreign)?;
    let space = room(entry.label(), object.size(), offset)?;
    let (spool, length) = input
        .at_most(space, control)?
        .ok_or_else(|| too_long(entry.label(), space).hint(Hint::Resize(entry.kind_address(Kind::Shm))))?;
    let failed = |errno| entry.errno(errno);
    let check_name = |when: &str| match entry.means(&object)? {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Gone, entry.label(), format!("was replaced or removed {when}"))),
    };
    // Reading the input may have taken long.
    check_name("before anything was written")?;
    if length > 0 {
        reserve(object.file().as_fd(), offset, length, false).map_err(failed)?;
        // Through a mapping: write(2) would make an object that is truncated
        // meanwhile long again.
        let region = sys::memory::map(object.file(), object.size() as usize).map_err(failed)?;
        let from = spool.as_ref().map_or(input.fd(), |spool| spool.as_fd());
        let written = copy_in(&region, offset, length, from, spool.is_some(), control).map_err(|error| {
            error.explain(input.label(), |errno| match errno {
                // If nothing was truncated, the file system is full and could not
                // reserve.
                Errno::EFAULT => was_truncated(entry, &object, "written").err().unwrap_or(failed(Errno::ENOSPC)),
                errno => failed(errno),
            })
        })?;
        if written < length {
            return Err(Error::new(ErrorKind::Failure, input.label(), "became shorter while it was read"));
        }
        // A store through a mapping tells nobody. This tells who watches, and is the time
        // of the change.
        let _ = futimens(object.file(), &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
    }
    object.trace_use();
    was_truncated(entry, &object, "written")?;
    input.check_end(spool.is_some(), control)?;
    check_name("while it was written")
}

/// [`ErrorKind::Gone`] if the object is shorter than when it was opened.
fn was_truncated(entry: &Entry, object: &Object, done: &str) -> Result<()> {
    let now = object.size_now().map_err(|errno| entry.errno(errno))?;
    if now < object.size() {
        let what = format!("was truncated from {} to {now} bytes while it was {done}", object.size());
        return Err(Error::new(ErrorKind::Gone, entry.label(), what));
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
    control: &mut Control<'_>,
) -> Result<()> {
    let failed = |errno| Error::io(entry.label(), errno);
    lseek(object.file(), offset.cast_signed(), Whence::SeekSet).map_err(failed)?;
    let transfer = if zero_copy { splice_to_pipe } else { copy };
    let done = transfer(object.file().as_fd(), out, length, control)
        .map_err(|error| error.explain(entry.label(), |errno| Error::io(OUTPUT, errno)))?;
    object.trace_use();
    // An object that was truncated within its last page reads as zeroes.
    was_truncated(entry, object, "read")?;
    if done < length {
        return Err(Error::new(ErrorKind::Gone, entry.label(), "was truncated for a moment while it was read"));
    }
    Ok(())
}
