//! A mutex and a condition in a small object of shared memory.
//!
//! | part | what |
//! | --- | --- |
//! | the mutex: a byte lock that the kernel holds | [`Lock`] |
//! | the condition: a counter to sleep on | [`Condition`] |
//! | who is there | [`Status`] |
//! | the mutex of a C program, in a segment of its own | [`pthread`] |
//!
//! Whoever writes the memory can neither forge nor break the kernel's lock. It works
//! across PID namespaces, and does not outlive its holders. The memory has what the
//! kernel does not know: who the holder is, and whether the last one ended properly.
//! The layout is published in ipcutils-lock(5).
//!
//! [Examples of a lock](crate#locks) and [of a condition](crate#conditions).

mod condition;
mod layout;
mod mutex;
mod presence;
pub mod pthread;
mod status;

pub use crate::fs::byte_lock::LockMode;
pub use condition::Condition;
pub use layout::Holder;
pub use mutex::{Lock, OpenOptions, OwnerDied, remove};
pub use presence::Participant;
pub use status::{State, Status};
