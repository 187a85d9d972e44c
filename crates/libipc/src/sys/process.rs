//! Processes: pidfd_open(2), a process by a descriptor, whose number cannot be reused;
//! fork(2), clone(2), exec(3) and waitpid(2).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_char, c_int, c_void};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

/// pidfd_open(2); closed on exec.
pub(crate) fn open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the call above has just returned this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Whether the process has ended, after waiting for that for at most `wait`. A zombie
/// has ended.
pub(crate) fn has_ended(process: impl AsFd, wait: PollTimeout) -> nix::Result<bool> {
    Ok(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], wait)? > 0)
}

/// Whether the process has ended. A zombie has ended. ESRCH if there is none.
pub(crate) fn ended(pid: i32) -> nix::Result<bool> {
    has_ended(open(pid)?, PollTimeout::ZERO)
}

/// Run `work` in a process of its own that is no child of this one: fork(2),
/// twice. This process must have one thread.
///
/// # Errors
/// Those of fork(2): EAGAIN, ENOMEM. ECHILD if somebody killed the first child.
pub(crate) fn double_fork(work: impl FnOnce()) -> nix::Result<()> {
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

/// A child that keeps attached what this process has attached. It ends when this is
/// dropped or this process dies, whichever comes first.
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

/// Words for exec(3), in memory that is made before the child is: what a child allocates
/// in memory that it shares, nobody frees.
#[derive(Debug)]
pub(crate) struct Words {
    /// With a null at the end.
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Words {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Words { pointers, _strings: strings }
    }

    pub(crate) fn len(&self) -> usize {
        self.pointers.len() - 1
    }
}

/// execvp(3), or execvpe(3) with an environment. Returns only if it failed.
pub(crate) fn execute(words: &Words, environment: Option<&Words>) -> Errno {
    let argv = words.pointers.as_ptr();
    let Some(&name) = words.pointers.first().filter(|name| !name.is_null()) else { return Errno::ENOENT };
    match environment {
        // SAFETY: both lists end with a null, and their strings live as long as they do.
        Some(environment) => unsafe { libc::execvpe(name, argv, environment.pointers.as_ptr()) },
        // SAFETY: as above.
        None => unsafe { libc::execvp(name, argv) },
    };
    Errno::last()
}

/// A child of this process that has not been waited for.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    /// Readable once it has ended, whoever gets the SIGCHLD.
    pub(crate) fd: OwnedFd,
}

/// What [`vfork`] hands to its child: the work, and a place for what it returns.
type Errand<F, T> = (Option<F>, Option<T>);

extern "C" fn errand<F: FnOnce() -> T, T>(errand: *mut c_void) -> c_int {
    // SAFETY: `vfork` passes a pointer to this type, and waits until we are done.
    let (work, done) = unsafe { &mut *errand.cast::<Errand<F, T>>() };
    *done = work.take().map(|work| work());
    // clone ends the child with _exit(2): nothing of ours is cleaned up.
    127
}

/// Run `work` in a child that shares our memory: clone(2) as posix_spawn(3) uses it,
/// several times as fast as fork(2). This thread stands still until the child has
/// become another program or has ended. `work` returns only if it could not execute
/// the program; its value is returned then. It must not allocate.
pub(crate) fn vfork<F: FnOnce() -> T, T>(stack: &mut [u8], work: F) -> nix::Result<(Child, Option<T>)> {
    let mut passed: Errand<F, T> = (Some(work), None);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end;
    // As the ABIs want it.
    let top = top.wrapping_sub(top.addr() % 16);
    let mut fd: c_int = -1;
    // Handlers would run in our memory: those that are caught are blocked, and
    // not caught any more when `work` lets them come.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // SAFETY: the child runs on a stack of its own, which lives until clone returns,
    // and that is when the child is done with our memory. Dispositions and descriptors
    // are its own copies. Other threads go on meanwhile, and `work` touches nothing of
    // theirs.
    let pid =
        Errno::result(unsafe { libc::clone(errand::<F, T>, top.cast(), flags, (&raw mut passed).cast(), &raw mut fd) });
    let _ = before.thread_set_mask();
    let pid = Pid::from_raw(pid?);
    // SAFETY: the call above has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((Child { pid, fd }, passed.1))
}

/// The status of a child, after waiting for its end: waitpid(2). nix has no value for a
/// death by a real-time signal.
pub(crate) fn wait(child: &Child) -> nix::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid to be written.
        match Errno::result(unsafe { libc::waitpid(child.pid.as_raw(), &raw mut status, 0) }) {
            Err(Errno::EINTR) => {}
            other => return other.map(|_| status),
        }
    }
}
