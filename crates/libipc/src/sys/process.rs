//! pidfd_open(2): a process by descriptor, whose number cannot be reused; and
//! fork(2).

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

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
