//! System V shared memory: shmget(2), shmctl(2), shmat(2).

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use nix::libc::{self, c_int, shmid_ds};

use super::memory::Region;

/// shmget(2).
pub(crate) fn get(key: i32, size: usize, flags: c_int) -> nix::Result<i32> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::shmget(key, size, flags) })
}

/// shmctl(2) with IPC_STAT or SHM_STAT_ANY, whose argument is an index into the
/// kernel's table and whose value is the identifier found there.
pub(crate) fn stat(id_or_index: i32, command: c_int) -> nix::Result<(i32, shmid_ds)> {
    let mut stat = MaybeUninit::<shmid_ds>::zeroed();
    // SAFETY: `stat` is valid to be written, and large enough for both commands.
    let id = Errno::result(unsafe { libc::shmctl(id_or_index, command, stat.as_mut_ptr()) })?;
    // SAFETY: the call succeeded and has filled it.
    Ok((id, unsafe { stat.assume_init() }))
}

/// The same for an identifier, without permission if the kernel can.
pub(crate) fn stat_any(id: i32) -> nix::Result<shmid_ds> {
    super::stat_any(id, super::SHM_STAT_ANY, stat)
}

/// shmctl(2) with IPC_SET: owner, group and mode of `stat` become the segment's.
pub(crate) fn set(id: i32, mut stat: shmid_ds) -> nix::Result<()> {
    // SAFETY: `stat` is a valid structure; the kernel only reads it.
    Errno::result(unsafe { libc::shmctl(id, super::IPC_SET, &raw mut stat) }).map(drop)
}

/// shmctl(2) with IPC_RMID.
pub(crate) fn remove(id: i32) -> nix::Result<()> {
    // SAFETY: IPC_RMID does not use the third argument.
    Errno::result(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}

/// shmat(2) of a segment that has `len` bytes; EIDRM if the identifier means one of
/// another size by now.
pub(crate) fn attach(id: i32, len: usize, read_only: bool) -> nix::Result<Region> {
    let flags = if read_only { libc::SHM_RDONLY } else { 0 };
    // SAFETY: with a null address the kernel chooses unused addresses.
    let base = unsafe { libc::shmat(id, ptr::null(), flags) };
    if base.addr() == usize::MAX {
        return Err(Errno::last());
    }
    let base = NonNull::new(base.cast()).ok_or(Errno::EFAULT)?;
    // While it is attached the identifier means no other segment, and the size of a
    // segment never changes.
    match stat(id, libc::IPC_STAT) {
        Ok((_, stat)) if stat.shm_segsz == len => Ok(Region::new(base, len, detach)),
        Ok(_) => {
            detach(base, len);
            Err(Errno::EIDRM)
        }
        Err(errno) => {
            detach(base, len);
            Err(errno)
        }
    }
}

fn detach(base: NonNull<u8>, _len: usize) {
    // SAFETY: `base` came from shmat, and nothing uses the addresses any more: this is
    // called once, by the Region that is dropped, or before there is one.
    let _ = unsafe { libc::shmdt(base.as_ptr().cast()) };
}
