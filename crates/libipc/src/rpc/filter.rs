//! A command that is started once and answers each line with a line.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{SIGKILL, SIGTERM};
use nix::unistd::{pipe2, read, write};

use crate::base::error::{Error, Result};
use crate::base::wait::Deadline;
use crate::fs::copy::STEP;
use crate::process::command::{Child, End, Running};
use crate::process::signals::{Came, Requests};

/// How long a command that is to end has, before it is killed.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The command, and the pipes to and from it.
#[derive(Debug)]
pub(super) struct Filter {
    running: Running,
    /// None when it is to end.
    input: Option<OwnedFd>,
    output: OwnedFd,
    /// What it has written, up to the end of the line that was answered last.
    answer: Vec<u8>,
}

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exchanged {
    /// The answer is in [`Filter::answer`].
    Answered,
    /// It ended, or closed its output.
    Ended,
    /// It has not answered in time.
    Late,
    /// A second request to end came.
    Stopped,
}

impl Filter {
    /// Start the command.
    ///
    /// # Errors
    /// Those of [`Child::prepare`] and [`Ready::start`](crate::process::command::Ready::start).
    pub(super) fn start(child: Child<'_>, signals: &Requests) -> Result<Self> {
        let failed = |errno| Error::errno("a pipe to the command", errno);
        let (their_input, input) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let (output, their_output) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        for ours in [&input, &output] {
            fcntl(ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
        }
        let standard = [Some(their_input.as_fd()), Some(their_output.as_fd()), None];
        let running = Child { standard, ..child }.prepare()?.start(signals)?;
        Ok(Filter { running, input: Some(input), output, answer: Vec::new() })
    }

    /// The line with which it has answered, and its newline.
    pub(super) fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// Whether it has written what was not asked for, or has ended.
    pub(super) fn is_out_of_step(&self) -> bool {
        let mut byte = [0];
        !matches!(read(&self.output, &mut byte), Err(Errno::EAGAIN | Errno::EINTR))
    }

    /// Have it answer a line. A request to end that comes meanwhile is stored in `stop`;
    /// a second one ends the wait.
    pub(super) fn exchange(
        &mut self,
        line: &[u8],
        deadline: &Deadline,
        signals: &Requests,
        stop: &mut Option<i32>,
    ) -> Result<Exchanged> {
        self.answer.clear();
        let mut line = line;
        loop {
            // A line that is longer than a pipe holds is read while its answer is written.
            while let (Some(input), false) = (&self.input, line.is_empty()) {
                match write(input, line) {
                    Ok(n) => line = &line[n..],
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(_) => return Ok(Exchanged::Ended),
                }
            }
            let wanted = if line.is_empty() { None } else { self.input.as_ref().map(AsFd::as_fd) };
            match signals.wait_for([self.output.as_fd()], wanted, deadline)? {
                Came::Ready => {}
                Came::Request(signal) if stop.is_none() => *stop = Some(signal),
                Came::Request(_) => return Ok(Exchanged::Stopped),
                Came::Nothing => return Ok(Exchanged::Late),
            }
            let filled = self.answer.len();
            self.answer.resize(filled + STEP.min(filled.max(4096)), 0);
            let n = match read(&self.output, &mut self.answer[filled..]) {
                Ok(0) => return Ok(Exchanged::Ended),
                Ok(n) => n,
                Err(_) => 0,
            };
            self.answer.truncate(filled + n);
            match memchr::memchr(b'\n', &self.answer[filled..]) {
                Some(at) if filled + at + 1 == self.answer.len() => return Ok(Exchanged::Answered),
                // More than a line: whose answer the next one is cannot be known.
                Some(_) => return Ok(Exchanged::Ended),
                None => {}
            }
        }
    }

    /// Have it end: by the end of its input, or at once. Returns how it has ended.
    pub(super) fn end(mut self, at_once: bool, signals: &Requests) -> Result<End> {
        self.input = None;
        if at_once {
            self.running.signal_group(SIGTERM);
        }
        let deadline = Deadline::after(Some(GRACE));
        while !self.running.has_ended() {
            if signals.wait([self.running.as_fd()], &deadline)? == Came::Nothing {
                break;
            }
        }
        self.running.signal_group(SIGKILL);
        self.running.end()
    }
}
