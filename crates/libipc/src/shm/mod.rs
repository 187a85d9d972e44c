//! Whole segments of shared memory: one face over both interfaces.
//!
//! | verb | POSIX and `file:` | System V |
//! | --- | --- | --- |
//! | [`put`] | all or nothing, replaces | creates, mode 0011 until it is filled |
//! | [`write_in_place`] | into the open object | into the attached segment |
//! | [`Segment::open`], [`Segment::copy_to`] | plain reads | write(2) from the attached memory |
//! | [`remove`] | unlink(2) | shmctl(2), IPC_RMID |
//!
//! [An example](crate#segments-of-shared-memory).

use std::os::fd::BorrowedFd;

use crate::base::address::{Address, Kind, Name};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::wait::Wait;
use crate::fs::copy::{self, Control};
use crate::fs::entry::{Access, Entry, Object};
use crate::fs::input::Input;
use crate::fs::kind;
use crate::fs::watch::{Changes, Watcher};
use crate::process::signals::Deferred;

mod posix;
mod rules;
pub mod sysv;
mod transfer;
mod unfinished;

pub use rules::{PutOptions, ReadOptions};

/// Make the input the content of a segment: shm_open(3), shmget(2).
///
/// A POSIX segment or a file is replaced, a System V segment is only made. For
/// `private:`, `announce` is called with the identifier of the new segment, while
/// signals are deferred; if it fails, the segment is removed again.
///
/// # Errors
/// - [`ErrorKind::Exists`] for a System V key, and with
///   [`exclusive`](PutOptions::exclusive);
/// - [`ErrorKind::Denied`] for an object of another user;
/// - [`ErrorKind::Unexpected`] for a ring, a lock or a semaphore;
/// - [`ErrorKind::NoRoom`] for a limit, which the text names, and for an input that is
///   longer than [`size`](PutOptions::size);
/// - [`ErrorKind::Failure`] if the input cannot be read;
/// - [`ErrorKind::Usage`] for a mode that marks unfinished System V segments.
///
/// Whatever the error, the object is as it was before.
#[doc(alias = "shmget")]
pub fn put(
    address: &Address,
    input: &Input<'_>,
    options: &PutOptions,
    control: &mut Control<'_>,
    announce: impl FnOnce(i32, &Deferred) -> Result<()>,
) -> Result<()> {
    match address {
        Address::SysV(sysv) => sysv::put(sysv, input, options, control, announce),
        Address::Name(name) => posix::put(&Entry::new(name)?, input, options, control),
    }
}

/// Write the input into an existing segment, whose size stays, from `offset` on, in
/// bytes: mmap(2), shmat(2). `foreign` permits a segment of another user.
///
/// # Errors
/// - [`ErrorKind::Missing`]; [`ErrorKind::Busy`] while the segment is being filled;
/// - [`ErrorKind::NoRoom`] if the input is too long: then no byte was written;
/// - [`ErrorKind::Failure`] if the offset is past the end;
/// - [`ErrorKind::Gone`] if the segment is removed, replaced or truncated meanwhile;
/// - [`ErrorKind::Denied`] and [`ErrorKind::Unexpected`] as of [`put`].
pub fn write_in_place(
    address: &Address,
    input: &Input<'_>,
    offset: u64,
    foreign: bool,
    control: &mut Control<'_>,
) -> Result<()> {
    match address {
        Address::SysV(sysv) => sysv::write_in_place(sysv, input, offset, foreign, control),
        Address::Name(name) => posix::write_in_place(&Entry::new(name)?, input, offset, foreign, control),
    }
}

/// Remove a segment: shm_unlink(3), shmctl(2). A process that has it open or attached
/// keeps it.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Unexpected`] if it is
/// a ring, a lock or a semaphore.
#[doc(alias = "shm_unlink")]
#[doc(alias = "shmctl")]
pub fn remove(address: &Address) -> Result<()> {
    match address {
        Address::SysV(sysv) => sysv::remove(sysv),
        Address::Name(name) => {
            let entry = Entry::new(name)?;
            kind::remove(&entry, Kind::Shm)
        }
    }
}

/// The name whose changes the kernel reports.
fn changing(address: &Address) -> Result<&Name> {
    match address {
        Address::Name(name) => Ok(name),
        Address::SysV(_) => {
            let problem = "the kernel reports no change of a System V segment";
            Err(Error::new(ErrorKind::Usage, address, problem).hint(Hint::advice("use a POSIX segment, /name")))
        }
    }
}

/// A segment open for reading: one version of it, whatever becomes of its name.
#[derive(Debug)]
pub struct Segment(Inner);

#[derive(Debug)]
enum Inner {
    Object(Box<(Entry, Object)>),
    SysV(sysv::Attached),
}

