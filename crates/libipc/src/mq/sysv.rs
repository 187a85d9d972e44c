//! System V message queues, sysvipc(7).

use nix::errno::Errno;
use nix::libc::{self, c_int, msqid_ds};
use nix::unistd::geteuid;

use super::options::{Create, Direction, OpenOptions, Select};
use super::place::Place;
use crate::base::address::{Address, Key, Kind, KindAddress, SysV};
use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::base::mode::{Permissions, not_set};
use crate::base::owner::Owners;
use crate::base::sysctl;
use crate::base::wait::{Backoff, Wait};
use crate::fs::readers::Readers;
use crate::sys;
use crate::sys::msg::{Buffer, MSG_COPY};

const FULL: &str = "is full";
const EMPTY: &str = "has no such message";

/// The identifier of the queue with this key, if there is one: msgget(2).
#[doc(alias = "msgget")]
pub fn find(key: Key) -> Option<i32> {
    sys::msg::get(key.get(), 0).ok()
}

/// Remove a queue and wake all who wait on it: msgctl(2), IPC_RMID.
pub(super) fn remove(address: &SysV) -> Result<()> {
    let id = address.resolve(|key| sys::msg::get(key, 0))?;
    sys::msg::remove(id).map_err(|errno| Error::stale(address, errno))
}

/// The largest message of any queue, in bytes.
pub(super) fn msgmax() -> usize {
    sysctl::number("kernel.msgmax").unwrap_or(8192)
}

/// The error of a message that is longer than [`msgmax`].
pub(super) fn longer_than_msgmax(address: impl ToString) -> Error {
    let name = "kernel.msgmax";
    let problem = format!("the message is longer than {name} allows, {} bytes", sysctl::in_words(name));
    Error::new(ErrorKind::NoRoom, address, problem).hint(Hint::Sysctl(name))
}

/// A queue, and a buffer for its messages.
#[derive(Debug)]
pub(super) struct Queue {
    id: i32,
    address: String,
    msgmax: usize,
    capacity: usize,
    pub(super) new: bool,
    buffer: Buffer,
}

/// The first size of a buffer, if msgmax is larger; it grows when a message needs it.
const BUFFER: usize = 64 * 1024;

impl Queue {
    /// msgget(2). See [`super::Queue::open`].
    pub(super) fn open(address: &SysV, options: &OpenOptions) -> Result<Self> {
        let create = options.create.as_ref();
        if create.is_some_and(|create| create.max_messages.is_some() || create.message_size.is_some()) {
            let problem = "a System V queue has the limits kernel.msgmax and kernel.msgmnb";
            let advice = Hint::advice("set them with sysctl, or use a POSIX queue, /name");
            return Err(Error::new(ErrorKind::Usage, address, problem).hint(advice));
        }
        let (msgmax, label) = (msgmax(), address.to_string());
        let buffer = Buffer::new(msgmax.min(BUFFER)).map_err(|errno| Error::errno(&label, errno))?;
        let (id, new) = find_or_create(address, create)?;
        let mut queue = Queue { id, address: label, msgmax, capacity: 0, new, buffer };
        let stat = stat(id).map_err(|errno| {
            queue.discard();
            Error::stale(address, errno)
        })?;
        if let Some(create) = create.filter(|_| !new && options.direction == Direction::Send) {
            Owners::of_sysv(&stat.msg_perm).refuse_stranger(Kind::Mq, address, create.foreign)?;
        }
        queue.capacity = usize::try_from(stat.msg_qbytes).unwrap_or(usize::MAX);
        Ok(queue)
    }

    pub(super) fn label(&self) -> &str {
        &self.address
    }

    /// The identifier, which `private:` queues are found by.
    pub(super) fn id(&self) -> i32 {
        self.id
    }

    pub(super) fn existing_mode(&self) -> Option<u32> {
        let stat = (!self.new).then(|| stat(self.id).ok()).flatten()?;
        Some(u32::from(stat.msg_perm.mode) & 0o777)
    }

    pub(super) fn readers(&self) -> Result<Readers> {
        let perm = stat(self.id).map_err(|_| Error::errno(&self.address, Errno::EIDRM))?.msg_perm;
        let mode = u32::from(perm.mode) & 0o777;
        Ok(Readers { users: [perm.uid, perm.cuid], groups: [perm.gid, perm.cgid], mode })
    }

