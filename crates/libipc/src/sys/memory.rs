//! Memory that other processes write, reached through the kernel.
//!
//! read(2) and write(2) move the bytes, and return EFAULT where a load would raise
//! SIGBUS. No slice of the memory is ever made. Our own instructions touch it only in
//! a mapping that is [`Region::guarded`]: atomic words, and [`Region::write_at`].

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::errno::Errno;
use nix::libc;

use super::guard::{self, Guard};

/// mmap(2) of a whole file, shared, to be read and written.
pub(crate) fn map(fd: impl AsFd, len: usize) -> nix::Result<Region> {
    map_as(fd, len, libc::PROT_READ | libc::PROT_WRITE)
}

/// mmap(2) of a whole file, shared, for reading only. A store through one of its words
/// would be a fault.
pub(crate) fn map_read_only(fd: impl AsFd, len: usize) -> nix::Result<Region> {
    map_as(fd, len, libc::PROT_READ)
}

fn map_as(fd: impl AsFd, len: usize, access: libc::c_int) -> nix::Result<Region> {
    // SAFETY: with a null address the kernel chooses unused addresses.
    let base = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd.as_fd().as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    NonNull::new(base.cast()).map(|base| Region::new(base, len, unmap)).ok_or(Errno::EFAULT)
}

fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: `base` and `len` came from mmap, and Region calls this once, when
    // it is dropped and nothing can use the addresses any more.
    let _ = unsafe { libc::munmap(base.as_ptr().cast(), len) };
}

/// A mapping of shared memory; dropping it unmaps and leaves the object.
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
    unmap: fn(NonNull<u8>, usize),
    guard: Option<Guard>,
    /// Not to be unmapped.
    kept: Cell<bool>,
}

impl Region {
    /// `unmap` is called once, with `base` and `len`.
    pub(super) fn new(base: NonNull<u8>, len: usize, unmap: fn(NonNull<u8>, usize)) -> Self {
        Region { base, len, unmap, guard: None, kept: Cell::new(false) }
    }

    /// Permit instructions to touch the region too: memory that is gone reads as
    /// zero, and [`Region::faulted`] tells.
    pub(crate) fn guarded(mut self) -> nix::Result<Self> {
        self.guard = Some(guard::guard(self.base.as_ptr().addr(), self.len)?);
        Ok(self)
    }

    /// Whether the mapping outlives this value: at the end of a thread the kernel looks
    /// through it for mutexes that the thread holds.
    pub(super) fn keep(&self, keep: bool) {
        self.kept.set(keep);
    }

    /// Whether memory of a guarded region was found to be gone. To be asked after
    /// loads, before their values are used.
    pub(crate) fn faulted(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::faulted)
    }

    /// The aligned word at this offset of a guarded region; None elsewhere.
    pub(crate) fn word(&self, at: usize) -> Option<&AtomicU32> {
        let address = self.place(at, size_of::<AtomicU32>())?.cast::<AtomicU32>();
        // SAFETY: within the mapping, which lives as long as self, and aligned;
        // any bits are a valid integer. The guard answers for lost memory.
        Some(unsafe { &*address })
    }

    /// The aligned word of eight bytes at this offset of a guarded region; None
    /// elsewhere.
    pub(crate) fn long(&self, at: usize) -> Option<&AtomicU64> {
        let address = self.place(at, size_of::<AtomicU64>())?.cast::<AtomicU64>();
        // SAFETY: as in `word`.
        Some(unsafe { &*address })
    }

    /// The address of `size` bytes, aligned to that, if they may be touched.
    fn place(&self, at: usize, size: usize) -> Option<*mut u8> {
        let inside = at.checked_add(size).is_some_and(|end| end <= self.len);
        (self.guard.is_some() && inside && at.is_multiple_of(size)).then(|| self.base.as_ptr().wrapping_add(at))
    }

    /// The addresses of `len` bytes from `at` on, cut to the region.
    pub(super) fn range(&self, at: usize, len: usize) -> (*mut libc::c_void, usize) {
        let at = at.min(self.len);
        (self.base.as_ptr().wrapping_add(at).cast(), len.min(self.len - at))
    }

    /// read(2) from `fd` into the region.
    pub(crate) fn fill(&self, fd: impl AsFd, at: usize, len: usize) -> nix::Result<usize> {
        let (into, len) = self.range(at, len);
        // SAFETY: `range` keeps to this mapping, of which no reference exists;
        // a page that is gone makes the kernel answer EFAULT.
        let n = Errno::result(unsafe { libc::read(fd.as_fd().as_raw_fd(), into, len) })?;
        Ok(n.cast_unsigned())
    }

    /// write(2) from the region to `fd`.
    pub(crate) fn drain(&self, fd: impl AsFd, at: usize, len: usize) -> nix::Result<usize> {
        let (from, len) = self.range(at, len);
        // SAFETY: as in `fill`; the kernel only reads.
        let n = Errno::result(unsafe { libc::write(fd.as_fd().as_raw_fd(), from, len) })?;
        Ok(n.cast_unsigned())
    }

    /// Copy bytes of our own into a guarded region, as many as it has room for.
    pub(crate) fn write_at(&self, at: usize, bytes: &[u8]) {
        let (into, len) = self.range(at, if self.guard.is_some() { bytes.len() } else { 0 });
        // SAFETY: `range` keeps to this mapping, of which no reference exists, so
        // that it cannot overlap with `bytes`. The guard answers for lost memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), into.cast::<u8>(), len) };
    }

    /// Make bytes of a guarded region zero, as many as it has. Each page is touched.
    pub(crate) fn clear(&self, at: usize, len: usize) {
        let (into, len) = self.range(at, if self.guard.is_some() { len } else { 0 });
        // SAFETY: as in `write_at`.
        unsafe { ptr::write_bytes(into.cast::<u8>(), 0, len) };
    }

    /// vmsplice(2): the pages themselves go into the pipe.
    pub(crate) fn splice(&self, pipe: impl AsFd, at: usize, len: usize) -> nix::Result<usize> {
        let (from, len) = self.range(at, len);
        let slice = libc::iovec { iov_base: from, iov_len: len };
        // SAFETY: as in `fill`. The pipe holds its own references to the pages,
        // so it does not matter when the region is unmapped.
        let n = Errno::result(unsafe { libc::vmsplice(pipe.as_fd().as_raw_fd(), &raw const slice, 1, 0) })?;
        Ok(n.cast_unsigned())
    }

    /// Drop this process's page table entries of a part that it is done with: a copy
    /// of gigabytes keeps a small resident set. The content stays.
    pub(crate) fn forget_pages(&self, at: usize, len: usize) {
        let (from, len) = self.range(at, len);
        // SAFETY: for a shared mapping MADV_DONTNEED forgets the entries alone
        // (madvise(2)), and no reference to the memory exists. An unaligned
        // `at` is refused by the kernel, which costs nothing but memory.
        let _ = unsafe { libc::madvise(from, len, libc::MADV_DONTNEED) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.kept.get() {
            std::mem::forget(self.guard.take());
            return;
        }
        self.guard = None; // before the addresses are anybody else's
        (self.unmap)(self.base, self.len);
    }
}
