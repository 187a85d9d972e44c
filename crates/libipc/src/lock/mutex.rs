//! The mutex: a byte of the object that the kernel keeps locked, and the mark that
//! its holder leaves in memory.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::getppid;

use super::layout::{self, Holder};
use super::presence::{Announced, MUTEX, Role};
use super::status::{State, Status};
use crate::base::address::{Address, Kind, Name};
use crate::base::discard::Discard;
use crate::base::error::{Error, ErrorKind, Hint, Result, errno_of};
use crate::base::mode::Mode;
use crate::base::text::printable;
use crate::base::wait::{Timeout, Wait};
use crate::fs::byte_lock::{self, LockMode, Range};
use crate::fs::draft::Draft;
use crate::fs::entry::{Access, Entry, Object, RACES, SHM_DIR};
use crate::fs::kind::{self, check_name};
use crate::process::command::{Child, End};
use crate::process::signals::Forwarded;
use crate::sys;

/// The variable that tells a command that the last holder died inside.
const OWNER_DIED: &str = "IPCUTILS_OWNER_DIED";

/// How often a waiter checks name and memory.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Why a call waits, for messages.
pub(super) const LOCKED: &str = "is locked";

/// How [`Lock::open`] and [`Lock::acquire`] open a lock.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// How it will be locked: [`LockMode::Shared`] needs read permission only.
    pub mode: LockMode,
    /// Make it with these permission bits, if it is absent.
    pub create: Option<Mode>,
}

/// An open lock, held or not. Dropping it releases the mutex, unless a command has
/// inherited the descriptor. The mark in memory stays as it is.
///
/// The open file holds the mutex, and not a thread: threads that share one value do
/// not exclude each other.
#[derive(Debug)]
pub struct Lock {
    pub(super) entry: Entry,
    pub(super) object: Object,
    address: Address,
    mode: LockMode,
    new: bool,
}

/// The last holder died inside, and may have left the protected data half changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerDied {
    /// The holder that died, if that is known.
    pub holder: Option<Holder>,
}

impl OwnerDied {
    /// As an error of the lock at `address`, [`ErrorKind::PeerDied`], with this hint.
    pub fn error(&self, address: &Address, hint: Hint) -> Error {
        let problem = match self.holder {
            Some(holder) => format!("its previous owner, process {}, died inside", holder.pid),
            None => "its previous owner died inside".to_owned(),
        };
        Error::new(ErrorKind::PeerDied, address, problem).hint(hint)
    }

    /// The variable for the environment of a command, and its value if somebody `died`.
    pub fn variable(died: bool) -> (&'static str, Option<&'static str>) {
        (OWNER_DIED, died.then_some("1"))
    }
}

impl Lock {
    /// Open a lock, and do not lock it: open(2).
    ///
    /// # Errors
    /// [`ErrorKind::Missing`]; [`ErrorKind::Denied`] without read permission, or
    /// without write permission for [`LockMode::Exclusive`];
    /// [`ErrorKind::Unexpected`] for an object that is no lock; [`ErrorKind::Usage`]
    /// for an address that no lock has.
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
            match publish(&draft, permissions, options.mode) {
                // Somebody was faster: open that one.
                Err(error) if error.kind == ErrorKind::Exists => {}
                other => {
                    let object = other?;
                    return Ok(Lock { entry: draft, object, address: address.clone(), mode: options.mode, new: true });
                }
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
        Ok(Lock { entry, object, address: address.clone(), mode, new: false })
    }

    /// Open a lock and take its mutex: F_OFD_SETLKW of fcntl_locking(2).
    ///
    /// After each wait the object is compared with its name. A lock that was removed
    /// and made again is another lock, and is taken instead.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`]; those of [`Lock::open`].
    #[doc(alias = "F_OFD_SETLKW")]
    pub fn acquire(address: &Address, options: &OpenOptions, wait: &mut Wait) -> Result<Self> {
        for _ in 0..RACES {
            let lock = Self::open(address, options)?;
            let taken = lock.wait(wait).and_then(|taken| Ok(taken && lock.has_its_name()?));
            if taken.inspect_err(|_| lock.discard())? {
                if options.mode == LockMode::Shared {
                    // An exclusive lock leaves its mark.
                    lock.object.trace_use();
                    // Announced until the file is closed.
                    Announced::new(lock.object.file(), Role::Reader).keep();
                }
                return Ok(lock);
            }
        }
        Err(Error::new(ErrorKind::Gone, address, "is replaced faster than it can be locked"))
    }

