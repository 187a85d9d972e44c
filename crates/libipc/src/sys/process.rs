//! pidfd_open(2): a process by descriptor, whose number cannot be reused;
//! fork(2); and a child that outlives us by an instant.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

/// pidfd_open(2); closed on exec.
pub(crate) fn open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the call above has just returned this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Whether the process has ended, waiting for that so long; a zombie has.
pub(crate) fn has_ended(process: impl AsFd, wait: PollTimeout) -> nix::Result<bool> {
    Ok(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], wait)? > 0)
}

/// Whether the process has ended; a zombie has. ESRCH if there is none.
pub(crate) fn ended(pid: i32) -> nix::Result<bool> {
    has_ended(open(pid)?, PollTimeout::ZERO)
}

/// Run `work` in a process of its own that is no child of this one: fork(2),
/// twice. This process must have one thread.
///
/// # Errors
/// Of fork(2): EAGAIN, ENOMEM. ECHILD if somebody has killed it half way.
pub(crate) fn apart(work: impl FnOnce()) -> nix::Result<()> {
    // SAFETY: with one thread the child is a whole copy of its parent.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // SAFETY: as above.
            let status = match unsafe { fork() } {
                Ok(ForkResult::Child) => {
                    work();
                    0
                }
                Ok(ForkResult::Parent { .. }) => 0,
                Err(errno) => errno as i32,
            };
            // SAFETY: takes an integer. Nothing that the parent has to do at its
            // end is done twice.
            unsafe { libc::_exit(status) }
        }
    };
    loop {
        match waitpid(child, None) {
            // Reaped by the kernel, where SIGCHLD is ignored.
            Ok(WaitStatus::Exited(_, 0)) | Err(Errno::ECHILD) => return Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => return Err(Errno::from_raw(errno)),
            Err(Errno::EINTR) => {}
            _ => return Err(Errno::ECHILD),
        }
    }
}

/// A child that has what this process has attached, and ends when it is dropped
/// or we die, whichever comes first.
#[derive(Debug)]
pub(crate) struct Shadow {
    child: Pid,
    alive: Option<OwnedFd>,
}

impl Shadow {
    pub(crate) fn new() -> nix::Result<Self> {
        let (ended, alive) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: the child makes system calls alone, as another thread may hold
        // the locks of anything else.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Shadow { child, alive: Some(alive) }),
            ForkResult::Child => wait_for_end(&ended, alive),
        }
    }
}

fn wait_for_end(ended: &OwnedFd, alive: OwnedFd) -> ! {
    drop(alive);
    let mut byte = 0u8;
    loop {
        // SAFETY: `byte` is valid to be written.
        let read = unsafe { libc::read(ended.as_raw_fd(), (&raw mut byte).cast(), 1) };
        if read != -1 || Errno::last() != Errno::EINTR {
            // SAFETY: takes an integer, and runs nothing of the parent's.
            unsafe { libc::_exit(0) }
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        drop(self.alive.take());
        while waitpid(self.child, None) == Err(Errno::EINTR) {}
    }
}
