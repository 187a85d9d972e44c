//! A worker: takes messages, one after another, and has the command run for each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Verdict, cut_call, cut_reference, is_call};
use super::body::send_on;
use super::claim::{Claim, Found, next_orphan};
use super::report::{Event, Reason, Watch};
use super::service::Service;
use super::tickets::Tickets;
use crate::base::error::{ErrorKind, Result};
use crate::base::wait::{Deadline, Timeout, Wait};
use crate::mq::{LARGEST_PRIORITY, Queue};
use crate::process::signals::{Came, Requests};

/// How often claims of dead owners are looked for, and the queue's name is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The pause before a message is tried again: the first, how it grows, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const GROWTH: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// More messages in pauses are not held: each costs memory and descriptors.
const MOST_PAUSED: usize = 64;

/// The first room of a claim of a System V queue; it grows when a message needs it.
const ROOM: usize = 64 * 1024;

/// A worker, and the claims that it owns.
pub(super) struct Worker<'a, 'o> {
    service: &'a mut Service<'o>,
    attempt: Attempt<'o>,
    signals: &'a Requests,
    watch: &'a dyn Watch,
    /// The claim that receives the next message.
    empty: Option<Claim>,
    /// Messages that are tried again, and when.
    paused: Vec<(Instant, Claim)>,
    /// Names of claims that were left as they are.
    left: BTreeSet<String>,
    /// Whether one more message may be taken.
    ticket: bool,
    looked: Option<Instant>,
    /// When there was something to do last.
    busy: Instant,
    /// A request to end.
    stop: Option<i32>,
}

impl<'a, 'o> Worker<'a, 'o> {
    pub(super) fn new(
        service: &'a mut Service<'o>,
        attempt: Attempt<'o>,
        signals: &'a Requests,
        watch: &'a dyn Watch,
    ) -> Self {
        Worker {
            service,
            attempt,
            signals,
            watch,
            empty: None,
            paused: Vec::new(),
            left: BTreeSet::new(),
            ticket: false,
            looked: None,
            busy: Instant::now(),
            stop: None,
        }
    }

    /// Work to the end. Returns the signal that asked for it, if one did.
    pub(super) fn run(mut self) -> Result<Option<i32>> {
        let result = self.run_on();
        self.attempt.end(self.signals);
        // Whatever ends it, an empty claim is no longer needed. One with a message is
        // free for the next server as soon as it is closed.
        if let Some(empty) = self.empty.take() {
            let _ = empty.remove();
        }
        result.map(|()| self.stop)
    }

