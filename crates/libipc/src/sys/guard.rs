//! A guard against SIGBUS: a mapped object that another process truncates reads as
//! zeroes, and its guard says afterwards that it has faulted.
//!
//! The handler puts an anonymous page where the lost one was, so that the
//! instruction can go on. It does so only within guarded mappings, and passes any
//! other SIGBUS on to the action that was there before. That action comes back
//! when the last mapping is not guarded any more.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc::{self, BUS_ADRERR, c_int, c_void, siginfo_t};

/// A guarded mapping; `len` is 0 while the slot is free. Slots are never freed,
/// as the handler may be looking at them, but used again.
struct Slot {
    base: AtomicUsize,
    len: AtomicUsize,
    taken: AtomicBool,
    faulted: AtomicBool,
    next: *const Slot,
}

/// The list of slots, the newest first.
static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

static PAGE: AtomicUsize = AtomicUsize::new(0);

/// How many mappings are guarded. Held while the action is changed.
static GUARDED: Mutex<usize> = Mutex::new(0);

/// The action before ours: null before the first guard, and never freed after.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// All slots.
fn slots() -> impl Iterator<Item = &'static Slot> {
    // Acquire pairs with the Release of `slot`: a slot is whole when it is found.
    let mut next = SLOTS.load(Ordering::Acquire).cast_const();
    std::iter::from_fn(move || {
        // SAFETY: null, or a slot of the list, which is never freed.
        let slot = unsafe { next.as_ref() }?;
        next = slot.next;
        Some(slot)
    })
}

/// A slot that nobody else has.
fn slot() -> &'static Slot {
    let free = |slot: &&Slot| slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if let Some(slot) = slots().find(free) {
        return slot;
    }
    let new = Box::leak(Box::new(Slot {
        base: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        taken: AtomicBool::new(true),
        faulted: AtomicBool::new(false),
        next: ptr::null(),
    }));
    let mut first = SLOTS.load(Ordering::Acquire);
    loop {
        new.next = first;
        match SLOTS.compare_exchange(first, new, Ordering::Release, Ordering::Acquire) {
            Ok(_) => return new,
            Err(now) => first = now,
        }
    }
}

/// Set the handler for the first guarded mapping.
fn install() -> nix::Result<()> {
    let mut guarded = GUARDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *guarded == 0 {
        // SAFETY: takes an integer.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        // Before the handler, which needs it; this thread or one that this
        // mapping is given to reads it.
        PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::Relaxed);
        // SAFETY: the structure is plain integers and pointers, for which zeroes
        // are valid: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut before = action;
        action.sa_sigaction = on_bus as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: both structures are valid, and the handler makes system calls
        // alone that are safe at any moment.
        Errno::result(unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before) })?;
        // SAFETY: null, or stored below and never freed.
        let known = unsafe { BEFORE.load(Ordering::Relaxed).as_ref() };
        let same =
            |known: &libc::sigaction| known.sa_sigaction == before.sa_sigaction && known.sa_flags == before.sa_flags;
        // An earlier one is never freed, as a handler may be looking at it: the same
        // is not kept twice.
        if !known.is_some_and(same) {
            BEFORE.store(Box::leak(Box::new(before)), Ordering::Release);
        }
    }
    *guarded += 1;
    Ok(())
}

/// Give the action back after the last guarded mapping.
fn uninstall() {
    let mut guarded = GUARDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *guarded -= 1;
    if *guarded == 0 {
        // SAFETY: the action is one that the kernel gave us.
        let _ = unsafe { libc::sigaction(libc::SIGBUS, BEFORE.load(Ordering::Acquire), ptr::null_mut()) };
    }
}

extern "C" fn on_bus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid structure.
    let told = unsafe { &*info };
    let code = told.si_code;
    // SAFETY: for SIGBUS the union holds an address; of one sent by kill(2) it
    // is not used.
    let at = unsafe { told.si_addr() }.addr();
    if code == BUS_ADRERR && replace(at) {
        return;
    }
    // SAFETY: stored before this handler was set, and never freed.
    let before = unsafe { &*BEFORE.load(Ordering::Acquire) };
    match before.sa_sigaction {
        libc::SIG_IGN if code != BUS_ADRERR => {}
        libc::SIG_IGN | libc::SIG_DFL => {
            super::signal::set_disposition(signal, false);
            if code != BUS_ADRERR {
                // Sent by somebody: it does not come again by itself.
                super::signal::raise(signal); // blocked until we return
            }
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with that flag it is such a function.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without that flag it is such a function.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Replace the page at this address, if it is in a guarded mapping.
fn replace(at: usize) -> bool {
    for slot in slots() {
        // Acquire pairs with the Release of `guard`, which stores `len` last, and
        // before this memory can be touched. The drop of a guard clears it first.
        let len = slot.len.load(Ordering::Acquire);
        let base = slot.base.load(Ordering::Relaxed);
        if at.wrapping_sub(base) >= len {
            continue;
        }
        let page = PAGE.load(Ordering::Relaxed);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let start = ptr::without_provenance_mut(at & !(page - 1));
        // SAFETY: the page lies in a mapping of ours that is guarded for as long
        // as it lives, and its memory is gone already.
        let new = unsafe { libc::mmap(start, page, access, flags, -1, 0) };
        slot.faulted.store(true, Ordering::Release);
        return new != libc::MAP_FAILED;
    }
    false
}

/// The guard of a mapping, until it is dropped. That must be before the mapping is
/// unmapped.
pub(super) struct Guard(&'static Slot);

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Guard").field(&self.faulted()).finish()
    }
}

/// Guard a mapping.
pub(super) fn guard(base: usize, len: usize) -> nix::Result<Guard> {
    install()?;
    let slot = slot();
    slot.faulted.store(false, Ordering::Relaxed);
    slot.base.store(base, Ordering::Relaxed);
    slot.len.store(len, Ordering::Release);
    Ok(Guard(slot))
}

impl Guard {
    /// Whether any of its memory was found to be gone.
    pub(super) fn faulted(&self) -> bool {
        self.0.faulted.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.len.store(0, Ordering::Release);
        self.0.taken.store(false, Ordering::Release);
        uninstall();
    }
}
