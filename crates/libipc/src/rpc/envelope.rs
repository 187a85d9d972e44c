//! The message of a call: where its caller waits, and until when.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::UnixAddr;
use nix::time::{ClockId, clock_gettime};

use crate::base::error::{Error, ErrorKind, Result};
use crate::fs::temporary::{LETTERS, letters};

const MAGIC: [u8; 8] = *b"\x89ipccall";
const VERSION: u32 = 1;
const ORDER: u32 = 0x0102_0304;

// Where each part is.
const VERSION_AT: usize = 8;
const ORDER_AT: usize = 12;
const LETTERS_AT: usize = 16;
const SECRET_AT: usize = 32;
const DEADLINE_AT: usize = 48;
const CALL_AT: usize = 56;
/// One more than the bytes of the request that follows; 0 if the caller has it.
const FOLLOWS_AT: usize = 60;
/// Its length in bytes, without a request that follows.
pub(super) const SIZE: usize = 64;

/// Bytes that only those know who may receive from the queue.
pub(super) type Secret = [u8; 16];

/// What a server must know of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Tell its caller's socket from others.
    pub(super) letters: [u8; LETTERS],
    /// To be shown to the caller.
    pub(super) secret: Secret,
    /// When the caller waits no longer, on CLOCK_MONOTONIC.
    deadline: Option<Duration>,
    /// Which call of its caller this is.
    pub(super) call: u32,
    /// How many bytes of the request follow in the message; None if the caller has it.
    pub(super) follows: Option<u32>,
}

/// The number at this place of bytes that are long enough.
pub(super) fn number_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// Whether a message begins as a call.
pub fn is_call(message: &[u8]) -> bool {
    message.starts_with(&MAGIC)
}

/// The time on CLOCK_MONOTONIC.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

impl Envelope {
    /// Of a new caller.
    pub(super) fn new() -> Result<Self> {
        let mut secret = Secret::default();
        getrandom::fill(&mut secret).map_err(|error| match error.raw_os_error() {
            Some(errno) => Error::errno("a secret", Errno::from_raw(errno)),
            None => Error::new(ErrorKind::Failure, "a secret", format!("cannot be made: {error}")),
        })?;
        Ok(Envelope { letters: letters(), secret, deadline: None, call: 0, follows: None })
    }

    /// Of the next call of this caller, who waits for it so long.
    pub(super) fn next(&self, wait: Option<Duration>, follows: Option<u32>) -> Self {
        let deadline = wait.and_then(|wait| now().checked_add(wait));
        Envelope { deadline, call: self.call.wrapping_add(1), follows, ..*self }
    }

    /// How long the caller still waits; None without end.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(now()))
    }

    /// The name of the caller's socket: unix(7), abstract, so that nothing of it is left
    /// when the caller ends.
    pub(super) fn socket(&self) -> Result<UnixAddr> {
        let name = [&b"ipcutils.call."[..], &self.letters].concat();
        UnixAddr::new_abstract(&name).map_err(|errno| Error::errno("a socket", errno))
    }

    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, &MAGIC);
        put(VERSION_AT, &VERSION.to_ne_bytes());
        put(ORDER_AT, &ORDER.to_ne_bytes());
        put(LETTERS_AT, &self.letters);
        put(SECRET_AT, &self.secret);
        let nanos = self.deadline.map_or(0, |deadline| u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX));
        put(DEADLINE_AT, &nanos.to_ne_bytes());
        put(CALL_AT, &self.call.to_ne_bytes());
        put(FOLLOWS_AT, &self.follows.map_or(0, |bytes| bytes.saturating_add(1)).to_ne_bytes());
        bytes
    }

    /// The length of its message.
    pub(super) fn length(&self) -> usize {
        SIZE + self.follows.map_or(0, |bytes| bytes as usize)
    }

    /// Read the beginning of a message of this length, if that is known. None if it is
    /// none of a call; an error says in which way it is corrupt.
    pub(super) fn decode(beginning: &[u8], length: Option<usize>) -> Option<std::result::Result<Self, &'static str>> {
        if !is_call(beginning) {
            return None;
        }
        Some(Self::decode_body(beginning, length))
    }

    fn decode_body(beginning: &[u8], length: Option<usize>) -> std::result::Result<Self, &'static str> {
        let Some(bytes) = beginning.first_chunk::<SIZE>() else { return Err("it has another length") };
        if number_at(bytes, ORDER_AT) != ORDER {
            return Err("it has another byte order");
        }
        if number_at(bytes, VERSION_AT) != VERSION {
            return Err("it has another version");
        }
        let letters: [u8; LETTERS] = std::array::from_fn(|i| bytes[LETTERS_AT + i]);
        if !letters.iter().all(u8::is_ascii_lowercase) {
            return Err("its socket has an impossible name");
        }
        if bytes[LETTERS_AT + LETTERS..SECRET_AT].iter().any(|&byte| byte != 0) {
            return Err("its unused bytes are not zero");
        }
        let nanos = u64::from_ne_bytes(std::array::from_fn(|i| bytes[DEADLINE_AT + i]));
        let deadline = (nanos != 0).then(|| Duration::from_nanos(nanos));
        let secret = std::array::from_fn(|i| bytes[SECRET_AT + i]);
        let follows = number_at(bytes, FOLLOWS_AT).checked_sub(1);
        let envelope = Envelope { letters, secret, deadline, call: number_at(bytes, CALL_AT), follows };
        if length.is_some_and(|length| length != envelope.length()) {
            return Err("it has another length");
        }
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_no_other_bytes_are_a_call() {
        let decode = |message: &[u8]| Envelope::decode(message, Some(message.len()));
        let envelope = Envelope::new().expect("random bytes").next(Some(Duration::from_secs(9)), None);
        let bytes = envelope.encode();
        assert_eq!(decode(&bytes), Some(Ok(envelope)));
        assert_eq!(decode(b"\x89ipccal"), None);
        assert_eq!(decode(b""), None);
        for length in [8, 63] {
            assert!(matches!(decode(&bytes[..length]), Some(Err(_))));
        }
        assert!(matches!(decode(&[&bytes[..], b"x"].concat()), Some(Err(_))));
        let with_request = Envelope { follows: Some(1), ..envelope };
        assert_eq!(decode(&[&with_request.encode()[..], b"x"].concat()), Some(Ok(with_request)));
        // Each flipped bit is another call, a corrupt one or none, and never this one.
        for bit in 0..SIZE * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(decode(&bytes), Some(Ok(envelope)));
        }
    }
}