    pub(super) fn largest(&self) -> usize {
        self.msgmax.min(self.capacity)
    }

    /// Read the limits anew, as they may have changed since the queue was opened.
    fn look_at_limits(&mut self) -> Result<()> {
        let stat = stat(self.id).map_err(|_| Error::errno(&self.address, Errno::EIDRM))?;
        self.msgmax = msgmax();
        self.capacity = usize::try_from(stat.msg_qbytes).unwrap_or(usize::MAX);
        Ok(())
    }

    /// Remove it, if this call of [`Queue::open`] has made it and no message was ever
    /// sent.
    pub(super) fn discard(&self) {
        if self.new && stat(self.id).is_ok_and(|stat| stat.msg_qnum == 0 && stat.msg_lspid == 0) {
            let _ = sys::msg::remove(self.id);
        }
    }

    fn no_type(&self) -> Error {
        Error::new(ErrorKind::Usage, &self.address, "a type is a number from 1 on")
    }

    /// The error of a call on an identifier that was valid when it was opened. Its
    /// EINVAL has two meanings.
    fn failed(&self, errno: Errno) -> Error {
        match errno {
            Errno::EINVAL if stat(self.id).is_ok() => longer_than_msgmax(&self.address),
            Errno::EINVAL => Error::errno(&self.address, Errno::EIDRM),
            errno => Error::errno(&self.address, errno),
        }
    }

    pub(super) fn send(&mut self, message: &[u8], kind: i64, wait: &mut Wait) -> Result<()> {
        if kind < 1 {
            return Err(self.no_type());
        }
        if message.len() > self.largest() {
            self.look_at_limits()?;
        }
        if message.len() > self.largest() {
            if message.len() > self.msgmax {
                return Err(longer_than_msgmax(&self.address));
            }
            let what = format!("the message is longer than this queue's msg_qbytes, {} bytes", self.capacity);
            let queue = KindAddress { kind: Kind::Mq, address: Address::SysV(SysV::Id(self.id)) };
            let hint = Hint::HoldBytes(queue, message.len() as u64);
            return Err(Error::new(ErrorKind::NoRoom, &self.address, what).hint(hint));
        }
        if message.len() > self.buffer.room() {
            self.buffer = Buffer::new(self.largest()).map_err(|errno| Error::errno(&self.address, errno))?;
        }
        self.buffer.set(kind, message);
        self.wait(FULL, wait, |queue, flags| queue.buffer.send(queue.id, flags))
    }

    pub(super) fn receive(&mut self, select: Select, wait: &mut Wait) -> Result<(&[u8], i64)> {
        let (kind, flags) = match select {
            Select::First => (0, 0),
            Select::Type(kind @ 1..) => (kind, 0),
            Select::Except(kind @ 1..) => (kind, libc::MSG_EXCEPT),
            Select::UpTo(kind @ 1..) => (-kind, 0),
            Select::Type(_) | Select::Except(_) | Select::UpTo(_) => return Err(self.no_type()),
            Select::Copy(position) => (i64::from(position), MSG_COPY),
        };
        let receive = |queue: &mut Queue, wait: c_int| loop {
            match queue.buffer.receive(queue.id, kind, flags | wait) {
                // The message was sent when msgmax was larger. It stays in the queue:
                // try again with a larger buffer.
                Err(Errno::E2BIG) => queue.buffer = Buffer::new(queue.buffer.room().max(8) * 2)?,
                other => return other,
            }
        };
        if flags == MSG_COPY {
            self.wait_for_copy(wait, receive)?
        } else {
            self.wait(EMPTY, wait, receive)?
        };
        Ok((self.buffer.text(), self.buffer.kind()))
    }

    /// E2BIG is [`ErrorKind::NoRoom`].
    pub(super) fn receive_into(&mut self, place: &Place<'_>, wait: &mut Wait) -> Result<usize> {
        let (memory, at, room) = (&place.memory.0, place.at, place.room);
        let receive = |queue: &mut Queue, flags| sys::msg::receive_into(queue.id, memory, at, room, 0, flags);
        self.wait(EMPTY, wait, receive).map_err(|error| match error.errno {
            Some(libc::E2BIG) => Error { kind: ErrorKind::NoRoom, ..error },
            _ => error,
        })
    }

