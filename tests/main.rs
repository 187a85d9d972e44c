//! The black-box tests: one module a tool, named after it.
//!
//! A test that covers a row of tests/failures.md carries the row's number in
//! its name: `g10_two_writers_at_once`.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod util;

mod cures;
mod docs;
mod ftok;
mod fuzz;
mod habits;
mod house;
mod inject;
mod interop;
mod ipcls;
mod ipcset;
mod ipcunlink;
mod limits;
mod modes;
mod mqcall;
mod mqrecv;
mod mqsend;
mod mqserve;
mod pipes;
mod ringcat;
mod ringput;
mod semop;
mod shmcat;
mod shmlock;
mod shmput;
mod shmwait;
mod shmwake;
mod undo;
