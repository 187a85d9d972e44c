//! Descriptors that are passed to another process: unix(7), SCM_RIGHTS.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// How many descriptors go with a message.
pub(crate) const PASSED: usize = 3;

/// Send a byte and the descriptors.
pub(crate) fn send(socket: impl AsFd, fds: [BorrowedFd<'_>; PASSED]) -> nix::Result<()> {
    let raw = fds.map(|fd| fd.as_raw_fd());
    let message = [ControlMessage::ScmRights(&raw)];
    let socket = socket.as_fd().as_raw_fd();
    sendmsg::<()>(socket, &[IoSlice::new(&[0])], &message, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}

/// Receive them, each closed on exec. None at the end of the stream, and if the message
/// is not of that form.
pub(crate) fn receive(socket: impl AsFd) -> nix::Result<Option<[OwnedFd; PASSED]>> {
    let (mut byte, mut space) = ([0], cmsg_space!([libc::c_int; PASSED]));
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let received = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    // Whatever else came with them is closed, too.
    for message in received.cmsgs().map_err(|_| Errno::EPROTO)? {
        if let ControlMessageOwned::ScmRights(raw) = message {
            for fd in raw {
                // SAFETY: the kernel has just given this descriptor to us alone.
                fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok(fds.try_into().ok())
}

/// The socket that accept(2) has returned.
pub(crate) fn accepted(fd: i32) -> UnixStream {
    // SAFETY: the caller has just got this descriptor, and has it alone.
    UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) })
}
