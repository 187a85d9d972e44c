//! How to mend a failure, as values: whoever shows an error has the words, and
//! the names of options, for them.

use std::ffi::OsString;

use super::address::types::{Address, Kind, KindAddress};

/// What to do about a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    // Addresses.
    /// Write one of these addresses instead.
    Say(Vec<Spelling>),
    /// Write an address in one of the forms of this kind; of any kind, if none is given.
    Forms(Option<Kind>),
    /// Put one of these kinds in front of the address.
    PutKind(Vec<Kind>),
    /// Write a kind, a colon and an address.
    KindForms,

    // Objects that are in the way, or of another kind.
    /// The object is of this kind: name it so.
    OtherKind(KindAddress),
    /// Remove the object.
    Remove(KindAddress),
    /// Remove the object if nobody uses it.
    RemoveIfUnused(KindAddress),
    /// Write into the object that exists, or remove it if an address is given.
    WriteInPlace(Option<KindAddress>),
    /// Fill the segment anew, or remove it.
    PutAgain(KindAddress),
    /// The segment may be whole: then give it another mode, else remove it.
    ModeOrRemove(KindAddress),
    /// Its owner and group cannot be kept: remove the object first.
    RemoveFirst,
    /// Permit to write what belongs to another user.
    Foreign,

    // Room.
    /// Remove objects that nobody needs.
    MakeRoom,
    /// Remove objects that nobody needs, or mount /dev/shm with more of this option.
    MakeRoomOrRemount(&'static str),
    /// Ask for less, or remove objects that nobody needs.
    AskForLess,
    /// Name a size: the input has none.
    Size,
    /// Name a larger size.
    LargerSize,
    /// Make the queue anew, for larger messages.
    LargerMessages,
    /// Make the ring anew, and larger.
    LargerRing,
    /// Raise this setting of sysctl(8).
    Sysctl(&'static str),
    /// Raise this one, 1 to 4, of the numbers of kernel.sem.
    SysctlSem(u8),
    /// Give this setting of sysctl(8) this value.
    SysctlSet(&'static str, &'static str),
    /// Raise this limit of ulimit: the letter of its option.
    Ulimit(char),
    /// Raise RLIMIT_MSGQUEUE, remove queues or ask for fewer or smaller messages.
    QueueBytes,
    /// Look at RLIMIT_FSIZE and at the file system's largest file.
    FileSize,
    /// Look at RLIMIT_NPROC and kernel.pid_max.
    Processes,

    // Semaphores.
    /// Open the set as it is, or remove it.
    UseAsItIs(KindAddress),
    /// Initialise the set with these values, or remove it: its maker died or is another program.
    Initialise(Vec<u32>, Address),
    /// Elements are counted from 0.
    FromZero,

    // Locks.
    /// See that the data is sound, then say so of the lock.
    Reset(Address),
    /// See that the data is sound, then say so of the mutex at this offset.
    ResetMutex(u64, Address),
    /// A reader's lock needs no write permission.
    ReadersLock,

    // Rings.
    /// Go on with the stream after these many bytes, or begin anew.
    ResumeOrRestart(u64),
    /// Read on under this name, or give it up.
    ReaderAway(OsString),
    /// List the readers, and give up one that is away.
    ReadersFull,

    /// Advice that names nothing of ours.
    Advice(String),
}

impl Hint {
    /// Advice that names nothing of ours.
    pub(crate) fn advice(words: impl Into<String>) -> Self {
        Hint::Advice(words.into())
    }
}

/// An address to write instead, and what it would mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The address, printable.
    pub address: String,
    /// What for, as `for a file`, where there is a choice.
    pub meaning: Option<&'static str>,
}

impl Spelling {
    pub(crate) fn new(address: String, meaning: Option<&'static str>) -> Self {
        Spelling { address, meaning }
    }

    /// Addresses that need no explanation.
    pub(crate) fn plain<T: Into<String>>(addresses: impl IntoIterator<Item = T>) -> Vec<Self> {
        addresses.into_iter().map(|address| Spelling { address: address.into(), meaning: None }).collect()
    }

    /// This address with the kind in front.
    pub(crate) fn of(self, kind: Kind) -> Self {
        Spelling { address: format!("{}:{}", kind.as_str(), self.address), ..self }
    }
}
