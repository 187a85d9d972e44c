//! Typed, safe System V and POSIX inter-process communication for Linux.
//!
//! The map: what a tool wants, and the module that does it.
//!
//! | primitive | POSIX, `file:` | System V |
//! | --- | --- | --- |
//! | whole segments of shared memory | [`shm::posix`] | [`shm::sysv`] |
//! | message queues | [`mq::posix`] | [`mq::sysv`] |
//! | semaphores | [`sem::posix`] | [`sem::sysv`] |
//! | what exists, and who holds it | [`inventory`] | [`inventory`] |
//! | mutexes and conditions | [`lock`] | [`lock::pthread`] |
//! | streams through shared memory | [`ring`] | |
//!
//! Around them: [`address`] (how users name an object), [`error`] (what can go
//! wrong, each kind one exit status), [`mode`] (permission bits and the umask),
//! [`wait`] (deadlines), [`copy`] (bytes from one descriptor to another),
//! [`entry`] (a name in a directory) and [`draft`] (atomic publication under it),
//! [`signals`] (work that a signal must not leave half done), [`ofd`] (locks that
//! the kernel holds), [`command`] (running the user's command).
//!
//! The library knows nothing of command lines, prints nothing and never ends
//! the process. Kernel objects are removed by explicit calls alone; dropping a
//! value detaches and closes. Only `sys` is unsafe.

pub mod address;
pub mod command;
pub mod copy;
pub mod draft;
pub mod entry;
pub mod error;
pub mod inventory;
mod limits;
pub mod lock;
pub mod mode;
pub mod mq;
pub mod ofd;
pub mod process;
pub mod ring;
pub mod sem;
pub mod shm;
pub mod signals;
pub mod start;
mod sys;
pub mod terminal;
pub mod text;
pub mod wait;

pub use address::{Address, Key, Kind, PosixName, SysV};
pub use error::{Error, ErrorKind, Result};
