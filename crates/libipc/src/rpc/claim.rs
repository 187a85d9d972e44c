//! A claim: an object in shared memory in which a message lies while it is worked on.
//!
//! The message is received directly into it, so that there is no instant in which the
//! message is in this process alone. The owner of a claim holds a lock of its file,
//! which the kernel drops when the owner dies. A claim with a message that nobody has
//! locked is taken up by the next server of its queue.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode as Bits, fstat};
use nix::unistd::{Whence, ftruncate, geteuid, lseek};

use super::of::{self, Of};
use crate::base::address::{Name, PosixName};
use crate::base::error::{Error, ErrorKind, Result, errno_of};
use crate::base::mode::Mode;
use crate::fs::byte_lock::{LockMode, Range, try_lock};
use crate::fs::draft::Draft;
use crate::fs::entry::{Access, Entry, Object, RACES};
use crate::fs::kind::CLAIM_MAGIC;
use crate::fs::space::reserve;
use crate::fs::temporary::{LETTERS, letters};
use crate::mq::Place;
use crate::shared::memory::{Mapped, Memory};
use crate::sys;

/// How the names of claims begin, after the slash.
const BEGIN: &[u8] = b"ipcutils.claim.";

const VERSION: u32 = 1;
const ORDER: u32 = 0x0102_0304;

// Where each number is.
const VERSION_AT: usize = 8;
const ORDER_AT: usize = 12;
/// [`EMPTY`] or [`TAKEN`].
const STATE_AT: usize = 16;
/// How many times it was tried.
const ATTEMPTS_AT: usize = 20;
/// The length of the message in bytes; while there is none, that of the longest that
/// can come.
const LENGTH_AT: usize = 24;
/// When it was taken: nanoseconds since 1970.
const SINCE_AT: usize = 32;
/// The queue, to the number.
const OF_AT: usize = 40;
/// The priority or type, then the message.
const NUMBER_AT: usize = MESSAGE_AT - Place::HEAD;
const MESSAGE_AT: usize = 2048;

/// There is no message, or one whose length was not noted.
const EMPTY: u32 = 0;
/// There is a message.
const TAKEN: u32 = 1;

/// Attempts of a message that is not to be tried again.
const SPENT: u32 = u32::MAX;

/// A claim that this process owns.
#[derive(Debug)]
pub(super) struct Claim {
    entry: Entry,
    object: Object,
    memory: Mapped,
    room: usize,
    sysv: bool,
}

impl Claim {
    /// A new claim, empty, with room for a message of so many bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] if the memory for it cannot be had.
    pub(super) fn new(of: &Of, room: usize) -> Result<Self> {
        for _ in 0..RACES {
            let entry = entry(&letters())?;
            let failed = |errno| entry.errno(errno);
            let draft = Draft::new(&entry, Mode::PRIVATE)?;
            let size = (MESSAGE_AT + room) as u64;
            let filled = reserve(draft.file().as_fd(), 0, size, true)
                .and_then(|reserved| if reserved { Ok(()) } else { ftruncate(draft.file(), size as i64) })
                .and_then(|()| draft.file().write_all_at(&header(of), 0).map_err(|error| errno_of(&error)))
                // Locked before it has a name, so that nobody takes it up.
                .and_then(|()| try_lock(draft.file(), LockMode::Exclusive, Range::ALL));
            if let Err(errno) = filled {
                draft.abandon();
                return Err(failed(errno));
            }
            let file = match draft.publish_open() {
                Err(error) if error.kind == ErrorKind::Exists => continue,
                other => other?,
            };
            let object = Object::of(file).map_err(failed)?;
            let claim = Self::of(entry, object, of.sysv)?;
            // Touched now: the kernel must not fail to copy a message into it.
            claim.memory.0.clear(MESSAGE_AT, room);
            return Ok(claim);
        }
        Err(Error::new(ErrorKind::Failure, "a claim", "no name is free for it"))
    }

    fn of(entry: Entry, object: Object, sysv: bool) -> Result<Self> {
        let size = usize::try_from(object.size()).unwrap_or(0);
        let region = sys::memory::map(object.file(), size).and_then(sys::memory::Region::guarded);
        let memory = Mapped(region.map_err(|errno| entry.errno(errno))?);
        Ok(Claim { entry, object, memory, room: size.saturating_sub(MESSAGE_AT), sysv })
    }

    /// Its name, as an address.
    pub(super) fn label(&self) -> &str {
        self.entry.label()
    }

    /// Whether it is as it was made: somebody may have removed it.
    pub(super) fn is_whole(&self) -> bool {
        let whole = |stat: nix::sys::stat::FileStat| stat.st_nlink > 0 && stat.st_size == self.object.stat.st_size;
        fstat(self.object.file()).is_ok_and(whole)
    }

