//! Sums that tell what was changed from what was stored: FNV-1a with 64 bits, which any language can compute in a few lines.

/// The sum of these bytes.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
