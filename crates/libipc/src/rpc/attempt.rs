//! One attempt: the command is run for a message.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::libc::{SIGKILL, SIGTERM};

use super::answer::{Caller, Callers, Reached};
use super::body::{self, Body};
use super::claim::Claim;
use super::envelope::{Envelope, SIZE};
use super::filter::{Exchanged, Filter, GRACE};
use super::report::{Reason, Watch};
use crate::base::error::{ErrorKind, Result};
use crate::base::wait::Deadline;
use crate::process::command::{Child, End, Running};
use crate::process::signals::{Came, Requests};
use crate::sys::socket::PASSED;

/// The status of a command that was ended because it took too long.
const TOOK_TOO_LONG: u8 = 124;

/// The status of a call that was tried as often as it may be, and whose servers all died.
const SERVERS_DIED: u8 = 7;

/// How commands are run.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) command: &'a [OsString],
    pub(super) timeout: Option<Duration>,
    pub(super) sysv: bool,
    /// The command is started once, and answers each line with a line.
    pub(super) lines: bool,
    pub(super) callers: Callers,
    pub(super) filter: Option<Filter>,
}

/// What an attempt leaves to do.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing.
    Done,
    /// Nothing, and this is told: a call that was not answered.
    Dropped(Reason),
    /// To try again, or to give up.
    Failed(Reason),
    /// To give up: it is no message that can be done.
    Refused(Reason),
}

/// The envelope of a call; None if the message of a claim is none.
fn envelope(claim: &Claim) -> Result<Option<std::result::Result<Envelope, &'static str>>> {
    Ok(Envelope::decode(&claim.beginning(SIZE)?, Some(claim.length())))
}

/// Whether the message of a claim is a call.
pub(super) fn is_call(claim: &Claim) -> bool {
    cut_call(claim).is_some()
}

/// The length of a call of which the claim may have lost the end; None if its message is
/// no call.
pub(super) fn cut_call(claim: &Claim) -> Option<usize> {
    let envelope = Envelope::decode(&claim.beginning(SIZE).ok()?, None)?;
    Some(envelope.map_or(SIZE, |envelope| envelope.length()))
}

/// The same of a reference to a body.
pub(super) fn cut_reference(claim: &Claim) -> Option<usize> {
    claim.beginning(body::SIZE).is_ok_and(|beginning| body::is_reference(&beginning)).then_some(body::SIZE)
}

/// What becomes of a call before its command runs.
enum Begun {
    /// Its caller waits.
    Caller(Caller),
    /// It is over.
    Over(Verdict),
}

