//! How to mend a failure, as values. Whoever shows an error puts them into words, and
//! knows the names of options.

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
    /// The object is of another kind: use this address.
    OtherKind(KindAddress),
    /// The object is of another kind: read it as that.
    ReadAs(KindAddress),
    /// Remove the object.
    Remove(KindAddress),
    /// Remove the object if nobody uses it.
    RemoveIfUnused(KindAddress),
    /// Write into the object that exists, or remove it if an address is given.
    WriteInPlace(Option<KindAddress>),
    /// Fill the segment anew, or remove it.
    PutAgain(KindAddress),
    /// Give the object this mode.
    SetMode(KindAddress, u32),
    /// Do it whoever holds the object.
    Force,
    /// If the segment is whole, give it another mode, else remove it.
    ModeOrRemove(KindAddress),
    /// Its owner and group cannot be kept: remove the object first.
    RemoveFirst,
    /// Permit writing to an object of this kind that another user owns.
    Foreign(Kind),

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
    /// Make the segment larger in place.
    Resize(KindAddress),
    /// Let the queue hold so many bytes.
    HoldBytes(KindAddress, u64),
    /// Make the queue anew, for larger messages.
    LargerMessages,
    /// Make the ring anew, and larger.
    LargerRing,
    /// Raise this setting of sysctl(8).
    Sysctl(&'static str),
    /// Raise one of the four numbers of kernel.sem; 1 is the first.
    SysctlSem(u8),
    /// Set this setting of sysctl(8) to this value.
    SysctlSet(&'static str, &'static str),
    /// Raise the limit that `ulimit` has under this letter.
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
    /// Initialise the set with these values, or remove it: its maker died, or was
    /// another program.
    Initialise(Vec<u32>, Address),
    /// Elements are counted from 0.
    FromZero,

    // Locks.
    /// Check the data that the lock protects, then mark it as sound.
    Reset(Address),
    /// Check the data that the mutex at this offset protects, then mark it as sound.
    ResetMutex(u64, Address),
    /// A reader's lock needs no write permission.
    ReadersLock,

    // Rings.
    /// Resume the stream after this many bytes, or begin a new one.
    ResumeOrRestart(u64),
    /// The reader of this name is away from the ring at this address: read on under the
    /// name, or give it up.
    ReaderAway(OsString, Address),
    /// List the readers, and give up the name of one that is away.
    ReadersFull(Address),

    /// Advice in words, which names nothing of this toolkit.
    Advice(String),
}

impl Hint {
    /// Advice in words, which names nothing of this toolkit.
    pub(crate) fn advice(words: impl Into<String>) -> Self {
        Hint::Advice(words.into())
    }
}

/// An address to write instead, and what it would mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The address, printable.
    pub address: String,
    /// What the address is for, as in `for a file`, where there is a choice.
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
