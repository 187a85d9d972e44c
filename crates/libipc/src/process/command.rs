//! Running the user's command, in place of this process or in a child. It gets the
//! descriptors, signal dispositions and mask that this process was started with.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::poll::PollTimeout;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getpid, getppid, setpgid};

use super::signals::{Blocked, Forwarded, Requests};
use super::start;
use crate::base::error::{Error, ErrorKind, Hint, Result, errno_of};
use crate::base::text::printable;
use crate::sys;
use crate::sys::process::{Words, execute};

/// Replace this process by the command: execvp(3), which looks it up in PATH. Returns
/// only if that failed.
#[doc(alias = "execvp")]
pub fn exec(command: &[OsString]) -> Error {
    let words = Words::new(c_strings(command));
    start::restore();
    not_run(command, execute(&words, None))
}

/// Words of a command line hold no NUL.
fn c_strings(words: &[OsString]) -> Vec<CString> {
    words.iter().filter_map(|word| CString::new(word.as_bytes()).ok()).collect()
}

/// The two failures that a shell reports as 127 and 126.
fn not_run(command: &[OsString], errno: Errno) -> Error {
    let label = command.first().map(|name| printable(name)).unwrap_or_default();
    match errno {
        Errno::ENOENT => Error::new(ErrorKind::CommandMissing, label, "is no command that can be found"),
        errno => Error::new(ErrorKind::CommandRefused, label, format!("cannot be executed: {}", errno.desc())),
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

impl End {
    /// Whether it ended by itself, whatever its status.
    pub fn is_proper(self) -> bool {
        matches!(self, End::Exited(_))
    }

    /// Whether SIGINT or SIGTERM has ended it: its user wanted that.
    pub fn is_interruption(self) -> bool {
        matches!(self, End::Killed(libc::SIGINT | libc::SIGTERM))
    }

    /// The status as a shell reports it: 128+n for a death by signal n.
    pub fn status(self) -> u8 {
        match self {
            End::Exited(status) => status,
            End::Killed(signal) => 128 + signal as u8,
        }
    }
}

/// A command that runs in a child process and is waited for.
#[derive(Debug)]
pub struct Child<'a> {
    /// The command and its arguments.
    pub words: &'a [OsString],
    /// Variables of its environment, and their values; None unsets one.
    pub variables: &'a [(&'a str, Option<&'a str>)],
    /// Its standard input, output and error; None for that of this process.
    pub standard: [Option<BorrowedFd<'a>>; 3],
    /// A descriptor of ours that it inherits too.
    pub inherits: Option<BorrowedFd<'a>>,
    /// Kill it if this process dies: PR_SET_PDEATHSIG.
    pub dies_with_us: bool,
    /// Make it the first of a process group: setpgid(2).
    pub leads_group: bool,
}

impl<'a> Child<'a> {
    /// This command, with environment and standard descriptors of this process.
    pub fn new(words: &'a [OsString]) -> Self {
        Child { words, variables: &[], standard: [None; 3], inherits: None, dies_with_us: false, leads_group: false }
    }

    /// Take the memory that it needs.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`].
    pub fn prepare(self) -> Result<Ready<'a>> {
        let (words, environment) = (Words::new(c_strings(self.words)), self.environment().map(Words::new));
        // execvp(3) keeps the words of a script without #! on the stack.
        let stack = Ready::STACK + 2 * size_of::<usize>() * words.len();
        let stack = sys::alloc::zeroed(stack).map_err(|errno| Error::errno("the command", errno))?;
        Ok(Ready { child: self, words, environment, stack })
    }

    /// The environment of the command, if it differs from ours.
    fn environment(&self) -> Option<Vec<CString>> {
        let is_ours = |(name, value): &(&str, Option<&str>)| std::env::var_os(name).as_deref() == value.map(OsStr::new);
        if self.variables.iter().all(is_ours) {
            return None;
        }
        let is_own = |other: &OsStr| self.variables.iter().any(|(name, _)| other == *name);
        let others = std::env::vars_os().filter(|(other, _)| !is_own(other));
        let own = self.variables.iter().filter_map(|&(name, value)| Some((name.into(), value?.into())));
        let line = |(mut line, value): (OsString, OsString)| {
            line.push("=");
            line.push(value);
            CString::new(line.into_vec()).ok()
        };
        Some(others.chain(own).filter_map(line).collect())
    }
}

/// A command that needs no more memory to be run.
#[derive(Debug)]
pub struct Ready<'a> {
    child: Child<'a>,
    words: Words,
    environment: Option<Words>,
    stack: Vec<u8>,
}

