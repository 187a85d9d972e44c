//! The mutex: a byte of the object that the kernel keeps locked, and the mark that
//! its holder leaves in memory.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::layout::{self, Holder};
use super::presence::{Announced, MUTEX, Role};
use super::status::Status;
use crate::base::address::{Address, Kind};
use crate::base::error::{Error, ErrorKind, Hint, Result, errno_of};
use crate::base::mode::Mode;
use crate::base::wait::{Timeout, Wait};
use crate::fs::byte_lock::{self, LockMode};
use crate::fs::draft::{Draft, Replace};
use crate::fs::entry::{Access, Entry, Object, RACES};
use crate::fs::kind::{check_kind, check_name};
use crate::process::command::{Child, End};
use crate::process::signals::Forwarded;

/// Tells a command that its predecessor died inside.
const OWNER_DIED: &str = "IPCUTILS_OWNER_DIED";

/// How often a waiter checks name and memory.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// What is said of a lock that makes one wait.
pub(super) const LOCKED: &str = "is locked";

/// How [`Lock::open`] and [`Lock::acquire`] open a lock.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// What it will be locked for: [`LockMode::Shared`] needs read permission alone.
    pub mode: LockMode,
    /// Make it with these permission bits, before the umask, if it is absent.
    pub create: Option<Mode>,
}

/// An open lock, held or not. Dropping it gives up what it holds, unless a
/// command has inherited the descriptor; the mark in memory stays as it is.
#[derive(Debug)]
pub struct Lock {
    pub(super) entry: Entry,
    pub(super) object: Object,
    address: Address,
    mode: LockMode,
}

/// The last holder died inside, and may have left half changed what the lock
/// protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerDied {
    /// Who it was, where that is known.
    pub holder: Option<Holder>,
}

impl OwnerDied {
    /// As an error, [`ErrorKind::PeerDied`], of the lock at `address`, with this hint.
    pub fn error(&self, address: &Address, hint: Hint) -> Error {
        let problem = match self.holder {
            Some(holder) => format!("its previous owner, process {}, died inside", holder.pid),
            None => "its previous owner died inside".to_owned(),
        };
        Error::new(ErrorKind::PeerDied, address, problem).hint(hint)
    }

    /// For the environment of a command: the variable, and its value if somebody died.
    pub fn variable(died: bool) -> (&'static str, Option<&'static str>) {
        (OWNER_DIED, died.then_some("1"))
    }
}

impl Lock {
    /// Open a lock, which nobody locks by that.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`]; [`ErrorKind::Denied`] without read permission, or
    /// without write permission for [`LockMode::Exclusive`];
    /// [`ErrorKind::Unexpected`] for what is no lock; [`ErrorKind::Usage`] for an
    /// address that no lock has.
    pub fn open(address: &Address, options: &OpenOptions) -> Result<Self> {
        let name = address.name(Kind::Lock)?;
        for _ in 0..RACES {
            let entry = Entry::new(name)?;
            let Some(permissions) = options.create else { return Self::existing(entry, address, options.mode) };
            check_name(&entry)?;
            let draft = match Self::existing(entry, address, options.mode) {
                Err(error) if error.kind == ErrorKind::Missing => Entry::new(name)?,
                other => return other,
            };
            match publish(&draft, permissions) {
                // Somebody was faster: then theirs.
                Err(error) if error.kind != ErrorKind::Exists => return Err(error),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Gone, address, "is removed faster than it can be opened"))
    }

    fn existing(entry: Entry, address: &Address, mode: LockMode) -> Result<Self> {
        let access = if mode == LockMode::Shared { Access::Read } else { Access::Write };
        let object = entry.open(access).map_err(|error| match (error.kind, mode) {
            (ErrorKind::Denied, LockMode::Exclusive) => error.hint(Hint::ReadersLock),
            _ => error,
        })?;
        layout::identify(object.file(), address)?;
        layout::check_size(object.size(), address)?;
        Ok(Lock { entry, object, address: address.clone(), mode })
    }

    /// Open a lock and take it.
    ///
    /// After each wait the object is compared with its name: one that was removed
    /// and made again is another lock, and is taken instead.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`]; those of [`Lock::open`].
    pub fn acquire(address: &Address, options: &OpenOptions, wait: &mut Wait) -> Result<Self> {
        for _ in 0..RACES {
            let lock = Self::open(address, options)?;
            if lock.wait(wait)? && lock.has_its_name()? {
                if options.mode == LockMode::Shared {
                    // Until the file is closed.
                    Announced::new(lock.object.file(), Role::Reader).keep();
                }
                return Ok(lock);
            }
        }
        Err(Error::new(ErrorKind::Gone, address, "is replaced faster than it can be locked"))
    }

