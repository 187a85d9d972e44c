//! POSIX named semaphores, sem_overview(7).

use crate::address::PosixName;
use crate::entry::Entry;
use crate::error::Result;

/// Remove the name: sem_unlink(3). Who has the semaphore open keeps it.
#[doc(alias = "sem_unlink")]
pub fn remove(name: &PosixName) -> Result<()> {
    Entry::semaphore(name)?.remove()
}
