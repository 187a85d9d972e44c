//! One attempt: the command is run for a message.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc::{SIGKILL, SIGTERM};

use super::answer::{Caller, Reached, reach};
use super::claim::Claim;
use super::envelope::{Envelope, SIZE};
use super::report::Reason;
use crate::base::error::Result;
use crate::base::wait::Deadline;
use crate::process::command::{Child, End, Running};
use crate::process::signals::{Came, Requests};

/// How long a command that is to end has, before it is killed.
const GRACE: Duration = Duration::from_secs(1);

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

/// Whether the message of a claim is a call.
pub(super) fn is_call(claim: &Claim) -> bool {
    claim.beginning(SIZE).is_ok_and(|beginning| Envelope::decode(&beginning).is_some())
}

/// Tell the caller of a call whose attempts are used up that its servers have died.
pub(super) fn give_up(claim: &Claim, signals: &Requests, stop: &mut Option<i32>) -> Result<()> {
    if let Some(Ok(envelope)) = Envelope::decode(&claim.beginning(SIZE + 1)?)
        && let Reached::Caller(caller) = reach(&envelope, signals, stop)?
    {
        caller.tell(SERVERS_DIED);
    }
    Ok(())
}

impl Attempt<'_> {
    /// Run the command for the message of a claim. A request to end that comes meanwhile
    /// is stored in `stop`; a second one ends the command.
    ///
    /// # Errors
    /// Those of [`Ready::run`](crate::process::command::Ready::run): then nothing was run.
    pub(super) fn run(&self, claim: &Claim, signals: &Requests, stop: &mut Option<i32>) -> Result<Verdict> {
        let caller = match Envelope::decode(&claim.beginning(SIZE + 1)?) {
            None => None,
            Some(Err(why)) => return Ok(Verdict::Refused(Reason::Corrupt(why))),
            Some(Ok(envelope)) => match reach(&envelope, signals, stop)? {
                Reached::Caller(caller) => Some(caller),
                Reached::Gone => return Ok(Verdict::Done),
                Reached::Silent => {
                    claim.count_attempt();
                    return Ok(Verdict::Failed(Reason::Silent));
                }
            },
        };
        // Counted before it begins: a message that kills its server is tried no more
        // often than another.
        claim.count_attempt();
        let running = self.start(claim, caller.as_ref(), signals).inspect_err(|_| claim.uncount_attempt())?;
        let ended_by = self.wait(&running, caller.as_ref(), signals, stop)?;
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

    fn start(&self, claim: &Claim, caller: Option<&Caller>, signals: &Requests) -> Result<Running> {
        let number = claim.number().to_string();
        let attempt = claim.attempts().to_string();
        let (priority, kind) = if self.sysv { (None, Some(&*number)) } else { (Some(&*number), None) };
        let variables = [
            ("IPCUTILS_PRIORITY", priority),
            ("IPCUTILS_TYPE", kind),
            ("IPCUTILS_ATTEMPT", Some(&*attempt)),
            ("IPCUTILS_CALLER", caller.map(|caller| &*caller.who)),
            ("IPCUTILS_DEADLINE", caller.and_then(|caller| caller.deadline.as_deref())),
        ];
        let work = if caller.is_none() { Some(claim.input()?) } else { None };
        let standard = match (caller, &work) {
            (Some(caller), _) => caller.fds.each_ref().map(|fd| Some(fd.as_fd())),
            (None, work) => [work.as_ref().map(AsFd::as_fd), None, None],
        };
        let child = Child {
            variables: &variables,
            standard,
            dies_with_us: true,
            leads_group: true,
            ..Child::new(self.command)
        };
        child.prepare()?.start(signals)
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
