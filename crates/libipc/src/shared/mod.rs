//! Words in memory that other processes write: atomics at an offset. The tests run
//! the same algorithms over loom's atomics.

pub(crate) mod memory;
