#![doc = include_str!("../README.md")]
//!
//! # The map
//!
//! A module uses what stands below it in this table, and nothing above or beside it.
//! A test of the workspace, `tests/house.rs`, holds the sources against the table.
//!
//! | layer | modules |
//! | --- | --- |
//! | what exists | [`inventory`] |
//! | work that survives | [`rpc`] |
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
pub mod rpc;
pub mod sem;
mod shared;
pub mod shm;
mod sys;

pub use base::{address, error, mode, text, wait};

pub use address::{Address, Key, Kind, KindAddress, PosixName, SysV};
pub use base::discard::Discard;
pub use error::{Error, ErrorKind, Hint, Result};
