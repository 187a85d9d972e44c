//! POSIX message queues, mq_overview(7): a queue's descriptor is a file
//! descriptor on Linux, so it is owned as one.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int, mode_t, mq_attr};

/// Room and size of messages, as mq_getattr(3) has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// How many messages the queue holds.
    pub max_messages: i64,
    /// The largest message in bytes.
    pub message_size: i64,
    /// How many messages are in it now.
    pub messages: i64,
}

fn own(fd: c_int) -> nix::Result<OwnedFd> {
    let fd = Errno::result(fd)?;
    // SAFETY: mq_open has just returned this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// mq_open(3) of a queue that exists.
pub(crate) fn open(name: &CStr, flags: c_int) -> nix::Result<OwnedFd> {
    // SAFETY: `name` ends with a NUL; without O_CREAT there are no more arguments.
    own(unsafe { libc::mq_open(name.as_ptr(), flags) })
}

/// mq_open(3) with O_CREAT; without attributes the system's defaults.
pub(crate) fn create(name: &CStr, flags: c_int, mode: mode_t, wanted: Option<Attributes>) -> nix::Result<OwnedFd> {
    let mut attr = MaybeUninit::<mq_attr>::zeroed();
    // SAFETY: the structure is plain integers, for which zeroes are valid.
    let attr = unsafe { attr.assume_init_mut() };
    let attr = wanted.map(|wanted| {
        attr.mq_maxmsg = wanted.max_messages;
        attr.mq_msgsize = wanted.message_size;
        &raw const *attr
    });
    let attr = attr.unwrap_or(ptr::null());
    // SAFETY: `name` ends with a NUL; `attr` is null or valid to be read.
    own(unsafe { libc::mq_open(name.as_ptr(), flags | libc::O_CREAT, mode, attr) })
}

/// mq_getattr(3).
pub(crate) fn attributes(queue: &OwnedFd) -> nix::Result<Attributes> {
    let mut attr = MaybeUninit::<mq_attr>::zeroed();
    // SAFETY: `attr` is valid to be written.
    Errno::result(unsafe { libc::mq_getattr(queue.as_raw_fd(), attr.as_mut_ptr()) })?;
    // SAFETY: the call succeeded and has filled it.
    let attr = unsafe { attr.assume_init() };
    Ok(Attributes { max_messages: attr.mq_maxmsg, message_size: attr.mq_msgsize, messages: attr.mq_curmsgs })
}

/// mq_send(3).
pub(crate) fn send(queue: impl AsFd, message: &[u8], priority: u32) -> nix::Result<()> {
    let fd = queue.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `message` within its length.
    Errno::result(unsafe { libc::mq_send(fd, message.as_ptr().cast(), message.len(), priority) }).map(drop)
}

/// mq_receive(3): the message's length and priority.
pub(crate) fn receive(queue: impl AsFd, buffer: &mut [u8]) -> nix::Result<(usize, u32)> {
    let fd = queue.as_fd().as_raw_fd();
    let mut priority = 0;
    // SAFETY: the kernel writes within the length of `buffer`, and `priority`.
    let n = unsafe { libc::mq_receive(fd, buffer.as_mut_ptr().cast(), buffer.len(), &raw mut priority) };
    Ok((Errno::result(n)?.cast_unsigned(), priority))
}
