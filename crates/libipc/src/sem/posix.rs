//! POSIX named semaphores, sem_overview(7): a file of 32 bytes in /dev/shm.
//!
//! The form of glibc on machines of 64 bits: the value is the lower half of an
//! integer of 64 bits, the number of waiters its upper half; a word after it
//! marks a semaphore that processes share. It is worked on here, and not by the
//! C library's functions, because others can write it: those end the process for
//! what they do not expect in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};

use super::{Create, Op, State};
use crate::address::PosixName;
use crate::copy::write_all;
use crate::draft::Replace;
use crate::entry::{Access, Entry, Object, RACES};
use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::sys;
use crate::sys::memory::Region;
use crate::wait::{Deadline, Patience, Steps};

/// SEM_VALUE_MAX, the largest value.
pub(super) const LARGEST: u32 = i32::MAX as u32;

/// What is said of a semaphore that makes one wait.
pub(super) const BUSY: &str = "has too little to take";

/// sizeof(sem_t).
const SIZE: usize = 32;
/// Where the mark of a semaphore that processes share lies, and the mark.
const SHARED_AT: usize = 8;
const SHARED: u32 = 128;
/// One waiter in the integer of both.
const WAITER: u64 = 1 << 32;
/// Where the value lies.
const VALUE_AT: usize = if cfg!(target_endian = "little") { 0 } else { 4 };

/// A removal wakes nobody, so it is looked for this often.
const LOOK: Duration = Duration::from_secs(1);
/// glibc gives a new semaphore a second name, for an instant.
const BEING_MADE: Duration = Duration::from_millis(500);

/// Value and waiters, for one who only lists: read, and not mapped.
pub(crate) fn peek(file: &File) -> Option<(u32, u32)> {
    let mut data = [0; 8];
    file.read_exact_at(&mut data, 0).ok()?;
    let data = u64::from_ne_bytes(data);
    cfg!(target_pointer_width = "64").then_some((data as u32, (data / WAITER) as u32))
}

/// Remove the name: sem_unlink(3). Who has the semaphore open keeps it.
#[doc(alias = "sem_unlink")]
pub fn remove(name: &PosixName) -> Result<()> {
    Entry::semaphore(name)?.remove()
}

/// An open semaphore.
#[derive(Debug)]
pub struct Semaphore {
    pub(super) entry: Entry,
    pub(super) object: Object,
    region: Region,
}

impl Semaphore {
    /// sem_open(3). See [`super::Semaphores::open`].
    #[doc(alias = "sem_open")]
    pub fn open(name: &PosixName, create: Option<&Create>) -> Result<Self> {
        let entry = Entry::semaphore(name)?;
        let Some(create) = create else { return Self::existing(entry, Access::Write) };
        for _ in 0..RACES {
            if !create.exclusive {
                match settled(&entry, Access::Write) {
                    Err(error) if error.kind == ErrorKind::Missing => {}
                    other => return Self::map(other?, entry, Access::Write),
                }
            }
            match make(&entry, create) {
                Err(error) if error.kind == ErrorKind::Exists && !create.exclusive => {}
                Err(error) => return Err(error),
                Ok(()) => match settled(&entry, Access::Write) {
                    // Not even its owner may write it: it has been made in vain.
                    Err(error) if error.kind == ErrorKind::Denied => {
                        let _ = entry.remove();
                        return Err(error);
                    }
                    other => return Self::map(other?, entry, Access::Write),
                },
            }
        }
        Err(Error::new(ErrorKind::Gone, entry.shown(), "is removed faster than it can be opened"))
    }

    /// The same, to be looked at alone.
    pub fn look(name: &PosixName) -> Result<Self> {
        Self::existing(Entry::semaphore(name)?, Access::Read)
    }

    fn existing(entry: Entry, access: Access) -> Result<Self> {
        Self::map(settled(&entry, access)?, entry, access)
    }

    fn map(object: Object, entry: Entry, access: Access) -> Result<Self> {
        let no_semaphore = |what: String| {
            let mend = format!("ipcunlink sem:{} removes it", entry.shown());
            Err(Error::new(ErrorKind::Unexpected, entry.shown(), what).mend(mend))
        };
        if cfg!(not(target_pointer_width = "64")) {
            let what = "the C library of this machine gives semaphores another form";
            return Err(Error::new(ErrorKind::Failure, entry.shown(), what).mend("use a System V set, key:N"));
        }
        if object.size() < SIZE as u64 {
            return no_semaphore(format!("has {} bytes, which is no semaphore", object.size()));
        }
        let map = if access == Access::Read { sys::memory::map_read_only } else { sys::memory::map };
        let region = map(object.file(), SIZE).and_then(Region::guarded).map_err(|errno| entry.errno(errno))?;
        let shared = region.word(SHARED_AT).map(|word| word.load(Ordering::Relaxed));
        if region.struck() || shared != Some(SHARED) {
            return no_semaphore("is corrupt, or was made by another C library than glibc".to_owned());
        }
        Ok(Semaphore { entry, object, region })
    }

    /// Value and waiters.
    fn data(&self) -> &AtomicU64 {
        // The mapping is long enough and guarded.
        static NONE: AtomicU64 = AtomicU64::new(0);
        self.region.long(0).unwrap_or(&NONE)
    }

    fn value_word(&self) -> Option<&AtomicU32> {
        self.region.word(VALUE_AT)
    }

    pub(super) fn shown(&self) -> &str {
        self.entry.shown()
    }

