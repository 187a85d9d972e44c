//! The workers of a service: this process, or several that it forks.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc::SIGKILL;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid, setpgid};

use super::attempt::Attempt;
use super::report::{Event, Watch};
use super::service::{Options, Service};
use super::tickets::Tickets;
use super::worker::Worker;
use crate::base::error::Result;
use crate::base::wait::Deadline;
use crate::process::command::{End, Running};
use crate::process::signals::{Came, Requests};

/// A worker that was killed is not replaced at once, lest that goes on and on.
const PAUSE: Duration = Duration::from_millis(100);

impl Service<'_> {
    /// Take messages and run the command for each. Returns the exit status of a worker
    /// that has failed and told so, or 0.
    ///
    /// SIGTERM, SIGINT and SIGHUP are requests to end: commands that run are waited for,
    /// and then the signal takes effect.
    ///
    /// # Errors
    /// - [`ErrorKind::Busy`](crate::ErrorKind::Busy), [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if no message comes;
    /// - [`ErrorKind::Gone`](crate::ErrorKind::Gone) if the queue is removed;
    /// - [`ErrorKind::CommandMissing`](crate::ErrorKind::CommandMissing), [`ErrorKind::CommandRefused`](crate::ErrorKind::CommandRefused): the message stays
    ///   in its claim;
    /// - [`ErrorKind::NoRoom`](crate::ErrorKind::NoRoom) without memory for a claim: nothing was taken.
    pub fn run(mut self, watch: &dyn Watch) -> Result<u8> {
        let signals = Requests::new()?;
        let stop = match self.options.jobs {
            1 => (self.work(&signals, watch)?, 0),
            _ => self.run_workers(&signals, watch)?,
        };
        match stop {
            (Some(signal), status) => {
                signals.give_back(signal);
                Ok(status)
            }
            (None, status) => Ok(status),
        }
    }

    /// Be a worker, to its end or to a request to end.
    fn work(&mut self, signals: &Requests, watch: &dyn Watch) -> Result<Option<i32>> {
        let Options { command, timeout, lines, .. } = self.options;
        let (callers, filter) = Default::default();
        let attempt = Attempt { command, timeout, sysv: self.of.sysv, lines, callers, filter };
        Worker::new(self, attempt, signals, watch).run()
    }

    /// Have several workers, each a child.
    fn run_workers(&mut self, signals: &Requests, watch: &dyn Watch) -> Result<(Option<i32>, u8)> {
        let told = Tickets::new(1)?;
        let (mut workers, mut stop, mut status) = (Vec::<Running>::new(), None, 0);
        let mut missing = self.options.jobs;
        loop {
            while missing > 0 && stop.is_none() {
                let us = getpid();
                let worker = Running::fork(|| self.child(us, signals, &told, watch));
                // What the others have is in claims.
                let worker = worker.inspect_err(|_| workers.iter().for_each(|worker| worker.signal(SIGKILL)));
                workers.push(worker?);
                missing -= 1;
            }
            if workers.is_empty() {
                return Ok((stop, status));
            }
            if let Came::Request(signal) = signals.wait(workers.iter().map(AsFd::as_fd), &Deadline::NEVER)? {
                stop.get_or_insert(signal);
                workers.iter().for_each(|worker| worker.signal(signal));
                continue;
            }
            for worker in workers.extract_if(.., |worker| worker.has_ended()) {
                match worker.end()? {
                    End::Killed(signal) if stop.is_none() => {
                        watch.event(&Event::WorkerDied { signal });
                        std::thread::sleep(PAUSE);
                        missing += 1;
                    }
                    End::Exited(own) if status == 0 => status = own,
                    End::Killed(_) | End::Exited(_) => {}
                }
            }
        }
    }

    /// What a worker's process does. Returns its exit status.
    fn child(&mut self, parent: Pid, signals: &Requests, told: &Tickets, watch: &dyn Watch) -> u8 {
        // In a group of its own, so that a terminal's signals come from the parent
        // alone, and once.
        let apart = setpgid(Pid::from_raw(0), Pid::from_raw(0)).and_then(|()| set_pdeathsig(Signal::SIGKILL));
        if apart.is_err() || getppid() != parent {
            return 1;
        }
        // What it reads from the parent's descriptor are its own signals: signalfd(2).
        self.work(signals, watch).map_or_else(|error| watch.failed(&error, !told.take()), |_| 0)
    }
}
