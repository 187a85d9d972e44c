//! All input and output of a tool: its standard descriptors, and its name for
//! messages.

use std::fmt::Display;
use std::os::fd::BorrowedFd;

use libipc::fs::copy::{self, OUTPUT};
use libipc::process::signals::Deferred;
use libipc::{Error, ErrorKind, Result};

use super::progress::Bar;
use super::status::status;
use crate::hints;

/// What standard input is called in messages.
pub const INPUT: &str = "standard input";

/// The standard descriptors that a tool works with, and its name.
#[derive(Clone, Copy, Debug)]
pub struct Io<'fd> {
    pub(super) tool: &'fd str,
    pub(super) stdin: Option<BorrowedFd<'fd>>,
    pub(super) stdout: Option<BorrowedFd<'fd>>,
    pub(super) stderr: Option<BorrowedFd<'fd>>,
}

impl<'fd> Io<'fd> {
    /// The input and output of the tool with this name; None for a closed descriptor.
    pub fn new(
        tool: &'fd str,
        stdin: Option<BorrowedFd<'fd>>,
        stdout: Option<BorrowedFd<'fd>>,
        stderr: Option<BorrowedFd<'fd>>,
    ) -> Self {
        Io { tool, stdin, stdout, stderr }
    }

    /// Standard input.
    ///
    /// # Errors
    /// If the process was started with it closed: a closed descriptor is not an
    /// empty input.
    pub fn stdin(&self) -> Result<BorrowedFd<'fd>> {
        self.stdin.ok_or_else(|| Error::new(ErrorKind::Failure, INPUT, "is closed"))
    }

    /// Standard output, for the library to write to.
    ///
    /// # Errors
    /// If the process was started with it closed.
    pub fn stdout(&self) -> Result<BorrowedFd<'fd>> {
        self.stdout.ok_or_else(|| Error::new(ErrorKind::Failure, OUTPUT, "is closed"))
    }

    /// Standard error, for the library to write what is no message of a tool.
    ///
    /// # Errors
    /// If the process was started with it closed.
    pub fn stderr(&self) -> Result<BorrowedFd<'fd>> {
        self.stderr.ok_or_else(|| Error::new(ErrorKind::Failure, "standard error", "is closed"))
    }

    /// Write bytes to standard output.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`]: write(2).
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        copy::write_all(self.stdout()?, bytes, None).map_err(|unwritten| unwritten.explain(OUTPUT))
    }

    /// Write a line to standard output: a bare value, for a script to read.
    ///
    /// # Errors
    /// Those of [`Io::write`].
    pub fn print(&self, line: impl Display) -> Result<()> {
        self.write(format!("{line}\n").as_bytes())
    }

    /// Write a value to standard output as JSON, on one line.
    ///
    /// # Errors
    /// Those of [`Io::write`].
    pub fn print_json(&self, value: &impl serde::Serialize) -> Result<()> {
        let json = serde_json::to_string(value);
        self.print(json.map_err(|error| Error::new(ErrorKind::Failure, "JSON", error.to_string()))?)
    }

    /// Print the identifier of a new System V object that no key finds, while signals
    /// are deferred: a death by SIGPIPE would leave an object that nobody knows.
    ///
    /// # Errors
    /// Those of [`Io::write`]: then the caller removes the object.
    pub fn announce(&self, id: i32, signals: &Deferred) -> Result<()> {
        copy::write_all(self.stdout()?, format!("id:{id}\n").as_bytes(), Some(signals))
            .map_err(|unwritten| unwritten.explain(OUTPUT))
    }

    /// Write a line to standard error, with the tool's name in front. If standard
    /// error cannot be written to, nobody reads it.
    pub fn warn(&self, line: impl Display) {
        if let Some(stderr) = self.stderr {
            let _ = copy::write_all(stderr, format!("{}: {line}\n", self.tool).as_bytes(), None);
        }
    }

    /// Write a value to standard error as JSON, on one line. If standard error cannot be
    /// written to, nobody reads it.
    pub fn log(&self, value: &impl serde::Serialize) {
        if let (Some(stderr), Ok(json)) = (self.stderr, serde_json::to_string(value)) {
            let _ = copy::write_all(stderr, format!("{json}\n").as_bytes(), None);
        }
    }

    /// Write an error that does not fail the tool to standard error.
    pub fn note(&self, error: &Error) {
        self.warn(hints::line(error, &[], self.tool));
    }

    /// Write an error and its contexts to standard error. Returns its exit status.
    pub fn fail(&self, error: &Error, contexts: &[String]) -> u8 {
        self.warn(hints::line(error, contexts, self.tool));
        status(error.kind)
    }

    /// A bar for the progress of a copy, if it is `wanted` and standard error is a
    /// terminal. `length` is in bytes, if it is known.
    pub fn progress(&self, wanted: bool, length: Option<u64>) -> Bar {
        Bar::new(self.stderr.filter(|_| wanted), length)
    }
}
