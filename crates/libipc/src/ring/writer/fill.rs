//! A stream that is read(2) straight into the ring.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::pread;
use nix::unistd::{Whence, lseek};

use super::super::handle::LONGEST_SLEEP;
use super::{Room, Writer};
use crate::base::error::{Error, Result};
use crate::base::wait::{Wait, poll_timeout};
use crate::fs::copy::{Control, STEP};
use crate::fs::input::Input;
use crate::sys::ticker::Timer;

/// How many bytes are announced at most while there is no input.
const AHEAD: u64 = 4096;

impl Writer {
    /// Copy the input into the ring until its end: read(2). What one call reads is
    /// committed at once.
    ///
    /// # Errors
    /// - [`Busy`](crate::ErrorKind::Busy) and [`TimedOut`](crate::ErrorKind::TimedOut)
    ///   if the ring stays full;
    /// - [`Gone`](crate::ErrorKind::Gone) if it is removed, replaced or truncated;
    /// - [`Unexpected`](crate::ErrorKind::Unexpected) if it is corrupt;
    /// - [`Failure`](crate::ErrorKind::Failure) if the input cannot be read.
    pub fn copy_from(&mut self, input: &Input<'_>, wait: &mut Wait, control: &mut Control<'_>) -> Result<()> {
        let fd = input.fd();
        // Readers are at work on one part while we fill another.
        let step = (STEP as u64).min(self.capacity() / 4).max(1);
        let mut ticker = None;
        loop {
            self.check_now_and_then()?;
            let mut room = 0;
            if !polled(fd, PollTimeout::ZERO) {
                room = self.room_ahead(&mut ticker)?;
                if room == 0 {
                    self.wait_for_input(fd)?;
                }
            }
            if room == 0 {
                room = match self.wait_for_room(step, 1, wait, || at_end(fd))? {
                    Room::Bytes(room) => room,
                    Room::AtEnd => return Ok(()),
                };
            }
            let (at, len) = self.handle.piece(self.at.head, room);
            match self.handle.ring.memory.0.fill(fd, at, len) {
                // Nothing was written into the announced room.
                Ok(0) => {
                    self.at = self.handle.ring.commit(self.at, 0);
                    return Ok(());
                }
                Ok(n) => {
                    self.at = self.handle.ring.commit(self.at, n as u64);
                    control.moved(n);
                }
                Err(Errno::EINTR) => self.check_idle()?,
                Err(Errno::EAGAIN) => self.wait_for_input(fd)?,
                Err(Errno::EFAULT) => return Err(self.handle.lost()),
                Err(errno) => return Err(Error::io(input.label(), errno)),
            }
        }
    }

    /// Announce room for input that is not there yet, so that read(2) itself waits for
    /// it: quicker than poll(2) and read(2). The ticker ends that wait each second.
    ///
    /// The room is small, as readers that join meanwhile lose what is announced. In a
    /// stream that overwrites there is none, as the present readers would lose it.
    fn room_ahead(&self, ticker: &mut Option<Timer>) -> Result<u64> {
        if self.stream.overwrite {
            return Ok(0);
        }
        if ticker.is_none() {
            let timer = Timer::new().and_then(|timer| timer.set(LONGEST_SLEEP, LONGEST_SLEEP).map(|()| timer));
            *ticker = timer.ok();
        }
        if ticker.is_none() {
            return Ok(0);
        }
        let want = (self.capacity() / 64).clamp(1, AHEAD);
        self.handle.ring.announce(self.at, want, 1, false).map_err(|corrupt| self.handle.corrupt(corrupt))
    }

    /// Wait until there is input at `fd`, or its end: poll(2).
    ///
    /// # Errors
    /// [`Gone`](crate::ErrorKind::Gone) if the ring is removed, replaced or truncated,
    /// [`Unexpected`](crate::ErrorKind::Unexpected) if it is corrupt.
    pub fn wait_for_input(&self, fd: BorrowedFd<'_>) -> Result<()> {
        while !polled(fd, poll_timeout(LONGEST_SLEEP)) {
            self.check_idle()?;
        }
        Ok(())
    }
}

/// Whether there is input, or its end, after waiting for at most `timeout`.
fn polled(fd: BorrowedFd<'_>, timeout: PollTimeout) -> bool {
    !matches!(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout), Ok(0) | Err(Errno::EINTR))
}

/// Whether the input is known to be at its end, without taking anything from it.
fn at_end(fd: BorrowedFd<'_>) -> bool {
    match lseek(fd, 0, Whence::SeekCur) {
        Ok(at) => pread(fd, &mut [0], at) == Ok(0),
        Err(_) => {
            let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
            let polled = poll(&mut fds, PollTimeout::ZERO);
            polled.is_ok() && fds[0].revents().is_some_and(|events| events == PollFlags::POLLHUP)
        }
    }
}
