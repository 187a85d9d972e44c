//! A byte stream in records, each ended by one byte. No more than one record and a
//! block are held in memory.

use std::ops::Range;
use std::os::fd::BorrowedFd;

use libipc::fs::copy::{self, STEP};
use libipc::fs::input::Input;
use libipc::ring::Framing;
use libipc::{Error, ErrorKind, Result};

/// The records of an input.
#[derive(Debug)]
pub struct Records<'i> {
    input: &'i Input<'i>,
    end: u8,
    framing: Framing,
    longest: usize,
    buffer: Vec<u8>,
    /// The part of the buffer from here to `filled` was read and not given out.
    begin: usize,
    filled: usize,
    at_end: bool,
}

impl<'i> Records<'i> {
    /// The records of an input, of at most `longest` bytes. Each ends with the byte
    /// `end`; the last may lack it.
    pub fn new(input: &'i Input<'i>, end: u8, longest: usize) -> Self {
        Records { end, ..Self::framed(input, Framing::End(end), longest) }
    }

    /// Records of this framing, for [`Records::some`].
    pub fn framed(input: &'i Input<'i>, framing: Framing, longest: usize) -> Self {
        let end = if let Framing::End(end) = framing { end } else { 0 };
        Records { input, end, framing, longest, buffer: Vec::new(), begin: 0, filled: 0, at_end: false }
    }

    /// The next record without its end; None after the last. The flag says whether the
    /// input was read for it, which may have taken long.
    ///
    /// # Errors
    /// [`Failure`](libipc::ErrorKind::Failure) if the input cannot be read;
    /// [`NoRoom`](libipc::ErrorKind::NoRoom) without
    /// memory for a record; `too_long` for a record of more than `longest` bytes.
    pub fn next(&mut self, too_long: impl FnOnce() -> Error) -> Result<Option<(&[u8], bool)>> {
        match self.next_range(|_| Ok(()))? {
            Some((record, _)) if record.len() > self.longest => Err(too_long()),
            Some((record, waited)) => Ok(Some((&self.buffer[record], waited))),
            None => Ok(None),
        }
    }

    /// Whether a whole record was read already.
    pub fn has_whole(&self) -> bool {
        memchr::memchr(self.end, &self.buffer[self.begin..self.filled]).is_some()
    }

