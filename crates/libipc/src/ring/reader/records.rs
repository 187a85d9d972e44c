//! What a reader passes on through a buffer of its own: whole records, and bytes that
//! may be overwritten meanwhile.

use std::os::fd::BorrowedFd;

use super::super::algorithm::{Corrupt, before};
use super::{Reader, write};
use crate::base::error::Result;
use crate::fs::copy::{self, STEP};

/// The longest record that is passed on as a whole; memory is needed for it.
const LONGEST: usize = 64 << 20;

impl Reader {
    /// Copy the bytes that are `there` out of the ring, and write the intact ones; with
    /// `whole`, whole records only. Returns how many bytes are left.
    pub(super) fn copy_through(&mut self, out: BorrowedFd<'_>, there: u64, whole: bool, left: &mut u64) -> Result<u64> {
        let end = self.position.wrapping_add(there);
        let mut most = STEP;
        loop {
            self.jump();
            let there = if before(self.position, end) { end.wrapping_sub(self.position) } else { 0 };
            if there == 0 || *left == 0 {
                return Ok(there);
            }
            if there > self.handle.ring.capacity {
                return Err(self.handle.corrupt(Corrupt("its positions are impossible")));
            }
            let (begin, len) = (self.position, there.min(most as u64) as usize);
            self.read_ahead(len)?;
            // Leave behind what was overwritten meanwhile, and the rest of a record
            // whose beginning we do not have.
            self.jump();
            self.skip(begin);
            let done = (self.position.wrapping_sub(begin)).min(len as u64) as usize;
            if done == len {
                continue;
            }
            let seen_all = len as u64 == there;
            let (cut, records) = match self.cut(&self.buffer[done..], *left) {
                (0, _) if seen_all && whole => return Ok((len - done) as u64),
                (0, _) if seen_all || len - done >= LONGEST => (len - done, 0),
                cut => cut,
            };
            if cut > 0 {
                let bytes = &self.buffer[done..done + cut];
                self.unended = bytes.last().copied() != self.options.end;
                write(out, bytes)?;
                self.consume(cut as u64);
                *left -= records;
            } else {
                most = most.saturating_mul(2);
            }
        }
    }

    /// Fill the buffer with `len` bytes from the position on.
    fn read_ahead(&mut self, len: usize) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        copy::grow(&mut buffer, len, self.handle.label())?;
        buffer.truncate(len);
        self.handle.copy_out(self.position, &mut buffer)?;
        self.buffer = buffer;
        Ok(())
    }

    /// How many of the bytes to write, and how many records, or bytes, that is.
    fn cut(&self, bytes: &[u8], left: u64) -> (usize, u64) {
        let Some(end) = self.options.end else {
            let len = (bytes.len() as u64).min(left);
            return (len as usize, len);
        };
        if left == u64::MAX {
            return (memchr::memrchr(end, bytes).map_or(0, |at| at + 1), 0);
        }
        let (mut cut, mut records) = (0, 0);
        while records < left
            && let Some(at) = memchr::memchr(end, &bytes[cut..])
        {
            cut += at + 1;
            records += 1;
        }
        (cut, records)
    }

    /// Go on behind what was overwritten.
    fn jump(&mut self) {
        if !self.overwrite {
            return;
        }
        let oldest = self.handle.ring.intact();
        if before(self.position, oldest) {
            let gone = oldest.wrapping_sub(self.position);
            self.lost = self.lost.saturating_add(gone);
            self.consume(gone);
            self.skipping = self.options.end.is_some();
        }
    }

    /// Skip the rest of a record whose beginning we do not have, as far as the buffer
    /// goes, which was filled from the position `begin` on.
    fn skip(&mut self, begin: u64) {
        let (true, Some(end)) = (self.skipping, self.options.end) else { return };
        let from = self.position.wrapping_sub(begin).min(self.buffer.len() as u64) as usize;
        let bytes = &self.buffer[from..];
        let at = memchr::memchr(end, bytes);
        let len = at.map_or(bytes.len(), |at| at + 1) as u64;
        self.skipping = at.is_none();
        if self.lost > 0 {
            self.lost += len;
        }
        self.consume(len);
    }
}
