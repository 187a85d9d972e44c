//! POSIX named semaphores, sem_overview(7): a file of 32 bytes in /dev/shm.
//!
//! The layout is that of glibc on 64-bit machines: an integer of 64 bits with the
//! value in its lower half and the number of waiters in its upper half, then a word
//! that marks a semaphore which processes share. The C library's functions end the
//! process for content that they do not expect. Others can write the memory, so this
//! code works on it itself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};

use super::ops::{Create, LARGEST_POSIX, Op, State, TOO_LITTLE};
use crate::base::address::{Kind, PosixName};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::Mode;
use crate::base::wait::{Backoff, Deadline, Wait};
use crate::fs::copy::write_all;
use crate::fs::draft::Draft;
use crate::fs::entry::{Access, Entry, Object, RACES};
use crate::fs::kind;
use crate::sys;
use crate::sys::memory::Region;

/// sizeof(sem_t).
const SIZE: usize = 32;
/// Where the mark of a semaphore that processes share lies, and the mark.
const SHARED_AT: usize = 8;
const SHARED: u32 = 128;
/// One waiter, as the 64-bit integer counts it.
const WAITER: u64 = 1 << 32;
/// Where the value lies.
const VALUE_AT: usize = if cfg!(target_endian = "little") { 0 } else { 4 };

/// How often a waiter checks that its semaphore still has a name; sem_unlink(3)
/// wakes nobody.
const LOOK: Duration = Duration::from_secs(1);
/// How long a new semaphore may have a second name, which glibc gives it for an
/// instant.
const BEING_MADE: Duration = Duration::from_millis(500);

/// Value and waiters: read, and not mapped. None if it has not the form of a semaphore.
pub(crate) fn peek(file: &File) -> Option<(u32, u32)> {
    let mut image = [0; SIZE];
    file.read_exact_at(&mut image, 0).ok()?;
    let (data, rest) = image.split_first_chunk::<SHARED_AT>()?;
    let (data, mark) = (u64::from_ne_bytes(*data), u32::from_ne_bytes(*rest.first_chunk()?));
    (mark == SHARED).then_some((data as u32, (data / WAITER) as u32))
}

/// Remove the name: sem_unlink(3). Processes that have the semaphore open keep it.
pub(super) fn remove(name: &PosixName) -> Result<()> {
    kind::remove(&Entry::semaphore(name)?, Kind::Sem)
}

/// An open semaphore.
#[derive(Debug)]
pub(super) struct Semaphore {
    pub(super) entry: Entry,
    pub(super) object: Object,
    /// None if it is only inspected: a mapping would count as a holder.
    region: Option<Region>,
    /// The value that it was made with, if this call of [`Semaphore::open`] has made it.
    made: Option<u32>,
}

