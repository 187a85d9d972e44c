//! The mutex of C programs: PTHREAD_PROCESS_SHARED, robust, in a segment of
//! their own; pthread_mutexattr_setrobust(3).
//!
//! The C library keeps the list of a thread's robust mutexes within the mutexes:
//! whoever can write the segment can make a holder write to any address. So a segment
//! that another user may write is refused.
//!
//! A mutex that is dropped while it is held stays mapped, for the kernel to mark it at
//! the end of the thread.

use std::ffi::OsString;
use std::time::Duration;

use nix::errno::Errno;

use super::mutex::{LOCKED, LOOK, OwnerDied};
use crate::base::address::Address;
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::owner::Owners;
use crate::base::wait::Wait;
use crate::fs::entry::{Access, Entry, Object};
use crate::process::command::{Child, End};
use crate::process::signals::Forwarded;
use crate::shm;
use crate::sys::memory::{self, Region};
use crate::sys::pthread::{self, ELISION, ROBUST, SHARED, SIZE, TYPES};

/// The mutex at an offset of a segment.
#[derive(Debug)]
#[doc(alias = "pthread_mutex_t")]
pub struct Mutex {
    label: String,
    at: usize,
    region: Region,
    backing: Backing,
}

/// Where the segment came from, to see whether it is still there.
#[derive(Debug)]
enum Backing {
    Object(Box<(Entry, Object)>),
    SysV(i32),
}

