//! How the records of a stream are told apart.

/// Where each record of a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There are no records, but bytes.
    #[default]
    Bytes,
    /// With this byte.
    End(u8),
    /// Its length, four bytes with the lowest first, stands before it.
    Length,
}

impl Framing {
    /// The bytes of a length.
    pub const PREFIX: usize = 4;

    /// How many bytes the first record takes with its frame, if these bytes say so. They
    /// may not be all of it.
    pub fn first(self, bytes: &[u8]) -> Option<u64> {
        match self {
            Framing::Bytes => Some(bytes.len() as u64),
            Framing::End(end) => memchr::memchr(end, bytes).map(|at| at as u64 + 1),
            Framing::Length => {
                let (length, _) = bytes.split_first_chunk()?;
                Some(u64::from(u32::from_le_bytes(*length)) + Self::PREFIX as u64)
            }
        }
    }

    /// How many of the bytes whole records take, of which `most` are wanted, and how
    /// many records, or bytes, that is. They are not counted if all are wanted.
    pub fn whole(self, bytes: &[u8], most: u64) -> (usize, u64) {
        match self {
            Framing::Bytes => {
                let len = (bytes.len() as u64).min(most);
                return (len as usize, len);
            }
            Framing::End(end) if most == u64::MAX => {
                return (memchr::memrchr(end, bytes).map_or(0, |at| at + 1), 0);
            }
            Framing::End(_) | Framing::Length => {}
        }
        let (mut cut, mut records) = (0, 0);
        while records < most
            && let rest = &bytes[cut..]
            && let Some(len) = self.first(rest)
            && len <= rest.len() as u64
        {
            cut += len as usize;
            records += 1;
        }
        (cut, if most == u64::MAX { 0 } else { records })
    }

    /// The record without its frame; a line keeps its end.
    pub fn content(self, record: &[u8]) -> &[u8] {
        match self {
            Framing::End(0) => record.strip_suffix(&[0]).unwrap_or(record),
            Framing::Length => record.get(Self::PREFIX..).unwrap_or_default(),
            Framing::Bytes | Framing::End(_) => record,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_each_framing() {
        let framed = b"\x02\0\0\0ab\0\0\0\0\x05\0\0\0abc";
        assert_eq!(Framing::Length.first(framed), Some(6));
        assert_eq!(Framing::Length.first(b"\xff\xff\xff\xff"), Some((1 << 32) + 3));
        assert_eq!(Framing::Length.first(b"\xff\xff\xff"), None);
        assert_eq!(Framing::Length.whole(framed, u64::MAX), (10, 0));
        assert_eq!(Framing::Length.whole(framed, 1), (6, 1));
        assert_eq!(Framing::Length.whole(framed, 9), (10, 2));
        assert_eq!(Framing::Length.content(&framed[..6]), b"ab");
        assert_eq!(Framing::End(b'\n').whole(b"a\nb\nc", u64::MAX), (4, 0));
        assert_eq!(Framing::End(b'\n').whole(b"a\nb\nc", 1), (2, 1));
        assert_eq!(Framing::End(0).whole(b"a", 1), (0, 0));
        assert_eq!(Framing::End(0).content(b"a\0"), b"a");
        assert_eq!(Framing::Bytes.whole(b"abc", 2), (2, 2));
    }
}
