//! What lies in a lock's object: ipcutils-lock(5).
//!
//! Numbers have the byte order of the machine, of which a mark tells. Others
//! may write here whatever they like, so each number is checked, or is a hint
//! that is only shown.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind, Result, errno_of};
use crate::process;
use crate::shm::posix::LOCK_MAGIC;

/// The object's size in bytes.
pub(super) const SIZE: u64 = 4096;
/// Of which so many are in use.
const USED: usize = 48;
const VERSION: u32 = 1;
const ORDER: u32 = 0x0102_0304;
/// Where the mark of the last holder is: [`FREE`] or [`HELD`].
const STATE: usize = 20;
/// Where the condition's sequence counter is, a futex.
pub(super) const SEQUENCE: usize = 24;

/// The last holder has ended properly, or there was none.
const FREE: u32 = 0;
/// A holder is inside, or has died there.
const HELD: u32 = 1;

/// Who left the mark of a holder, as they said themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number, in its own PID namespace.
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

    /// Whether the process has ended, if that can be known: one of another PID
    /// namespace has another number here. Its command may hold the lock still.
    pub fn has_ended(&self) -> Option<bool> {
        let ours = self.namespace == Holder::us().namespace;
        ours.then(|| process::ended_since(i32::try_from(self.pid).unwrap_or(0), self.since))
    }
}

/// A new object's content.
pub(super) fn fresh() -> Vec<u8> {
    let mut content = vec![0; SIZE as usize];
    content[..8].copy_from_slice(&LOCK_MAGIC);
    for (at, number) in [(8, VERSION), (12, ORDER), (16, USED as u32), (STATE, FREE)] {
        content[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    content
}

/// The mark of the last holder, if there is one: of a live holder, or of one
/// that died inside.
///
/// # Errors
/// [`ErrorKind::Unexpected`] for what is no lock, or one of another version or
/// machine; [`ErrorKind::Gone`] if it was truncated.
pub(super) fn mark(file: &File, shown: &str) -> Result<Option<Holder>> {
    let content = identify(file, shown)?;
    match number(&content, STATE) {
        FREE => Ok(None),
        HELD => Ok(Some(Holder {
            pid: number(&content, 28),
            namespace: long(&content, 32),
            since: UNIX_EPOCH + Duration::from_nanos(long(&content, 40)),
        })),
        other => {
            let what = format!("is corrupt: {other} is no state of a lock");
            Err(Error::new(ErrorKind::Unexpected, shown, what)
                .mend(format!("see that the data is sound, then shmlock --reset {shown}")))
        }
    }
}

/// See that it is a lock that we understand; its content.
pub(super) fn identify(file: &File, shown: &str) -> Result<[u8; USED]> {
    let mut content = [0; USED];
    let refuse = |what: String| Err(Error::new(ErrorKind::Unexpected, shown, what));
    match file.read_exact_at(&mut content, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return refuse("is no lock".to_owned()),
        Err(error) => return Err(Error::errno(shown, errno_of(&error))),
    }
    let found = [8, 12, 16].map(|at| number(&content, at));
    match found {
        _ if content[..8] != LOCK_MAGIC => refuse("is no lock".to_owned()),
        [VERSION, ORDER, used] if used == USED as u32 => Ok(content),
        [_, order, _] if order == ORDER.swap_bytes() => {
            refuse("is a lock of a machine with another byte order".to_owned())
        }
        [version, ORDER, _] if version != VERSION => {
            refuse(format!("is a lock of version {version}, this tool knows {VERSION}"))
        }
        _ => refuse("is corrupt: its header is none of a lock".to_owned()),
    }
    .map_err(|error: Error| {
        let kind = if content[..8] == LOCK_MAGIC { "lock" } else { "shm" };
        error.mend(remove(kind, shown))
    })
}

/// Of what is a lock otherwise.
pub(super) fn check_size(size: u64, shown: &str) -> Result<()> {
    if size == SIZE {
        return Ok(());
    }
    let what = format!("is corrupt: a lock has {SIZE} bytes, and it {size}");
    Err(Error::new(ErrorKind::Unexpected, shown, what).mend(remove("lock", shown)))
}

/// How to mend what cannot be used.
fn remove(kind: &str, shown: &str) -> String {
    format!("if nothing uses it, ipcunlink {kind}:{shown} removes it")
}

/// Mark this process as the holder, with one write.
pub(super) fn mark_held(file: &File) -> std::io::Result<()> {
    let us = Holder::us();
    let since = us.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    // The counter between them is not ours to write.
    let mut who = [0; USED - 28];
    who[..4].copy_from_slice(&us.pid.to_ne_bytes());
    who[4..12].copy_from_slice(&us.namespace.to_ne_bytes());
    who[12..].copy_from_slice(&(since.as_nanos() as u64).to_ne_bytes());
    file.write_all_at(&who, 28)?;
    file.write_all_at(&HELD.to_ne_bytes(), STATE as u64)
}

/// Mark that the holder has ended properly.
pub(super) fn mark_free(file: &File) -> std::io::Result<()> {
    file.write_all_at(&FREE.to_ne_bytes(), STATE as u64)
}

fn number(content: &[u8; USED], at: usize) -> u32 {
    u32::from_ne_bytes(std::array::from_fn(|i| content[at + i]))
}

fn long(content: &[u8; USED], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|i| content[at + i]))
}
