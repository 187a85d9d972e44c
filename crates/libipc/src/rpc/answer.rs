//! The server's side of a call: its caller is reached, and gets what the command says.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixCredentials, connect, getsockopt, sendmsg, socket, sockopt,
};

use super::envelope::Envelope;
use super::wire::{Frame, What};
use crate::base::error::{Error, Result};
use crate::base::wait::{Deadline, poll_timeout};
use crate::process::signals::{Came, Requests};
use crate::sys;

/// How long a caller has to hand its descriptors over, and to read an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections that are kept for the next call of the same caller.
const KEPT: usize = 32;

/// A caller that is connected.
#[derive(Debug)]
struct Connection {
    /// Of its calls, that which was taken first: socket and secret.
    of: Envelope,
    socket: OwnedFd,
    /// Process and user, as the kernel says.
    who: String,
}

/// A caller that waits for a call.
#[derive(Debug)]
pub(super) struct Caller {
    connection: Rc<Connection>,
    call: u32,
    /// When it waits no longer, in seconds since 1970.
    pub(super) deadline: Option<String>,
}

/// What became of a connection.
#[derive(Debug)]
pub(super) enum Reached {
    /// The caller waits.
    Caller(Caller),
    /// The caller is gone, or waits no longer.
    Gone,
    /// The caller is there, and does not answer.
    Silent,
}

/// The callers that a server is connected with.
#[derive(Debug, Default)]
pub(super) struct Callers {
    connections: Vec<Rc<Connection>>,
}

impl Callers {
    /// Tell the caller that its call is worked on.
    pub(super) fn reach(&mut self, envelope: &Envelope) -> Result<Reached> {
        let left = envelope.left();
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Reached::Gone);
        }
        let is_of = |connection: &Rc<Connection>| {
            connection.of.letters == envelope.letters && connection.of.secret == envelope.secret
        };
        let connection = match self.connections.iter().position(is_of) {
            // The one that was used last is the last.
            Some(at) => self.connections.remove(at),
            None => match Connection::new(envelope)? {
                Ok(connection) => Rc::new(connection),
                Err(reached) => return Ok(reached),
            },
        };
        let deadline = left.map(|left| {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(left);
            format!("{}.{:03}", at.as_secs(), at.subsec_millis())
        });
        if self.connections.len() >= KEPT {
            self.connections.remove(0);
        }
        self.connections.push(Rc::clone(&connection));
        Ok(Reached::Caller(Caller { connection, call: envelope.call, deadline }))
    }

    /// A caller that has let go of its connection gets a new one, if it is there.
    pub(super) fn forget(&mut self, caller: &Caller) {
        self.connections.retain(|connection| !Rc::ptr_eq(connection, &caller.connection));
    }
}

impl Connection {
    fn new(envelope: &Envelope) -> Result<std::result::Result<Self, Reached>> {
        let failed = |errno| Error::errno("a socket", errno);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
        match connect(socket.as_raw_fd(), &envelope.socket()?) {
            Ok(()) => {}
            Err(Errno::EAGAIN) => return Ok(Err(Reached::Silent)),
            Err(_) => return Ok(Err(Reached::Gone)),
        }
        let who: UnixCredentials = getsockopt(&socket, sockopt::PeerCredentials).map_err(failed)?;
        let connection = Connection { of: *envelope, socket, who: format!("{} {}", who.pid(), who.uid()) };
        // A caller that closes the connection may have been impatient. If it is gone, the
        // next connection is refused.
        Ok(if connection.send(&[&envelope.secret]) { Ok(connection) } else { Err(Reached::Silent) })
    }

    /// Send all of it, if the caller takes it in time.
    fn send(&self, parts: &[&[u8]]) -> bool {
        let deadline = Deadline::after(Some(PATIENCE));
        let mut done = 0;
        loop {
            let mut skip = done;
            let rest = parts.iter().filter_map(|part| {
                let skipped = skip.min(part.len());
                skip -= skipped;
                (skipped < part.len()).then(|| IoSlice::new(&part[skipped..]))
            });
            let rest: Vec<_> = rest.collect();
            if rest.is_empty() {
                return true;
            }
            match sendmsg::<()>(self.socket.as_raw_fd(), &rest, &[], MsgFlags::MSG_NOSIGNAL, None) {
                Ok(n) => done += n,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if !deadline.passed() => {
                    let timeout = poll_timeout(deadline.at_most(PATIENCE));
                    let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)], timeout);
                }
                Err(_) => return false,
            }
        }
    }
}

impl Caller {
    /// Process and user, as the kernel says.
    pub(super) fn who(&self) -> &str {
        &self.connection.who
    }

    /// Readable when the caller is gone.
    pub(super) fn gone(&self) -> BorrowedFd<'_> {
        self.connection.socket.as_fd()
    }

    /// Say that the call is worked on.
    pub(super) fn take(&self) -> bool {
        self.say(What::Take, 0)
    }

    /// The same, and get the caller's descriptors: its request, and two ends for what the
    /// command writes. A request to end that comes meanwhile is stored in `stop`.
    pub(super) fn take_descriptors(
        &self,
        signals: &Requests,
        stop: &mut Option<i32>,
    ) -> Result<Option<[OwnedFd; sys::socket::PASSED]>> {
        if !self.say(What::Take, 1) {
            return Ok(None);
        }
        let deadline = Deadline::after(Some(PATIENCE));
        loop {
            match signals.wait([self.gone()], &deadline)? {
                Came::Ready => return Ok(sys::socket::receive(&self.connection.socket).unwrap_or(None)),
                Came::Request(signal) => *stop = stop.or(Some(signal)),
                Came::Nothing => return Ok(None),
            }
        }
    }

    /// Send the answer, and the status 0.
    pub(super) fn answer(&self, answer: &[u8]) -> bool {
        let frame = |what, value| Frame { what, call: self.call, value }.encode();
        self.connection.send(&[&frame(What::Out, answer.len() as u64), answer, &frame(What::End, 0)])
    }

    /// Tell it the status of the command. Its death by now is no matter.
    pub(super) fn tell(&self, status: u8) {
        self.say(What::End, status.into());
    }

    fn say(&self, what: What, value: u64) -> bool {
        self.connection.send(&[&Frame { what, call: self.call, value }.encode()])
    }
}
