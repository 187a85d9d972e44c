//! setns(2), in a child: a process cannot come back from another namespace.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork, getppid, pipe2};

use super::{process, signal};

/// Run `work` in a child that is in the IPC, mount and PID namespaces of the process
/// `pid`. Returns the status that waitpid(2) gives. This process must have one thread.
///
/// # Errors
/// ESRCH if there is no such process; EPERM without the right to enter.
pub(crate) fn run_within(pid: i32, work: impl FnOnce() -> u8) -> nix::Result<i32> {
    let target = process::open(pid)?;
    let (failed, failure) = pipe2(OFlag::O_CLOEXEC)?;
    let parent = nix::unistd::getpid();
    // An ignored one would hide the end of the child.
    let children = signal::Default::set(signal::SIGCHLD);
    // SAFETY: with one thread the child is a whole copy of its parent.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(failed);
            let status = enter(&target, parent, failure, work);
            // SAFETY: takes an integer. Nothing that the parent has to do at its end is
            // done twice.
            unsafe { libc::_exit(status) }
        }
    };
    drop(failure);
    let mut errno = [0; 4];
    let refused = File::from(failed).read_exact(&mut errno).is_ok();
    let status = wait(child)?;
    drop(children);
    if refused { Err(Errno::from_raw(i32::from_ne_bytes(errno))) } else { Ok(status) }
}

/// The status of a child that has ended: waitpid(2).
fn wait(child: Pid) -> nix::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid to be written.
        match Errno::result(unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) }) {
            Ok(_) => return Ok(status),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The exit status of the child. A process enters another PID namespace with its
/// children, and does not itself: so the work is done by another child.
fn enter(target: &OwnedFd, parent: Pid, failure: OwnedFd, work: impl FnOnce() -> u8) -> i32 {
    let entered = set_pdeathsig(Signal::SIGTERM)
        .and_then(|()| if getppid() == parent { Ok(()) } else { Err(Errno::ECHILD) })
        .and_then(|()| setns(target, CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS))
        // SAFETY: as above.
        .and_then(|()| unsafe { fork() });
    match entered {
        Ok(ForkResult::Child) => {
            drop(failure);
            let _ = set_pdeathsig(Signal::SIGTERM);
            work().into()
        }
        Ok(ForkResult::Parent { child }) => {
            drop(failure);
            match wait(child) {
                Ok(status) if libc::WIFEXITED(status) => libc::WEXITSTATUS(status),
                Ok(status) => 128 + libc::WTERMSIG(status),
                Err(_) => 1,
            }
        }
        Err(errno) => {
            let _ = File::from(failure).write_all(&(errno as i32).to_ne_bytes());
            1
        }
    }
}