    /// Bytes of the longest message for which it has room.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Where the next message goes, which may have up to `room` bytes.
    pub(super) fn prepare(&self, room: usize) -> Place<'_> {
        let room = room.min(self.room);
        let place = Place::new(&self.memory, NUMBER_AT, room);
        place.prepare();
        self.memory.store(LENGTH_AT, room as u64, Ordering::Relaxed);
        place
    }

    fn place(&self) -> Place<'_> {
        Place::new(&self.memory, NUMBER_AT, self.room)
    }

    /// A message of this length was received. To be called at once: of a message that
    /// is not noted, the length is unknown.
    pub(super) fn note(&self, length: usize) {
        self.memory.store(LENGTH_AT, length as u64, Ordering::Relaxed);
        // Release: whoever sees the state sees the length. The partner is `State::of`.
        self.memory.store32(STATE_AT, TAKEN, Ordering::Release);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        self.memory.store(SINCE_AT, now, Ordering::Relaxed);
        self.memory.store32(OF_AT + of::PID, std::process::id(), Ordering::Relaxed);
    }

    /// The length of a message that was cut is this, and it has not been tried.
    pub(super) fn renote(&self, length: usize) {
        self.set_attempts(0);
        self.note(length.min(self.room));
    }

    /// The priority or type of its message.
    pub(super) fn number(&self) -> i64 {
        self.place().number(self.sysv).unwrap_or(0)
    }

    /// The length of its message, which is never more than there is room for.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.memory.load(LENGTH_AT, Ordering::Relaxed)).unwrap_or(usize::MAX).min(self.room)
    }

    /// How many times its message was tried.
    pub(super) fn attempts(&self) -> u32 {
        self.memory.load32(ATTEMPTS_AT, Ordering::Relaxed)
    }

    fn set_attempts(&self, attempts: u32) {
        self.memory.store32(ATTEMPTS_AT, attempts, Ordering::Relaxed);
    }

    /// Never try its message again.
    pub(super) fn spend(&self) {
        self.set_attempts(SPENT);
    }

    pub(super) fn count_attempt(&self) {
        self.set_attempts(self.attempts().saturating_add(1));
    }

    pub(super) fn uncount_attempt(&self) {
        self.set_attempts(self.attempts().saturating_sub(1));
    }

    /// The message, or its first bytes, so many.
    pub(super) fn beginning(&self, most: usize) -> Result<Vec<u8>> {
        self.read(self.length().min(most))
    }

    /// The message.
    pub(super) fn message(&self) -> Result<Vec<u8>> {
        self.read(self.length())
    }

    fn read(&self, length: usize) -> Result<Vec<u8>> {
        let mut message = vec![0; length];
        let read = self.object.file().read_exact_at(&mut message, MESSAGE_AT as u64);
        read.map_err(|error| self.entry.errno(errno_of(&error)))?;
        Ok(message)
    }

    /// A copy of the message from this byte on, as a file to read from its beginning.
    pub(super) fn input(&self, from: usize) -> Result<File> {
        let failed = |errno| Error::errno("memory for a command's input", errno);
        let input = File::from(memfd_create("message", MFdFlags::MFD_CLOEXEC).map_err(failed)?);
        let (mut done, length) = (from, self.length());
        while done < length {
            done += self.memory.0.drain(&input, MESSAGE_AT + done, length - done).map_err(failed)?;
        }
        lseek(&input, 0, Whence::SeekSet).map_err(failed)?;
        Ok(input)
    }

    /// Its message is done: make it empty.
    pub(super) fn clear(&self) {
        // First the number: a death in between leaves a claim without a message.
        self.place().prepare();
        self.memory.store32(STATE_AT, EMPTY, Ordering::Release);
        self.set_attempts(0);
        // What a later message does not cover must be zero: see `note_guess`.
        self.memory.0.clear(MESSAGE_AT, self.length());
    }

    /// Leave it to others, no longer than its message: it may be read as a segment.
    pub(super) fn leave(self) {
        // If that fails it is longer, and as good.
        let _ = ftruncate(self.object.file(), (MESSAGE_AT + self.length()) as i64);
    }

    /// Remove it, with what is in it.
    pub(super) fn remove(self) -> Result<()> {
        self.entry.remove(&self.object)
    }

    /// The message of a claim whose owner died before it noted the length.
    fn note_guess(&self) -> Result<()> {
        let length = self.room;
        self.memory.store(LENGTH_AT, length as u64, Ordering::Relaxed);
        let message = self.message()?;
        let length = message.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.spend();
        self.note(length);
        Ok(())
    }
}

/// What was found of dead owners.
#[derive(Debug)]
pub(super) enum Found {
    /// A message.
    Message(Claim),
    /// A message whose length was not noted: zeroes at its end are missing.
    Cut(Claim),
}

