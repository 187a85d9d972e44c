//! A mutex and a condition in a small object of shared memory.
//!
//! | part | what |
//! | --- | --- |
//! | the mutex: a byte lock that the kernel holds | [`Lock`] |
//! | the condition: a counter that one sleeps on | [`Condition`] |
//! | who is there | [`Status`] |
//! | the mutex of a C program, in a segment of its own | [`pthread`] |
//!
//! The kernel's lock cannot be forged or broken by who writes the memory, works
//! across PID namespaces, and cannot outlive its holders. The memory has what
//! the kernel does not know: who holds it, and whether the last one who did has
//! ended properly. The layout is published in ipcutils-lock(5).

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