    fn run_on(&mut self) -> Result<()> {
        loop {
            self.stop = self.stop.or(self.signals.came()?);
            if self.stop.is_some() {
                return Ok(());
            }
            if let Some(due) = self.paused.iter().position(|(at, _)| *at <= Instant::now()) {
                let (_, claim) = self.paused.swap_remove(due);
                self.work_on(claim)?;
                continue;
            }
            if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                self.service.queue.check_linked()?;
                if self.take_up()? {
                    continue;
                }
            }
            let may_take = self.may_take();
            if may_take && self.receive(Timeout::Now)? {
                continue;
            }
            if self.paused.is_empty() {
                if !may_take {
                    return Ok(());
                }
                if self.service.options.drain {
                    match self.take_up()? {
                        true => continue,
                        false => return Ok(()),
                    }
                }
                if let Some(error) = self.service.no_message(self.busy) {
                    return Err(error);
                }
            }
            self.wait(may_take)?;
        }
    }

    /// Whether one more message may be taken.
    fn may_take(&mut self) -> bool {
        if self.paused.len() >= MOST_PAUSED {
            return false;
        }
        self.ticket = self.ticket || self.service.tickets.as_ref().is_none_or(Tickets::take);
        self.ticket
    }

    /// Wait until there is something to do, or to look at.
    fn wait(&mut self, may_take: bool) -> Result<()> {
        let now = Instant::now();
        let due = self.paused.iter().map(|(at, _)| at.saturating_duration_since(now)).min();
        let idle = match self.service.options.wait {
            Timeout::After(wait) if may_take => Some(wait.saturating_sub(self.busy.elapsed())),
            _ => None,
        };
        let step = [due, idle].into_iter().flatten().fold(LOOK, Duration::min);
        if may_take && self.service.of.sysv {
            // No descriptor tells of its messages.
            return self.receive(Timeout::After(step)).map(drop);
        }
        let queue = if may_take { self.service.queue.descriptor() } else { None };
        if let Came::Request(signal) = self.signals.wait(queue, &Deadline::after(Some(step)))? {
            self.stop = Some(signal);
        }
        Ok(())
    }

    /// Receive a message and work on it; false if none came.
    fn receive(&mut self, timeout: Timeout) -> Result<bool> {
        let claim = match self.empty.take().filter(Claim::is_whole) {
            Some(claim) => claim,
            None => Claim::new(&self.service.of, self.room(ROOM))?,
        };
        let queue = &mut self.service.queue;
        // A receiver that sleeps may be given a message, and be killed before it runs
        // again and can note the length. So it sleeps with room for none: a message that
        // is longer than the room ends the sleep, and stays in the queue.
        let (room, waits) = if timeout == Timeout::Now { (claim.room(), false) } else { (0, true) };
        let mut wait = Wait::new(timeout).spinning();
        let mut receive = || queue.receive_into(&claim.prepare(room), &mut wait);
        let received = if waits { self.signals.interrupting(&self.service.of.address, receive) } else { receive() };
        match received {
            Ok(length) => {
                claim.note(length);
                self.ticket = false;
                self.work_on(claim).map(|()| true)
            }
            Err(error) if error.kind == ErrorKind::NoRoom && waits => {
                self.empty = Some(claim);
                Ok(true)
            }
            Err(error) if error.kind == ErrorKind::NoRoom && claim.room() < self.room(usize::MAX) => {
                // The message is there, and has more room the next time.
                self.empty = Some(Claim::new(&self.service.of, self.room(ROOM.max(claim.room() * 2)))?);
                claim.remove().map(|()| true)
            }
            Err(error) => {
                self.empty = Some(claim);
                match error.kind {
                    ErrorKind::Busy | ErrorKind::TimedOut => Ok(false),
                    // A request to end, which is pending.
                    ErrorKind::Failure if error.errno.is_none() => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }

    /// Bytes for which a claim has room: those of the longest message of a POSIX queue;
    /// `least` for a System V queue, whose longest message is of any size.
    fn room(&self, least: usize) -> usize {
        let largest = self.service.queue.largest();
        if self.service.of.sysv { largest.min(least) } else { largest }
    }

    /// Take up one message of a dead owner; false if there is none.
    fn take_up(&mut self) -> Result<bool> {
        self.looked = Some(Instant::now());
        if !self.may_take() {
            return Ok(false);
        }
        let Some(found) = next_orphan(&self.service.of, |claim| self.left.contains(claim))? else { return Ok(false) };
        // There may be more.
        self.looked = None;
        match found {
            Found::Cut(claim) => match cut_call(&claim).or_else(|| cut_reference(&claim)) {
                // It says itself how long it is.
                Some(length) => {
                    claim.renote(length);
                    self.ticket = false;
                    self.work_on(claim)?;
                }
                None => self.bury(claim, Reason::Cut)?,
            },
            Found::Message(claim) if claim.attempts() <= self.service.options.retry => {
                self.watch.event(&Event::TakenUp { attempts: claim.attempts() });
                self.ticket = false;
                self.work_on(claim)?;
            }
            Found::Message(claim) if is_call(&claim) => {
                self.attempt.give_up(&claim)?;
                self.drop_call(claim, Reason::Tried)?;
            }
            Found::Message(claim) if self.service.dead.is_some() => self.bury(claim, Reason::Tried)?,
            Found::Message(claim) => drop(self.left.insert(claim.label().to_owned())),
        }
        Ok(true)
    }

    /// Make an attempt at the message of a claim.
    fn work_on(&mut self, claim: Claim) -> Result<()> {
        let (attempt, begin) = (claim.attempts().saturating_add(1), Instant::now());
        let (bytes, number) = (claim.length(), claim.number());
        self.watch.event(&Event::Taken { attempt, bytes, number, call: is_call(&claim) });
        // If the command cannot be run, the claim is closed, and free for another server.
        let verdict = match self.attempt.run(&claim, self.signals, &mut self.stop, self.watch) {
            Err(error) if error.kind == ErrorKind::NoRoom => Verdict::Failed(Reason::NotStarted(error)),
            other => other?,
        };
        self.busy = Instant::now();
        match verdict {
            Verdict::Done => {
                self.watch.event(&Event::Done { attempt, took: begin.elapsed() });
                self.finish(claim)
            }
            Verdict::Dropped(reason) => self.drop_call(claim, reason),
            Verdict::Failed(Reason::Stopped) => {
                // It has not failed by itself.
                claim.uncount_attempt();
                Ok(())
            }
            Verdict::Refused(reason) if self.service.dead.is_some() => self.bury(claim, reason),
            Verdict::Refused(reason) => self.drop_call(claim, reason),
            Verdict::Failed(reason) if claim.attempts() > self.service.options.retry => match is_call(&claim) {
                true => self.drop_call(claim, reason),
                false => self.bury(claim, reason),
            },
            Verdict::Failed(reason) => {
                let attempt = claim.attempts();
                let growth = GROWTH.saturating_pow(attempt.saturating_sub(1));
                let pause = FIRST_PAUSE.saturating_mul(growth).min(LONGEST_PAUSE);
                self.watch.event(&Event::Failed { attempt, reason, pause });
                self.paused.push((Instant::now() + pause, claim));
                Ok(())
            }
        }
    }

    /// A call is not answered: what its caller makes of that is the caller's.
    fn drop_call(&mut self, claim: Claim, reason: Reason) -> Result<()> {
        self.watch.event(&Event::Dropped { reason });
        self.finish(claim)
    }

    /// Nothing is left to do for the message of a claim.
    fn finish(&mut self, claim: Claim) -> Result<()> {
        claim.clear();
        if self.empty.is_none() && claim.room() >= self.room(ROOM) {
            self.empty = Some(claim);
            return Ok(());
        }
        claim.remove()
    }

    /// Give up: to the dead-letter queue, else the message stays where it is.
    fn bury(&mut self, claim: Claim, reason: Reason) -> Result<()> {
        let attempt = claim.attempts();
        let mut refused = None;
        if let Some(dead) = &mut self.service.dead {
            match send(dead, &claim) {
                Ok(()) => {
                    self.watch.event(&Event::Dead { attempt, reason, queue: &dead.address() });
                    return self.finish(claim);
                }
                Err(error) => refused = Some(error),
            }
        }
        self.watch.event(&Event::Kept { attempt, reason, claim: claim.label(), refused });
        self.left.insert(claim.label().to_owned());
        claim.leave();
        Ok(())
    }
}

/// Send the message of a claim to the dead-letter queue, with its priority or type where
/// the queue can have it.
fn send(dead: &mut Queue, claim: &Claim) -> Result<()> {
    let (least, most) = if dead.id().is_some() { (1, i64::MAX) } else { (0, LARGEST_PRIORITY.into()) };
    dead.check_linked()?;
    send_on(dead, &claim.message()?, claim.number().clamp(least, most), &mut Wait::new(Timeout::Now))?;
    // Nobody receives from a queue that has lost its name meanwhile.
    dead.check_linked()
}
