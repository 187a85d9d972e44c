//! POSIX message queues, mq_overview(7).

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;

use super::{Create, Direction};
use crate::address::PosixName;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::mode::Mode;
use crate::sys::mq;
use crate::text::printable;
use crate::wait::Patience;

pub use crate::sys::mq::Attributes;

/// A queue that was removed is looked at so often: its waiters are not woken.
const LOOK: Duration = Duration::from_secs(1);

/// What is said of a queue that makes one wait.
const FULL: &str = "is full";
const EMPTY: &str = "has no message";

/// Remove the name: mq_unlink(3). Who has the queue open keeps it; a receiver
/// that waits on it is not woken by the kernel.
#[doc(alias = "mq_unlink")]
pub fn remove(name: &PosixName) -> Result<()> {
    nix::mqueue::mq_unlink(name.as_os_str()).map_err(|errno| Error::errno(printable(name.as_os_str()), errno))
}

/// An open queue.
#[derive(Debug)]
pub struct Queue {
    name: PosixName,
    shown: String,
    fd: OwnedFd,
    attributes: Attributes,
    direction: Direction,
    new: bool,
    buffer: Vec<u8>,
}

impl Queue {
    /// mq_open(3). See [`super::Queue::open`].
    #[doc(alias = "mq_open")]
    pub fn open(name: &PosixName, direction: Direction, create: Option<&Create>) -> Result<Self> {
        let shown = printable(name.as_os_str());
        let failed = |errno| Error::errno(&shown, errno);
        let path = CString::new(name.as_os_str().as_bytes()).map_err(|_| failed(Errno::EINVAL))?;
        let rights = if direction == Direction::Send { libc::O_WRONLY } else { libc::O_RDONLY };
        let flags = rights | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let (fd, new) = loop {
            let Some(create) = create else { break (mq::open(&path, flags).map_err(failed)?, false) };
            let mode = create.mode.unwrap_or(Mode::PRIVATE).bits();
            match mq::create(&path, flags | libc::O_EXCL, mode, wanted(create)) {
                Ok(fd) => break (fd, true),
                Err(Errno::EEXIST) if !create.exclusive => {}
                Err(errno) => return Err(not_created(&shown, create, errno)),
            }
            match mq::open(&path, flags) {
                Ok(fd) => break (fd, false),
                Err(Errno::ENOENT) => {} // removed between the two calls
                Err(errno) => return Err(failed(errno)),
            }
        };
        let attributes = mq::attributes(&fd).map_err(failed)?;
        Ok(Queue { name: name.clone(), shown, fd, attributes, direction, new, buffer: Vec::new() })
    }

    /// Its limits, and the number of messages when it was opened.
    pub fn attributes(&self) -> Attributes {
        self.attributes
    }

    pub(super) fn is_new(&self) -> bool {
        self.new
    }

    pub(super) fn message_size(&self) -> usize {
        usize::try_from(self.attributes.message_size).unwrap_or(0)
    }

    /// [`ErrorKind::Gone`] if the name was removed.
    pub(super) fn check_linked(&self) -> Result<()> {
        match fstat(&self.fd) {
            Ok(stat) if stat.st_nlink > 0 => Ok(()),
            _ => Err(Error::errno(&self.shown, Errno::EIDRM)),
        }
    }