    /// Its key, if it has one, else its identifier.
    pub(super) fn found_by(&self) -> String {
        let key = stat(self.id).ok().and_then(|stat| Key::new(stat.msg_perm.__key));
        key.map_or(SysV::Id(self.id), SysV::Key).to_string()
    }

    /// Make the call until it succeeds, the wait is over or the queue is removed,
    /// which the kernel reports at once.
    fn wait<T>(
        &mut self,
        blocked_on: &str,
        wait: &mut Wait,
        mut call: impl FnMut(&mut Queue, c_int) -> nix::Result<T>,
    ) -> Result<T> {
        let would_wait = |errno| matches!(errno, Errno::EAGAIN | Errno::ENOMSG);
        let tried = wait.try_first(would_wait, || call(self, libc::IPC_NOWAIT));
        if let Some(done) = tried.map_err(|errno| self.failed(errno))? {
            return Ok(done);
        }
        let object = self.address.clone();
        wait.block(&object, blocked_on, || call(self, 0))?.map_err(|errno| self.failed(errno))
    }

    /// Wait for a message to copy. The kernel copies only without waiting, so look in
    /// growing intervals.
    fn wait_for_copy(
        &mut self,
        wait: &mut Wait,
        mut call: impl FnMut(&mut Queue, c_int) -> nix::Result<()>,
    ) -> Result<()> {
        let mut backoff = Backoff::new();
        loop {
            match call(self, libc::IPC_NOWAIT) {
                Err(Errno::ENOMSG | Errno::EINTR) => {}
                Err(Errno::ENOSYS) => {
                    return Err(Error::new(ErrorKind::Failure, &self.address, "this kernel cannot copy messages")
                        .hint(Hint::advice("it lacks CONFIG_CHECKPOINT_RESTORE")));
                }
                other => return other.map_err(|errno| self.failed(errno)),
            }
            wait.proceed(&self.address, EMPTY)?;
            backoff.sleep(&wait.deadline());
        }
    }
}

fn find_or_create(address: &SysV, create: Option<&Create>) -> Result<(i32, bool)> {
    let Some(create) = create else { return address.resolve(|key| sys::msg::get(key, 0)).map(|id| (id, false)) };
    address.find_or_create(create.exclusive, create.mode, sys::msg::get, |errno| match errno {
        Errno::ENOSPC => {
            let name = "kernel.msgmni";
            let limit = sysctl::in_words(name);
            let what = format!("there are as many queues as {name} allows, {limit}; no disk is full");
            Error::new(ErrorKind::NoRoom, address, what).hint(Hint::Sysctl(name))
        }
        errno => Error::errno(address, errno),
    })
}

/// msgctl(2). A sender need not be permitted to read.
pub(crate) fn stat(id: i32) -> nix::Result<msqid_ds> {
    sys::msg::stat_any(id)
}

/// Give a queue other owners, another mode, or room for so many bytes: IPC_SET.
///
/// # Errors
/// [`ErrorKind::Missing`], [`ErrorKind::Denied`]; [`ErrorKind::NoRoom`] for more bytes
/// than kernel.msgmnb allows, which binds all but root.
pub(crate) fn change(address: &SysV, new: Permissions, max_bytes: Option<u64>) -> Result<()> {
    let id = address.resolve(|key| sys::msg::get(key, 0))?;
    let mut queue = stat(id).map_err(|errno| Error::stale(address, errno))?;
    new.put_into(&mut queue.msg_perm);
    queue.msg_qbytes = max_bytes.unwrap_or(queue.msg_qbytes);
    sys::msg::set(id, queue).map_err(|errno| {
        let name = "kernel.msgmnb";
        let may_change = [queue.msg_perm.uid, queue.msg_perm.cuid].contains(&geteuid().as_raw());
        let above = sysctl::number(name).is_some_and(|limit: u64| queue.msg_qbytes > limit);
        if errno == Errno::EPERM && may_change && above {
            let bytes = queue.msg_qbytes;
            let what = format!("{bytes} bytes are more than {name} allows, {}", sysctl::in_words(name));
            return Error::new(ErrorKind::NoRoom, address, what).hint(Hint::Sysctl(name));
        }
        not_set(address, errno, stat(id).is_ok())
    })
}
