//! The server's side of a call: its caller is reached, and told the status.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixCredentials, connect, getsockopt, send, socket, sockopt,
};

use super::envelope::Envelope;
use crate::base::error::{Error, Result};
use crate::base::wait::Deadline;
use crate::process::signals::{Came, Requests};
use crate::sys;

/// How long a caller has to hand its descriptors over.
const PATIENCE: Duration = Duration::from_secs(2);

/// A caller that waits.
#[derive(Debug)]
pub(super) struct Caller {
    socket: OwnedFd,
    /// Its request, and the two ends for what the command writes.
    pub(super) fds: [OwnedFd; sys::socket::PASSED],
    /// Process and user, as the kernel says.
    pub(super) who: String,
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

/// Connect to the caller. A request to end that comes meanwhile is stored in `stop`.
pub(super) fn reach(envelope: &Envelope, signals: &Requests, stop: &mut Option<i32>) -> Result<Reached> {
    let failed = |errno| Error::errno("a socket", errno);
    let left = envelope.left();
    if left.is_some_and(|left| left.is_zero()) {
        return Ok(Reached::Gone);
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
    match connect(socket.as_raw_fd(), &envelope.socket()?) {
        Ok(()) => {}
        Err(Errno::EAGAIN) => return Ok(Reached::Silent),
        Err(_) => return Ok(Reached::Gone),
    }
    let who: UnixCredentials = getsockopt(&socket, sockopt::PeerCredentials).map_err(failed)?;
    // A caller that closes the connection may have been impatient. If it is gone, the
    // next connection is refused.
    if send(socket.as_raw_fd(), &envelope.secret, MsgFlags::MSG_NOSIGNAL).is_err() {
        return Ok(Reached::Silent);
    }
    let deadline = Deadline::after(Some(PATIENCE));
    loop {
        match signals.wait([socket.as_fd()], &deadline)? {
            Came::Ready => break,
            Came::Request(signal) => *stop = stop.or(Some(signal)),
            Came::Nothing => return Ok(Reached::Silent),
        }
    }
    let Ok(Some(fds)) = sys::socket::receive(&socket) else { return Ok(Reached::Silent) };
    let deadline = left.map(|left| {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(left);
        format!("{}.{:03}", at.as_secs(), at.subsec_millis())
    });
    Ok(Reached::Caller(Caller { socket, fds, who: format!("{} {}", who.pid(), who.uid()), deadline }))
}

impl Caller {
    /// Readable when the caller is gone.
    pub(super) fn gone(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Tell it the status of the command. Its death by now is no matter.
    pub(super) fn tell(&self, status: u8) {
        let _ = send(self.socket.as_raw_fd(), &[status], MsgFlags::MSG_NOSIGNAL);
    }
}
