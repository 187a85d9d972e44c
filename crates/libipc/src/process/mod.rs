//! What a program does to its process: how it was started, which signals wait,
//! the command that it runs, its terminal.
//!
//! These are for programs with one thread: signal masks are a thread's own, and
//! a fork has one thread alone. What each of them changes it gives back when it
//! is dropped.
//!
//! | module | changes | for |
//! | --- | --- | --- |
//! | [`start`] | SIGXFSZ ignored, closed descriptors 0 to 2 opened | the whole process, by `main` |
//! | [`signals`] | the signal mask, the action of SIGCHLD | a few system calls; a command |
//! | [`command`] | | its child |
//! | [`terminal`] | termios(3), the actions of three signals | a screen |

pub mod command;
pub mod life;
pub mod signals;
pub mod start;
pub mod terminal;