impl Segment {
    /// Open a segment for reading: shm_open(3), shmat(2).
    ///
    /// # Errors
    /// - [`ErrorKind::Missing`], and [`ErrorKind::Busy`] while it is being filled;
    ///   with [`ReadOptions::wait`] both are waited out, to [`ErrorKind::TimedOut`];
    /// - [`ErrorKind::Denied`];
    /// - [`ErrorKind::Unexpected`] if a dead process left it half filled, or the name
    ///   is that of a directory, a FIFO or a link, or without [`ReadOptions::raw`] of a
    ///   ring or a lock;
    /// - [`ErrorKind::Usage`] for a change of a System V segment, which tells nobody.
    #[doc(alias = "shm_open")]
    #[doc(alias = "shmat")]
    pub fn open(address: &Address, options: &ReadOptions, wait: &mut Wait) -> Result<Self> {
        let mut watcher = None;
        if options.changed {
            let mut changes = Changes::new(Entry::new(changing(address)?)?)?;
            while !changes.came(&wait.deadline()) {
                if !wait.may_proceed() {
                    return Err(Error::new(ErrorKind::TimedOut, address, "did not change in time"));
                }
            }
        }
        loop {
            let error = match Self::try_open(address, options.raw) {
                Err(error) if matches!(error.kind, ErrorKind::Missing | ErrorKind::Busy) => error,
                Ok(segment) if segment.size_now()? < options.size.unwrap_or(0) => {
                    Error::new(ErrorKind::NoRoom, address, "is too short")
                }
                other => return other,
            };
            if !options.wait && !options.changed && options.size.is_none() {
                return Err(error);
            }
            if !wait.may_proceed() {
                let what = match error.kind {
                    ErrorKind::Busy => "was not filled",
                    ErrorKind::NoRoom => "did not become that long",
                    _ => "did not appear",
                };
                return Err(Error::new(ErrorKind::TimedOut, error.object, format!("{what} in time")));
            }
            match &mut watcher {
                // Look once more before the first sleep: it may have appeared
                // before the watch began.
                None => watcher = Some(Watcher::new(address.name(Kind::Shm).and_then(Entry::new).ok())),
                Some(watcher) => watcher.wait(&wait.deadline()),
            }
        }
    }

    /// Its length in bytes, as it is now.
    fn size_now(&self) -> Result<u64> {
        match &self.0 {
            Inner::Object(object) => object.1.size_now().map_err(|errno| object.0.errno(errno)),
            Inner::SysV(attached) => Ok(attached.size()),
        }
    }

    fn try_open(address: &Address, raw: bool) -> Result<Segment> {
        Ok(Segment(match address {
            Address::SysV(sysv) => Inner::SysV(sysv::Attached::open(sysv)?),
            Address::Name(name) => {
                let entry = Entry::new(name)?;
                let object = entry.open(Access::Read)?;
                if !raw {
                    posix::check_plain(&entry, &object)?;
                }
                Inner::Object(Box::new((entry, object)))
            }
        }))
    }

    /// Its length in bytes, as it was when it was opened.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Inner::Object(object) => object.1.size(),
            Inner::SysV(attached) => attached.size(),
        }
    }

    /// Write at most `length` bytes of the segment, from `offset` on, to `out`. A pipe
    /// is enlarged. With `zero_copy` it gets the pages themselves, splice(2) and
    /// vmsplice(2): bytes that were not read from it yet change with the segment.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the segment was truncated meanwhile;
    /// [`ErrorKind::Failure`] for an offset past the end, and if `out` cannot be
    /// written.
    #[doc(alias = "splice")]
    #[doc(alias = "vmsplice")]
    pub fn copy_to(
        &self,
        out: BorrowedFd<'_>,
        offset: u64,
        length: Option<u64>,
        zero_copy: bool,
        control: &mut Control<'_>,
    ) -> Result<()> {
        let room = rules::room(self.label(), self.size(), offset)?;
        let length = length.unwrap_or(room).min(room);
        copy::enlarge_pipe(out);
        let zero_copy = zero_copy && copy::is_pipe(out);
        match &self.0 {
            Inner::Object(object) => posix::copy_to(&object.0, &object.1, out, offset, length, zero_copy, control),
            Inner::SysV(attached) => attached.copy_to(out, offset, length, zero_copy, control),
        }
    }

    /// Remove the segment if its name still means this one.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if it does not, [`ErrorKind::Denied`].
    pub fn remove_if_same(&self) -> Result<()> {
        match &self.0 {
            Inner::Object(object) => object.0.remove(&object.1),
            Inner::SysV(attached) => attached.remove(),
        }
    }

    fn label(&self) -> &str {
        match &self.0 {
            Inner::Object(object) => object.0.label(),
            Inner::SysV(attached) => attached.label(),
        }
    }
}
