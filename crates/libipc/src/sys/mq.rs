//! Descriptors of POSIX message queues: file descriptors on Linux, mq_overview(7).

use std::ffi::CStr;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int, mode_t};
use nix::mqueue::MqdT;

use super::memory::Region;

/// A queue's descriptor, closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Descriptor(MqdT);

impl Deref for Descriptor {
    type Target = MqdT;

    fn deref(&self) -> &MqdT {
        &self.0
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<MqdT> for Descriptor {
    fn from(queue: MqdT) -> Self {
        Descriptor(queue)
    }
}

/// A queue that was opened as a file of the file system of queues.
impl From<File> for Descriptor {
    fn from(file: File) -> Self {
        // SAFETY: the descriptor was the file's own, and is closed by us alone.
        Descriptor(unsafe { MqdT::from_raw_fd(file.into_raw_fd()) })
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let _ = nix::unistd::close(self.0.as_raw_fd());
    }
}

/// mq_open(3) with O_CREAT and the system's default attributes, for which nix
/// forgets to pass the mode.
pub(crate) fn create_default(name: &CStr, flags: c_int, mode: mode_t) -> nix::Result<Descriptor> {
    let none = ptr::null::<libc::mq_attr>();
    // SAFETY: `name` ends with a NUL; null attributes are permitted.
    let fd = Errno::result(unsafe { libc::mq_open(name.as_ptr(), flags | libc::O_CREAT, mode, none) })?;
    // SAFETY: mq_open has just returned this descriptor to us alone.
    Ok(Descriptor(unsafe { MqdT::from_raw_fd(fd) }))
}

/// mq_receive(3) into shared memory: the priority at one offset, up to `room` bytes of
/// the message at another. The kernel writes the priority first. Returns the length.
pub(crate) fn receive_into(
    queue: &Descriptor,
    memory: &Region,
    priority_at: usize,
    at: usize,
    room: usize,
) -> nix::Result<usize> {
    let (priority, size) = memory.range(priority_at, size_of::<libc::c_uint>());
    let (text, room) = memory.range(at, room);
    if size < size_of::<libc::c_uint>() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: `range` keeps to the mapping, of which no reference exists. Memory that is
    // gone makes the kernel answer EFAULT.
    let n = unsafe { libc::mq_receive(queue.0.as_raw_fd(), text.cast(), room, priority.cast()) };
    Errno::result(n).map(isize::cast_unsigned)
}
