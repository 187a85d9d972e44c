//! System V keys: key_t and ftok(3).

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// A System V key (key_t), never 0, which is IPC_PRIVATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(super) i32);

impl Key {
    /// The key with this number; None for 0.
    pub fn new(key: i32) -> Option<Self> {
        (key != 0).then_some(Key(key))
    }

    /// The number, as shmget(2) takes it.
    pub fn get(self) -> i32 {
        self.0
    }
}

/// `0x` and eight hexadecimal digits, as ipcs(1) prints it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// The project identifier of ftok(3): 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proj(u8);

impl Default for Proj {
    fn default() -> Self {
        Proj(1)
    }
}

impl Proj {
    /// Read a number from 1 to 255, or one character that is no digit; None for
    /// anything else.
    pub fn parse(text: &OsStr) -> Option<Self> {
        match text.as_bytes() {
            [byte] if !byte.is_ascii_digit() => Some(Proj(*byte)),
            digits if !digits.is_empty() && digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
                let number: u8 = std::str::from_utf8(digits).ok()?.parse().ok()?;
                (number > 0).then_some(Proj(number))
            }
            _ => None,
        }
    }

    /// The number, 1 to 255.
    pub fn get(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_a2_a3_proj() {
        let proj = |text: &str| Proj::parse(OsStr::new(text)).map(|p| p.0);
        assert_eq!(proj("a"), Some(97));
        assert_eq!(proj("9"), Some(9));
        assert_eq!(proj("255"), Some(255));
        for text in ["", "0", "000", "256", "257", "-1", "ab", "+1", "é", "0001"] {
            assert_eq!(proj(text), None, "{text:?}");
        }
    }
}
