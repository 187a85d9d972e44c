//! The values: an address, its forms, the kinds of object, and how they are written.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::key::{Key, Proj};
use super::name::PosixName;
use crate::base::text::printable;

/// The address of an object whose kind is known from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name in a directory.
    Name(Name),
    /// A System V object.
    SysV(SysV),
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `/name`, a POSIX object.
    Posix(PosixName),
    /// `file:PATH`, a mapped file.
    File(PathBuf),
}

/// How a System V object is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SysV {
    /// `key:N` or a bare `0xN`.
    Key(Key),
    /// `id:N`.
    Id(i32),
    /// `ftok:PATH[:PROJ]`.
    Ftok(PathBuf, Proj),
    /// `private:`, a new object that no key finds.
    Private,
}

/// The forms of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/name`
    Posix,
    /// `key:N`
    Key,
    /// `id:N`
    Id,
    /// `ftok:PATH[:PROJ]`
    Ftok,
    /// `private:`
    Private,
    /// `file:PATH`
    File,
}

impl Form {
    /// All forms, in the order in which messages list them.
    pub const ALL: [Form; 6] = [Form::Posix, Form::Key, Form::Id, Form::Ftok, Form::Private, Form::File];

    /// How users write it, and which kinds of object can have such an address. No
    /// other table says so.
    const fn row(self) -> (&'static str, &'static [Kind]) {
        const SYSV: &[Kind] = &[Kind::Shm, Kind::Mq, Kind::Sem];
        match self {
            Form::Posix => ("/name", &Kind::ALL),
            Form::Key => ("key:N", SYSV),
            Form::Id => ("id:N", SYSV),
            Form::Ftok => ("ftok:PATH[:PROJ]", SYSV),
            Form::Private => ("private:", SYSV),
            Form::File => ("file:PATH", &[Kind::Shm, Kind::Ring, Kind::Lock]),
        }
    }

    /// The form as users write it.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }
}

/// The kinds of object. The word for a kind stands in front of an address where the
/// kind is not known otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Shared memory.
    Shm,
    /// A ring of this toolkit, in shared memory.
    Ring,
    /// A lock of this toolkit, in shared memory.
    Lock,
    /// A message queue.
    Mq,
    /// Semaphores.
    Sem,
}

impl Kind {
    /// All kinds, in the order of lists.
    pub const ALL: [Kind; 5] = [Kind::Shm, Kind::Ring, Kind::Lock, Kind::Mq, Kind::Sem];

    /// The word in front of the address.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Shm => "shm",
            Kind::Ring => "ring",
            Kind::Lock => "lock",
            Kind::Mq => "mq",
            Kind::Sem => "sem",
        }
    }

    /// The noun for messages.
    pub const fn noun(self) -> &'static str {
        match self {
            Kind::Shm => "segment",
            Kind::Ring => "ring",
            Kind::Lock => "lock",
            Kind::Mq => "message queue",
            Kind::Sem => "semaphore",
        }
    }

    /// The kind with this word.
    pub fn from_bytes(word: &[u8]) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word)
    }

    /// Whether an object of this kind can have an address of this form.
    pub fn accepts(self, form: Form) -> bool {
        form.row().1.contains(&self)
    }

    /// The forms that an address of this kind may have.
    pub fn forms(self) -> impl Iterator<Item = Form> {
        Form::ALL.into_iter().filter(move |&form| self.accepts(form))
    }
}

impl Address {
    /// The form of this address.
    pub fn form(&self) -> Form {
        self.written().0
    }

    /// The bytes that a user would type.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.written().1
    }

    fn written(&self) -> (Form, Vec<u8>) {
        match self {
            Address::Name(name) => name.written(),
            Address::SysV(sysv) => sysv.written(),
        }
    }
}

impl Name {
    fn written(&self) -> (Form, Vec<u8>) {
        match self {
            Name::Posix(name) => (Form::Posix, name.as_os_str().as_bytes().to_vec()),
            Name::File(path) => (Form::File, [b"file:", path.as_os_str().as_bytes()].concat()),
        }
    }
}

impl SysV {
    fn written(&self) -> (Form, Vec<u8>) {
        match self {
            SysV::Key(key) => (Form::Key, format!("key:{key}").into_bytes()),
            SysV::Id(id) => (Form::Id, format!("id:{id}").into_bytes()),
            SysV::Ftok(path, proj) => {
                let proj = format!(":{}", proj.get());
                (Form::Ftok, [b"ftok:", path.as_os_str().as_bytes(), proj.as_bytes()].concat())
            }
            SysV::Private => (Form::Private, b"private:".to_vec()),
        }
    }
}

/// Who keeps a queue or semaphores: the kernel has two interfaces to them.
#[derive(Debug)]
pub(crate) enum Api<'a> {
    Posix(&'a PosixName),
    SysV(&'a SysV),
}

/// As [`Address::to_bytes`], made printable.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(OsStr::from_bytes(&self.to_bytes())))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(OsStr::from_bytes(&self.written().1)))
    }
}

impl fmt::Display for SysV {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(OsStr::from_bytes(&self.written().1)))
    }
}

impl From<PosixName> for Address {
    fn from(name: PosixName) -> Self {
        Address::Name(Name::Posix(name))
    }
}

/// An address with its kind in front: `shm:/seg`, `mq:key:0x2a`. The kind
/// accepts the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindAddress {
    pub(crate) kind: Kind,
    pub(crate) address: Address,
}

impl KindAddress {
    /// The kind in front.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The address without the kind.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The bytes that a user would type.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.kind.as_str().as_bytes(), b":", &self.address.to_bytes()].concat()
    }
}

/// As [`KindAddress::to_bytes`], made printable.
impl fmt::Display for KindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(OsStr::from_bytes(&self.to_bytes())))
    }
}