    /// The place of the next record in the buffer. `wait` is called before each read.
    fn next_range(&mut self, wait: impl Fn(BorrowedFd<'_>) -> Result<()>) -> Result<Option<(Range<usize>, bool)>> {
        let (mut searched, mut waited) = (0, false);
        loop {
            let unread = &self.buffer[self.begin..self.filled];
            if let Some(at) = memchr::memchr(self.end, &unread[searched..]) {
                let record = self.begin..self.begin + searched + at;
                self.begin = record.end + 1;
                return Ok(Some((record, waited)));
            }
            searched = unread.len();
            if searched > self.longest || self.at_end {
                let record = self.begin..self.filled;
                self.begin = self.filled;
                return Ok((!record.is_empty()).then_some((record, waited)));
            }
            self.fill(&wait)?;
            waited = true;
        }
    }

    /// Read more of the input. `wait` is called before.
    fn fill(&mut self, wait: impl Fn(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        // A rest goes to the front, so that no more of the buffer is touched than the
        // records need.
        self.buffer.copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.begin = 0;
        let end = self.filled.saturating_add(STEP);
        self.grow(end)?;
        wait(self.input.fd())?;
        let n = copy::read(self.input.fd(), &mut self.buffer[self.filled..end], self.input.label())?;
        self.filled += n;
        self.at_end = n == 0;
        Ok(())
    }

    /// Make the buffer at least this long. It doubles, up to what the longest record
    /// needs: that length may be a lie, so memory for it is not taken at once.
    fn grow(&mut self, least: usize) -> Result<()> {
        let now = self.buffer.len();
        if least <= now {
            return Ok(());
        }
        let most = self.longest.saturating_add(1).saturating_add(STEP);
        let wanted = least.max(most.min(now.saturating_mul(2)));
        copy::grow(&mut self.buffer, wanted, self.input.label())
    }

    /// All records that are there, at least one, with their ends; None after the last.
    ///
    /// The last record of the input may lack the byte that ends it, unless `complete` is set. Of a
    /// record longer than `longest` the part comes that is there.
    ///
    /// # Errors
    /// Those of [`Records::next`], and of `wait`, which waits for input.
    pub fn some(&mut self, complete: bool, wait: impl Fn(BorrowedFd<'_>) -> Result<()>) -> Result<Option<&[u8]>> {
        if self.framing == Framing::Length {
            return self.some_with_lengths(wait);
        }
        let Some((first, _)) = self.next_range(wait)? else { return Ok(None) };
        if complete && self.at_end {
            // Where the input ended there was room for more.
            self.buffer[self.begin] = self.end;
            self.begin += 1;
            self.filled += 1;
        }
        if let Some(at) = memchr::memrchr(self.end, &self.buffer[self.begin..self.filled]) {
            self.begin += at + 1;
        }
        Ok(Some(&self.buffer[first.start..self.begin]))
    }

    fn some_with_lengths(&mut self, wait: impl Fn(BorrowedFd<'_>) -> Result<()>) -> Result<Option<&[u8]>> {
        loop {
            let there = &self.buffer[self.begin..self.filled];
            let (whole, _) = self.framing.whole(there, u64::MAX);
            // The part of one that is too long, as of other records.
            let too_long = self.framing.first(there).is_some_and(|len| len > self.longest as u64);
            let len = if whole == 0 && too_long { there.len() } else { whole };
            if len > 0 {
                self.begin += len;
                return Ok(Some(&self.buffer[self.begin - len..self.begin]));
            }
            if self.at_end && there.is_empty() {
                return Ok(None);
            }
            if self.at_end {
                let problem = "ends within a record, whose length stands before it";
                return Err(Error::new(ErrorKind::Failure, self.input.label(), problem));
            }
            self.fill(&wait)?;
        }
    }
}

/// The whole input.
///
/// # Errors
/// Those of [`Records::next`].
pub fn whole(input: &Input<'_>, longest: usize, too_long: impl FnOnce() -> Error) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut block = Vec::new();
    copy::grow(&mut block, longest.saturating_add(1).min(STEP), input.label())?;
    loop {
        match copy::read(input.fd(), &mut block, input.label())? {
            0 => return Ok(bytes),
            n if bytes.len() + n > longest => return Err(too_long()),
            n => {
                let have = bytes.len();
                copy::grow(&mut bytes, have + n, input.label())?;
                bytes[have..].copy_from_slice(&block[..n]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libipc::ErrorKind;
    use proptest::prelude::*;
    use std::io::{Seek, Write};
    use std::os::fd::AsFd;

    /// The records of `input`, and whether one was too long.
    fn split(input: &[u8], longest: usize) -> (Vec<Vec<u8>>, bool) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input).unwrap();
        file.rewind().unwrap();
        let input = Input::new(file.as_fd(), "a file").unwrap();
        let mut records = Records::new(&input, b'\n', longest);
        let mut found = Vec::new();
        loop {
            match records.next(|| Error::new(ErrorKind::NoRoom, "a record", "is too long")) {
                Err(error) if error.kind == ErrorKind::NoRoom => return (found, true),
                Ok(Some((record, _))) => found.push(record.to_vec()),
                Ok(None) => return (found, false),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn records_with_and_without_a_last_end() {
        let lines = |lines: &[&str]| (lines.iter().map(|line| line.as_bytes().to_vec()).collect(), false);
        assert_eq!(split(b"", 10), lines(&[]));
        assert_eq!(split(b"\n", 10), lines(&[""]));
        assert_eq!(split(b"a", 10), lines(&["a"]));
        assert_eq!(split(b"a\n\nb\n", 10), lines(&["a", "", "b"]));
        assert_eq!(split(b"a\n\nb", 1), lines(&["a", "", "b"]));
        assert_eq!(split(b"a\nbc\nd\n", 1), (vec![b"a".to_vec()], true));
        assert_eq!(split(b"\n\n", 0), lines(&["", ""]));
        assert_eq!(split(b"a", 0), (vec![], true));
    }

    #[test]
    fn records_with_their_lengths() {
        let some = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            let input = Input::new(file.as_fd(), "a file").unwrap();
            let mut records = Records::framed(&input, Framing::Length, 10);
            let first = records.some(false, |_| Ok(())).map(|some| some.map(<[u8]>::to_vec));
            let last = first.is_ok().then(|| records.some(false, |_| Ok(())).map(|some| some.map(<[u8]>::to_vec)));
            (first.map_err(|error| error.kind), last.map(|last| last.map_err(|error| error.kind)))
        };
        let whole = b"\x01\0\0\0a\0\0\0\0";
        assert_eq!(some(whole), (Ok(Some(whole.to_vec())), Some(Ok(None))));
        assert_eq!(some(b""), (Ok(None), Some(Ok(None))));
        assert_eq!(some(&whole[..7]), (Ok(Some(whole[..5].to_vec())), Some(Err(ErrorKind::Failure))));
        assert_eq!(some(b"\x07\0\0\0ab").0, Ok(Some(b"\x07\0\0\0ab".to_vec())), "too long for its place");
    }

    #[test]
    fn all_records_that_are_there() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\n\nb\nrest").unwrap();
        file.rewind().unwrap();
        let input = Input::new(file.as_fd(), "a file").unwrap();
        let mut records = Records::new(&input, b'\n', 10);
        assert_eq!(records.some(false, |_| Ok(())).unwrap(), Some(&b"a\n\nb\n"[..]));
        assert_eq!(records.some(false, |_| Ok(())).unwrap(), Some(&b"rest"[..]));
        assert_eq!(records.some(false, |_| Ok(())).unwrap(), None);
    }

    #[test]
    fn records_across_the_ends_of_blocks() {
        for length in [STEP - 1, STEP, STEP + 1, 3 * STEP / 2] {
            let long = vec![b'x'; length];
            let input = [b"first".as_slice(), &long, &long, b"last"].join(&b'\n');
            let (found, too_long) = split(&input, length);
            assert!(!too_long);
            assert_eq!(found, [b"first".to_vec(), long.clone(), long, b"last".to_vec()]);
            assert!(split(&input, length - 1).1);
        }
    }

    proptest! {
        /// The records of any bytes are what the standard library would split them into.
        #[test]
        fn fuzz_records(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60),
            longest in 0..20_usize,
        ) {
            let mut expected: Vec<_> = input.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            // After the last end there is no record.
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }
            let fit = expected.iter().take_while(|record| record.len() <= longest).count();
            let too_long = fit < expected.len();
            expected.truncate(fit);
            prop_assert_eq!(split(&input, longest), (expected, too_long));
        }
    }
}
