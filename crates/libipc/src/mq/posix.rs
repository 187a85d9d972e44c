//! POSIX message queues, mq_overview(7).

use crate::address::PosixName;
use crate::error::{Error, Result};
use crate::text::printable;

/// Remove the name: mq_unlink(3). Who has the queue open keeps it; a receiver
/// that waits on it is not woken by the kernel.
#[doc(alias = "mq_unlink")]
pub fn remove(name: &PosixName) -> Result<()> {
    nix::mqueue::mq_unlink(name.as_os_str()).map_err(|errno| Error::errno(printable(name.as_os_str()), errno))
}
