//! What a program does to its process: how it was started, which signals are
//! deferred, the command that it runs, its terminal.
//!
//! # What the library changes in the process as a whole
//!
//! | what | by | until |
//! | --- | --- | --- |
//! | the action of SIGBUS | whatever maps memory that others can truncate: the ends and the status of a ring, a POSIX semaphore that is operated on, a condition, a pthread mutex | the last of them is dropped |
//! | a timer of the thread, the action and the mask of SIGRTMAX | a wait for a lock or for another writer of a ring; one with [`Timeout::After`](crate::wait::Timeout::After) for a System V queue; [`Writer::copy_from`](crate::ring::Writer::copy_from) | the call returns |
//! | the signal mask of the thread | [`signals`]; calls that put or remove an object | the value is dropped; the call returns |
//! | the action of SIGCHLD | [`signals::Forwarded`]: [`Lock::run`](crate::lock::Lock::run), [`Mutex::run`](crate::lock::pthread::Mutex::run); [`namespace::within`] | the command or the work has ended |
//! | SIGTERM, SIGINT, SIGHUP held back, the action of SIGCHLD; a child for each worker, forked | [`Service::run`](crate::rpc::Service::run) | the call returns |
//! | a child, forked | [`shm::put`](crate::shm::put) to a System V segment | the call returns |
//! | a process that stays, forked | [`operate`](crate::sem::Semaphores::operate) with [`undo`](crate::sem::Op::undo) on a POSIX semaphore | this process has ended |
//! | a child, forked, that becomes the command, and a process that gives back for it | [`Semaphores::run`](crate::sem::Semaphores::run) on a POSIX semaphore | the command has ended |
//! | a child that shares memory until it executes the command | [`command`] | the command has ended |
//! | the umask, read by setting it | making System V objects, without /proc only | at once |
//! | SIGXFSZ ignored, closed descriptors 0 to 2 opened | [`start::prepare`], for `main` | [`command`] restores them for the command |
//! | termios(3), handlers of SIGTSTP, SIGCONT and SIGWINCH | [`terminal`] | the terminal is dropped; the handlers stay, and call those before them |
//!
//! An action becomes again what it was before the call: a handler that is set meanwhile
//! is lost.
//!
//! The forks for an undo of a POSIX semaphore and of workers need a process with one
//! thread, as their children go on with Rust code. A command needs that no other thread waits for any
//! child, as waitpid(2) with -1 does: then its status is another's.

pub mod command;
pub mod life;
pub mod namespace;
pub mod signals;
pub(crate) mod standby;
pub mod start;
pub mod terminal;
