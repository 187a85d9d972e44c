//! What the object behind a name is: segment, ring, lock or semaphore.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::entry::{Access, Entry, Object, RACES};
use super::temporary::is_temporary;
use crate::base::address::{Address, Kind, KindAddress};
use crate::base::error::{Error, ErrorKind, Hint, Result, Spelling};

/// The first bytes of a ring's object: ipcutils-ring(5).
pub(crate) const RING_MAGIC: [u8; 8] = *b"\x89ipcring";
/// The first bytes of a lock's object: ipcutils-lock(5).
pub(crate) const LOCK_MAGIC: [u8; 8] = *b"\x89ipclock";

/// The first bytes of a claim's object: ipcutils-message(5).
pub(crate) const CLAIM_MAGIC: [u8; 8] = *b"\x89ipclaim";

/// The first bytes of the body of a message, and of the reference to it:
/// ipcutils-message(5).
pub(crate) const BODY_MAGIC: [u8; 8] = *b"\x89ipcbody";

/// How the name of a semaphore's file begins: sem_overview(7).
pub(crate) const SEMAPHORE: &[u8] = b"sem.";

/// Whether the object is a segment, a ring or a lock: its first bytes say so.
pub(crate) fn kind_of(file: &File) -> Kind {
    let mut magic = [0; 8];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if magic == RING_MAGIC => Kind::Ring,
        Ok(()) if magic == LOCK_MAGIC => Kind::Lock,
        _ => Kind::Shm,
    }
}

/// The error of a name whose object is of another kind than was expected.
pub(crate) fn is_a(entry: &Entry, kind: Kind) -> Error {
    Error::new(ErrorKind::Unexpected, entry.label(), format!("is a {}", kind.noun()))
}

/// The error of a file that is no ring or no lock: what it is, and what removes it.
pub(crate) fn is_no(file: &File, wanted: Kind, address: &Address) -> Error {
    let found = kind_of(file);
    let problem = format!("is no {}: it is a {}", wanted.noun(), found.noun());
    let object = KindAddress { kind: found, address: address.clone() };
    Error::new(ErrorKind::Unexpected, address, problem).hint(Hint::RemoveIfUnused(object))
}

/// Refuse names that mean something else to this toolkit or to the C library.
pub(crate) fn check_name(entry: &Entry) -> Result<()> {
    let refuse = |problem: &str| Err(Error::new(ErrorKind::Unexpected, entry.label(), problem));
    if is_semaphore(entry) {
        return refuse("is the file of a POSIX semaphore, not a segment");
    }
    if is_temporary(entry.leaf().as_bytes()) {
        return refuse("is of the form of temporary names, which are swept");
    }
    Ok(())
}

/// [`ErrorKind::Unexpected`] if the name means another kind. The kind of an
/// unreadable object is unknown; the kernel decides what may be done with it.
pub(crate) fn check_kind(entry: &Entry, kind: Kind) -> Result<()> {
    not_semaphore(entry)?;
    entry.open(Access::Look).map_or(Ok(()), |object| check_object(entry, &object, kind))
}

fn not_semaphore(entry: &Entry) -> Result<()> {
    if !is_semaphore(entry) {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Unexpected, entry.label(), "is the file of a POSIX semaphore");
    let name = String::from_utf8_lossy(&entry.leaf().as_bytes()[SEMAPHORE.len()..]).into_owned();
    Err(error.hint(Hint::Say(Spelling::plain([format!("sem:/{name}")]))))
}

/// [`ErrorKind::Unexpected`] if the object is of another kind.
pub(crate) fn check_object(entry: &Entry, object: &Object, kind: Kind) -> Result<()> {
    match kind_of(object.file()) {
        found if found == kind => Ok(()),
        // What was truncated to nothing does not say any more what it was.
        Kind::Shm if object.size() == 0 => Ok(()),
        found => Err(is_a(entry, found).hint(Hint::OtherKind(entry.kind_address(found)))),
    }
}

/// Remove the name, if its object is of this kind. Processes that have it open keep it.
///
/// # Errors
/// Those of [`Entry::open`], but a second name does not matter: removing one does not
/// harm the other. An object that may not be read is removed if the kernel permits it.
pub(crate) fn remove(entry: &Entry, kind: Kind) -> Result<()> {
    if kind != Kind::Sem {
        not_semaphore(entry)?;
    }
    for _ in 0..RACES {
        let removed = match entry.open(Access::Look) {
            Ok(object) if kind == Kind::Sem => entry.remove(&object),
            Ok(object) => check_object(entry, &object, kind).and_then(|()| entry.remove(&object)),
            Err(error) if error.kind == ErrorKind::Denied => match entry.stat()? {
                Some(stat) => entry.remove_inode(&stat),
                None => return Err(entry.errno(Errno::ENOENT)),
            },
            Err(error) => return Err(error),
        };
        match removed {
            // Another object has the name now.
            Err(error) if error.kind == ErrorKind::Gone => {}
            other => return other,
        }
    }
    Err(Error::new(ErrorKind::Gone, entry.label(), "is replaced faster than it can be removed"))
}

fn is_semaphore(entry: &Entry) -> bool {
    entry.leaf().as_bytes().starts_with(SEMAPHORE) && entry.is_in_shm()
}

impl Entry {
    /// The object's address with this kind in front, for a hint.
    pub(crate) fn kind_address(&self, kind: Kind) -> KindAddress {
        KindAddress { kind, address: self.address() }
    }
}
