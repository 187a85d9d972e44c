//! System V semaphore sets, sysvipc(7).

use crate::address::{Key, SysV};
use crate::error::{Error, Result};
use crate::sys;

/// The identifier of the set with this key, if there is one: semget(2).
#[doc(alias = "semget")]
pub fn find(key: Key) -> Option<i32> {
    sys::sem::get(key.get(), 0, 0).ok()
}

/// Remove a set and wake all who wait on it: semctl(2), IPC_RMID.
#[doc(alias = "semctl")]
pub fn remove(address: &SysV) -> Result<()> {
    let id = address.resolve(|key| sys::sem::get(key, 0, 0))?;
    sys::sem::remove(id).map_err(|errno| Error::stale(address, errno))
}
