//! Taking a slot of a ring, which may have to be waited for.

use std::sync::atomic::Ordering::Release;
use std::time::Instant;

use super::super::algorithm::{Present, before};
use super::super::arrival::Arrival;
use super::super::away;
use super::super::framing::Framing;
use super::super::handle::{Handle, entry};
use super::super::layout::{Owner, READ, owner};
use super::super::options::{ReadOptions, StartAt};
use super::super::slots::{Slots, check_name};
use super::Reader;
use crate::base::address::Address;
use crate::base::error::{ErrorKind, Result};
use crate::base::wait::Wait;
use crate::fs::entry::Access;
use crate::fs::watch::Watcher;
use crate::shared::memory::Memory;

fn open(address: &Address) -> Result<Handle> {
    Handle::open(address, Access::Write)
}

/// The ring, once it exists, and how it was waited for, if it was.
fn wait_for_ring(address: &Address, wait: &mut Wait) -> Result<(Handle, Option<Waited>)> {
    let mut watcher = None;
    let mut waited = None;
    loop {
        match open(address) {
            Err(error) if error.kind == ErrorKind::Missing => {
                wait.proceed(&address.to_string(), "does not exist yet")?;
            }
            other => {
                wait.reset();
                return Ok((other?, waited));
            }
        }
        match &mut watcher {
            // Look once more before the first sleep: it may have appeared before the
            // watch began, or before writers could see that we wait.
            None => {
                let entry = entry(address).ok();
                waited = Some(Waited { _arrival: entry.as_ref().and_then(Arrival::announce) });
                watcher = Some(Watcher::new(entry));
            }
            Some(watcher) => watcher.wait(&wait.deadline()),
        }
    }
}

/// A reader that was there before the ring.
#[derive(Debug)]
struct Waited {
    _arrival: Option<Arrival>,
}

impl Reader {
    /// Open the ring and take a slot.
    ///
    /// # Errors
    /// - [`ErrorKind::Missing`], or [`ErrorKind::Busy`] and [`ErrorKind::TimedOut`]
    ///   with [`ReadOptions::wait`];
    /// - [`ErrorKind::Denied`]: a reader needs write permission too, for its slot;
    /// - [`ErrorKind::NoRoom`] if live readers and names have all the slots;
    /// - [`ErrorKind::Busy`] if another reader uses the name;
    /// - [`ErrorKind::Failure`] if there is no such position, or no longer;
    /// - [`ErrorKind::Unexpected`] if it is no ring, or corrupt;
    /// - [`ErrorKind::Usage`] for a name that no reader can have.
    pub fn open(address: &Address, options: &ReadOptions, wait: &mut Wait) -> Result<Self> {
        let name = options.name.as_deref();
        name.map_or(Ok(()), |name| check_name(address, name))?;
        let (handle, waited) = if options.wait { wait_for_ring(address, wait)? } else { (open(address)?, None) };
        let slots = Slots(&handle);
        let ring = &handle.ring;
        let (slot, who, at, present, is_new) = slots.with_lock(wait, || {
            let present = handle.present()?;
            let Present { stream, start } = present;
            ring.check_positions().map_err(|corrupt| handle.corrupt(corrupt))?;
            if let Some(name) = name
                && let Some((slot, who)) = slots.find(name)?
            {
                slots.lock_name(slot, name)?;
                let at = slots.resume_position(slot, start)?;
                let who = who.in_generation(stream.generation);
                slots.put(slot, at);
                away::stamp(&handle, slot);
                ring.memory.store(owner(slot), who.encode(), Release);
                return Ok((slot, who, at, present, false));
            }
            let at = slots.start_position(options.start_at, start)?;
            let slot = slots.take()?;
            let who = match name {
                Some(name) => {
                    slots.set_name(slot, name);
                    away::stamp(&handle, slot);
                    away::set_lost(&handle, slot, 0);
                    slots.remember(slot, at.unwrap_or_else(|| ring.oldest(start)));
                    Owner::Named(stream.generation)
                }
                None => Owner::Anonymous(stream.generation),
            };
            let joined = ring.join(slot, who, at, present);
            if let (StartAt::Position(wanted), true) = (options.start_at, at != Some(joined)) {
                // The writer was faster.
                slots.free(slot);
                return Err(slots.gone(wanted, joined.wrapping_sub(start)));
            }
            if name.is_some() {
                slots.put(slot, joined);
            }
            Ok((slot, who, joined, present, true))
        })?;
        // All that was ever written is ours, also what we came too late for.
        let missed =
            if is_new && waited.is_some() && options.start_at == StartAt::Oldest { handle.before(at) } else { 0 };
        // A writer may wait for readers: for those that are there, or on their way.
        drop(waited);
        ring.notify(READ);
        let taken = if is_new { 0 } else { away::lost(&handle, slot) };
        let mut reader = Reader {
            handle,
            options: options.clone(),
            slot,
            who,
            position: at,
            start: present.start,
            overwrite: present.stream.overwrite,
            buffer: Vec::new(),
            stamped: Instant::now(),
            skipping: false,
            unended: false,
            lost: missed.max(taken),
        };
        let chose = is_new && matches!(options.start_at, StartAt::Position(_));
        if (is_new || taken > 0) && !chose && reader.position != reader.start {
            reader.find_record()?;
        }
        Ok(reader)
    }

    /// See to it that a reader which begins at any position begins with a whole record.
    fn find_record(&mut self) -> Result<()> {
        match self.options.framing {
            Framing::Bytes => {}
            Framing::End(end) => {
                let last = self.position.wrapping_sub(1);
                let mut byte = [0];
                self.handle.copy_out(last, &mut byte)?;
                self.skipping = before(last, self.intact()?) || byte != [end];
            }
            Framing::Length => self.go_to_head(),
        }
        Ok(())
    }
}