    /// Who holds a lock, and who waits. Read permission is enough, and nobody
    /// counts as a holder by that.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Unexpected`] for
    /// what is no lock.
    pub fn inspect(address: &Address) -> Result<Status> {
        let entry = Entry::new(address.name(Kind::Lock)?)?;
        Status::of(entry.open(Access::Inspect)?.file(), address)
    }

    /// Its address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn label(&self) -> &str {
        self.entry.label()
    }

    /// Whether the name still means this lock.
    ///
    /// # Errors
    /// Those of stat(2).
    pub(super) fn has_its_name(&self) -> Result<bool> {
        self.entry.means(&self.object)
    }

    /// See that it is still a lock: others may have written over it.
    pub(super) fn identify(&self) -> Result<()> {
        layout::identify(self.object.file(), &self.address).map(drop)
    }

    /// Wait for the mutex; false if the lock loses its name meanwhile.
    fn wait(&self, wait: &mut Wait) -> Result<bool> {
        let file = self.object.file();
        if byte_lock::try_lock(file, self.mode, MUTEX).map_err(|errno| self.entry.errno(errno))? {
            return Ok(true);
        }
        wait.proceed(self.label(), LOCKED)?;
        let _announced = Announced::new(file, Role::Waiter);
        loop {
            let mut step = Wait::new(Timeout::After(wait.deadline().at_most(LOOK)));
            match byte_lock::lock(file, self.mode, MUTEX, self.label(), LOCKED, &mut step) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind == ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
            wait.proceed(self.label(), LOCKED)?;
            if !self.has_its_name()? {
                return Ok(false);
            }
            self.identify()?;
        }
    }

    /// Take the mutex again, of this very lock.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if it has lost its name; those of [`Lock::acquire`].
    pub fn reacquire(&self, wait: &mut Wait) -> Result<()> {
        if self.wait(wait)? && self.has_its_name()? { Ok(()) } else { Err(self.gone()) }
    }

    pub(super) fn gone(&self) -> Error {
        Error::new(ErrorKind::Gone, &self.address, "was removed or replaced meanwhile")
    }

    /// Give the mutex up. A command that has inherited the descriptor loses it
    /// too.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn release(&self) -> Result<()> {
        byte_lock::unlock(self.object.file(), MUTEX).map_err(|errno| self.entry.errno(errno))
    }

    /// Asked while the mutex is held: whether the last holder died inside.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`] if the object was overwritten.
    pub fn owner_died(&self) -> Result<Option<OwnerDied>> {
        Ok(layout::mark(self.object.file(), &self.address)?.map(|holder| OwnerDied { holder: Some(holder) }))
    }

    /// Say that the data is sound, whoever died. For who holds the mutex.
    ///
    /// # Errors
    /// Those of pwrite(2).
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
    pub fn run(&self, command: &[OsString], close: bool, died: bool) -> Result<End> {
        let signals = Forwarded::new()?;
        let exclusive = self.mode == LockMode::Exclusive;
        if exclusive {
            self.marked(layout::mark_held(self.object.file()))?;
        }
        let child = Child {
            words: command,
            variable: OwnerDied::variable(died),
            inherits: (!close).then(|| self.object.file().as_fd()),
            dies_with_us: false,
        };
        let end = child.run(&signals).map(|(end, _)| end);
        // Nothing was run: what the dead one left is as it was.
        let properly = end.as_ref().map_or(!died, |end| end.is_proper());
        if exclusive && properly {
            self.reset()?;
        }
        end
    }

    fn marked(&self, written: io::Result<()>) -> Result<()> {
        written.map_err(|error| self.entry.errno(errno_of(&error)))
    }
}

/// Publish a new lock, complete, under a name that is free.
fn publish(entry: &Entry, permissions: Mode) -> Result<()> {
    let draft = Draft::new(entry, permissions)?;
    if let Err(error) = draft.file().write_all_at(&layout::fresh(), 0) {
        draft.abandon();
        return Err(entry.errno(errno_of(&error)));
    }
    draft.publish(Replace::Never, |_| Ok(()))
}

/// Remove a lock. Its holder keeps the one that it has, and the next one who makes
/// a lock of this name does not exclude it.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Unexpected`] for what
/// is no lock.
pub fn remove(address: &Address) -> Result<()> {
    let entry = Entry::new(address.name(Kind::Lock)?)?;
    check_kind(&entry, Kind::Lock)?;
    entry.remove()
}
