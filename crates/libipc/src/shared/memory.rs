//! The words themselves: a trait, and the mapping that the tools use.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use crate::sys::futex;
use crate::sys::memory::Region;

/// Words in memory that others share, at offsets in bytes.
pub(crate) trait Memory {
    fn load(&self, at: usize, order: Ordering) -> u64;
    fn store(&self, at: usize, value: u64, order: Ordering);
    /// Compare and exchange, with the order on success; whether it was done.
    fn exchange(&self, at: usize, from: u64, to: u64, order: Ordering) -> bool;
    fn load32(&self, at: usize, order: Ordering) -> u32;
    fn store32(&self, at: usize, value: u32, order: Ordering);
    /// Add 1, wrapping.
    fn increment32(&self, at: usize, order: Ordering);
    /// A fence of sequential consistency.
    fn fence(&self);
    /// Sleep while the word is `expected`, at most this long.
    fn sleep(&self, at: usize, expected: u32, timeout: Duration);
    /// Wake all who sleep on the word.
    fn wake(&self, at: usize);
}

/// A mapping of a whole object, guarded. Every offset that is used is within it:
/// that was checked when it was opened.
#[derive(Debug)]
pub(crate) struct Mapped(pub(crate) Region);

impl Memory for Mapped {
    fn load(&self, at: usize, order: Ordering) -> u64 {
        self.0.long(at).map_or(0, |long| long.load(order))
    }

    fn store(&self, at: usize, value: u64, order: Ordering) {
        if let Some(long) = self.0.long(at) {
            long.store(value, order);
        }
    }

    fn exchange(&self, at: usize, from: u64, to: u64, order: Ordering) -> bool {
        self.0.long(at).is_none_or(|long| long.compare_exchange(from, to, order, Ordering::Relaxed).is_ok())
    }

    fn load32(&self, at: usize, order: Ordering) -> u32 {
        self.0.word(at).map_or(0, |word| word.load(order))
    }

    fn store32(&self, at: usize, value: u32, order: Ordering) {
        if let Some(word) = self.0.word(at) {
            word.store(value, order);
        }
    }

    fn increment32(&self, at: usize, order: Ordering) {
        if let Some(word) = self.0.word(at) {
            word.fetch_add(1, order);
        }
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    fn sleep(&self, at: usize, expected: u32, timeout: Duration) {
        if let Some(word) = self.0.word(at) {
            // Whatever ended the sleep, the caller looks again.
            let _ = futex::wait(word, expected, timeout);
        }
    }

    fn wake(&self, at: usize) {
        if let Some(word) = self.0.word(at) {
            let _ = futex::wake(word, i32::MAX);
        }
    }
}
