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
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::ftruncate;

use super::envelope::number_at;
use crate::base::address::{Name, PosixName};
use crate::base::error::{Error, ErrorKind, Result, errno_of};
use crate::base::mode::Mode;
use crate::base::wait::Wait;
use crate::fs::draft::Draft;
use crate::fs::entry::{Access, Entry, Object, RACES};
use crate::fs::space::reserve;
use crate::fs::temporary::{LETTERS, letters};
use crate::mq::Queue;

/// How the names of bodies begin, after the slash.
const BEGIN: &[u8] = b"ipcutils.body.";
const MAGIC: [u8; 8] = *b"\x89ipcbody";
const VERSION: u32 = 1;
const ORDER: u32 = 0x0102_0304;

// Where each part of the reference is, and of the body's head, which is the same.
const VERSION_AT: usize = 8;
const ORDER_AT: usize = 12;
const LETTERS_AT: usize = 16;
const SECRET_AT: usize = 32;
const LENGTH_AT: usize = 48;
/// Bytes of a reference, and of the head.
pub(super) const SIZE: usize = 64;

/// Send a message whose body lies in memory beside the queue. Whoever may read a queue
/// with this mode may read the body: a queue that its group alone may read is for its
/// owner.
///
/// # Errors
/// Those of [`Queue::send`]; [`ErrorKind::NoRoom`] without memory for the body. Then there
/// is none.
pub fn send_spilled(queue: &mut Queue, mode: u32, body: &[u8], number: i64, wait: &mut Wait) -> Result<()> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret)
        .map_err(|error| Error::errno("a secret", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
    let mode = if mode & 0o004 == 0 { Mode::exact(0o600) } else { Mode::exact(0o666) };
    for _ in 0..RACES {
        let letters = letters();
        let entry = entry(&letters)?;
        let mut head = [0; SIZE];
        let mut put = |at: usize, part: &[u8]| head[at..at + part.len()].copy_from_slice(part);
        put(0, &MAGIC);
        put(VERSION_AT, &VERSION.to_ne_bytes());
        put(ORDER_AT, &ORDER.to_ne_bytes());
        put(LETTERS_AT, &letters);
        put(SECRET_AT, &secret);
        put(LENGTH_AT, &(body.len() as u64).to_ne_bytes());
        let draft = Draft::new(&entry, mode.unwrap_or(Mode::PRIVATE))?;
        let written = reserve(draft.file().as_fd(), 0, (SIZE + body.len()) as u64, true)
            .and_then(|_| draft.file().write_all_at(&head, 0).map_err(|error| errno_of(&error)))
            .and_then(|()| draft.file().write_all_at(body, SIZE as u64).map_err(|error| errno_of(&error)));
        if let Err(errno) = written {
            draft.abandon();
            return Err(entry.errno(errno));
        }
        let file = match draft.publish_open() {
            Err(error) if error.kind == ErrorKind::Exists => continue,
            other => other?,
        };
        let object = Object::of(file).map_err(|errno| entry.errno(errno))?;
        return queue.send(&head, number, wait).inspect_err(|_| drop(entry.remove(&object)));
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

/// Whether a message begins as a reference.
pub fn is_reference(message: &[u8]) -> bool {
    message.starts_with(&MAGIC)
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
        let mut found = [0; SIZE];
        let same = object.file().read_exact_at(&mut found, 0).is_ok() && found == *head;
        if !same || (SIZE as u64).checked_add(length) != Some(object.size()) {
            let problem = "is not the body that the message tells of";
            return Err(Error::new(ErrorKind::Unexpected, entry.label(), problem));
        }
        Ok(Body { entry, object, length })
    }

    /// All of it.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] without memory for it; [`ErrorKind::Unexpected`] if it was
    /// truncated meanwhile.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut file = self.object.file();
        file.seek(SeekFrom::Start(SIZE as u64)).map_err(|error| self.entry.errno(errno_of(&error)))?;
        let (mut bytes, length) = (Vec::new(), usize::try_from(self.length).unwrap_or(usize::MAX));
        crate::fs::copy::grow(&mut bytes, length, self.entry.label())?;
        file.read_exact(&mut bytes)
            .map_err(|_| Error::new(ErrorKind::Unexpected, self.entry.label(), "was truncated meanwhile"))?;
        Ok(bytes)
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
