//! The caller's side of its socket: servers that have connected.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, accept4, bind, listen, socket};

use super::envelope::{Envelope, Secret};
use super::wire::{self, Frame};
use crate::base::error::errno_of;
use crate::base::wait::Deadline;
use crate::fs::copy::STEP;
use crate::sys;

/// How long one that connects has to show the secret.
const SHOWN: Duration = Duration::from_secs(1);

/// The socket at which servers find a caller.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

impl Listener {
    pub(super) fn new(envelope: &Envelope) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        bind(socket.as_raw_fd(), &envelope.socket().map_err(|_| Errno::EINVAL)?)?;
        listen(&socket, Backlog::new(64)?)?;
        Ok(Listener(socket))
    }

    /// The next one that connects; None if there is none now.
    pub(super) fn accept(&self) -> nix::Result<Option<Peer>> {
        match accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
            Ok(fd) => Ok(Some(Peer {
                socket: sys::socket::accepted(fd),
                known: false,
                shown: Deadline::after(Some(SHOWN)),
                said: Vec::new(),
                begin: 0,
            })),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A server, or somebody else, until it has shown the secret.
#[derive(Debug)]
pub(super) struct Peer {
    socket: UnixStream,
    known: bool,
    shown: Deadline,
    /// What it has said, from `begin` on not yet heeded.
    said: Vec<u8>,
    begin: usize,
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a server says: a frame, and the bytes that belong to it.
pub(super) type Said<'p> = (Frame, &'p [u8]);

impl Peer {
    /// Read what it says. False if it has ended, or is nobody who has the secret.
    pub(super) fn hear(&mut self, secret: &Secret) -> bool {
        self.said.drain(..self.begin);
        self.begin = 0;
        let mut open = true;
        loop {
            let filled = self.said.len();
            // One that is unknown fills no memory.
            let room = if self.known { STEP } else { secret.len() - filled };
            self.said.resize(filled + room, 0);
            let read = (&self.socket).read(&mut self.said[filled..]);
            self.said.truncate(filled + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => open = false,
                Ok(_) => {}
                Err(error) if errno_of(&error) == Errno::EINTR => continue,
                Err(error) if errno_of(&error) == Errno::EAGAIN => {}
                Err(_) => open = false,
            }
            if !self.known && self.said.len() == secret.len() {
                self.known = self.said == *secret;
                self.said.clear();
                if self.known {
                    continue;
                }
                return false;
            }
            break;
        }
        open && (self.known || !self.shown.passed())
    }

    /// The next thing that it has said whole; None if there is none. An error if it makes
    /// no sense.
    pub(super) fn next(&mut self) -> Result<Option<Said<'_>>, ()> {
        if !self.known {
            return Ok(None);
        }
        let rest = &self.said[self.begin..];
        let Some(bytes) = rest.first_chunk::<{ wire::SIZE }>() else { return Ok(None) };
        let frame = Frame::decode(bytes).ok_or(())?;
        let length = match frame.what {
            wire::What::Out => usize::try_from(frame.value).map_err(drop)?,
            wire::What::Take | wire::What::End => 0,
        };
        let Some(body) = rest[wire::SIZE..].get(..length) else { return Ok(None) };
        self.begin += wire::SIZE + length;
        Ok(Some((frame, body)))
    }

    /// Hand descriptors over.
    pub(super) fn hand_over(&self, fds: [BorrowedFd<'_>; sys::socket::PASSED]) -> bool {
        sys::socket::send(&self.socket, fds).is_ok()
    }
}
