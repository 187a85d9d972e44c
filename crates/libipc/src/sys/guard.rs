//! A guard against SIGBUS: a mapped object that another process truncates is
//! read as zeroes, and says afterwards that it was struck.
//!
//! The handler puts an anonymous page where the lost one was, so that the
//! instruction can go on. It does so only within covered mappings; any other
//! SIGBUS ends the process as it would have.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void, siginfo_t};

/// si_code of an address that is mapped and has no memory: sigaction(2).
const BUS_ADRERR: c_int = 2;

/// A covered mapping; `len` is 0 while the slot is free.
struct Slot {
    base: AtomicUsize,
    len: AtomicUsize,
    taken: AtomicBool,
    struck: AtomicBool,
}

// More than any tool maps.
static SLOTS: [Slot; 8] = [const {
    Slot {
        base: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        taken: AtomicBool::new(false),
        struck: AtomicBool::new(false),
    }
}; 8];

static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Set the handler: once, when the process starts.
pub(crate) fn install() {
    // SAFETY: takes an integer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Before the handler, which needs it; the same thread reads it.
    PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::Relaxed);
    // SAFETY: the structure is plain integers and pointers, for which zeroes
    // are valid: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_bus as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is valid, and its handler makes system calls alone
    // that are safe at any moment.
    let _ = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
}

extern "C" fn on_bus(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid structure.
    let info = unsafe { &*info };
    // SAFETY: for SIGBUS the union holds an address; of one sent by kill(2) it
    // is not used.
    let at = unsafe { info.si_addr() }.addr();
    if info.si_code != BUS_ADRERR || !strike(at) {
        super::signal::set_disposition(libc::SIGBUS, false);
        if info.si_code != BUS_ADRERR {
            // Sent by somebody: it does not come again by itself.
            // SAFETY: takes an integer. The signal is blocked until we return.
            let _ = unsafe { libc::raise(libc::SIGBUS) };
        }
    }
}

/// Replace the page at this address, if it is in a covered mapping.
fn strike(at: usize) -> bool {
    for slot in &SLOTS {
        // `len` is stored last and cleared first by `cover` in this same thread
        // or before this memory could be reached: Acquire pairs with its Release.
        let len = slot.len.load(Ordering::Acquire);
        let base = slot.base.load(Ordering::Relaxed);
        if at.wrapping_sub(base) >= len {
            continue;
        }
        let page = PAGE.load(Ordering::Relaxed);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let start = ptr::without_provenance_mut(at & !(page - 1));
        // SAFETY: the page lies in a mapping of ours that is covered for as long
        // as it lives, and its memory is gone already.
        let new = unsafe { libc::mmap(start, page, access, flags, -1, 0) };
        slot.struck.store(true, Ordering::Release);
        return new != libc::MAP_FAILED;
    }
    false
}

/// A mapping that is covered until this is dropped, which must be before it is
/// unmapped.
#[derive(Debug)]
pub(super) struct Cover(usize);

/// Cover a mapping.
pub(super) fn cover(base: usize, len: usize) -> nix::Result<Cover> {
    let free = |slot: &Slot| slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    let index = SLOTS.iter().position(free).ok_or(Errno::EMFILE)?;
    SLOTS[index].struck.store(false, Ordering::Relaxed);
    SLOTS[index].base.store(base, Ordering::Relaxed);
    SLOTS[index].len.store(len, Ordering::Release);
    Ok(Cover(index))
}

impl Cover {
    /// Whether any of its memory was found to be gone.
    pub(super) fn struck(&self) -> bool {
        SLOTS[self.0].struck.load(Ordering::Acquire)
    }
}

impl Drop for Cover {
    fn drop(&mut self) {
        SLOTS[self.0].len.store(0, Ordering::Release);
        SLOTS[self.0].taken.store(false, Ordering::Release);
    }
}
