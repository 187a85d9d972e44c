//! Running the user's command: with the descriptors, dispositions and mask that
//! the tool itself was given.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::execvp;

use crate::error::{Error, ErrorKind};
use crate::start;
use crate::text::printable;

/// Let the command take this process's place: execvp(3), which looks it up in
/// PATH. Returns only if that failed.
#[doc(alias = "execvp")]
pub fn exec(command: &[OsString]) -> Error {
    let shown = command.first().map(|name| printable(name)).unwrap_or_default();
    // Words of a command line hold no NUL.
    let words: Result<Vec<_>, _> = command.iter().map(|word| CString::new(word.as_bytes())).collect();
    let words = words.unwrap_or_default();
    let Some(name) = words.first() else { return not_run(&shown, Errno::ENOENT) };
    start::restore();
    let Err(errno): Result<Infallible, _> = execvp(name, &words);
    not_run(&shown, errno)
}

/// The two failures that a shell tells apart by 127 and 126.
fn not_run(shown: &str, errno: Errno) -> Error {
    match errno {
        Errno::ENOENT => Error::new(ErrorKind::CommandMissing, shown, "is no command that can be found"),
        errno => Error::new(ErrorKind::CommandRefused, shown, format!("cannot be executed: {}", errno.desc())),
    }
}
