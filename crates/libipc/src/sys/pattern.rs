//! fnmatch(3): the patterns of the shell.

use std::ffi::CStr;

use nix::libc;

/// fnmatch(3): whether `pattern`, of the shell's `*`, `?` and `[...]`, matches
/// the whole of `text`. Bytes, as no locale is set.
pub(crate) fn matches(pattern: &CStr, text: &CStr) -> bool {
    // SAFETY: both end with a NUL.
    unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), 0) == 0 }
}
