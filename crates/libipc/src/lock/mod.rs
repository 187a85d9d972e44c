//! A mutex and a condition in a small object of shared memory.
//!
//! | part | module |
//! | --- | --- |
//! | the mutex: a byte lock that the kernel holds | [`take`], [`Lock`] |
//! | the condition: a counter that one sleeps on | [`Condition`] |
//! | who is there | [`Status`] |
//! | the mutex of a C program, in a segment of its own | [`pthread`] |
//!
//! The kernel's lock cannot be forged or broken by who writes the memory, works
//! across PID namespaces, and cannot outlive its holders. The memory has what
//! the kernel does not know: who holds it, and whether the last one who did has
//! ended properly. The layout is published in ipcutils-lock(5).

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::address::Address;
use crate::command::{Child, End};
use crate::draft::Replace;
use crate::entry::{Access, Entry, Object, RACES};
use crate::error::{Error, ErrorKind, Result, errno_of};
use crate::mode::Mode;
use crate::ofd::{self, Bytes, Hold};
use crate::shm::{self, posix::check_name};
use crate::signals::Forwarded;
use crate::wait::{Limit, Patience};

mod condition;
mod layout;
mod presence;
pub mod pthread;
mod status;

pub use condition::Condition;
pub use layout::Holder;
pub use presence::Participant;
pub use status::{State, Status};

use presence::{MUTEX, Role};

/// Told to a command whose predecessor died inside.
pub const OWNER_DIED: &str = "IPCUTILS_OWNER_DIED";

/// While waiting, name and memory are looked at so often.
const LOOK: Duration = Duration::from_secs(1);

const LOCKED: &str = "is locked";

/// An open lock, held or not. Dropping it gives up what it holds, unless a
/// command has inherited the descriptor; the mark in memory stays as it is.
#[derive(Debug)]
pub struct Lock<'e> {
    entry: &'e Entry,
    object: Object,
}

/// The name behind the address of a lock.
pub fn entry(address: &Address) -> Result<Entry> {
    match address {
        Address::SysV(sysv) => Err(Error::new(ErrorKind::Usage, sysv, "no lock is a System V object")
            .mend("say /name or file:PATH, or --pthread OFFSET for a mutex in it")),
        _ => shm::entry(address),
    }
}

/// Take the lock of this name; make it first if it is absent.
///
/// After each wait the object is compared with its name: one that was removed
/// and made again is another lock, and is taken instead.
///
/// # Errors
/// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`]; [`ErrorKind::Denied`] without
/// read permission, or without write permission for [`Hold::Exclusive`];
/// [`ErrorKind::Unexpected`] for what is no lock.
pub fn take<'e>(entry: &'e Entry, hold: Hold, mode: Mode, patience: &mut Patience) -> Result<Lock<'e>> {
    let access = if hold == Hold::Shared { Access::Read } else { Access::Write };
    for _ in 0..RACES {
        let lock = Lock::open_or_create(entry, access, mode)?;
        if lock.wait(hold, patience)? && lock.has_its_name()? {
            if hold == Hold::Shared {
                presence::announce(lock.object.file(), Role::Reader);
            }
            return Ok(lock);
        }
    }
    Err(Error::new(ErrorKind::Gone, entry.shown(), "is replaced faster than it can be locked"))
}

impl<'e> Lock<'e> {
    /// Open an existing lock.
    pub fn open(entry: &'e Entry, access: Access) -> Result<Self> {
        let object = entry.open(access).map_err(|error| match (error.kind, access) {
            (ErrorKind::Denied, Access::Write) => error.mend("only a reader's lock needs no write permission"),
            _ => error,
        })?;
        layout::identify(object.file(), entry.shown())?;
        layout::check_size(object.size(), entry.shown())?;
        Ok(Lock { entry, object })
    }

    /// The same; where there is none, publish a new one, complete.
    pub fn open_or_create(entry: &'e Entry, access: Access, mode: Mode) -> Result<Self> {
        check_name(entry)?;
        for _ in 0..RACES {
            match Self::open(entry, access) {
                Err(error) if error.kind == ErrorKind::Missing => {}
                other => return other,
            }
            let draft = entry.draft(mode)?;
            if let Err(error) = draft.file().write_all_at(&layout::fresh(), 0) {
                draft.abandon();
                return Err(entry.errno(errno_of(&error)));
            }
            match draft.publish(Replace::Never, |_| Ok(())) {
                // Somebody was faster: then theirs.
                Err(error) if error.kind != ErrorKind::Exists => return Err(error),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Gone, entry.shown(), "is removed faster than it can be opened"))
    }

