//! Words in memory that other processes write: atomics, by their offset, that an
//! algorithm can also run over loom's.

pub(crate) mod memory;
