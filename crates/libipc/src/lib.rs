//! Typed, safe System V and POSIX inter-process communication for Linux.
//!
//! | primitive | POSIX, `file:` | System V |
//! | --- | --- | --- |
//! | whole segments of shared memory | [`shm`] | [`shm`] |
//! | message queues | [`mq`] | [`mq`] |
//! | semaphores | [`sem`] | [`sem`] |
//! | mutexes and conditions | [`lock`] | [`lock::pthread`] |
//! | streams through shared memory | [`ring`] | |
//!
//! - An [`Address`] names an object: `/name`, `key:N`, `id:N`, `ftok:PATH`, `file:PATH`.
//! - A [`Wait`](wait::Wait) says how long a call may block.
//! - An [`Error`] has a kind for programs, a line of text for people, and a [`Hint`]
//!   that says how to mend it. The caller words the hint: the library knows nothing
//!   of command lines.
//!
//! The library prints nothing and never ends the process. Kernel objects are removed
//! by explicit calls alone; dropping a value detaches and closes. The table in
//! [`process`] lists what a call changes in the process as a whole.
//!
//! The README has an example of each primitive.
//!
//! # The map
//!
//! A module uses what stands below it in this table, and nothing above or beside it.
//! A test of the workspace, `tests/house.rs`, holds the sources against the table.
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
#![deny(clippy::missing_errors_doc)]

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

/// The examples of the README, run as tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
