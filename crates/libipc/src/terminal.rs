//! A terminal that answers to single keys, and is given back as it was however
//! its user ends: termios(3).

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::error::{Error, Result};
use crate::signals::Deferred;
use crate::sys;

/// What [`Terminal::wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The time is over.
    Tick,
    /// A key was pressed.
    Key(u8),
    /// A signal waits that will end the process once the terminal is dropped,
    /// or the terminal has gone.
    End,
    /// The user asks to stop: give the screen back, then call [`Terminal::stop`].
    Stop,
    /// The window has another size, or the process was continued.
    Redraw,
}

/// A terminal without echo, whose lines need no end. Dropping it undoes that.
#[derive(Debug)]
pub struct Terminal {
    input: File,
    before: Termios,
    others: SignalFd,
    mask: SigSet,
    // Dropped last, so that no signal ends the process before all is undone.
    signals: Deferred,
}

/// A stop, a continuation, another size: looked for beside those that end.
const OTHERS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGWINCH];

impl Terminal {
    /// The terminal at `input`, else the one that controls the process.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Failure`] if there is none.
    pub fn new(input: Option<BorrowedFd<'_>>) -> Result<Self> {
        let failed = |errno: Errno| Error::errno("the terminal", errno);
        let own = input.filter(IsTerminal::is_terminal).and_then(|input| input.try_clone_to_owned().ok());
        let input = match own {
            Some(input) => File::from(input),
            None => File::options().read(true).open("/dev/tty").map_err(|error| Error::input("/dev/tty", &error))?,
        };
        let before = tcgetattr(&input).map_err(failed)?;
        let signals = Deferred::new()?;
        let others: SigSet = OTHERS.into_iter().collect();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let arrived = SignalFd::with_flags(&others, flags).map_err(failed)?;
        let mask = others.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        let terminal = Terminal { input, before, others: arrived, mask, signals };
        terminal.begin().map_err(failed)?;
        Ok(terminal)
    }

    fn begin(&self) -> nix::Result<()> {
        let mut keys = self.before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&self.input, SetArg::TCSADRAIN, &keys)
    }

    fn end(&self) {
        let _ = tcsetattr(&self.input, SetArg::TCSADRAIN, &self.before);
    }

    /// Columns and rows of its window, 80 and 24 if it does not say.
    pub fn size(&self) -> (usize, usize) {
        match sys::terminal::size(&self.input) {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
            _ => (80, 24),
        }
    }

    /// Wait for something to happen, at most so long.
    pub fn wait(&mut self, timeout: Duration) -> Event {
        // Rounded up: less than a millisecond must not become a busy loop.
        let timeout = PollTimeout::try_from(timeout + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.others.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.input.as_fd(), PollFlags::POLLIN),
        ];
        let woken = poll(&mut fds, timeout);
        let [end, other, key] = fds.map(|fd| fd.any().unwrap_or(false));
        match woken {
            Err(_) => Event::Redraw,
            Ok(_) if end => Event::End,
            Ok(_) if other => match self.others.read_signal() {
                Ok(Some(signal)) if signal.ssi_signo == Signal::SIGTSTP as u32 => Event::Stop,
                _ => {
                    // A shell that continues a job may have set the terminal.
                    let _ = self.begin();
                    Event::Redraw
                }
            },
            Ok(_) if key => {
                let mut byte = [0];
                match self.input.read(&mut byte) {
                    Ok(1) => Event::Key(byte[0]),
                    _ => Event::End,
                }
            }
            Ok(_) => Event::Tick,
        }
    }

    /// Stop the process, with the terminal as it was before, until it is continued.
    pub fn stop(&self) {
        self.end();
        let _ = raise(Signal::SIGSTOP);
        let _ = self.begin();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.end();
        let _ = self.mask.thread_set_mask();
    }
}