    /// Who holds a lock, and who waits: F_OFD_GETLK of fcntl_locking(2). Read permission
    /// is enough, and the caller does not count as a holder.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Unexpected`] for an
    /// object that is no lock.
    #[doc(alias = "F_OFD_GETLK")]
    pub fn inspect(address: &Address) -> Result<Status> {
        let entry = Entry::new(address.name(Kind::Lock)?)?;
        Status::of(entry.open(Access::Inspect)?.file(), address)
    }

    /// The permission bits of a lock that existed when it was opened; None of one that was
    /// made.
    pub fn existing_mode(&self) -> Option<u32> {
        (!self.new).then_some(self.object.stat.st_mode & 0o777)
    }

    /// The address that it was opened by.
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

    /// Check that it is still a lock: others may have overwritten it.
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

    /// Take the mutex of this very lock again.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if it has lost its name; those of [`Lock::acquire`].
    pub fn reacquire(&self, wait: &mut Wait) -> Result<()> {
        if self.wait(wait)? && self.has_its_name()? { Ok(()) } else { Err(self.gone()) }
    }

    pub(super) fn gone(&self) -> Error {
        Error::new(ErrorKind::Gone, &self.address, "was removed or replaced meanwhile")
    }

    /// Release the mutex: F_OFD_SETLK of fcntl_locking(2). A command that has inherited
    /// the descriptor loses it too.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn release(&self) -> Result<()> {
        byte_lock::unlock(self.object.file(), MUTEX).map_err(|errno| self.entry.errno(errno))
    }

    /// Whether the last holder died inside. To be asked while the mutex is held.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`] if the object was overwritten.
    pub fn owner_died(&self) -> Result<Option<OwnerDied>> {
        Ok(layout::mark(self.object.file(), &self.address)?.map(|holder| OwnerDied { holder: Some(holder) }))
    }

    /// Mark the protected data as sound, whoever died. Only the holder of the mutex may
    /// know that.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a lock that was opened for [`LockMode::Shared`]; those of
    /// pwrite(2).
    pub fn reset(&self) -> Result<()> {
        if self.mode == LockMode::Shared {
            let problem = "a reader cannot mark the data as sound";
            return Err(Error::new(ErrorKind::Usage, &self.address, problem));
        }
        self.marked(layout::mark_free(self.object.file()))
    }

    /// Run a command while the mutex is held, and mark its begin and its end.
    ///
    /// - The command inherits the descriptor, and with it the lock, unless `close` is
    ///   set. So it keeps the lock if this process is killed.
    /// - A command that is killed by a signal died inside: the next holder is told. SIGINT
    ///   and SIGTERM are no death, unless `strict`.
    /// - With `died` the command is told that the last holder died.
    ///
    /// # Errors
    /// Those of [`Ready::run`](crate::process::command::Ready::run), and of
    /// [`Lock::reset`].
    pub fn run(&self, command: &[OsString], close: bool, died: bool, strict: bool) -> Result<End> {
        let variables = [OwnerDied::variable(died)];
        let child = Child {
            variables: &variables,
            inherits: (!close).then(|| self.object.file().as_fd()),
            ..Child::new(command)
        };
        // What it needs, before the mark that it would leave: a failure is no death.
        let (child, signals) = (child.prepare()?, Forwarded::new()?);
        let exclusive = self.mode == LockMode::Exclusive;
        if exclusive {
            self.marked(layout::mark_held(self.object.file()))?;
        }
        let end = child.run(&signals).map(|(end, _)| end);
        self.object.trace_use();
        // If nothing was run, the mark of a dead holder stays.
        let properly = end.as_ref().map_or(!died, |end| end.is_proper() || end.is_interruption() && !died && !strict);
        if exclusive && properly {
            self.reset()?;
        }
        end
    }

    /// Lock by a descriptor that the caller of this process has open, too, on the object
    /// at `address`. The mutex is held until the caller closes it: F_OFD_SETLKW of
    /// fcntl_locking(2). No mark is left, so that the end of the caller is no death.
    ///
    /// A shell makes an empty file when it opens one: that becomes a lock.
    ///
    /// # Errors
    /// Those of [`Lock::acquire`]; [`ErrorKind::Usage`] for a descriptor that is not open,
    /// not on this object, or not for this mode.
    pub fn adopt(descriptor: i32, address: &Address, mode: LockMode, wait: &mut Wait) -> Result<Self> {
        let lock = Self::by(descriptor, address, mode)?;
        if !lock.wait(wait)? || !lock.has_its_name()? {
            return Err(lock.gone());
        }
        let file = lock.object.file();
        let size = || lock.object.size_now().map_err(|errno| lock.entry.errno(errno));
        if size()? == 0 && mode == LockMode::Exclusive {
            lock.marked(file.write_all_at(&layout::fresh(), 0))?;
        }
        if let Err(error) = lock.identify().and_then(|()| layout::check_size(size()?, address)) {
            let _ = lock.release();
            return Err(error);
        }
        let role = if mode == LockMode::Exclusive { Role::Descriptor } else { Role::Reader };
        Announced::of(file, role, getppid().as_raw().cast_unsigned()).keep();
        Ok(lock)
    }

    /// Release what [`Lock::adopt`] has locked. If it was locked alone, the protected data
    /// is sound now, whoever died before.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] as of [`Lock::adopt`].
    pub fn release_adopted(descriptor: i32, address: &Address) -> Result<()> {
        let lock = Self::by(descriptor, address, LockMode::Shared)?;
        let file = lock.object.file();
        let failed = |errno| lock.entry.errno(errno);
        let others = byte_lock::is_held(file, LockMode::Shared, MUTEX).map_err(failed)?;
        if !others && Self::inspect(address).is_ok_and(|status| status.state == State::Held) {
            lock.marked(layout::mark_free(file))?;
        }
        byte_lock::unlock(file, Range::ALL).map_err(failed)
    }

    fn by(descriptor: i32, address: &Address, mode: LockMode) -> Result<Self> {
        let entry = Entry::new(address.name(Kind::Lock)?)?;
        check_name(&entry)?;
        let path = match address {
            Address::Name(Name::File(path)) => printable(path.as_os_str()),
            _ => format!("{SHM_DIR}{address}"),
        };
        let refuse = |what: &str| {
            let problem = format!("descriptor {descriptor} {what}");
            let hint = Hint::advice(format!("exec {descriptor}<>{path}"));
            Error::new(ErrorKind::Usage, address, problem).hint(hint)
        };
        let file = sys::duplicate(descriptor).map_err(|_| refuse("is not open"))?;
        let flags = fcntl(&file, FcntlArg::F_GETFL).map_err(|errno| entry.errno(errno))?;
        let object = Object::of(File::from(file)).map_err(|errno| entry.errno(errno))?;
        match OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE {
            OFlag::O_RDWR => {}
            OFlag::O_RDONLY if mode == LockMode::Shared => {}
            _ => return Err(refuse("is not open for reading and writing")),
        }
        if !entry.means(&object)? {
            return Err(refuse("is open on something else"));
        }
        Ok(Lock { entry, object, address: address.clone(), mode, new: false })
    }

    fn marked(&self, written: io::Result<()>) -> Result<()> {
        written.map_err(|error| self.entry.errno(errno_of(&error)))
    }
}

/// Publish a complete lock under a free name.
fn publish(entry: &Entry, permissions: Mode, mode: LockMode) -> Result<Object> {
    let draft = Draft::new(entry, permissions)?;
    if let Err(error) = draft.file().write_all_at(&layout::fresh(), 0) {
        draft.abandon();
        return Err(entry.errno(errno_of(&error)));
    }
    draft.publish_shared(if mode == LockMode::Shared { 0o400 } else { 0o600 })
}

/// A lock goes if nobody else has it open.
impl Discard for Lock {
    fn is_new(&self) -> bool {
        self.new
    }

    fn discard(&self) {
        if self.new {
            self.entry.discard(&self.object);
        }
    }
}

/// Remove a lock: unlink(2). Its holder keeps it, and does not exclude the holder of a
/// new lock of this name.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::Unexpected`] for an
/// object of another kind.
pub fn remove(address: &Address) -> Result<()> {
    let entry = Entry::new(address.name(Kind::Lock)?)?;
    kind::remove(&entry, Kind::Lock)
}
