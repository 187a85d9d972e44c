//! POSIX message queues, mq_overview(7).

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_getattr, mq_open, mq_receive, mq_send, mq_unlink};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode as Bits, fstat};

use super::options::{Attributes, Create, Direction, LARGEST_PRIORITY, OpenOptions};
use super::place::Place;
use crate::base::address::{Kind, PosixName};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::Mode;
use crate::base::owner::Owners;
use crate::base::sysctl;
use crate::base::text::printable;
use crate::base::wait::Wait;
use crate::fs::entry::RACES;
use crate::fs::readers::Readers;
use crate::process::signals::with_signals_blocked;
use crate::sys::alloc;
use crate::sys::lease::Lease;
use crate::sys::mq::{Descriptor, create_default, receive_into};

/// How often a waiter checks that its queue still has a name; mq_unlink(3) wakes
/// nobody.
const LOOK: Duration = Duration::from_secs(1);

/// HARD_MSGSIZEMAX: mq_overview(7).
pub(super) const CEILING: usize = 16 << 20;

/// Why a call waits, for messages.
const FULL: &str = "is full";
const EMPTY: &str = "has no message";

/// Remove the name: mq_unlink(3). Processes that have the queue open keep it. The
/// kernel does not wake a receiver that waits on it.
pub(super) fn remove(name: &PosixName) -> Result<()> {
    mq_unlink(name.as_os_str()).map_err(|errno| Error::errno(printable(name.as_os_str()), errno))
}

/// An open queue.
#[derive(Debug)]
pub(super) struct Queue {
    name: PosixName,
    label: String,
    fd: Descriptor,
    attributes: Attributes,
    direction: Direction,
    pub(super) new: bool,
    buffer: Vec<u8>,
}

impl Queue {
    /// mq_open(3). See [`super::Queue::open`].
    pub(super) fn open(name: &PosixName, options: &OpenOptions) -> Result<Self> {
        let label = printable(name.as_os_str());
        let failed = |errno| Error::errno(&label, errno);
        let rights = if options.direction == Direction::Send { MQ_OFlag::O_WRONLY } else { MQ_OFlag::O_RDONLY };
        let flags = rights | MQ_OFlag::O_CLOEXEC | MQ_OFlag::O_NONBLOCK;
        let existing = || mq_open(name.as_os_str(), flags, Bits::empty(), None).map(Descriptor::from);
        let (fd, new) = 'opened: {
            let Some(create) = &options.create else { break 'opened (existing().map_err(failed)?, false) };
            for _ in 0..RACES {
                match make(name, flags, create) {
                    Ok(fd) => break 'opened (fd, true),
                    Err(Errno::EEXIST) if !create.exclusive => {}
                    Err(errno) => return Err(not_created(&label, create, errno)),
                }
                match existing() {
                    Ok(fd) => break 'opened (fd, false),
                    Err(Errno::ENOENT) => {} // removed between the two calls
                    Err(errno) => return Err(failed(errno)),
                }
            }
            return Err(Error::new(ErrorKind::Gone, &label, "is removed faster than it can be opened"));
        };
        if let Some(create) = options.create.filter(|_| !new && options.direction == Direction::Send) {
            let stat = fstat(&fd).map_err(failed)?;
            Owners::of_file(&stat).refuse_stranger(Kind::Mq, &label, create.foreign)?;
        }
        let none = Attributes { max_messages: 0, message_size: 0, messages: 0 };
        let mut queue = Queue {
            name: name.clone(),
            label,
            fd,
            attributes: none,
            direction: options.direction,
            new,
            buffer: Vec::new(),
        };
        queue.attributes = attributes(&queue.fd).map_err(|errno| {
            // Of a queue that cannot be looked at it is known only that it is new.
            if queue.new {
                let _ = queue.remove();
            }
            Error::errno(&queue.label, errno)
        })?;
        Ok(queue)
    }

