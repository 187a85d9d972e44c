//! statx(2), which nix lacks.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// statx(2) of a name in a directory. AT_STATX_DONT_SYNC keeps it from waiting for a
/// file server that does not answer.
pub(crate) fn statx(dir: impl AsFd, name: &CStr, flags: c_int, mask: u32) -> nix::Result<libc::statx> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let (dir, flags) = (dir.as_fd().as_raw_fd(), flags | libc::AT_STATX_DONT_SYNC);
    // SAFETY: `name` ends with a NUL, and `stat` is valid to be written.
    Errno::result(unsafe { libc::statx(dir, name.as_ptr(), flags, mask, stat.as_mut_ptr()) })?;
    // SAFETY: the call succeeded and has filled it.
    Ok(unsafe { stat.assume_init() })
}
