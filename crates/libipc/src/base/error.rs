//! One typed error for everything that can go wrong.
//!
//! - [`ErrorKind`] is for programs: the tools map each kind to one exit status.
//! - The text is for people: one line, `object: problem`.
//! - A [`Hint`] says how to mend the failure. Whoever shows the error words it.

use nix::errno::Errno;

pub use super::hint::{Hint, Spelling};
use crate::sys::alloc::memory_limit;

/// The result of every operation of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// The sort of a failure: what a program decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Any other failure of the system or of the input.
    Failure,
    /// The object does not exist.
    Missing,
    /// The object exists already, and a new one was wanted.
    Exists,
    /// Permission denied.
    Denied,
    /// The object was removed or replaced while in use.
    Gone,
    /// A peer died: a lock's previous owner, a ring's writer.
    PeerDied,
    /// The object is not what was expected, or is corrupt.
    Unexpected,
    /// A limit, a quota or the memory behind the object is exhausted.
    NoRoom,
    /// The operation would have to wait.
    Busy,
    /// The deadline passed.
    TimedOut,
    /// The command to run was not found.
    CommandMissing,
    /// The command to run cannot be executed.
    CommandRefused,
    /// The call makes no sense: a name, a number or a combination was refused
    /// before any system call.
    Usage,
}

/// One failure: the object, what went wrong, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct Error {
    /// The sort of failure.
    pub kind: ErrorKind,
    /// The object, as the user would write it, made printable.
    pub object: String,
    /// What went wrong, as a clause about the object.
    pub problem: String,
    /// How to mend it, where that is known. Boxed: most results carry none.
    pub hint: Option<Box<Hint>>,
    /// The error number of the system call that failed, if one did: errno(3).
    pub errno: Option<i32>,
}

impl Error {
    /// An error without a hint.
    pub fn new(kind: ErrorKind, object: impl ToString, problem: impl Into<String>) -> Self {
        Error { kind, object: object.to_string(), problem: problem.into(), hint: None, errno: None }
    }

    /// This error with a hint, which replaces an earlier one.
    #[must_use]
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = Some(Box::new(hint));
        self
    }

    /// The error of an input that cannot be opened. Its kind is always
    /// [`ErrorKind::Failure`]: the other kinds are about the object.
    pub fn input(name: impl ToString, error: &std::io::Error) -> Self {
        Error { kind: ErrorKind::Failure, ..Error::errno(name, errno_of(error)) }
    }

    /// The error of reading an input or writing an output, in the words of errno(3). A
    /// full disk behind it is a failure as any other; memory is missing to the tool.
    pub(crate) fn io(name: impl ToString, errno: Errno) -> Self {
        let kind = if errno == Errno::ENOMEM { ErrorKind::NoRoom } else { ErrorKind::Failure };
        Error { errno: Some(errno as i32), ..Error::new(kind, name, errno.desc()) }
    }

    /// The error of a call on a System V identifier. For an identifier that no longer
    /// exists the kernel says EINVAL, or EIDRM if it was removed during the call.
    pub(crate) fn stale(object: impl ToString, errno: Errno) -> Self {
        let gone = matches!(errno, Errno::EINVAL | Errno::EIDRM);
        Error::errno(object, if gone { Errno::ENOENT } else { errno })
    }

    /// The error of a system call on `object`, in our words.
    ///
    /// Numbers whose meaning depends on the call (EINVAL, EMFILE) are
    /// translated where the call is made; here they keep the text of errno(3).
    pub(crate) fn errno(object: impl ToString, errno: Errno) -> Self {
        let (kind, problem) = match errno {
            Errno::ENOENT => (ErrorKind::Missing, "does not exist"),
            Errno::EEXIST => (ErrorKind::Exists, "exists already"),
            Errno::EACCES | Errno::EPERM => (ErrorKind::Denied, "permission denied"),
            Errno::EIDRM => (ErrorKind::Gone, "was removed meanwhile"),
            Errno::ELOOP => (ErrorKind::Unexpected, "is a symbolic link"),
            Errno::EISDIR => (ErrorKind::Unexpected, "is a directory"),
            Errno::ENOSPC => (ErrorKind::NoRoom, "no space left"),
            Errno::EDQUOT => (ErrorKind::NoRoom, "disk quota exceeded"),
            Errno::ENOMEM => (ErrorKind::NoRoom, "out of memory"),
            Errno::EMFILE | Errno::ENFILE => (ErrorKind::NoRoom, "too many open files"),
            Errno::EFBIG => (ErrorKind::NoRoom, "larger than a file may be"),
            other => (ErrorKind::Failure, other.desc()),
        };
        let error = Error { errno: Some(errno as i32), ..Error::new(kind, object, problem) };
        match errno {
            Errno::EFBIG => error.hint(Hint::FileSize),
            Errno::EMFILE => error.hint(Hint::Ulimit('n')),
            Errno::ENFILE => error.hint(Hint::Sysctl("fs.file-max")),
            Errno::ENOMEM => match memory_limit() {
                Some(letter) => error.hint(Hint::Ulimit(letter)),
                None => error,
            },
            _ => error,
        }
    }
}

/// The error number behind an error of the standard library.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
