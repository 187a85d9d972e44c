//! The library through its public face alone: one module a primitive.
//!
//! A test has names and keys of its own, with the process id in them. Calls that
//! need a process with one thread are in `process.rs`.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod util;

mod address;
mod documents;
mod fuzz;
mod inventory;
mod lock;
mod mq;
mod races;
mod ring;
mod sem;
mod shm;
mod signatures;
mod wait;
