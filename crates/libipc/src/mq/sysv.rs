//! System V message queues, sysvipc(7).

use crate::address::{Key, SysV};
use crate::error::{Error, Result};
use crate::sys;

/// The identifier of the queue with this key, if there is one: msgget(2).
#[doc(alias = "msgget")]
pub fn find(key: Key) -> Option<i32> {
    sys::msg::get(key.get(), 0).ok()
}

/// Remove a queue and wake all who wait on it: msgctl(2), IPC_RMID.
#[doc(alias = "msgctl")]
pub fn remove(address: &SysV) -> Result<()> {
    let id = address.resolve(|key| sys::msg::get(key, 0))?;
    sys::msg::remove(id).map_err(|errno| Error::stale(address, errno))
}
