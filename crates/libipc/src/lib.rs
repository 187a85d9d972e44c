//! Typed, safe System V and POSIX inter-process communication for Linux.
//!
//! The map, layer by layer. A module uses what stands below it, and nothing above
//! or in a circle; `tests/layers.rs` holds this table against the sources.
//!
//! | layer | modules |
//! | --- | --- |
//! | what exists | [`inventory`] |
//! | a lock, a stream | [`lock`], [`ring`] |
//! | the kernel's primitives | [`shm`], [`mq`], [`sem`] |
//! | words in memory that others write | `shared` |
//! | names in directories, bytes between descriptors | [`fs`] |
//! | the process, its signals, command and terminal | [`process`] |
//! | what all of them speak | [`address`], [`error`], [`mode`], [`text`], [`wait`] (`base`) |
//! | system calls that nix lacks, the only unsafe code | `sys` |
//!
//! | primitive | POSIX, `file:` | System V |
//! | --- | --- | --- |
//! | whole segments of shared memory | [`shm`] | [`shm`] |
//! | message queues | [`mq`] | [`mq`] |
//! | semaphores | [`sem`] | [`sem`] |
//! | mutexes and conditions | [`lock`] | [`lock::pthread`] |
//! | streams through shared memory | [`ring`] | |
//!
//! The library knows nothing of command lines: how to mend a failure is a [`Hint`]
//! that its caller words. It prints nothing and never ends the process. Kernel
//! objects are removed by explicit calls alone; dropping a value detaches and
//! closes.

mod base;
pub mod fs;
pub mod inventory;
pub mod lock;
pub mod mq;
pub mod process;
pub mod ring;
pub mod sem;
mod shared;
pub mod shm;
mod sys;

pub use base::{address, error, mode, text, wait};

pub use address::{Address, Key, Kind, KindAddress, PosixName, SysV};
pub use error::{Error, ErrorKind, Hint, Result};
