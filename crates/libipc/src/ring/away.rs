//! Named readers that are away: when they were last seen, and what a writer takes from
//! them rather than wait for ever.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::handle::Handle;
use super::layout::{seen, taken};
use crate::shared::memory::Memory;

/// What a name that is away may hold back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// At most this many bytes.
    pub(super) max_lag: Option<u64>,
    /// Nothing, after it was away for so long.
    pub(super) expire: Option<Duration>,
}

impl Patience {
    /// Whether there is a limit.
    pub(super) fn is_limited(self) -> bool {
        self.max_lag.is_some() || self.expire.is_some()
    }

    /// How many bytes the name in this slot, which is away, may hold back.
    pub(super) fn allows(self, handle: &Handle, slot: usize) -> u64 {
        match self.expire {
            Some(expire) if away(handle, slot) >= expire => 0,
            _ => self.max_lag.unwrap_or(u64::MAX),
        }
    }
}

/// The time since the machine was started.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Note that the named reader in this slot is there.
pub(super) fn stamp(handle: &Handle, slot: usize) {
    let nanoseconds = u64::try_from(now().as_nanos()).unwrap_or(u64::MAX);
    handle.ring.memory.store(seen(slot), nanoseconds, Relaxed);
}

/// How long ago it was last seen. A time that is still to come is from before the
/// machine was started.
fn away(handle: &Handle, slot: usize) -> Duration {
    let (now, seen) = (now(), Duration::from_nanos(handle.ring.memory.load(seen(slot), Relaxed)));
    now.checked_sub(seen).unwrap_or(now)
}

/// The bytes that were taken from a named reader, and not reported to it.
pub(super) fn lost(handle: &Handle, slot: usize) -> u64 {
    handle.ring.memory.load(taken(slot), Relaxed)
}

/// Note that so many were taken: none when they were reported, or the slot is another's.
pub(super) fn set_lost(handle: &Handle, slot: usize, bytes: u64) {
    handle.ring.memory.store(taken(slot), bytes, Relaxed);
}
