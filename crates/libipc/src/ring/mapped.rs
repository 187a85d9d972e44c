//! A ring's words in a mapping of its object.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::algorithm::Memory;
use crate::sys::futex;
use crate::sys::memory::Region;

/// A mapping of a whole ring, guarded. Every offset of the layout is within it:
/// that was checked when it was opened.
#[derive(Debug)]
pub(super) struct Mapped(pub(super) Region);

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
            // Whatever ended it, the caller looks again.
            let _ = futex::wait(word, expected, timeout);
        }
    }

    fn wake(&self, at: usize) {
        if let Some(word) = self.0.word(at) {
            let _ = futex::wake(word, i32::MAX);
        }
    }
}
