//! A message that is too long for its queue: its body lies in an object of shared memory,
//! and a reference goes through the queue.
//!
//! | instant | the body is |
//! | --- | --- |
//! | it is written, without a name | gone with its sender |
//! | it has its name | in `/ipcutils.body.LETTERS`, whether the reference was sent or not |
//! | the reference was received | there, until whoever received it has used it up |
//!
//! So a death at any instant loses no body. ipcutils-message(5) has the layout.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, ftruncate, lseek};

use super::envelope::{is_call, number_at};
use super::of::Of;
use crate::base::address::{Name, PosixName};
use crate::base::error::{Error, ErrorKind, Hint, Result, errno_of};
use crate::base::mode::Mode;
use crate::base::wait::Wait;
use crate::fs::copy::{Control, OUTPUT, copy, grow};
use crate::fs::draft::Draft;
use crate::fs::entry::{Access, Entry, Object, RACES};
use crate::fs::kind::BODY_MAGIC;
use crate::fs::space::reserve;
use crate::fs::temporary::{LETTERS, letters};
use crate::mq::Queue;
use crate::process::signals::{Deferred, Interrupting};

/// How the names of bodies begin, after the slash.
const BEGIN: &[u8] = b"ipcutils.body.";
const VERSION: u32 = 1;
const ORDER: u32 = 0x0102_0304;

// Where each part of the reference is, and of the object, which begins with it.
const VERSION_AT: usize = 8;
const ORDER_AT: usize = 12;
const LETTERS_AT: usize = 16;
const SECRET_AT: usize = 32;
const LENGTH_AT: usize = 48;
/// Bytes of a reference. In the object the queue follows, and then the body.
pub(super) const SIZE: usize = 64;
const BODY_AT: usize = 2048;

