//! What server and caller say to each other over the caller's socket, after the secret.
//! ipcutils-message(5) has the layout.

use super::envelope::number_at;

/// Bytes of a frame.
pub(super) const SIZE: usize = 16;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It works on the call. It wants the caller's descriptors if the value is 1.
    Take,
    /// So many bytes of the answer follow.
    Out,
    /// The call has ended with this status.
    End,
}

/// A frame: of which call, and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) what: What,
    pub(super) call: u32,
    pub(super) value: u64,
}

impl Frame {
    pub(super) fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&(self.what as u32 + 1).to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.call.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.value.to_ne_bytes());
        bytes
    }

    /// Read a frame; None if it is none.
    pub(super) fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        let what = match number_at(bytes, 0) {
            1 => What::Take,
            2 => What::Out,
            3 => What::End,
            _ => return None,
        };
        let value = u64::from_ne_bytes(std::array::from_fn(|i| bytes[8 + i]));
        Some(Frame { what, call: number_at(bytes, 4), value })
    }
}
