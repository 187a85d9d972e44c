//! The name of a POSIX object.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// The name of a POSIX object: a slash, then 1 to 255 bytes without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PosixName(pub(super) OsString);

impl PosixName {
    /// The longest name, in bytes after the slash.
    pub const LONGEST: usize = 255;
    /// The longest name of a semaphore, whose file has `sem.` in front.
    pub const LONGEST_SEMAPHORE: usize = 251;

    /// The name with its slash.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The name without its slash: the file's name in /dev/shm or /dev/mqueue.
    pub fn leaf(&self) -> &OsStr {
        OsStr::from_bytes(&self.0.as_bytes()[1..])
    }
}
