//! A robust, process-shared mutex of the C library in a mapping:
//! pthread_mutex_lock(3p).

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{self, c_int, clockid_t, pthread_mutex_t, timespec};

use super::memory::Region;

/// The size of a mutex in bytes. It is aligned as a pointer is.
pub(crate) const SIZE: usize = size_of::<pthread_mutex_t>();
/// Where glibc keeps the kind of a mutex: struct_mutex.h, after lock, count,
/// owner and, with 64 bits, users.
const KIND: usize = if cfg!(target_pointer_width = "64") { 16 } else { 12 };
/// PTHREAD_MUTEX_ROBUST_NORMAL_NP and its like, and PTHREAD_MUTEX_PSHARED_BIT:
/// pthreadP.h.
pub(crate) const ROBUST: u32 = 0x10;
pub(crate) const SHARED: u32 = 0x80;
/// Normal, recursive, error-checking or adaptive.
pub(crate) const TYPES: u32 = 0x03;
/// Whether a lock may be elided, which no robust one is.
pub(crate) const ELISION: u32 = 0x300;

unsafe extern "C" {
    /// glibc 2.30; the libc crate leaves it out.
    fn pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec) -> c_int;
}

/// A mutex in a guarded region, whose memory others change all the time.
#[derive(Debug)]
pub(crate) struct Mutex<'r> {
    at: NonNull<pthread_mutex_t>,
    region: &'r Region,
}

impl Region {
    /// The mutex at this offset; None where there is no room, or it would not be
    /// aligned.
    pub(crate) fn mutex(&self, at: usize) -> Option<Mutex<'_>> {
        // The words that begin and end it lie within the guarded mapping.
        self.word(at.checked_add(SIZE - size_of::<AtomicU32>())?)?;
        let at = self.word(at).filter(|_| at.is_multiple_of(align_of::<pthread_mutex_t>()))?;
        Some(Mutex { at: NonNull::from(at).cast(), region: self })
    }

    /// The kind of the mutex there: its bits, as glibc sets them.
    pub(crate) fn mutex_kind(&self, at: usize) -> Option<u32> {
        self.word(at.checked_add(KIND)?).map(|kind| kind.load(Ordering::Relaxed))
    }
}

impl Mutex<'_> {
    /// Lock the mutex, waiting at most for `step` of the monotonic clock: ETIMEDOUT.
    /// With EOWNERDEAD the mutex is held too. A step of zero tries once: not by
    /// pthread_mutex_trylock, as that of glibc 2.36 takes and keeps a mutex that is not
    /// recoverable.
    pub(crate) fn lock(&self, step: Duration) -> Result<(), Errno> {
        let until = after(step);
        // SAFETY: the mutex lies in a mapping that lives as long as self; the
        // caller has seen that it is robust, which makes the C library trust no
        // more than that it is owned by our user alone.
        self.held(unsafe { pthread_mutex_clocklock(self.at.as_ptr(), libc::CLOCK_MONOTONIC, &raw const until) })
    }

    /// Keep the mapping while the mutex is held: at the end of this thread the kernel
    /// marks the mutex there as left by a dead owner.
    fn held(&self, errno: c_int) -> Result<(), Errno> {
        self.region.keep(matches!(errno, 0 | libc::EOWNERDEAD));
        answer(errno)
    }

    /// Say that the protected data is sound again, after EOWNERDEAD.
    pub(crate) fn consistent(&self) -> Result<(), Errno> {
        // SAFETY: as in `lock`.
        answer(unsafe { libc::pthread_mutex_consistent(self.at.as_ptr()) })
    }

    /// Unlock the mutex.
    pub(crate) fn unlock(&self) -> Result<(), Errno> {
        // SAFETY: as in `lock`.
        let unlocked = answer(unsafe { libc::pthread_mutex_unlock(self.at.as_ptr()) });
        self.region.keep(unlocked.is_err());
        unlocked
    }
}

/// The result of these functions, which return the number of the error.
fn answer(errno: c_int) -> Result<(), Errno> {
    if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno)) }
}

/// The time of the monotonic clock, `step` from now.
fn after(step: Duration) -> timespec {
    let mut now = MaybeUninit::<timespec>::zeroed();
    // SAFETY: `now` is valid to be written.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    // SAFETY: plain integers, for which zeroes are valid even if the call failed.
    let now = unsafe { now.assume_init() };
    let nanos = now.tv_nsec + libc::c_long::from(step.subsec_nanos().cast_signed());
    let (carry, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let seconds = now.tv_sec.saturating_add(libc::time_t::try_from(step.as_secs()).unwrap_or(libc::time_t::MAX));
    timespec { tv_sec: seconds.saturating_add(carry), tv_nsec: nanos }
}
