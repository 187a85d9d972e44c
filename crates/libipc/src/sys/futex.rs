//! futex(2) on words of shared memory: never FUTEX_PRIVATE_FLAG.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

/// How long a sleep lasts where the kernel has no futex(2) or a sandbox refuses it. Then
/// nobody is woken, and who waits looks again.
const REFUSED: Duration = Duration::from_millis(1);

fn is_refused(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::ENOSYS | Errno::EPERM)
}

/// FUTEX_WAIT: sleep while the word is `expected`, at most for `timeout` of the
/// monotonic clock. EAGAIN if it was another, ETIMEDOUT, EINTR; a return without
/// an error may be spurious.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> nix::Result<()> {
    let until = super::timespec(timeout);
    // SAFETY: the word lives through the call, and `until` is valid to be
    // read. The kernel answers EFAULT where its memory is gone.
    let waited = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &raw const until) };
    match Errno::result(waited) {
        Err(errno) if is_refused(errno) => std::thread::sleep(timeout.min(REFUSED)),
        waited => drop(waited?),
    }
    Ok(())
}

/// FUTEX_WAKE: wake at most `most` sleepers. Returns how many.
pub(crate) fn wake(word: &AtomicU32, most: i32) -> nix::Result<usize> {
    let none = ptr::null::<libc::timespec>();
    // SAFETY: the kernel takes the address of the word as a name alone.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, most, none) };
    match Errno::result(woken) {
        Err(errno) if is_refused(errno) => Ok(0),
        woken => Ok(usize::try_from(woken?).unwrap_or(0)),
    }
}
