//! A terminal that is read key by key, and restored however its user ends:
//! termios(3).

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGTSTP, SIGWINCH};
use signal_hook::{flag, low_level};

use super::signals::Deferred;
use crate::base::error::{Error, Result, errno_of};
use crate::base::wait::poll_timeout;
use crate::sys;

/// What [`Terminal::wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The time is over.
    Tick,
    /// A key was pressed.
    Key(u8),
    /// A signal is pending that ends the process once the terminal is dropped; or the
    /// terminal is gone.
    End,
    /// The user asks to stop: give the screen back, then call [`Terminal::stop`].
    Stop,
    /// The window has another size, or the process was continued.
    Redraw,
}

/// A terminal without echo, which gives each key at once. Dropping it restores the
/// terminal.
#[derive(Debug)]
pub struct Terminal {
    input: File,
    before: Termios,
    noticed: &'static Noticed,
    // Dropped last, so that no signal ends the process before all is undone.
    signals: Deferred,
}

/// Signals that matter to a screen, each reported by a byte in a pipe. signal-hook
/// never removes a handler, so they are set once for the process. Earlier handlers
/// still run.
#[derive(Debug)]
struct Noticed {
    /// Ctrl-Z.
    stops: UnixStream,
    /// Continued, or another size of the window.
    changes: UnixStream,
    /// Whether there is no [`Terminal`], so that a stop does what it did before.
    idle: Arc<AtomicBool>,
}

impl Noticed {
    fn get() -> Result<&'static Self> {
        static NOTICED: OnceLock<Noticed> = OnceLock::new();
        if let Some(noticed) = NOTICED.get() {
            return Ok(noticed);
        }
        let new = Self::new().map_err(|error| Error::errno("the terminal", errno_of(&error)))?;
        Ok(NOTICED.get_or_init(|| new))
    }

    fn new() -> std::io::Result<Self> {
        let idle = Arc::new(AtomicBool::new(true));
        let (stops, stopped) = UnixStream::pair()?;
        let (changes, changed) = UnixStream::pair()?;
        [&stops, &changes].iter().try_for_each(|end| end.set_nonblocking(true))?;
        // A signal that the process was started to ignore stays ignored.
        let heeded = |signal| !sys::signal::is_ignored(signal);
        if heeded(SIGTSTP) {
            if sys::signal::is_default(SIGTSTP) {
                flag::register_conditional_default(SIGTSTP, idle.clone())?;
            }
            low_level::pipe::register(SIGTSTP, stopped)?;
        }
        for signal in [SIGCONT, SIGWINCH].into_iter().filter(|&signal| heeded(signal)) {
            low_level::pipe::register(signal, changed.try_clone()?)?;
        }
        Ok(Noticed { stops, changes, idle })
    }
}

/// Take the bytes that have come: whether there were any.
fn drain(mut pipe: &UnixStream) -> bool {
    let mut any = false;
    while let Ok(1..) = pipe.read(&mut [0; 64]) {
        any = true;
    }
    any
}

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
        let (signals, noticed) = (Deferred::new()?, Noticed::get()?);
        // Drop what came while there was no terminal.
        let _ = (drain(&noticed.stops), drain(&noticed.changes));
        noticed.idle.store(false, Ordering::SeqCst);
        let terminal = Terminal { input, before, noticed, signals };
        terminal.raw_mode().map_err(failed)?;
        Ok(terminal)
    }

    fn raw_mode(&self) -> nix::Result<()> {
        let mut keys = self.before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&self.input, SetArg::TCSADRAIN, &keys)
    }

    fn restore(&self) {
        let _ = tcsetattr(&self.input, SetArg::TCSADRAIN, &self.before);
    }

    /// Columns and rows of its window, 80 and 24 if it does not say.
    pub fn size(&self) -> (usize, usize) {
        match sys::terminal::size(&self.input) {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns.into(), rows.into()),
            _ => (80, 24),
        }
    }

    /// Wait for something to happen, for at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Event {
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.noticed.stops.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.noticed.changes.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.input.as_fd(), PollFlags::POLLIN),
        ];
        let woken = poll(&mut fds, poll_timeout(timeout));
        let [end, stop, change, key] = fds.map(|fd| fd.any().unwrap_or(false));
        match woken {
            // One of the handlers has run: what it wrote is there next time.
            Err(_) => Event::Redraw,
            Ok(_) if end => Event::End,
            Ok(_) if stop && drain(&self.noticed.stops) => Event::Stop,
            Ok(_) if change && drain(&self.noticed.changes) => {
                // A shell that continues a job may have set the terminal.
                let _ = self.raw_mode();
                Event::Redraw
            }
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
        self.restore();
        let _ = raise(Signal::SIGSTOP);
        let _ = self.raw_mode();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
        self.noticed.idle.store(true, Ordering::SeqCst);
    }
}