    /// Its limits, and the number of messages when it was opened.
    pub(super) fn attributes(&self) -> Attributes {
        self.attributes
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn existing_mode(&self) -> Option<u32> {
        let stat = (!self.new).then(|| fstat(&self.fd).ok()).flatten()?;
        Some(stat.st_mode & 0o777)
    }

    pub(super) fn readers(&self) -> Result<Readers> {
        fstat(&self.fd).map(|stat| Readers::of_file(&stat)).map_err(|errno| Error::errno(&self.label, errno))
    }

    pub(super) fn message_size(&self) -> usize {
        usize::try_from(self.attributes.message_size).unwrap_or(0)
    }

    /// [`ErrorKind::Gone`] if the name was removed.
    pub(super) fn check_linked(&self) -> Result<()> {
        match fstat(&self.fd) {
            Ok(stat) if stat.st_nlink > 0 => Ok(()),
            _ => Err(Error::errno(&self.label, Errno::EIDRM)),
        }
    }

    /// Make the call until it succeeds, the wait is over or the queue is removed.
    ///
    /// The queue is open without blocking, and poll(2) waits for it on the monotonic
    /// clock. The timeouts of mq_timedreceive(3) run on a clock that can be set.
    fn wait<T>(
        &self,
        blocked_on: &str,
        events: PollFlags,
        wait: &mut Wait,
        mut call: impl FnMut() -> nix::Result<T>,
    ) -> Result<T> {
        let failed = |errno| Error::errno(&self.label, errno);
        let mut waited = false;
        loop {
            if let Some(done) = wait.try_first(|errno| errno == Errno::EAGAIN, &mut call).map_err(failed)? {
                return Ok(done);
            }
            if waited {
                self.check_linked()?;
            }
            wait.proceed(&self.label, blocked_on)?;
            match poll(&mut [PollFd::new(self.fd.as_fd(), events)], wait.poll_step(LOOK)) {
                Ok(_) | Err(Errno::EINTR) => waited = true,
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    pub(super) fn send(&mut self, message: &[u8], priority: i64, wait: &mut Wait) -> Result<()> {
        let Some(priority) = u32::try_from(priority).ok().filter(|&priority| priority <= LARGEST_PRIORITY) else {
            let problem = format!("a priority is a number from 0 to {LARGEST_PRIORITY}");
            return Err(Error::new(ErrorKind::Usage, &self.label, problem));
        };
        if message.len() > self.message_size() {
            let problem = format!("the message is longer than this queue's {} bytes", self.message_size());
            return Err(Error::new(ErrorKind::NoRoom, &self.label, problem).hint(Hint::LargerMessages));
        }
        self.wait(FULL, PollFlags::POLLOUT, wait, || mq_send(&self.fd, message, priority))
    }

    pub(super) fn receive(&mut self, wait: &mut Wait) -> Result<(&[u8], i64)> {
        let mut buffer = std::mem::take(&mut self.buffer);
        alloc::grow(&mut buffer, self.message_size()).map_err(|errno| Error::errno(&self.label, errno))?;
        let mut priority = 0;
        let received = self.wait(EMPTY, PollFlags::POLLIN, wait, || mq_receive(&self.fd, &mut buffer, &mut priority));
        self.buffer = buffer;
        received.map(|length| (&self.buffer[..length], i64::from(priority)))
    }

    pub(super) fn receive_into(&mut self, place: &Place<'_>, wait: &mut Wait) -> Result<usize> {
        let (memory, at) = (&place.memory.0, place.at);
        let receive = || receive_into(&self.fd, memory, at, at + Place::HEAD, place.room);
        self.wait(EMPTY, PollFlags::POLLIN, wait, receive)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Remove it, if this call of [`Queue::open`] has made it, no message is in it, and
    /// nobody else has it open, as far as the kernel says.
    pub(super) fn discard(&self) {
        let unused = || {
            let empty = attributes(&self.fd).is_ok_and(|attributes| attributes.messages == 0);
            empty && !matches!(Lease::take(&self.fd), Lease::Shared)
        };
        if self.new && unused() {
            let _ = self.remove();
        }
    }

    fn remove(&self) -> Result<()> {
        // No call removes a queue by its descriptor.
        let identity = |queue: &Queue| fstat(&queue.fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        match Queue::open(&self.name, &OpenOptions { direction: self.direction, create: None }) {
            Ok(other) if identity(&other) != identity(self) => Err(Error::errno(&self.label, Errno::EIDRM)),
            Ok(_) => remove(&self.name),
            // Its mode or a limit may forbid opening it again. It was ours just now.
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::NoRoom) => remove(&self.name),
            Err(error) => Err(error),
        }
    }
}

/// mq_getattr(3).
pub(crate) fn attributes(queue: &Descriptor) -> nix::Result<Attributes> {
    let attr = mq_getattr(queue)?;
    // The kernel reports no negative number.
    let number = |number: i64| number.cast_unsigned();
    Ok(Attributes {
        max_messages: number(attr.maxmsg()),
        message_size: number(attr.msgsize()),
        messages: number(attr.curmsgs()),
    })
}

/// Wait until one of the queues has a message, and take none: poll(2). Returns the
/// index of the first that has one.
pub(super) fn ready(queues: &[&Queue], wait: &mut Wait) -> Result<usize> {
    let mut timeout = PollTimeout::ZERO;
    loop {
        let mut fds: Vec<_> = queues.iter().map(|queue| PollFd::new(queue.fd.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::errno("poll", errno)),
        }
        if let Some(first) = fds.iter().position(|fd| fd.any() == Some(true)) {
            return Ok(first);
        }
        queues.iter().try_for_each(|queue| queue.check_linked())?;
        let label = queues.iter().map(|queue| queue.label.as_str()).collect::<Vec<_>>().join(", ");
        wait.proceed(&label, EMPTY)?;
        timeout = wait.poll_step(LOOK);
    }
}

/// Make a queue of this name: EEXIST if there is one.
fn make(name: &PosixName, flags: MQ_OFlag, create: &Create) -> nix::Result<Descriptor> {
    let (flags, mode) = (flags | MQ_OFlag::O_EXCL, create.mode.unwrap_or(Mode::PRIVATE));
    with_signals_blocked(|| {
        let queue = match wanted(create) {
            None => {
                let name = CString::new(name.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
                create_default(&name, flags.bits(), mode.for_queue().bits())
            }
            Some(attr) => mq_open(name.as_os_str(), flags | MQ_OFlag::O_CREAT, mode.for_queue(), Some(&attr))
                .map(Descriptor::from),
        }?;
        mode.settle(&queue).inspect_err(|_| {
            let _ = mq_unlink(name.as_os_str());
        })?;
        Ok(queue)
    })
}

/// The attributes of a new queue. What was not asked for is the system's default;
/// None leaves all of it to the kernel.
fn wanted(create: &Create) -> Option<MqAttr> {
    if create.max_messages.is_none() && create.message_size.is_none() {
        return None;
    }
    // The kernel's own default is never above the ceiling.
    let number = |asked: Option<u64>, default: &str, ceiling: &str, kernel: u64| {
        let default = || sysctl::number(default).unwrap_or(kernel).min(sysctl::number(ceiling).unwrap_or(kernel));
        i64::try_from(asked.unwrap_or_else(default)).unwrap_or(i64::MAX)
    };
    let max_messages = number(create.max_messages, "fs.mqueue.msg_default", "fs.mqueue.msg_max", 10);
    let message_size = number(create.message_size, "fs.mqueue.msgsize_default", "fs.mqueue.msgsize_max", 8192);
    Some(MqAttr::new(0, max_messages, message_size, 0))
}

/// The error of a creation. It finds out which limit was hit, as the kernel's error
/// number does not say.
fn not_created(label: &str, create: &Create, errno: Errno) -> Error {
    let no_room = |problem: String, hint| Error::new(ErrorKind::NoRoom, label, problem).hint(hint);
    let beyond = |asked: Option<u64>, name| {
        let limit: u64 = sysctl::number(name)?;
        let asked = asked.filter(|&asked| asked > limit)?;
        Some(no_room(format!("{asked} is more than {name} allows, {limit}"), Hint::Sysctl(name)))
    };
    match errno {
        Errno::EINVAL if create.max_messages == Some(0) || create.message_size == Some(0) => {
            let problem = "a queue holds at least 1 message of at least 1 byte";
            Error::new(ErrorKind::Usage, label, problem)
        }
        Errno::EINVAL | Errno::EOVERFLOW => beyond(create.max_messages, "fs.mqueue.msg_max")
            .or_else(|| beyond(create.message_size, "fs.mqueue.msgsize_max"))
            .unwrap_or_else(|| no_room("no queue can be as large as that".into(), Hint::advice("ask for less"))),
        // RLIMIT_NOFILE gives EMFILE too, but then no file can be opened.
        Errno::EMFILE if File::open("/").is_ok() => {
            let limit = getrlimit(Resource::RLIMIT_MSGQUEUE).map_or(0, |(soft, _)| soft);
            let problem = format!("this user's queues would take more than RLIMIT_MSGQUEUE allows, {limit} bytes");
            no_room(problem, Hint::QueueBytes)
        }
        Errno::ENOSPC => {
            let name = "fs.mqueue.queues_max";
            let limit = sysctl::in_words(name);
            let problem = format!("there are as many queues as {name} allows, {limit}; no disk is full");
            no_room(problem, Hint::Sysctl(name))
        }
        errno => Error::errno(label, errno),
    }
}
