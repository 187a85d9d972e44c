//! The only unsafe code: thin wrappers of the calls that nix lacks, one call
//! an unsafe block, each with its reason.
#![allow(unsafe_code)]

pub(crate) mod memory;
pub(crate) mod msg;
pub(crate) mod process;
pub(crate) mod sem;
pub(crate) mod shm;
pub(crate) mod signal;
pub(crate) mod start;

/// Commands of shmctl(2) and ipc(2) that the libc crate leaves out; linux/ipc.h
/// and linux/shm.h.
pub(crate) const IPC_SET: i32 = 1;
pub(crate) const SHM_STAT_ANY: i32 = 15;