/// A claim of this queue and user whose owner is gone, owned by this process from now on.
/// Empty ones are removed. Those of which `skip` knows the name are left alone.
pub(super) fn next_orphan(of: &Of, skip: impl Fn(&str) -> bool) -> Result<Option<Found>> {
    let dir = entry(&[b'a'; LETTERS])?.dir;
    let listing = Dir::openat(&dir, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Bits::empty());
    for name in listing.map_err(|errno| Error::errno("the directory of claims", errno))?.into_iter().flatten() {
        let letters = name.file_name().to_bytes().strip_prefix(BEGIN).and_then(|rest| rest.try_into().ok());
        let Some(letters) = letters.filter(|letters: &&[u8; LETTERS]| letters.iter().all(u8::is_ascii_lowercase))
        else {
            continue;
        };
        let entry = entry(letters)?;
        if skip(entry.label()) {
            continue;
        }
        // What cannot be opened or is no claim is somebody else's.
        let Ok(Some(claim)) = orphan(entry, of) else { continue };
        if let Some(found) = judge(claim)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Lock a claim of this queue and user that has no owner.
fn orphan(entry: Entry, of: &Of) -> Result<Option<Claim>> {
    // Who else can write into it could have work done that this user would not do.
    let own = |mode: u32, uid: u32| uid == geteuid().as_raw() && mode & 0o077 == 0;
    if !entry.stat()?.is_some_and(|stat| own(stat.st_mode, stat.st_uid)) {
        return Ok(None);
    }
    let object = entry.open(Access::Write)?;
    if !own(object.stat.st_mode, object.stat.st_uid)
        || try_lock(object.file(), LockMode::Exclusive, Range::ALL) != Ok(true)
        || !entry.means(&object)?
        || object.size() < MESSAGE_AT as u64
    {
        return Ok(None);
    }
    let claim = Claim::of(entry, object, of.sysv)?;
    let expected = header(of);
    let mut is = vec![0; MESSAGE_AT];
    claim.object.file().read_exact_at(&mut is, 0).map_err(|error| claim.entry.errno(errno_of(&error)))?;
    // All but what changes.
    let same = |range: std::ops::Range<usize>| is[range.clone()] == expected[range];
    let (pid, sysv) = (OF_AT + of::PID, OF_AT + of::SYSV);
    Ok((same(0..STATE_AT) && same(OF_AT..pid) && same(sysv..NUMBER_AT)).then_some(claim))
}

/// What a claim without an owner has in it; one that is empty is removed.
fn judge(claim: Claim) -> Result<Option<Found>> {
    // Acquire: the length is the one that was noted with the state.
    let taken = claim.memory.load32(STATE_AT, Ordering::Acquire) == TAKEN;
    match claim.place().number(claim.sysv) {
        Some(_) if taken => Ok(Some(Found::Message(claim))),
        // There was room for an empty one alone.
        Some(_) if claim.length() == 0 => {
            claim.note(0);
            Ok(Some(Found::Message(claim)))
        }
        Some(_) => claim.note_guess().map(|()| Some(Found::Cut(claim))),
        None => claim.remove().map(|()| None),
    }
}

fn entry(letters: &[u8; LETTERS]) -> Result<Entry> {
    let name = [b"/", BEGIN, letters].concat();
    Entry::new(&Name::Posix(PosixName::parse(OsStr::from_bytes(&name))?))
}

/// A new claim's first bytes, up to the message.
fn header(of: &Of) -> Vec<u8> {
    let mut header = vec![0; MESSAGE_AT];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &CLAIM_MAGIC);
    put(VERSION_AT, &VERSION.to_ne_bytes());
    put(ORDER_AT, &ORDER.to_ne_bytes());
    put(NUMBER_AT, &[0xff; Place::HEAD]);
    of.put(&mut header[OF_AT..NUMBER_AT]);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of ipcutils-message(5): `.It 20 Ta 4 Ta attempts`, offset and bytes.
    #[test]
    fn offsets_are_those_of_the_page() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/ipcutils-message.5");
        let page = std::fs::read_to_string(page).unwrap();
        for (at, size, of) in [
            (0, "8", "magic"),
            (VERSION_AT, "4", "version"),
            (ORDER_AT, "4", "byte order"),
            (STATE_AT, "4", "state"),
            (ATTEMPTS_AT, "4", "attempts"),
            (LENGTH_AT, "8", "length"),
            (SINCE_AT, "8", "since"),
            (OF_AT, "8", "namespace"),
            (OF_AT + of::PID, "4", "pid"),
            (OF_AT + of::SYSV, "4", "System V"),
            (OF_AT + of::LENGTH, "8", "length of the address"),
            (OF_AT + of::ADDRESS, "1976", "address"),
            (NUMBER_AT, "8", "number"),
            (MESSAGE_AT, "any", "message"),
        ] {
            let row = page.lines().any(|line| line.starts_with(&format!(".It {at} Ta {size} Ta")));
            assert!(row, "no row for {of} at {at}");
        }
        assert_eq!(OF_AT + of::ADDRESS + 1976, NUMBER_AT);
    }
}