impl Attempt<'_> {
    /// Tell the caller of a call whose attempts are used up that its servers have died.
    pub(super) fn give_up(&mut self, claim: &Claim) -> Result<()> {
        if let Some(Ok(envelope)) = envelope(claim)?
            && let Begun::Caller(caller) = self.reach(&envelope, claim)?
            && caller.take()
        {
            caller.tell(SERVERS_DIED);
        }
        Ok(())
    }

    /// Make an attempt at the message of a claim. A request to end that comes meanwhile
    /// is stored in `stop`; a second one ends the command.
    ///
    /// # Errors
    /// Those of [`Ready::run`](crate::process::command::Ready::run): then nothing was run.
    pub(super) fn run(
        &mut self,
        claim: &Claim,
        signals: &Requests,
        stop: &mut Option<i32>,
        watch: &dyn Watch,
    ) -> Result<Verdict> {
        let envelope = match envelope(claim)? {
            None => None,
            Some(Err(why)) => return Ok(Verdict::Refused(Reason::Corrupt(why))),
            Some(Ok(envelope)) => Some(envelope),
        };
        let caller = match &envelope {
            None => None,
            Some(envelope) => match self.reach(envelope, claim)? {
                Begun::Caller(caller) => Some(caller),
                Begun::Over(verdict) => return Ok(verdict),
            },
        };
        let follows = envelope.is_some_and(|envelope| envelope.follows.is_some());
        // A command of each call writes to the caller; for a line it sends the request.
        let mut fds = None;
        if let Some(caller) = &caller {
            if self.lines && follows {
                if !caller.take() {
                    return Ok(self.silent(caller, claim));
                }
            } else {
                fds = caller.take_descriptors(signals, stop)?;
                if fds.is_none() {
                    return Ok(self.silent(caller, claim));
                }
            }
        }
        let body = match Body::of(&claim.beginning(body::SIZE + 1)?).transpose() {
            Ok(body) => body,
            // Its server died between the removal of the body and that of the claim.
            Err(error) if error.kind == ErrorKind::Missing && claim.attempts() > 0 => return Ok(Verdict::Done),
            Err(error) if error.kind == ErrorKind::NoRoom => return Err(error),
            Err(error) => return Ok(Verdict::Refused(Reason::NoBody(error))),
        };
        let verdict = self.run_with(claim, body.as_ref(), (caller.as_ref(), fds, follows), (signals, stop), watch)?;
        if let (Verdict::Done, Some(body)) = (&verdict, body) {
            // Its owner's next sweep will do, if this may not.
            let _ = body.remove();
        }
        Ok(verdict)
    }

    /// Run the command, or have it answer.
    fn run_with(
        &mut self,
        claim: &Claim,
        body: Option<&Body>,
        (caller, fds, follows): (Option<&Caller>, Option<[OwnedFd; PASSED]>, bool),
        (signals, stop): (&Requests, &mut Option<i32>),
        watch: &dyn Watch,
    ) -> Result<Verdict> {
        if self.lines {
            let line = match fds {
                Some([input, ..]) => read_line(File::from(input)),
                None if body.is_some_and(|body| body.length() > LONGEST_LINE) => Ok(Err(TOO_LONG)),
                None if body.is_some() => body.map_or(Ok(Vec::new()), Body::read).map(Ok),
                None if follows => claim.message().map(|mut message| message.split_off(SIZE)).map(Ok),
                None => claim.message().map(Ok),
            };
            let line = match line? {
                Ok(line) => line,
                Err(why) => return Ok(refuse_line(caller, why)),
            };
            return self.run_line(claim, line, caller, (signals, stop), watch);
        }
        let input = match (caller, body) {
            (Some(_), _) if follows => Some(claim.input(SIZE)?),
            (Some(_), _) => None,
            (None, Some(body)) => Some(body.input()?),
            (None, None) => Some(claim.input(0)?),
        };
        self.run_command(claim, input, (caller, fds), signals, stop)
    }

    /// Run the command for a message.
    fn run_command(
        &self,
        claim: &Claim,
        input: Option<File>,
        (caller, fds): (Option<&Caller>, Option<[OwnedFd; PASSED]>),
        signals: &Requests,
        stop: &mut Option<i32>,
    ) -> Result<Verdict> {
        // Counted before it begins: a message that kills its server is tried no more
        // often than another.
        claim.count_attempt();
        let running = self.start(claim, input, (caller, fds), signals).inspect_err(|_| claim.uncount_attempt())?;
        let ended_by = self.wait(&running, caller, signals, stop)?;
        let end = running.end()?;
        Ok(match (ended_by, caller) {
            (Some(Reason::CallerGone), _) => Verdict::Done,
            (Some(reason @ Reason::TimedOut(_)), Some(caller)) => {
                caller.tell(TOOK_TOO_LONG);
                Verdict::Dropped(reason)
            }
            (Some(reason), _) => Verdict::Failed(reason),
            (None, Some(caller)) => {
                caller.tell(end.status());
                Verdict::Done
            }
            (None, None) if end == End::Exited(0) => Verdict::Done,
            (None, None) => Verdict::Failed(Reason::Ended(end)),
        })
    }

    fn start(
        &self,
        claim: &Claim,
        input: Option<File>,
        (caller, fds): (Option<&Caller>, Option<[OwnedFd; PASSED]>),
        signals: &Requests,
    ) -> Result<Running> {
        let number = claim.number().to_string();
        let attempt = claim.attempts().to_string();
        let (priority, kind) = if self.sysv { (None, Some(&*number)) } else { (Some(&*number), None) };
        let variables = [
            ("IPCUTILS_PRIORITY", priority),
            ("IPCUTILS_TYPE", kind),
            ("IPCUTILS_ATTEMPT", Some(&*attempt)),
            ("IPCUTILS_CALLER", caller.map(Caller::who)),
            ("IPCUTILS_DEADLINE", caller.and_then(|caller| caller.deadline.as_deref())),
        ];
        let mut standard = fds.as_ref().map_or([None; 3], |fds| fds.each_ref().map(|fd| Some(fd.as_fd())));
        if let Some(input) = &input {
            standard[0] = Some(input.as_fd());
        }
        let child = Child { variables: &variables, standard, ..self.child() };
        child.prepare()?.start(signals)
    }

    fn child(&self) -> Child<'_> {
        Child { dies_with_us: true, leads_group: true, ..Child::new(self.command) }
    }

    /// Reach the caller of a call.
    fn reach(&mut self, envelope: &Envelope, claim: &Claim) -> Result<Begun> {
        Ok(match self.callers.reach(envelope)? {
            Reached::Caller(caller) => Begun::Caller(caller),
            Reached::Gone => Begun::Over(Verdict::Done),
            Reached::Silent => {
                claim.count_attempt();
                Begun::Over(Verdict::Failed(Reason::Silent))
            }
        })
    }

    /// A caller does not answer. If it is gone, the next attempt notices.
    fn silent(&mut self, caller: &Caller, claim: &Claim) -> Verdict {
        self.callers.forget(caller);
        claim.count_attempt();
        Verdict::Failed(Reason::Silent)
    }

    /// Have the command answer a line.
    fn run_line(
        &mut self,
        claim: &Claim,
        mut line: Vec<u8>,
        caller: Option<&Caller>,
        (signals, stop): (&Requests, &mut Option<i32>),
        watch: &dyn Watch,
    ) -> Result<Verdict> {
        line.truncate(line.strip_suffix(b"\n").map_or(line.len(), <[u8]>::len));
        if line.contains(&b'\n') {
            return Ok(refuse_line(caller, "it has more than one line, and the command answers lines"));
        }
        line.push(b'\n');
        claim.count_attempt();
        if let Some(old) = self.filter.take_if(|filter| filter.is_out_of_step()) {
            old.end(true, signals)?;
        }
        let mut filter = match self.filter.take() {
            Some(filter) => filter,
            None => Filter::start(self.child(), signals).inspect_err(|_| claim.uncount_attempt())?,
        };
        let exchanged = filter.exchange(&line, &Deadline::after(self.timeout), signals, stop)?;
        let (reason, status) = match exchanged {
            Exchanged::Answered => {
                match caller {
                    Some(caller) => drop(caller.answer(filter.answer())),
                    None => watch.answer(filter.answer())?,
                }
                self.filter = Some(filter);
                return Ok(Verdict::Done);
            }
            Exchanged::Ended => {
                let end = filter.end(false, signals)?;
                (Reason::Unanswered(end), if end.status() == 0 { 1 } else { end.status() })
            }
            Exchanged::Late => {
                filter.end(true, signals)?;
                (Reason::TimedOut(self.timeout.unwrap_or_default()), TOOK_TOO_LONG)
            }
            Exchanged::Stopped => {
                filter.end(true, signals)?;
                return Ok(Verdict::Failed(Reason::Stopped));
            }
        };
        Ok(match caller {
            Some(caller) => {
                caller.tell(status);
                Verdict::Dropped(reason)
            }
            None => Verdict::Failed(reason),
        })
    }

    /// Have a command that answers lines end, by the end of its input.
    pub(super) fn end(&mut self, signals: &Requests) {
        if let Some(filter) = self.filter.take() {
            let _ = filter.end(false, signals);
        }
    }

    /// Wait for the end of the command. Returns why it was ended, if it was.
    fn wait(
        &self,
        running: &Running,
        caller: Option<&Caller>,
        signals: &Requests,
        stop: &mut Option<i32>,
    ) -> Result<Option<Reason>> {
        let mut deadline = Deadline::after(self.timeout);
        let mut ended_by = None;
        loop {
            let gone = caller.filter(|_| ended_by.is_none()).map(Caller::gone);
            match signals.wait(std::iter::once(running.as_fd()).chain(gone), &deadline)? {
                Came::Ready if running.has_ended() => return Ok(ended_by),
                Came::Ready => ended_by = Some(Reason::CallerGone),
                Came::Request(signal) if stop.is_none() => {
                    *stop = Some(signal);
                    continue;
                }
                Came::Request(_) if ended_by.is_none() => ended_by = Some(Reason::Stopped),
                Came::Nothing if ended_by.is_none() => ended_by = self.timeout.map(Reason::TimedOut),
                Came::Request(_) | Came::Nothing => {
                    running.signal_group(SIGKILL);
                    deadline = Deadline::NEVER;
                    continue;
                }
            }
            running.signal_group(SIGTERM);
            deadline = Deadline::after(Some(GRACE));
        }
    }
}

/// The longest line that is read of a caller.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;
const TOO_LONG: &str = "it is longer than 64 MiB, and the command answers lines";

/// The request of a caller, as a line.
fn read_line(input: File) -> Result<std::result::Result<Vec<u8>, &'static str>> {
    let mut line = Vec::new();
    match input.take(LONGEST_LINE + 1).read_to_end(&mut line) {
        Ok(_) if line.len() as u64 <= LONGEST_LINE => Ok(Ok(line)),
        Ok(_) => Ok(Err(TOO_LONG)),
        Err(_) => Ok(Err("its caller has no request that can be read")),
    }
}

/// The status of a request that is no line.
const NO_LINE: u8 = 8;

fn refuse_line(caller: Option<&Caller>, why: &'static str) -> Verdict {
    match caller {
        Some(caller) => {
            caller.tell(NO_LINE);
            Verdict::Dropped(Reason::NoLine(why))
        }
        None => Verdict::Refused(Reason::NoLine(why)),
    }
}
