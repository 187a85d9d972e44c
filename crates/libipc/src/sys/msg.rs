//! System V message queues: msgget(2), msgctl(2), msgsnd(2), msgrcv(2).

use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, msqid_ds};

use super::alloc;
use super::memory::Region;

/// Constants that the libc crate leaves out; linux/msg.h.
const MSG_STAT_ANY: c_int = 13;
pub(crate) const MSG_COPY: c_int = 0o40000;

/// msgget(2).
pub(crate) fn get(key: i32, flags: c_int) -> nix::Result<i32> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::msgget(key, flags) })
}

/// msgctl(2) with IPC_RMID.
pub(crate) fn remove(id: i32) -> nix::Result<()> {
    // SAFETY: IPC_RMID does not use the third argument.
    Errno::result(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}

/// msgctl(2) with IPC_SET: owner, group, mode and msg_qbytes of `stat` become the queue's.
pub(crate) fn set(id: i32, mut stat: msqid_ds) -> nix::Result<()> {
    // SAFETY: `stat` is a valid structure; the kernel only reads it.
    Errno::result(unsafe { libc::msgctl(id, super::IPC_SET, &raw mut stat) }).map(drop)
}

/// msgctl(2) with IPC_STAT, or with MSG_STAT_ANY, whose argument is an index
/// into the kernel's table and whose value is the identifier found there.
pub(crate) fn stat(id_or_index: i32, command: c_int) -> nix::Result<(i32, msqid_ds)> {
    let mut stat = MaybeUninit::<msqid_ds>::zeroed();
    // SAFETY: `stat` is valid to be written, and large enough for both commands.
    let id = Errno::result(unsafe { libc::msgctl(id_or_index, command, stat.as_mut_ptr()) })?;
    // SAFETY: the call succeeded and has filled it.
    Ok((id, unsafe { stat.assume_init() }))
}

/// The same for an identifier, without permission if the kernel can.
pub(crate) fn stat_any(id: i32) -> nix::Result<msqid_ds> {
    super::stat_any(id, MSG_STAT_ANY, stat)
}

/// The structure of msgsnd and msgrcv: a type, then the text.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// Longs, so that the type is aligned; the text begins at the second.
    longs: Vec<c_long>,
    text: usize,
}

const LONG: usize = size_of::<c_long>();

impl Buffer {
    /// A buffer for a text of up to `room` bytes.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new(room: usize) -> nix::Result<Self> {
        let mut longs = Vec::new();
        alloc::grow(&mut longs, 1 + room.div_ceil(LONG))?;
        Ok(Buffer { longs, text: 0 })
    }

    pub(crate) fn room(&self) -> usize {
        (self.longs.len() - 1) * LONG
    }

    pub(crate) fn kind(&self) -> c_long {
        self.longs[0]
    }

    pub(crate) fn text(&self) -> &[u8] {
        let from = self.longs[1..].as_ptr().cast();
        // SAFETY: `text` is at most `room`, all of which is initialised memory
        // of our own that lives as long as `self` is borrowed.
        unsafe { std::slice::from_raw_parts(from, self.text) }
    }

    /// Set type and text; the text must fit the room.
    pub(crate) fn set(&mut self, kind: c_long, text: &[u8]) {
        assert!(text.len() <= self.room(), "the caller has checked the size");
        self.longs[0] = kind;
        let into = self.longs[1..].as_mut_ptr().cast::<u8>();
        // SAFETY: checked above to fit, and a borrowed text cannot overlap what
        // we borrow mutably.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), into, text.len()) };
        self.text = text.len();
    }

    /// msgsnd(2).
    pub(crate) fn send(&self, id: i32, flags: c_int) -> nix::Result<()> {
        // SAFETY: the buffer holds a type and `text` bytes after it.
        Errno::result(unsafe { libc::msgsnd(id, self.longs.as_ptr().cast(), self.text, flags) }).map(drop)
    }

    /// msgrcv(2). `kind` is its fourth argument, a type or what `flags` make of it.
    pub(crate) fn receive(&mut self, id: i32, kind: c_long, flags: c_int) -> nix::Result<()> {
        let room = self.room();
        // SAFETY: the buffer has space for a type and `room` bytes.
        let n = unsafe { libc::msgrcv(id, self.longs.as_mut_ptr().cast(), room, kind, flags) };
        self.text = Errno::result(n)?.cast_unsigned();
        Ok(())
    }
}

/// msgrcv(2) into shared memory: the type at `at`, and up to `room` bytes of the message
/// after it. The kernel writes the type first. Returns the length.
pub(crate) fn receive_into(
    id: i32,
    memory: &Region,
    at: usize,
    room: usize,
    kind: c_long,
    flags: c_int,
) -> nix::Result<usize> {
    let (into, space) = memory.range(at, room.saturating_add(LONG));
    if space < LONG {
        return Err(Errno::EFAULT);
    }
    // SAFETY: `range` keeps to the mapping, of which no reference exists. Memory that is
    // gone makes the kernel answer EFAULT.
    let n = unsafe { libc::msgrcv(id, into, space - LONG, kind, flags) };
    Errno::result(n).map(isize::cast_unsigned)
}
