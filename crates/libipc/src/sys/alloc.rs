//! Memory that may be missing: allocations that fail, and what a program says and does
//! when one fails that must not.

use std::alloc::{GlobalAlloc, Layout, System, alloc_zeroed};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

/// The allocator of a program of this toolkit: the system's. Where that has no memory,
/// the program says so in a line and ends, unless the caller can do without.
#[derive(Clone, Copy, Debug)]
pub struct Allocator;

thread_local! {
    /// Whether this thread can do without the memory that it asks for.
    static MAY_FAIL: Cell<bool> = const { Cell::new(false) };
}

/// The program's name, for the last words, and the status to end with. No name: the
/// program is none of ours, and std ends it.
static NAME: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static STATUS: AtomicU8 = AtomicU8::new(0);

/// Set the name of who speaks.
pub(crate) fn set_last_words(name: &'static str) {
    LENGTH.store(name.len(), Ordering::Relaxed);
    // Release pairs with the Acquire of `end`: the length.
    NAME.store(name.as_ptr().cast_mut(), Ordering::Release);
}

/// Set the status of this end.
pub(crate) fn set_last_status(status: u8) {
    STATUS.store(status, Ordering::Relaxed);
}

pub(crate) fn last_status() -> u8 {
    STATUS.load(Ordering::Relaxed)
}

/// The letter that ulimit has for the limit of memory that this process has.
pub(crate) fn memory_limit() -> Option<char> {
    let is_set = |which| getrlimit(which).is_ok_and(|(soft, _)| soft != libc::RLIM_INFINITY);
    match (is_set(Resource::RLIMIT_AS), is_set(Resource::RLIMIT_DATA)) {
        (true, _) => Some('v'),
        (_, true) => Some('d'),
        _ => None,
    }
}

/// An allocation has failed, and nothing can be allocated for a message.
fn end() {
    let name = NAME.load(Ordering::Acquire);
    if name.is_null() || MAY_FAIL.get() {
        return;
    }
    let words: &[u8] = match memory_limit() {
        Some('v') => b": out of memory (raise it with ulimit -v)\n",
        Some(_) => b": out of memory (raise it with ulimit -d)\n",
        None => b": out of memory\n",
    };
    let part = |base: *const u8, len| libc::iovec { iov_base: base.cast_mut().cast(), iov_len: len };
    let line = [part(name, LENGTH.load(Ordering::Relaxed)), part(words.as_ptr(), words.len())];
    // SAFETY: both parts are text that lives for ever.
    let _ = unsafe { libc::writev(libc::STDERR_FILENO, line.as_ptr(), 2) };
    // SAFETY: takes an integer. Nothing runs that could want memory.
    unsafe { libc::_exit(last_status().into()) }
}

/// What the system gave; a failure ends the program.
fn checked(memory: *mut u8) -> *mut u8 {
    if memory.is_null() {
        end();
    }
    memory
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those of this call.
        checked(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        checked(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        checked(unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) };
    }
}

/// Do `work`, whose allocations may fail.
fn may_fail<T>(work: impl FnOnce() -> T) -> T {
    MAY_FAIL.set(true);
    let done = work();
    MAY_FAIL.set(false);
    done
}

/// A buffer of zeroes: ENOMEM. Pages that are not touched cost nothing.
pub(crate) fn zeroed(len: usize) -> nix::Result<Vec<u8>> {
    if len == 0 {
        return Ok(Vec::new());
    }
    let layout = Layout::array::<u8>(len).map_err(|_| Errno::ENOMEM)?;
    // SAFETY: the layout is of at least one byte.
    let memory = may_fail(|| unsafe { alloc_zeroed(layout) });
    if memory.is_null() {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the global allocator has just given it, with this layout, and all of it
    // is zeroes.
    Ok(unsafe { Vec::from_raw_parts(memory, len, len) })
}

/// Make a buffer this long, if it is shorter, with zeroes at its end: ENOMEM.
pub(crate) fn grow<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) -> nix::Result<()> {
    let more = len.saturating_sub(buffer.len());
    may_fail(|| buffer.try_reserve_exact(more)).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(len.max(buffer.len()), T::default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_cannot_be_is_an_error() {
        assert_eq!(zeroed(usize::MAX), Err(Errno::ENOMEM));
        assert_eq!(zeroed(1 << 60), Err(Errno::ENOMEM));
        assert_eq!(zeroed(0), Ok(vec![]));
        assert_eq!(zeroed(3), Ok(vec![0; 3]));
        let mut buffer = vec![7];
        assert_eq!(grow(&mut buffer, 1 << 60), Err(Errno::ENOMEM));
        assert_eq!(grow(&mut buffer, 3), Ok(()));
        assert_eq!(buffer, [7, 0, 0]);
        assert_eq!(grow(&mut buffer, 1), Ok(()));
        assert_eq!(buffer.len(), 3);
    }
}
