//! Work among the objects of another container: in the namespaces of one of its
//! processes.

use nix::errno::Errno;
use nix::libc;

use crate::base::error::{Error, ErrorKind, Hint, Result};
use crate::sys;

/// Run `work` in a child process that is in the IPC, mount and PID namespaces of the
/// process `pid`, and return its exit status. This process must have one thread.
///
/// # Errors
/// [`ErrorKind::Missing`] if there is no such process; [`ErrorKind::Denied`] if its
/// namespaces may not be entered.
#[doc(alias = "setns")]
pub fn within(pid: i32, work: impl FnOnce() -> u8) -> Result<u8> {
    let process = format!("process {pid}");
    let status = sys::namespace::run_within(pid, work).map_err(|errno| match errno {
        Errno::ESRCH => Error::new(ErrorKind::Missing, &process, "does not exist"),
        Errno::EPERM => Error::new(ErrorKind::Denied, &process, "its namespaces may not be entered")
            .hint(Hint::advice("it takes root")),
        errno => Error::errno(&process, errno),
    })?;
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    Ok(u8::try_from(code).unwrap_or(1))
}