impl Semaphore {
    /// sem_open(3). See [`super::Semaphores::open`].
    pub(super) fn open(name: &PosixName, create: Option<&Create>) -> Result<Self> {
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
                other => {
                    let (object, region) = other?;
                    let made = create.values.first().copied();
                    return Ok(Semaphore { entry, object, region: Some(region), made });
                }
            }
        }
        Err(Error::new(ErrorKind::Gone, entry.label(), "is removed faster than it can be opened"))
    }

    /// Open it to read its state.
    pub(super) fn inspect(name: &PosixName) -> Result<Self> {
        Self::existing(Entry::semaphore(name)?, Access::Inspect)
    }

    fn existing(entry: Entry, access: Access) -> Result<Self> {
        Self::map(settled(&entry, access)?, entry, access)
    }

    fn map(object: Object, entry: Entry, access: Access) -> Result<Self> {
        let no_semaphore = |problem: String| {
            let hint = Hint::Remove(entry.kind_address(Kind::Sem));
            Err(Error::new(ErrorKind::Unexpected, entry.label(), problem).hint(hint))
        };
        let mut mark = [0; 4];
        if object.size() < SIZE as u64 || object.file().read_exact_at(&mut mark, SHARED_AT as u64).is_err() {
            return no_semaphore(format!("has {} bytes, which is no semaphore", object.size()));
        }
        if u32::from_ne_bytes(mark) != SHARED {
            return no_semaphore("is corrupt, or was made by another C library than glibc".to_owned());
        }
        let region = match access {
            Access::Write => {
                object.trace_use();
                let region = sys::memory::map(object.file(), SIZE).and_then(Region::guarded);
                Some(region.map_err(|errno| entry.errno(errno))?)
            }
            Access::Read | Access::Look | Access::Inspect => None,
        };
        Ok(Semaphore { entry, object, region, made: None })
    }

    pub(super) fn existing_mode(&self) -> Option<u32> {
        (!self.is_new()).then_some(self.object.stat.st_mode & 0o777)
    }

    /// Value and waiters; None if it is only inspected.
    fn data(&self) -> Option<&AtomicU64> {
        self.region.as_ref()?.long(0)
    }

    fn value_word(&self) -> Option<&AtomicU32> {
        self.region.as_ref()?.word(VALUE_AT)
    }

    /// Change value and waiters. Returns what they were, or None if `change` refused.
    fn update(&self, order: Ordering, change: impl FnMut(u64) -> Option<u64>) -> Option<u64> {
        self.data()?.fetch_update(order, Ordering::Relaxed, change).ok()
    }

    pub(super) fn label(&self) -> &str {
        self.entry.label()
    }

    /// Take one if there is one, as sem_trywait(3). `registered` is [`WAITER`] for a
    /// waiter that counted itself, else 0.
    fn try_take(&self, registered: u64) -> bool {
        // Acquire pairs with the Release of `give` and of sem_post: what others did
        // before they gave is visible to whoever takes.
        self.update(Ordering::Acquire, |data| (data as u32 > 0).then(|| data.wrapping_sub(registered + 1))).is_some()
    }

    /// sem_post(3), `count` times at once.
    fn give(&self, count: u32) -> Result<()> {
        let room = |value: u32| value <= LARGEST_POSIX && count <= LARGEST_POSIX - value;
        // Release pairs with the Acquire of `try_take` and of sem_wait.
        match self.update(Ordering::Release, |data| room(data as u32).then(|| data + u64::from(count))) {
            Some(before) => {
                self.wake(before, count);
                self.check_memory()
            }
            None => Err(self.error(ErrorKind::NoRoom)),
        }
    }

    /// Give up to `count`, but no value larger than `most`.
    pub(super) fn give_up_to(&self, count: u32, most: u32) -> Result<()> {
        let given = |value: u32| most.saturating_sub(value).min(count);
        let before = self.update(Ordering::Release, |data| Some(data + u64::from(given(data as u32))));
        if let Some(before) = before {
            self.wake(before, given(before as u32));
        }
        self.check_memory()
    }

    /// Wake as many waiters as were given to, if there are any in `data`.
    fn wake(&self, data: u64, count: u32) {
        if let Some(word) = self.value_word().filter(|_| data >= WAITER) {
            let _ = sys::futex::wake(word, count.cast_signed());
        }
    }

    /// sem_timedwait(3). `check` says once a second whether to go on.
    fn take(&self, wait: &mut Wait, check: impl Fn() -> Result<()>) -> Result<()> {
        if self.try_take(0) {
            return Ok(());
        }
        self.check_memory()?;
        wait.proceed(self.label(), TOO_LITTLE)?;
        self.update(Ordering::Relaxed, |data| Some(data.wrapping_add(WAITER)));
        let taken = self.wait(wait, &check);
        if taken.is_err() {
            self.update(Ordering::Relaxed, |data| Some(data.wrapping_sub(WAITER)));
            return taken;
        }
        self.object.trace_use();
        // The name may mean a new semaphore by now: then give this one back.
        check().inspect_err(|_| drop(self.give(1)))
    }

    fn wait(&self, wait: &mut Wait, check: &impl Fn() -> Result<()>) -> Result<()> {
        loop {
            if self.try_take(WAITER) {
                return Ok(());
            }
            check()?;
            wait.proceed(self.label(), TOO_LITTLE)?;
            let Some(word) = self.value_word() else { return Err(self.error(ErrorKind::Unexpected)) };
            // Whatever ended the sleep, look again.
            let _ = sys::futex::wait(word, 0, wait.deadline().at_most(LOOK));
        }
    }

    /// Check that it is whole and still has its name.
    pub(super) fn check_linked(&self) -> Result<()> {
        self.check_memory()?;
        let size = self.object.size_now().map_err(|errno| self.entry.errno(errno))?;
        if size < SIZE as u64 {
            return Err(self.error(ErrorKind::Unexpected));
        }
        if self.entry.means(&self.object)? { Ok(()) } else { Err(self.error(ErrorKind::Gone)) }
    }

    fn check_memory(&self) -> Result<()> {
        if self.region.as_ref().is_some_and(Region::faulted) { Err(self.error(ErrorKind::Unexpected)) } else { Ok(()) }
    }

    /// The error of this kind. The guardian reports nothing but the kind.
    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        let what = match kind {
            ErrorKind::Gone => return Error::errno(self.label(), Errno::EIDRM),
            ErrorKind::NoRoom => "its value would become more than 2147483647, the largest that there is",
            ErrorKind::Unexpected => "was truncated, and is no semaphore any more",
            _ => "the process that was to give it back has failed",
        };
        Error::new(kind, self.label(), what)
    }

    pub(super) fn operate(&self, op: Op, wait: &mut Wait) -> Result<()> {
        self.operate_while(op, wait, || Ok(()))
    }

    /// Perform an operation. A wait lasts while `wanted` agrees, once a second.
    pub(super) fn operate_while(&self, op: Op, wait: &mut Wait, wanted: impl Fn() -> Result<()>) -> Result<()> {
        if op.change > 0 {
            self.give(op.change.unsigned_abs().into())
        } else {
            self.take(wait, || wanted().and_then(|()| self.check_linked()))
        }
    }

    /// Perform the opposite of an operation, as far as that needs no wait.
    pub(super) fn undo(&self, op: Op) {
        self.object.trace_use();
        if op.change > 0 {
            let given = u32::from(op.change.unsigned_abs());
            self.update(Ordering::Acquire, |data| Some(data - u64::from(given.min(data as u32))));
        } else {
            let _ = self.give(1);
        }
    }

    pub(super) fn is_new(&self) -> bool {
        self.made.is_some()
    }

    /// Remove it, if this call of [`Semaphore::open`] has made it, and it was not changed.
    pub(super) fn discard(&self) {
        if self.made.is_some() && peek(self.object.file()).map(|(value, _)| value) == self.made {
            self.entry.discard(&self.object);
        }
    }

    pub(super) fn state(&self) -> Result<State> {
        let Some((value, waiting)) = peek(self.object.file()) else { return Err(self.error(ErrorKind::Unexpected)) };
        Ok(State { value, waiting, waiting_for_zero: None, last_pid: None })
    }

    /// Its value now.
    pub(super) fn value(&self) -> u32 {
        // Acquire pairs with the AcqRel of `store`.
        self.data().map_or(0, |data| data.load(Ordering::Acquire) as u32)
    }

    /// Store the value, and wake whoever looks at it.
    pub(super) fn store(&self, value: u32) -> Result<()> {
        let upper = u64::MAX << 32;
        // AcqRel, as it may be a give or a take.
        self.update(Ordering::AcqRel, |data| Some(data & upper | u64::from(value)));
        if let Some(word) = self.value_word() {
            let _ = sys::futex::wake(word, i32::MAX);
        }
        self.check_memory()
    }

    /// Sleep until the value is no longer `seen`, for a second at most.
    pub(super) fn sleep_while(&self, seen: u32, deadline: &Deadline) -> Result<()> {
        let Some(word) = self.value_word() else { return Err(self.error(ErrorKind::Unexpected)) };
        // Whatever ended the sleep, the caller looks again.
        let _ = sys::futex::wait(word, seen, deadline.at_most(LOOK));
        self.check_linked()
    }

    /// Store the value, and wake all waiters, who look at it. The C library has no
    /// call for that.
    pub(super) fn set(&self, value: u32) -> Result<()> {
        if value > LARGEST_POSIX {
            let problem = format!("{value} is more than {LARGEST_POSIX}");
            return Err(Error::new(ErrorKind::Usage, self.label(), problem));
        }
        self.store(value)
    }
}