    /// The name, as the user wrote it.
    pub fn shown(&self) -> &str {
        self.entry.shown()
    }

    /// Whether the name still means this lock.
    pub fn has_its_name(&self) -> Result<bool> {
        self.entry.means(&self.object)
    }

    /// Wait for the mutex; false if the lock loses its name meanwhile.
    fn wait(&self, hold: Hold, patience: &mut Patience) -> Result<bool> {
        let file = self.object.file();
        if ofd::try_lock(file, hold, MUTEX).map_err(|errno| self.entry.errno(errno))? {
            return Ok(true);
        }
        patience.begin(self.shown(), LOCKED)?;
        let place = presence::announce(file, Role::Waiter);
        let locked = self.wait_on(hold, patience);
        let _ = ofd::unlock(file, place);
        locked
    }

    fn wait_on(&self, hold: Hold, patience: &mut Patience) -> Result<bool> {
        loop {
            let step = Limit::Within(patience.deadline().at_most(LOOK));
            match ofd::lock(self.object.file(), hold, MUTEX, self.shown(), LOCKED, &mut Patience::new(step)) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind == ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
            patience.begin(self.shown(), LOCKED)?;
            if !self.has_its_name()? {
                return Ok(false);
            }
            layout::identify(self.object.file(), self.shown())?;
        }
    }

    /// Take the mutex again, of this very lock.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if it has lost its name; those of [`take`].
    pub fn retake(&self, patience: &mut Patience) -> Result<()> {
        if self.wait(Hold::Exclusive, patience)? && self.has_its_name()? {
            return Ok(());
        }
        Err(self.gone())
    }

    fn gone(&self) -> Error {
        Error::new(ErrorKind::Gone, self.shown(), "was removed or replaced meanwhile")
    }

    /// Give the mutex up. A command that has inherited the descriptor loses it
    /// too.
    pub fn release(&self) -> Result<()> {
        ofd::unlock(self.object.file(), Bytes::at(MUTEX.start)).map_err(|errno| self.entry.errno(errno))
    }

    /// Asked while the mutex is held: who died inside, if the last holder did.
    pub fn owner_died(&self) -> Result<Option<Holder>> {
        layout::mark(self.object.file(), self.shown())
    }

    /// Say that the data is sound, whoever died. For who holds the mutex.
    pub fn reset(&self) -> Result<()> {
        self.marked(layout::mark_free(self.object.file()))
    }

    /// Run a command while the mutex is held, and mark begin and end.
    ///
    /// The command inherits the lock with the descriptor, unless `close`, and so
    /// keeps it if this process is killed. One that is killed by a signal has
    /// died inside: the next holder is told. `died`: the last one has, and the
    /// command is told.
    ///
    /// # Errors
    /// As of [`Child::run`].
    pub fn run(&self, command: &[OsString], hold: Hold, close: bool, died: bool) -> Result<End> {
        let signals = Forwarded::new()?;
        if hold == Hold::Exclusive {
            self.marked(layout::mark_held(self.object.file()))?;
        }
        let child = Child {
            words: command,
            variable: (OWNER_DIED, died.then_some("1")),
            inherits: (!close).then(|| self.object.file().as_fd()),
            dies_with_us: false,
        };
        let end = child.run(&signals);
        let properly = match end {
            Ok((End::Exited(_), _)) => true,
            Ok((End::Killed(_), _)) => false,
            // Nothing was run: what the dead one left is as it was.
            Err(_) => !died,
        };
        if hold == Hold::Exclusive && properly {
            self.reset()?;
        }
        end.map(|(end, _)| end)
    }

    fn marked(&self, written: io::Result<()>) -> Result<()> {
        written.map_err(|error| self.entry.errno(errno_of(&error)))
    }
}

/// [`ErrorKind::PeerDied`], for who does not want a lock whose last holder died.
pub fn refuse(shown: &str, holder: Option<&Holder>) -> Error {
    Error::new(ErrorKind::PeerDied, shown, died(holder))
        .mend(format!("see that the data is sound, then shmlock --reset {shown}"))
}

/// In words: who died inside, where that is known.
pub fn died(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!("its previous owner, process {}, died inside", holder.pid),
        None => "its previous owner died inside".to_owned(),
    }
}