/// Send a message whose body lies in memory beside the queue. Whoever may read the queue
/// may read the body, and nobody else.
///
/// # Errors
/// Those of [`Queue::send`]; [`ErrorKind::NoRoom`] without memory for the body. Then there
/// is none.
pub fn send_spilled(queue: &mut Queue, body: &[u8], number: i64, wait: &mut Wait) -> Result<()> {
    if queue.largest() < SIZE {
        let problem = format!("its messages have {} bytes at most, and a reference has {SIZE}", queue.largest());
        return Err(Error::new(ErrorKind::NoRoom, queue.address(), problem).hint(Hint::LargerMessages));
    }
    let mut secret = [0; 16];
    getrandom::fill(&mut secret)
        .map_err(|error| Error::errno("a secret", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
    let (of, readers) = (Of::new(queue.address(), queue.id().is_some()), queue.readers()?);
    for _ in 0..RACES {
        let letters = letters();
        let entry = entry(&letters)?;
        let mut head = [0; BODY_AT];
        let mut put = |at: usize, part: &[u8]| head[at..at + part.len()].copy_from_slice(part);
        put(0, &BODY_MAGIC);
        put(VERSION_AT, &VERSION.to_ne_bytes());
        put(ORDER_AT, &ORDER.to_ne_bytes());
        put(LETTERS_AT, &letters);
        put(SECRET_AT, &secret);
        put(LENGTH_AT, &(body.len() as u64).to_ne_bytes());
        of.put(&mut head[SIZE..]);
        let draft = Draft::new(&entry, Mode::PRIVATE)?;
        let written = reserve(draft.file().as_fd(), 0, (BODY_AT + body.len()) as u64, true)
            .and_then(|_| draft.file().write_all_at(&head, 0).map_err(|error| errno_of(&error)))
            .and_then(|()| draft.file().write_all_at(body, BODY_AT as u64).map_err(|error| errno_of(&error)))
            .and_then(|()| readers.admit(draft.file()));
        if let Err(errno) = written {
            draft.abandon();
            return Err(entry.errno(errno));
        }
        // A signal must not end the process while the body has a name and no reference.
        let signals = Interrupting::new(queue.address())?;
        let file = match draft.publish_open() {
            Err(error) if error.kind == ErrorKind::Exists => continue,
            other => other?,
        };
        // It is open until the reference is sent: what nobody has open may be left over.
        let object = Object::of(file).map_err(|errno| entry.errno(errno))?;
        let sent = queue.send(&head[..SIZE], number, wait).inspect_err(|_| drop(entry.remove(&object)));
        drop(signals);
        return sent;
    }
    Err(Error::new(ErrorKind::Failure, "a body", "no name is free for it"))
}

/// The body of a message that was received.
#[derive(Debug)]
pub struct Body {
    entry: Entry,
    object: Object,
    length: u64,
}

/// Send a message of another queue on to this one. A body goes with it, for the readers of
/// this queue.
pub(super) fn send_on(queue: &mut Queue, message: &[u8], number: i64, wait: &mut Wait) -> Result<()> {
    let Some(Ok(body)) = Body::of(message) else { return queue.send(message, number, wait) };
    let bytes = body.read()?;
    if bytes.len() <= queue.largest() && !is_envelope(&bytes) {
        queue.send(&bytes, number, wait)?;
    } else {
        send_spilled(queue, &bytes, number, wait)?;
    }
    queue.check_linked()?;
    // If it may not be removed, it is left over.
    let _ = body.remove();
    Ok(())
}

/// Whether a message begins as a call or as a reference to a body, and so is no message for
/// people.
pub fn is_envelope(message: &[u8]) -> bool {
    is_call(message) || is_reference(message)
}

/// Whether a message begins as a reference.
pub(super) fn is_reference(message: &[u8]) -> bool {
    message.starts_with(&BODY_MAGIC)
}

impl Body {
    /// The body of a message; None if it is no reference. Nothing is opened but an object
    /// of that kind that holds the secret of the reference.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`] for what is no reference of this version, and for an
    /// object that is not its body; [`ErrorKind::Missing`] if the body was taken or
    /// removed; [`ErrorKind::Denied`].
    pub fn of(message: &[u8]) -> Option<Result<Self>> {
        is_reference(message).then(|| Self::open(message))
    }

    fn open(message: &[u8]) -> Result<Self> {
        let corrupt =
            |why: &str| Error::new(ErrorKind::Unexpected, "a message", format!("is a corrupt reference: {why}"));
        let Ok(head) = <&[u8; SIZE]>::try_from(message) else { return Err(corrupt("it has another length")) };
        if number_at(head, ORDER_AT) != ORDER {
            return Err(corrupt("it has another byte order"));
        }
        if number_at(head, VERSION_AT) != VERSION {
            return Err(corrupt("it has another version"));
        }
        let letters: [u8; LETTERS] = std::array::from_fn(|i| head[LETTERS_AT + i]);
        if !letters.iter().all(u8::is_ascii_lowercase) {
            return Err(corrupt("its body has an impossible name"));
        }
        let length = u64::from_ne_bytes(std::array::from_fn(|i| head[LENGTH_AT + i]));
        let entry = entry(&letters)?;
        let object = match entry.open(Access::Write) {
            // A receiver who may not write cannot use the body up, and may read it.
            Err(error) if error.kind == ErrorKind::Denied => entry.open(Access::Read)?,
            other => other?,
        };
        let refused = |problem: &str| Err(Error::new(ErrorKind::Unexpected, entry.label(), problem));
        if object.size() == 0 {
            let problem = "was used up already, by a receiver that may not remove it";
            return Err(Error::new(ErrorKind::Missing, entry.label(), problem));
        }
        let mut found = [0; SIZE];
        let same = object.file().read_exact_at(&mut found, 0).is_ok() && found == *head;
        if !same || (BODY_AT as u64).checked_add(length) != Some(object.size()) {
            return refused("is not the body that the message tells of");
        }
        // A sender is believed as much as he has put memory behind it.
        if u64::try_from(object.stat.st_blocks).unwrap_or(0) < object.size() / 512 {
            return refused("has no memory behind its length");
        }
        Ok(Body { entry, object, length })
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its name, as an address.
    pub fn label(&self) -> &str {
        self.entry.label()
    }

    fn failed(&self, errno: Errno) -> Error {
        self.entry.errno(errno)
    }

    fn rewind(&self) -> Result<()> {
        lseek(self.object.file(), BODY_AT as i64, Whence::SeekSet).map(drop).map_err(|errno| self.failed(errno))
    }

    fn truncated(&self) -> Error {
        Error::new(ErrorKind::Unexpected, self.entry.label(), "was truncated meanwhile")
    }

    /// All of it.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] without memory for it; [`ErrorKind::Unexpected`] if it was
    /// truncated meanwhile.
    pub fn read(&self) -> Result<Vec<u8>> {
        self.rewind()?;
        let (mut bytes, length) = (Vec::new(), usize::try_from(self.length).unwrap_or(usize::MAX));
        grow(&mut bytes, length, self.entry.label())?;
        self.object.file().read_exact(&mut bytes).map_err(|_| self.truncated())?;
        Ok(bytes)
    }

    /// Write its first bytes, so many at most. A pending signal of these ends it.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`] if they cannot be written; [`ErrorKind::Unexpected`] if it
    /// was truncated meanwhile.
    pub fn copy_to(&self, to: BorrowedFd<'_>, most: u64, signals: Option<&Deferred>) -> Result<()> {
        self.rewind()?;
        let wanted = self.length.min(most);
        let mut control = Control { signals, ..Control::default() };
        match copy(self.object.file(), to, wanted, &mut control) {
            Ok(done) if done == wanted => Ok(()),
            Ok(_) => Err(self.truncated()),
            Err(error) => Err(error.explain(self.entry.label(), |errno| Error::io(OUTPUT, errno))),
        }
    }

    /// A copy of it, as a file to read from its beginning.
    pub(super) fn input(&self) -> Result<File> {
        let failed = |errno| Error::errno("memory for a command's input", errno);
        let input = File::from(memfd_create("message", MFdFlags::MFD_CLOEXEC).map_err(failed)?);
        self.rewind()?;
        match copy(self.object.file(), &input, self.length, &mut Control::default()) {
            Ok(done) if done == self.length => {}
            Ok(_) => return Err(self.truncated()),
            Err(error) => return Err(error.explain(self.entry.label(), failed)),
        }
        lseek(&input, 0, Whence::SeekSet).map_err(failed)?;
        Ok(input)
    }

    /// It was used up: remove it, or if its directory forbids that, what is in it.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] for the body of another user that may not be written.
    pub fn remove(self) -> Result<()> {
        match self.entry.remove(&self.object) {
            Err(error) if error.kind == ErrorKind::Denied => ftruncate(self.object.file(), 0).map_err(|_| error),
            other => other,
        }
    }
}

fn entry(letters: &[u8; LETTERS]) -> Result<Entry> {
    let name = [b"/", BEGIN, letters].concat();
    Entry::new(&Name::Posix(PosixName::parse(OsStr::from_bytes(&name))?))
}