impl Mutex {
    /// Map the segment, and check that a mutex of the right kind is at this offset, in
    /// bytes: mmap(2), shmat(2).
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::Denied`];
    /// [`ErrorKind::Unexpected`] if another user may write the segment, the offset has
    /// no mutex, or the mutex is not robust or not process-shared.
    pub fn open(address: &Address, offset: u64) -> Result<Self> {
        let (backing, size, region) = match address {
            Address::SysV(sysv) => {
                let (id, size, region) =
                    shm::sysv::attach_own(sysv, |owners, mode| check_owner(&sysv.to_string(), owners, mode))?;
                (Backing::SysV(id), size, Ok(region))
            }
            Address::Name(name) => {
                let entry = Entry::new(name)?;
                let object = entry.open(Access::Write)?;
                check_owner(entry.label(), Owners::of_file(&object.stat), object.stat.st_mode)?;
                let size = object.size();
                // Nothing to map is no room for a mutex.
                let region = memory::map(object.file(), (size as usize).max(1));
                (Backing::Object(Box::new((entry, object))), size, region)
            }
        };
        let label = address.to_string();
        let refuse = |what: String| Error::new(ErrorKind::Unexpected, &label, what);
        let region = region.and_then(Region::guarded).map_err(|errno| Error::errno(&label, errno))?;
        let end = offset.checked_add(SIZE as u64);
        if end.is_none_or(|end| end > size) {
            return Err(refuse(format!("has {size} bytes: no room for a mutex of {SIZE} at {offset}")));
        }
        let at = offset as usize;
        let (Some(_), Some(kind)) = (region.mutex(at), region.mutex_kind(at)) else {
            return Err(refuse(format!("a mutex is aligned to 8 bytes, {offset} is not")));
        };
        let mutex = Mutex { label, at, region, backing };
        mutex.check()?;
        mutex.check_kind(kind)?;
        Ok(mutex)
    }

    fn check_kind(&self, kind: u32) -> Result<()> {
        let refuse = |what: &str, advice: &str| {
            let problem = format!("the mutex at {} {what}", self.at);
            Err(Error::new(ErrorKind::Unexpected, &self.label, problem).hint(Hint::advice(advice)))
        };
        match kind {
            _ if kind & !(ROBUST | SHARED | TYPES | ELISION) != 0 => {
                refuse("is of a kind that is not known here, or is none", "see that the offset is right")
            }
            _ if kind & SHARED == 0 => {
                refuse("is not process-shared", "its program must call pthread_mutexattr_setpshared")
            }
            _ if kind & ROBUST == 0 => refuse(
                "is not robust: a holder's death would lock it for ever",
                "its program must call pthread_mutexattr_setrobust",
            ),
            _ => Ok(()),
        }
    }

    /// [`ErrorKind::Gone`] if the segment was removed, replaced or truncated.
    fn check(&self) -> Result<()> {
        let there = match &self.backing {
            Backing::SysV(id) => shm::sysv::is_there(*id),
            Backing::Object(object) => {
                let (entry, object) = &**object;
                let size = object.size_now().map_err(|errno| Error::errno(&self.label, errno))?;
                size >= object.size() && entry.means(object)?
            }
        };
        if there && !self.region.faulted() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Gone, &self.label, "was removed, replaced or truncated meanwhile"))
    }

    fn mutex(&self) -> Result<pthread::Mutex<'_>> {
        self.region.mutex(self.at).ok_or_else(|| Error::errno(&self.label, Errno::EFAULT))
    }

    /// Lock the mutex: pthread_mutex_clocklock(3). Returns whether its last owner died
    /// inside.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::TimedOut`], [`ErrorKind::Gone`];
    /// [`ErrorKind::Unexpected`] if nobody can lock it any more.
    #[doc(alias = "pthread_mutex_lock")]
    pub fn lock(&self, wait: &mut Wait) -> Result<bool> {
        let mutex = self.mutex()?;
        let mut step = Duration::ZERO;
        loop {
            let died = match mutex.lock(step) {
                Ok(()) => Some(false),
                Err(Errno::EOWNERDEAD) => Some(true),
                Err(Errno::ETIMEDOUT) => None,
                Err(Errno::ENOTRECOVERABLE) => {
                    let what = "the mutex is not recoverable: an owner died, and the next gave it up without mending";
                    return Err(Error::new(ErrorKind::Unexpected, &self.label, what)
                        .hint(Hint::advice("end its programs, and have them make it anew")));
                }
                Err(errno) => return Err(Error::errno(&self.label, errno)),
            };
            let checked = self.check();
            if let Some(died) = died {
                // An error does not keep the mutex. One that a dead owner left would be
                // lost if it were unlocked: the end of this thread marks it anew.
                return checked.map(|()| died).inspect_err(|_| {
                    let _ = if died { Ok(()) } else { mutex.unlock() };
                });
            }
            checked?;
            wait.proceed(&self.label, LOCKED)?;
            step = wait.deadline().at_most(LOOK);
        }
    }

    /// Unlock the mutex: pthread_mutex_unlock(3). If the last owner `died`, as
    /// [`Mutex::lock`] has told, this says that the data is sound:
    /// pthread_mutex_consistent(3).
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] if the segment was removed, replaced or truncated;
    /// [`ErrorKind::Denied`] if this thread does not hold the mutex.
    #[doc(alias = "pthread_mutex_unlock")]
    #[doc(alias = "pthread_mutex_consistent")]
    pub fn unlock(&self, died: bool) -> Result<()> {
        self.check()?;
        let mutex = self.mutex()?;
        let mended = if died { mutex.consistent() } else { Ok(()) };
        mended.and_then(|()| mutex.unlock()).map_err(|errno| Error::errno(&self.label, errno))
    }

    /// Run a command while the mutex is held, then unlock it.
    ///
    /// - The command is killed if this thread ends before it, as when the process dies.
    /// - A command that is killed by a signal died inside: the mutex stays locked, and
    ///   at the end of this thread the kernel marks it for the next owner.
    /// - With `died` the command is told that the last owner died.
    ///
    /// # Errors
    /// Those of [`Ready::run`](crate::process::command::Ready::run).
    pub fn run(&self, command: &[OsString], died: bool) -> Result<End> {
        let variables = [OwnerDied::variable(died)];
        let child = Child { variables: &variables, dies_with_us: true, ..Child::new(command) }.prepare();
        let end = child.and_then(|child| child.run(&Forwarded::new()?)).map(|(end, _)| end);
        // If nothing was run, the mark of a dead owner stays.
        let properly = end.as_ref().map_or(!died, |end| end.is_proper());
        if properly {
            // If the segment is gone by now, nobody can lock the mutex any more.
            let _ = self.unlock(died && end.is_ok());
        }
        end
    }
}

/// Refuse a segment that another user owns or may write.
fn check_owner(label: &str, owners: Owners, mode: u32) -> Result<()> {
    let refuse = |what: String| {
        let what = format!("{what}, who could make a holder of the mutex write anywhere");
        Err(Error::new(ErrorKind::Unexpected, label, what))
    };
    if let Some(other) = owners.other() {
        return refuse(format!("belongs to another user, uid {other}"));
    }
    // The bits of the group are the mask of an access control list, if there is one.
    if mode & 0o022 != 0 {
        return refuse(format!("may be written by other users, its mode is {:03o}", mode & 0o777))
            .map_err(|error| error.hint(Hint::advice("take the write permission from group and others")));
    }
    Ok(())
}
