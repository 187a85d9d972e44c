//! The content of a lock's object: ipcutils-lock(5).
//!
//! Numbers have the machine's byte order, which a mark records. Others may write
//! anything here, so each number is checked, or is a hint that is only shown.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::address::{Address, Kind, KindAddress};
use crate::base::error::{Error, ErrorKind, Hint, Result, errno_of};
use crate::fs::kind::{LOCK_MAGIC, is_no};
use crate::process::life;

/// The object's size in bytes.
pub(super) const SIZE: u64 = 4096;
/// Bytes of it in use.
const USED: usize = 48;
const VERSION: u32 = 1;
const ORDER: u32 = 0x0102_0304;

// Where each number is.
const VERSION_AT: usize = 8;
const ORDER_AT: usize = 12;
const USED_AT: usize = 16;
/// The mark of the last holder: [`FREE`] or [`HELD`].
const STATE_AT: usize = 20;
/// The condition's sequence counter, a futex.
pub(super) const SEQUENCE_AT: usize = 24;
/// The last holder: process, PID namespace, nanoseconds since 1970.
const PID_AT: usize = 28;
const NAMESPACE_AT: usize = 32;
const SINCE_AT: usize = 40;

/// The last holder ended properly, or there was none.
const FREE: u32 = 0;
/// There is a holder, or the last one died inside.
const HELD: u32 = 1;

/// The process that left the mark of a holder, as it said itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number in its own PID namespace.
    pub pid: u32,
    /// The inode of that namespace: pid_namespaces(7).
    pub namespace: u64,
    /// When it took the lock.
    pub since: SystemTime,
}

impl Holder {
    /// This process, from now on.
    fn us() -> Self {
        let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
        Holder { pid: std::process::id(), namespace, since: SystemTime::now() }
    }

    /// Whether the process has ended. Its command may still hold the lock. None for a
    /// process of another PID namespace, which has another number here.
    pub fn has_ended(&self) -> Option<bool> {
        let ours = self.namespace == Holder::us().namespace;
        ours.then(|| life::ended_since(i32::try_from(self.pid).unwrap_or(0), self.since))
    }

    fn decode(content: &[u8; USED]) -> Self {
        Holder {
            pid: number(content, PID_AT),
            namespace: long(content, NAMESPACE_AT),
            since: UNIX_EPOCH + Duration::from_nanos(long(content, SINCE_AT)),
        }
    }

    /// The bytes from [`PID_AT`] on.
    fn encode(&self) -> [u8; USED - PID_AT] {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let mut bytes = [0; USED - PID_AT];
        bytes[..NAMESPACE_AT - PID_AT].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[NAMESPACE_AT - PID_AT..SINCE_AT - PID_AT].copy_from_slice(&self.namespace.to_ne_bytes());
        bytes[SINCE_AT - PID_AT..].copy_from_slice(&since.to_ne_bytes());
        bytes
    }
}

/// A new object's content.
pub(super) fn fresh() -> Vec<u8> {
    let mut content = vec![0; SIZE as usize];
    content[..LOCK_MAGIC.len()].copy_from_slice(&LOCK_MAGIC);
    for (at, number) in [(VERSION_AT, VERSION), (ORDER_AT, ORDER), (USED_AT, USED as u32), (STATE_AT, FREE)] {
        content[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    content
}

/// The mark of the last holder, if there is one: of a live holder, or of one
/// that died inside.
///
/// # Errors
/// [`ErrorKind::Unexpected`] for an object that is no lock (any more), or a lock of
/// another version or machine.
pub(super) fn mark(file: &File, address: &Address) -> Result<Option<Holder>> {
    let content = identify(file, address)?;
    match number(&content, STATE_AT) {
        FREE => Ok(None),
        HELD => Ok(Some(Holder::decode(&content))),
        other => {
            let problem = format!("is corrupt: {other} is no state of a lock");
            Err(Error::new(ErrorKind::Unexpected, address, problem).hint(Hint::Reset(address.clone())))
        }
    }
}

/// Check that it is a lock that we understand. Returns its content.
pub(super) fn identify(file: &File, address: &Address) -> Result<[u8; USED]> {
    let mut content = [0; USED];
    let refuse = |problem: String| Err(Error::new(ErrorKind::Unexpected, address, problem));
    match file.read_exact_at(&mut content, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(is_no(file, Kind::Lock, address));
        }
        Err(error) => return Err(Error::errno(address, errno_of(&error))),
    }
    let found = [VERSION_AT, ORDER_AT, USED_AT].map(|at| number(&content, at));
    match found {
        _ if content[..LOCK_MAGIC.len()] != LOCK_MAGIC => return Err(is_no(file, Kind::Lock, address)),
        [VERSION, ORDER, used] if used == USED as u32 => Ok(content),
        [_, order, _] if order == ORDER.swap_bytes() => {
            refuse("is a lock of a machine with another byte order".to_owned())
        }
        [version, ORDER, _] if version != VERSION => {
            refuse(format!("is a lock of version {version}, and only version {VERSION} is known here"))
        }
        _ => refuse("is corrupt: its header is none of a lock".to_owned()),
    }
    .map_err(|error: Error| error.hint(remove(address)))
}

/// Check the size of what is otherwise a lock.
pub(super) fn check_size(size: u64, address: &Address) -> Result<()> {
    if size == SIZE {
        return Ok(());
    }
    let problem = format!("is corrupt: a lock has {SIZE} bytes, this one {size}");
    Err(Error::new(ErrorKind::Unexpected, address, problem).hint(remove(address)))
}

/// The hint for an object that cannot be used.
fn remove(address: &Address) -> Hint {
    Hint::RemoveIfUnused(KindAddress { kind: Kind::Lock, address: address.clone() })
}

/// Mark this process as the holder: first who it is, then that there is one. A death
/// in between leaves the lock free. The counter between the two is not ours to write.
pub(super) fn mark_held(file: &File) -> std::io::Result<()> {
    file.write_all_at(&Holder::us().encode(), PID_AT as u64)?;
    file.write_all_at(&HELD.to_ne_bytes(), STATE_AT as u64)
}

/// Mark that the holder ended properly.
pub(super) fn mark_free(file: &File) -> std::io::Result<()> {
    file.write_all_at(&FREE.to_ne_bytes(), STATE_AT as u64)
}

fn number(content: &[u8; USED], at: usize) -> u32 {
    u32::from_ne_bytes(std::array::from_fn(|i| content[at + i]))
}

fn long(content: &[u8; USED], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|i| content[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of ipcutils-lock(5): `.It 20 4 state`, offset and size in bytes.
    #[test]
    fn h17_h18_offsets_are_those_of_the_page() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/ipcutils-lock.5")).unwrap();
        for (at, size, of) in [
            (VERSION_AT, 4, "version"),
            (ORDER_AT, 4, "byte order"),
            (USED_AT, 4, "used"),
            (STATE_AT, 4, "state"),
            (SEQUENCE_AT, 4, "sequence"),
            (PID_AT, 4, "pid"),
            (NAMESPACE_AT, 8, "namespace"),
            (SINCE_AT, 8, "since"),
        ] {
            let row = page.lines().any(|line| line.starts_with(&format!(".It {at} Ta {size} Ta")));
            assert!(row, "no row for {of} at {at}");
        }
        assert_eq!(SINCE_AT + 8, USED);
        let holder = Holder { pid: 7, namespace: 1 << 40, since: UNIX_EPOCH + Duration::from_nanos(3) };
        let mut content = [0; USED];
        content[PID_AT..].copy_from_slice(&holder.encode());
        assert_eq!(Holder::decode(&content), holder);
    }
}
