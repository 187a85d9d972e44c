//! What a writer checks from time to time: that its ring is there, that the stream is
//! its own, and, if that is wanted, that somebody reads.

use std::sync::atomic::Ordering::Relaxed;

use nix::libc::SIGPIPE;

use super::super::algorithm::Corrupt;
use super::super::layout::{CONSUMED, Owner, lock};
use super::Writer;
use crate::base::error::{Error, ErrorKind, Result};
use crate::shared::memory::Memory;
use crate::sys;

impl Writer {
    /// Check that the present stream is the one that we write.
    pub(super) fn check_stream(&self) -> Result<()> {
        let now = self.handle.stream()?;
        if now == self.stream {
            return Ok(());
        }
        if self.stream.many && (now.ended || now.generation != self.stream.generation) {
            return Err(Error::new(ErrorKind::Gone, self.handle.label(), "its stream was closed meanwhile"));
        }
        Err(self.handle.corrupt(Corrupt("its state was written by another")))
    }

    /// Check that the ring still has its name, and its stream is the one that was
    /// begun. To be asked before [`Writer::end`], after which anybody may remove the
    /// ring.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`]: nobody will read what was written;
    /// [`ErrorKind::Unexpected`] if another process wrote its state.
    pub fn check(&self) -> Result<()> {
        self.handle.check()?;
        if self.stream.many { Ok(()) } else { self.check_stream() }
    }

    /// The same while there is nothing to write; also that somebody reads, if that is
    /// wanted.
    pub(super) fn check_idle(&self) -> Result<()> {
        self.handle.check()?;
        self.check_stream()?;
        self.check_readers()
    }

    /// The same for a loop that may never wait: once in a second.
    pub(super) fn check_now_and_then(&self) -> Result<()> {
        if self.handle.is_due() { self.check_idle() } else { Ok(()) }
    }

    /// End as a pipe ends its writer, if there was a reader and there is none: by SIGPIPE,
    /// or by an error if that is ignored. A name that is away is a reader.
    pub(super) fn check_readers(&self) -> Result<()> {
        if !self.while_read {
            return Ok(());
        }
        for slot in 0..self.handle.ring.slots {
            match self.handle.owner(slot)? {
                Owner::Free => {}
                Owner::Anonymous(generation) if !self.handle.is_held(lock::reader(slot))? => {
                    self.was_read.set(self.was_read.get() || generation == self.stream.generation);
                }
                Owner::Anonymous(_) | Owner::Named(_) => {
                    self.was_read.set(true);
                    return Ok(());
                }
            }
        }
        // One that came and left between two looks has raised CONSUMED.
        let left = self.handle.ring.memory.load(CONSUMED, Relaxed) != self.consumed;
        if !self.was_read.get() && !left {
            return Ok(());
        }
        sys::signal::raise(SIGPIPE);
        Err(Error::new(ErrorKind::Failure, self.handle.label(), "its last reader has gone"))
    }
}