/// Open the file once it has a single name.
fn settled(entry: &Entry, access: Access) -> Result<Object> {
    let (end, mut backoff) = (Deadline::after(Some(BEING_MADE)), Backoff::new());
    loop {
        match entry.open(access) {
            Err(error) if error.kind == ErrorKind::Unexpected && !end.passed() => {
                let is_file = |stat: FileStat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
                if !entry.stat()?.is_none_or(is_file) {
                    return Err(error);
                }
                backoff.sleep(&end);
            }
            other => return other,
        }
    }
}

/// Publish a whole semaphore under a free name, mapped: what cannot be mapped must not
/// get a name.
fn make(entry: &Entry, create: &Create) -> Result<(Object, Region)> {
    let draft = Draft::new(entry, create.mode.unwrap_or(Mode::PRIVATE))?;
    let image = image(create.values.first().copied().unwrap_or(0));
    let written = write_all(draft.file(), &image, draft.signals()).map_err(|unwritten| unwritten.errno);
    let mapped = written.and_then(|()| sys::memory::map(draft.file(), SIZE)).and_then(Region::guarded);
    match mapped {
        Ok(region) => draft.publish_shared(0o600).map(|object| (object, region)),
        Err(errno) => {
            draft.abandon();
            Err(entry.errno(errno))
        }
    }
}

/// The content of a new semaphore.
fn image(value: u32) -> [u8; SIZE] {
    let mut image = [0; SIZE];
    image[..8].copy_from_slice(&u64::from(value).to_ne_bytes());
    image[SHARED_AT..SHARED_AT + 4].copy_from_slice(&SHARED.to_ne_bytes());
    image
}
