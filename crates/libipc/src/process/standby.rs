//! A command whose process exists before the command may run, so that somebody can watch
//! over it from the beginning.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::PollTimeout;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{close, getpid, getppid, pipe2, read, write};

use super::command::{self, End};
use super::signals::Forwarded;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::text::printable;
use crate::sys;

/// A child that waits for the word, and then becomes the command. It is killed if this
/// process dies, and when this is dropped.
#[derive(Debug)]
pub(crate) struct Standby<'a> {
    words: &'a [OsString],
    child: sys::process::Child,
    /// Both ends of the pipe for the word: so a child that has died raises no SIGPIPE.
    word: (OwnedFd, OwnedFd),
    failure: OwnedFd,
}

impl<'a> Standby<'a> {
    /// Fork the child: fork(2). This process must have one thread.
    pub(crate) fn new(words: &'a [OsString]) -> nix::Result<Self> {
        let word = pipe2(OFlag::O_CLOEXEC)?;
        let (failure, report) = pipe2(OFlag::O_CLOEXEC)?;
        let us = getpid();
        let pid = sys::process::fork_child(|| {
            // The last copy but our parent's: its death is the end of the pipe.
            let _ = close(word.1.as_raw_fd());
            // The parent may have died before it was watched.
            let watched = set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == us;
            if watched && read_once(&word.0, &mut [0]) == 1 {
                let error = command::exec(words);
                let refused = u8::from(error.kind == ErrorKind::CommandRefused);
                let _ = write_once(&report, &[&[refused], error.problem.as_bytes()].concat());
            }
            1
        })?;
        match sys::process::open(pid.as_raw()) {
            Ok(fd) => Ok(Standby { words, child: sys::process::Child { pid, fd }, word, failure }),
            Err(errno) => {
                drop(word); // it ends
                let _ = nix::sys::wait::waitpid(pid, None);
                Err(errno)
            }
        }
    }

    /// The process, by a pidfd.
    pub(crate) fn process(&self) -> &OwnedFd {
        &self.child.fd
    }

    /// Let the command run, to its end. Signals that come meanwhile are passed on to it;
    /// the last of them is returned too.
    ///
    /// # Errors
    /// [`ErrorKind::CommandMissing`] and [`ErrorKind::CommandRefused`]; if the word
    /// cannot be given the command does not run.
    pub(crate) fn run(self, signals: &Forwarded) -> Result<(End, Option<i32>)> {
        // It may have been killed before its signal was held back.
        if let Ok(true) | Err(_) = sys::process::has_ended(&self.child.fd, PollTimeout::ZERO) {
            return Ok((End::Killed(libc::SIGKILL), None));
        }
        write_once(&self.word.1, &[1]).map_err(|errno| Error::errno("the command", errno))?;
        let mut report = [0; 256];
        let length = read_once(&self.failure, &mut report);
        if let Some((refused, problem)) = report[..length].split_first() {
            let kind = if *refused == 1 { ErrorKind::CommandRefused } else { ErrorKind::CommandMissing };
            let label = self.words.first().map(|name| printable(name)).unwrap_or_default();
            return Err(Error::new(kind, label, String::from_utf8_lossy(problem)));
        }
        command::wait(&self.child, signals)
    }
}

/// A child that was waited for is not there any more.
impl Drop for Standby<'_> {
    fn drop(&mut self) {
        if sys::process::has_ended(&self.child.fd, PollTimeout::ZERO) == Ok(false) {
            let _ = kill(self.child.pid, Signal::SIGKILL);
        }
        let _ = sys::process::wait(&self.child);
    }
}

/// Few enough bytes for a pipe to take them whole.
fn write_once(to: &OwnedFd, bytes: &[u8]) -> nix::Result<()> {
    loop {
        match write(to, bytes) {
            Err(Errno::EINTR) => {}
            written => return written.map(drop),
        }
    }
}

/// How many bytes came, 0 at the end.
fn read_once(from: &OwnedFd, into: &mut [u8]) -> usize {
    loop {
        match read(from, into) {
            Err(Errno::EINTR) => {}
            read => return read.unwrap_or(0),
        }
    }
}