impl Ready<'_> {
    /// Bytes of stack for the child: more than execvp(3) needs for names. That much is
    /// a mapping of its own, of which untouched pages cost nothing.
    const STACK: usize = 256 * 1024;

    /// Run the command to its end: clone(2), execvp(3), waitpid(2). Signals that come
    /// meanwhile are passed on to it; the last of them is returned too.
    ///
    /// # Errors
    /// [`ErrorKind::CommandMissing`] and [`ErrorKind::CommandRefused`];
    /// [`ErrorKind::NoRoom`] without a process or a descriptor for it.
    pub fn run(self, signals: &Forwarded) -> Result<(End, Option<i32>)> {
        wait(&self.begin(signals.held())?.0, signals)
    }

    /// Start the command, with the signal mask from before the requests were held back.
    ///
    /// # Errors
    /// Those of [`Ready::run`].
    pub(crate) fn start(self, signals: &Requests) -> Result<Running> {
        self.begin(signals.held())
    }

    fn begin(mut self, signals: &Blocked) -> Result<Running> {
        let us = getpid();
        let mut stack = std::mem::take(&mut self.stack);
        let (child, failed) = sys::process::vfork(&mut stack, || self.in_child(us, signals)).map_err(no_process)?;
        drop(stack);
        if let Some(errno) = failed {
            let _ = sys::process::wait(&child);
            return Err(not_run(self.child.words, errno));
        }
        Ok(Running(child))
    }

    /// What the child does; returns only if that failed. The child shares our memory:
    /// nothing here may allocate, or change what we use afterwards.
    fn in_child(&self, parent: Pid, signals: &Blocked) -> Errno {
        if self.child.leads_group
            && let Err(errno) = setpgid(Pid::from_raw(0), Pid::from_raw(0))
        {
            return errno;
        }
        if self.child.dies_with_us {
            if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
                return errno;
            }
            // The parent may have died before it was watched.
            if getppid() != parent {
                return Errno::ECHILD;
            }
        }
        // A duplicate, which exec does not close. Its number is high, as those of
        // shells are, and out of the way of a script's own.
        if let Some(fd) = self.child.inherits {
            // RLIMIT_NOFILE may be lower than that.
            let number = |least| fcntl(fd, FcntlArg::F_DUPFD(least));
            if let Err(errno) = number(10).or_else(|_| number(3)) {
                return errno;
            }
        }
        start::restore();
        let [stdin, stdout, stderr] = self.child.standard;
        let input = stdin.map_or(Ok(()), dup2_stdin);
        let output = input.and_then(|()| stdout.map_or(Ok(()), dup2_stdout));
        if let Err(errno) = output.and_then(|()| stderr.map_or(Ok(()), dup2_stderr)) {
            return errno;
        }
        signals.restore_mask();
        execute(&self.words, self.environment.as_ref())
    }
}

fn no_process(errno: Errno) -> Error {
    let what = "a process for the command";
    match errno {
        Errno::EAGAIN => Error::new(ErrorKind::NoRoom, what, "there are as many as may be").hint(Hint::Processes),
        errno => Error::errno(what, errno),
    }
}

/// A process of ours that runs. Its descriptor is readable when it has ended.
#[derive(Debug)]
pub(crate) struct Running(sys::process::Child);

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl Running {
    /// Run `work` in a child, which ends with the status that it returns: fork(2). This
    /// process must have one thread.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`].
    pub(crate) fn fork(work: impl FnOnce() -> u8) -> Result<Self> {
        let forked = sys::process::fork_child(work)
            .and_then(|pid| Ok(Running(sys::process::Child { pid, fd: sys::process::open(pid.as_raw())? })));
        forked.map_err(no_process)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        sys::process::has_ended(self, PollTimeout::ZERO) == Ok(true)
    }

    /// How it has ended, after waiting for that: waitpid(2).
    pub(crate) fn end(self) -> Result<End> {
        match sys::process::wait(&self.0).map_err(|errno| Error::errno("the command", errno))? {
            status if libc::WIFSIGNALED(status) => Ok(End::Killed(libc::WTERMSIG(status))),
            status => Ok(End::Exited(libc::WEXITSTATUS(status) as u8)),
        }
    }

    /// Send it a signal: kill(2).
    pub(crate) fn signal(&self, signal: i32) {
        // It was not waited for yet: nobody else has its number.
        let _ = Signal::try_from(signal).map(|signal| kill(self.0.pid, signal));
    }

    /// Send a signal to the process group that it leads: kill(2).
    pub(crate) fn signal_group(&self, signal: i32) {
        let _ = Signal::try_from(signal).map(|signal| killpg(self.0.pid, signal));
    }
}

/// Run a command with these bytes as its standard input, a file in memory that has no
/// name. A signal that comes meanwhile is passed on, and then has its effect here.
///
/// # Errors
/// Those of [`Ready::run`]; [`ErrorKind::NoRoom`] without memory for the bytes.
pub fn run_on(words: &[OsString], input: &[u8]) -> Result<End> {
    let failed = |errno| Error::errno("the input of the command", errno);
    let mut file = File::from(memfd_create("ipcutils", MFdFlags::MFD_CLOEXEC).map_err(failed)?);
    file.write_all(input).and_then(|()| file.rewind()).map_err(|error| failed(errno_of(&error)))?;
    let child = Child { standard: [Some(file.as_fd()), None, None], ..Child::new(words) }.prepare()?;
    let signals = Forwarded::new()?;
    let (end, came) = child.run(&signals)?;
    if let Some(signal) = came {
        signals.give_back(signal);
    }
    Ok(end)
}

/// Wait for the child's end, and pass signals on.
pub(super) fn wait(child: &sys::process::Child, signals: &Forwarded) -> Result<(End, Option<i32>)> {
    let failed = |errno| Error::errno("the command", errno);
    let mut came = None;
    while signals.came_before(&child.fd) {
        let Some(info) = signals.next().map_err(failed)? else { continue };
        let signal = info.ssi_signo.cast_signed();
        came = Some(signal);
        // A terminal gives its signals to the whole group, the command too.
        let by_terminal = info.ssi_code > 0 && matches!(signal, libc::SIGINT | libc::SIGQUIT);
        if !by_terminal && let Ok(signal) = Signal::try_from(signal) {
            // Our child was not waited for yet: nobody else has its number.
            let _ = kill(child.pid, signal);
        }
    }
    match sys::process::wait(child).map_err(failed)? {
        status if libc::WIFSIGNALED(status) => Ok((End::Killed(libc::WTERMSIG(status)), came)),
        status => Ok((End::Exited(libc::WEXITSTATUS(status) as u8), came)),
    }
}
