//! Whole segments of shared memory: the same verbs for every kind.
//!
//! | verb | POSIX and `file:` | System V |
//! | --- | --- | --- |
//! | [`put`] | all or nothing, replaces | creates, mode 0 until it is filled |
//! | [`write_in_place`] | into the open object | into the attached segment |
//! | [`open`], [`Segment::copy_to`] | plain reads | write(2) from the attached memory |
//! | [`remove`] | unlink | IPC_RMID |

use std::os::fd::BorrowedFd;

use crate::address::{Address, Kind};
use crate::copy::{CopyError, Watch};
use crate::entry::{Access, Entry, Object};
use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::signals::Deferred;
use crate::wait::Deadline;

mod input;
pub mod posix;
mod region;
pub mod sysv;

pub use input::Input;

/// How [`put`] makes a segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct PutOptions {
    /// Create only: an existing object is [`ErrorKind::Exists`].
    pub exclusive: bool,
    /// The size in bytes; what the input does not fill is zero.
    pub size: Option<u64>,
    /// Permission bits before the umask; [`Mode::PRIVATE`], or those of the
    /// object that is replaced, if left out.
    pub mode: Option<Mode>,
    /// Replace what belongs to another user, too.
    pub foreign: bool,
}

/// Make the input the content of a segment.
///
/// `announce` is told the identifier of a new System V segment that no key
/// finds, while signals wait; if it fails, the segment is removed again.
pub fn put(
    address: &Address,
    input: &Input<'_>,
    options: &PutOptions,
    watch: &mut Watch<'_>,
    announce: impl FnOnce(i32, &Deferred) -> Result<()>,
) -> Result<()> {
    match address {
        Address::SysV(sysv) => sysv::put(sysv, input, options, watch, announce),
        _ => posix::put(&entry(address)?, input, options, watch),
    }
}

/// Write the input into an existing segment from `offset` on. Its size stays;
/// a longer input is [`ErrorKind::NoRoom`] before a byte is written.
pub fn write_in_place(
    address: &Address,
    input: &Input<'_>,
    offset: u64,
    foreign: bool,
    watch: &mut Watch<'_>,
) -> Result<()> {
    match address {
        Address::SysV(sysv) => sysv::write_in_place(sysv, input, offset, foreign, watch),
        _ => posix::write_in_place(&entry(address)?, input, offset, foreign, watch),
    }
}

/// Remove a segment, a ring or a lock by its address.
///
/// # Errors
/// [`ErrorKind::Unexpected`] if it is another of the three.
pub fn remove(address: &Address, kind: Kind) -> Result<()> {
    match address {
        Address::SysV(sysv) => sysv::remove(sysv),
        _ => posix::remove(&entry(address)?, kind),
    }
}

/// The name behind an address that is not System V's.
pub fn entry(address: &Address) -> Result<Entry> {
    match address {
        Address::Posix(name) => Entry::shm(name),
        Address::File(path) => Entry::file(path),
        Address::SysV(sysv) => Err(Error::new(ErrorKind::Usage, sysv, "is no name in a directory")),
    }
}

/// A segment open for reading: one version of it, whatever becomes of its name.
#[derive(Debug)]
pub struct Segment(Inner);

#[derive(Debug)]
enum Inner {
    Object(Entry, Object),
    SysV(sysv::Attached),
}

/// Open a segment for reading; wait for it to exist, and to be filled, until
/// the deadline if there is one.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Busy`] while it is being filled, and
/// [`ErrorKind::TimedOut`] instead of both with a deadline.
pub fn open(address: &Address, deadline: Option<&Deadline>) -> Result<Segment> {
    let mut watcher = None;
    loop {
        let error = match try_open(address) {
            Err(error) if matches!(error.kind, ErrorKind::Missing | ErrorKind::Busy) => error,
            other => return other,
        };
        let Some(deadline) = deadline else { return Err(error) };
        if deadline.passed() {
            let what = format!("{} in time", not_yet(error.kind));
            return Err(Error { kind: ErrorKind::TimedOut, what, mend: None, ..error });
        }
        match &mut watcher {
            // Look once more before the first sleep: it may have appeared
            // before the watch began.
            None => watcher = Some(posix::Watcher::new(entry(address).ok())),
            Some(watcher) => watcher.wait(deadline),
        }
    }
}

fn not_yet(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::Busy { "was not filled" } else { "did not appear" }
}

fn try_open(address: &Address) -> Result<Segment> {
    Ok(Segment(match address {
        Address::SysV(sysv) => Inner::SysV(sysv::Attached::open(sysv)?),
        _ => {
            let entry = entry(address)?;
            let object = entry.open(Access::Read)?;
            Inner::Object(entry, object)
        }
    }))
}

impl Segment {
    /// Its length in bytes, as it was when it was opened.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Inner::Object(_, object) => object.size(),
            Inner::SysV(attached) => attached.size(),
        }
    }

    /// Write at most `length` bytes from `offset` on to `out`; with `zero_copy`
    /// into a pipe by reference, so that it changes when the segment does.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the segment was truncated meanwhile; an offset
    /// past the end is [`ErrorKind::Failure`].
    pub fn copy_to(
        &self,
        out: BorrowedFd<'_>,
        offset: u64,
        length: Option<u64>,
        zero_copy: bool,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let room = room(self.shown(), self.size(), offset)?;
        let length = length.unwrap_or(room).min(room);
        crate::copy::enlarge_pipe(out);
        let zero_copy = zero_copy && crate::copy::is_pipe(out);
        match &self.0 {
            Inner::Object(entry, object) => posix::copy_to(entry, object, out, offset, length, zero_copy, watch),
            Inner::SysV(attached) => attached.copy_to(out, offset, length, zero_copy, watch),
        }
    }

    /// Remove the segment if its name still means this one.
    pub fn remove_if_same(&self) -> Result<()> {
        match &self.0 {
            Inner::Object(entry, object) => entry.remove_if_same(object),
            Inner::SysV(attached) => attached.remove(),
        }
    }

    fn shown(&self) -> &str {
        match &self.0 {
            Inner::Object(entry, _) => entry.shown(),
            Inner::SysV(attached) => attached.shown(),
        }
    }
}

/// A failed copy, told apart by its side: the object's errors keep their kind,
/// those of input and output are plain failures.
pub(crate) fn copy_failed(error: CopyError, input: &str, object: impl FnOnce(nix::errno::Errno) -> Error) -> Error {
    match error {
        CopyError::Read(errno) => Error::new(ErrorKind::Failure, input, errno.desc()),
        CopyError::Write(errno) => object(errno),
        CopyError::Interrupted => Error::new(ErrorKind::Failure, input, "interrupted by a signal"),
    }
}

/// What standard output is called in messages.
pub const OUTPUT: &str = "standard output";

/// Refuse what belongs to another user, root's callers included: who planted
/// it may read what is written.
fn check_owner(shown: &str, owner: u32, foreign: bool) -> Result<()> {
    if foreign || owner == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, shown, format!("belongs to another user, uid {owner}"))
        .mend("--foreign writes it all the same"))
}

/// The bytes from `offset` to the end of a segment of `size` bytes.
fn room(shown: &str, size: u64, offset: u64) -> Result<u64> {
    size.checked_sub(offset).ok_or_else(|| {
        let what = format!("offset {offset} is past its end, it has {size} bytes");
        Error::new(ErrorKind::Failure, shown, what)
    })
}

/// The input does not fit: nothing has been changed.
fn too_long(shown: &str, room: u64) -> Error {
    Error::new(ErrorKind::NoRoom, shown, format!("the input is longer than the {room} bytes it has room for"))
}
