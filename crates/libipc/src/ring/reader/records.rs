//! What a reader passes on through a buffer of its own: whole records, and bytes that
//! may be overwritten meanwhile.

use super::super::algorithm::{Corrupt, before};
use super::super::framing::Framing;
use super::{Output, Part, Reader, write};
use crate::base::error::{Error, ErrorKind, Result};
use crate::fs::copy::{self, Control, STEP};

/// The longest record that is passed on as a whole; memory is needed for it.
const LONGEST: usize = 64 << 20;

impl Reader {
    /// Copy the bytes that are `there` out of the ring, and pass on the intact ones; whole
    /// records only, unless a `part` may be passed on. Returns how many bytes are left.
    pub(super) fn copy_through(
        &mut self,
        out: &mut Output<'_>,
        there: u64,
        part: Part,
        left: &mut u64,
        control: &mut Control<'_>,
    ) -> Result<u64> {
        let end = self.position.wrapping_add(there);
        let mut most = STEP;
        loop {
            self.jump()?;
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
            self.jump()?;
            self.skip(begin);
            let done = (self.position.wrapping_sub(begin)).min(len as u64) as usize;
            if done == len {
                continue;
            }
            let seen_all = len as u64 == there;
            let bytes = &self.buffer[done..];
            let one = matches!(out, Output::Records(_));
            let (cut, records) = match self.options.framing.whole(bytes, if one { 1 } else { *left }) {
                (0, _) if seen_all && part == Part::Never => return self.keep(bytes),
                (0, _) if seen_all || bytes.len() >= LONGEST => {
                    self.check_part(one, if seen_all { part } else { Part::First })?;
                    (bytes.len(), 0)
                }
                cut => cut,
            };
            if cut > 0 {
                let bytes = &self.buffer[done..done + cut];
                match out {
                    Output::Descriptor(out) => {
                        self.unended = matches!(self.options.framing, Framing::End(end) if bytes.last() != Some(&end));
                        write(*out, bytes)?;
                    }
                    Output::Records(pass) => {
                        if !pass(bytes)? {
                            *left = 0;
                            return Ok(0);
                        }
                    }
                }
                self.consume(cut as u64);
                control.moved(cut);
                *left = left.saturating_sub(if *left == u64::MAX { 0 } else { records });
            } else {
                most = most.saturating_mul(2);
            }
        }
    }

    /// Bytes that are no whole record yet stay; their number. A length that no record in
    /// the ring can have is refused.
    fn keep(&self, bytes: &[u8]) -> Result<u64> {
        if self.options.framing == Framing::Length
            && self.options.framing.first(bytes).is_some_and(|len| len > self.handle.ring.capacity)
        {
            return Err(self.no_record("has no records with their lengths before them"));
        }
        Ok(bytes.len() as u64)
    }

    /// Check that a part of a record, which has no end or does not fit, may be passed on.
    fn check_part(&self, one: bool, part: Part) -> Result<()> {
        match (self.options.framing, part) {
            (Framing::Length, _) => Err(self.no_record("has no records with their lengths before them")),
            (_, Part::Last) => Ok(()),
            _ if one => Err(self.no_record("has a record that does not fit into the ring")),
            _ => Ok(()),
        }
    }

    fn no_record(&self, problem: &str) -> Error {
        Error::new(ErrorKind::Unexpected, self.handle.label(), problem)
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

    /// Go on behind what was overwritten.
    fn jump(&mut self) -> Result<()> {
        if !self.overwrite {
            return self.check_intact();
        }
        let oldest = self.intact()?;
        if before(self.position, oldest) {
            let gone = oldest.wrapping_sub(self.position);
            self.lost = self.lost.saturating_add(gone);
            self.consume(gone);
            match self.options.framing {
                Framing::Bytes => {}
                Framing::End(_) => self.skipping = true,
                Framing::Length => self.go_to_head(),
            }
        }
        Ok(())
    }

    /// Skip the rest of a record whose beginning we do not have, as far as the buffer
    /// goes, which was filled from the position `begin` on.
    fn skip(&mut self, begin: u64) {
        let (true, Framing::End(end)) = (self.skipping, self.options.framing) else { return };
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
