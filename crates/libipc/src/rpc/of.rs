//! The queue of which a claim or a body is, as its first bytes say.

use std::os::unix::fs::MetadataExt;

/// A queue, as every process of its IPC namespace finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Of {
    /// Its address.
    pub address: String,
    /// Whether it is a queue of System V.
    pub sysv: bool,
    namespace: u64,
}

// Where each number is, from the place of an `Of` on.
const NAMESPACE: usize = 0;
pub(super) const PID: usize = 8;
pub(super) const SYSV: usize = 12;
pub(super) const LENGTH: usize = 16;
pub(super) const ADDRESS: usize = 24;

impl Of {
    pub(super) fn new(address: String, sysv: bool) -> Self {
        let namespace = std::fs::metadata("/proc/self/ns/ipc").map_or(0, |namespace| namespace.ino());
        Of { address, sysv, namespace }
    }

    /// Write it, and the number of this process, over all these bytes.
    pub(super) fn put(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(NAMESPACE, &self.namespace.to_ne_bytes());
        put(PID, &std::process::id().to_ne_bytes());
        put(SYSV, &u32::from(self.sysv).to_ne_bytes());
        // An address is a name of 255 bytes, each of which may be written as four.
        put(LENGTH, &(self.address.len() as u64).to_ne_bytes());
        put(ADDRESS, self.address.as_bytes());
    }
}