    /// Take one if there is one, as sem_trywait(3). Of a registered waiter,
    /// `registered` is [`WAITER`].
    fn try_take(&self, registered: u64) -> bool {
        // Acquire: what others did before they gave is seen by who has taken.
        // Pairs with `give` and with sem_post.
        let take = |data: u64| (data as u32 > 0).then(|| data.wrapping_sub(registered + 1));
        self.data().fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    /// sem_post(3).
    fn give(&self) -> Result<()> {
        let give = |data: u64| ((data as u32) < LARGEST).then(|| data + 1);
        // Release: pairs with `try_take` and with sem_wait.
        match self.data().fetch_update(Ordering::Release, Ordering::Relaxed, give) {
            Ok(before) => {
                if let Some(word) = self.value_word().filter(|_| before >= WAITER) {
                    let _ = sys::futex::wake(word, 1);
                }
                self.check_memory()
            }
            Err(_) => Err(self.error(ErrorKind::NoRoom)),
        }
    }

    /// sem_timedwait(3); `check` is asked once a second whether to go on.
    fn take(&self, patience: &mut Patience, check: impl Fn() -> Result<()>) -> Result<()> {
        if self.try_take(0) {
            return Ok(());
        }
        self.check_memory()?;
        patience.begin(self.shown(), BUSY)?;
        self.data().fetch_add(WAITER, Ordering::Relaxed);
        let taken = self.wait(patience, &check);
        if taken.is_err() {
            self.data().fetch_sub(WAITER, Ordering::Relaxed);
            return taken;
        }
        // What was removed meanwhile may have been made anew, and be another's.
        check().inspect_err(|_| drop(self.give()))
    }

    fn wait(&self, patience: &Patience, check: &impl Fn() -> Result<()>) -> Result<()> {
        loop {
            if self.try_take(WAITER) {
                return Ok(());
            }
            check()?;
            patience.check(self.shown(), BUSY)?;
            let Some(word) = self.value_word() else { return Err(self.error(ErrorKind::Unexpected)) };
            // Whatever ended it, we look.
            let _ = sys::futex::wait(word, 0, patience.deadline().at_most(LOOK));
        }
    }

    /// Whether it is still there, under its name and whole.
    fn check_linked(&self) -> Result<()> {
        self.check_memory()?;
        let size = self.object.size_now().map_err(|errno| self.entry.errno(errno))?;
        if size < SIZE as u64 {
            return Err(self.error(ErrorKind::Unexpected));
        }
        if self.entry.means(&self.object)? { Ok(()) } else { Err(self.error(ErrorKind::Gone)) }
    }

    fn check_memory(&self) -> Result<()> {
        if self.region.struck() { Err(self.error(ErrorKind::Unexpected)) } else { Ok(()) }
    }

    /// An error by its kind alone, which is what the guardian reports.
    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        let what = match kind {
            ErrorKind::Gone => return Error::errno(self.shown(), Errno::EIDRM),
            ErrorKind::NoRoom => "its value would become more than 2147483647, the largest that there is",
            ErrorKind::Unexpected => "was truncated, and is no semaphore any more",
            _ => "the process that was to give it back has failed",
        };
        Error::new(kind, self.shown(), what)
    }

    pub(super) fn perform(&self, op: Op, patience: &mut Patience) -> Result<()> {
        self.perform_while(op, patience, || Ok(()))
    }

    /// The same while `wanted` says so, which is asked once a second.
    pub(super) fn perform_while(&self, op: Op, patience: &mut Patience, wanted: impl Fn() -> Result<()>) -> Result<()> {
        if op.change > 0 { self.give() } else { self.take(patience, || wanted().and_then(|()| self.check_linked())) }
    }

    /// The opposite, as far as the value permits, without waiting.
    pub(super) fn undo(&self, op: Op) {
        if op.change > 0 {
            self.try_take(0);
        } else {
            let _ = self.give();
        }
    }

    pub(super) fn state(&self) -> Result<State> {
        let data = self.data().load(Ordering::Relaxed);
        self.check_memory()?;
        Ok(State { value: data as u32, waiting: (data >> 32) as u32, waiting_for_zero: None, last: None })
    }

    /// There is no call for that: it is given or taken one by one.
    pub(super) fn set(&self, value: u32) -> Result<()> {
        let now = self.state()?.value;
        (now..value).try_for_each(|_| self.give())?;
        (value..now).all(|_| self.try_take(0));
        self.check_memory()
    }
}

/// Open the file once it has a single name.
fn settled(entry: &Entry, access: Access) -> Result<Object> {
    let (end, mut steps) = (Deadline::after(Some(BEING_MADE)), Steps::new());
    loop {
        match entry.open(access) {
            Err(error) if error.kind == ErrorKind::Unexpected && !end.passed() => {
                let is_file = |stat: FileStat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
                if !entry.stat()?.is_none_or(is_file) {
                    return Err(error);
                }
                steps.sleep(&end);
            }
            other => return other,
        }
    }
}

/// Publish a whole semaphore under a free name.
fn make(entry: &Entry, create: &Create) -> Result<()> {
    let draft = entry.draft(create.mode.unwrap_or(Mode::PRIVATE))?;
    let image = image(create.values.first().copied().unwrap_or(0));
    if let Err((_, errno)) = write_all(draft.file(), &image, draft.signals()) {
        draft.abandon();
        return Err(entry.errno(errno));
    }
    draft.publish(Replace::Never, |_| Ok(()))
}

/// The content of a new semaphore.
fn image(value: u32) -> [u8; SIZE] {
    let mut image = [0; SIZE];
    image[..8].copy_from_slice(&u64::from(value).to_ne_bytes());
    image[SHARED_AT..SHARED_AT + 4].copy_from_slice(&SHARED.to_ne_bytes());
    image
}