    /// Call until it is done, the patience ends or the queue is removed.
    ///
    /// The queue is open without blocking, and waited for by poll(2), which
    /// keeps to the monotonic clock; the timeouts of mq_timedreceive(3) run on
    /// one that can be set.
    fn wait<T>(
        &self,
        busy: &str,
        events: PollFlags,
        patience: &mut Patience,
        mut call: impl FnMut() -> nix::Result<T>,
    ) -> Result<T> {
        let failed = |errno| Error::errno(&self.shown, errno);
        let mut begun = false;
        loop {
            if let Some(done) = patience.try_first(|errno| errno == Errno::EAGAIN, &mut call).map_err(failed)? {
                return Ok(done);
            }
            if begun {
                self.check_linked()?;
                patience.check(&self.shown, busy)?;
            } else {
                patience.begin(&self.shown, busy)?;
                begun = true;
            }
            match poll(&mut [PollFd::new(self.fd.as_fd(), events)], patience.step(LOOK)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    pub(super) fn send(&mut self, message: &[u8], priority: u32, patience: &mut Patience) -> Result<()> {
        if message.len() > self.message_size() {
            let what = format!("the message is longer than this queue's {} bytes", self.message_size());
            return Err(Error::new(ErrorKind::NoRoom, &self.shown, what)
                .mend("make the queue anew with a larger --message-size"));
        }
        self.wait(FULL, PollFlags::POLLOUT, patience, || mq::send(&self.fd, message, priority))
    }

    pub(super) fn receive(&mut self, patience: &mut Patience) -> Result<(&[u8], i64)> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(self.message_size(), 0);
        let received = self.wait(EMPTY, PollFlags::POLLIN, patience, || mq::receive(&self.fd, &mut buffer));
        self.buffer = buffer;
        received.map(|(length, priority)| (&self.buffer[..length], i64::from(priority)))
    }

    /// Whether no message is in it.
    pub(super) fn is_unused(&self) -> bool {
        mq::attributes(&self.fd).is_ok_and(|attributes| attributes.messages == 0)
    }

    pub(super) fn remove(&self) -> Result<()> {
        // There is no call for that by descriptor.
        let identity = |queue: &Queue| fstat(&queue.fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        match Queue::open(&self.name, self.direction, None) {
            Ok(other) if identity(&other) != identity(self) => Err(Error::errno(&self.shown, Errno::EIDRM)),
            Ok(_) => remove(&self.name),
            // Its mode or a limit may forbid to open it again; it was ours just now.
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::NoRoom) => remove(&self.name),
            Err(error) => Err(error),
        }
    }
}

/// Wait until one of the queues has a message, and take none: poll(2). The
/// first that has one, in the given order.
pub fn ready(queues: &[&Queue], patience: &mut Patience) -> Result<usize> {
    let mut begun = false;
    loop {
        let mut fds: Vec<_> = queues.iter().map(|queue| PollFd::new(queue.fd.as_fd(), PollFlags::POLLIN)).collect();
        let timeout = if begun { patience.step(LOOK) } else { nix::poll::PollTimeout::ZERO };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::errno("poll", errno)),
        }
        if let Some(first) = fds.iter().position(|fd| fd.any() == Some(true)) {
            return Ok(first);
        }
        queues.iter().try_for_each(|queue| queue.check_linked())?;
        let shown = queues.iter().map(|queue| queue.shown.as_str()).collect::<Vec<_>>().join(", ");
        if begun {
            patience.check(&shown, EMPTY)?;
        } else {
            patience.begin(&shown, EMPTY)?;
            begun = true;
        }
    }
}

/// The attributes to create with: what was not asked for is the system's
/// default, and nothing asked for leaves the choice to the kernel.
fn wanted(create: &Create) -> Option<Attributes> {
    if create.max_messages.is_none() && create.message_size.is_none() {
        return None;
    }
    // The kernel's own default is never above the ceiling.
    let number = |asked: Option<u64>, default: &str, ceiling: &str, kernel: u64| {
        let default = || limits::number(default).unwrap_or(kernel).min(limits::number(ceiling).unwrap_or(kernel));
        i64::try_from(asked.unwrap_or_else(default)).unwrap_or(i64::MAX)
    };
    Some(Attributes {
        max_messages: number(create.max_messages, "fs.mqueue.msg_default", "fs.mqueue.msg_max", 10),
        message_size: number(create.message_size, "fs.mqueue.msgsize_default", "fs.mqueue.msgsize_max", 8192),
        messages: 0,
    })
}

/// Which limit it was: the kernel's numbers do not tell.
fn not_created(shown: &str, create: &Create, errno: Errno) -> Error {
    let no_room = |what: String, mend: &str| Error::new(ErrorKind::NoRoom, shown, what).mend(mend);
    let beyond = |asked: Option<u64>, name: &str| {
        let limit: u64 = limits::number(name)?;
        let asked = asked.filter(|&asked| asked > limit)?;
        Some(no_room(format!("{asked} is more than {name} allows, {limit}"), &limits::raise(name)))
    };
    match errno {
        Errno::EINVAL | Errno::EOVERFLOW => beyond(create.max_messages, "fs.mqueue.msg_max")
            .or_else(|| beyond(create.message_size, "fs.mqueue.msgsize_max"))
            .unwrap_or_else(|| no_room("no queue can be as large as that".into(), "ask for less")),
        // The limit of open files says the same, but then no file can be opened.
        Errno::EMFILE if File::open("/").is_ok() => {
            let limit = getrlimit(Resource::RLIMIT_MSGQUEUE).map_or(0, |(soft, _)| soft);
            let what = format!("this user's queues would take more than RLIMIT_MSGQUEUE allows, {limit} bytes");
            no_room(what, "raise it with ulimit -q, remove queues, or ask for fewer or smaller messages")
        }
        Errno::ENOSPC => {
            let name = "fs.mqueue.queues_max";
            let limit = limits::shown(name);
            no_room(
                format!("there are as many queues as {name} allows, {limit}; no disk is full"),
                &limits::raise(name),
            )
        }
        errno => Error::errno(shown, errno),
    }
}
