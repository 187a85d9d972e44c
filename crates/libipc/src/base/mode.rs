//! Permission bits and the umask.
//!
//! The kernel applies the umask to files and POSIX queues, but not to System V
//! objects. This library applies it to every kind.

use nix::sys::stat;

/// Permission bits, 0 to 0777.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// 0600, read and write for the owner: the default of new objects.
    pub const PRIVATE: Mode = Mode(0o600);

    /// The mode with these bits; None if there are others than 0777.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits <= 0o777).then_some(Mode(bits))
    }

    /// The bits, before the umask.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The bits without those of the umask, for kinds to which the kernel does
    /// not apply it.
    #[doc(alias = "umask")]
    pub fn masked(self) -> u32 {
        self.0 & !umask()
    }

    pub(crate) fn for_open(self) -> stat::Mode {
        stat::Mode::from_bits_truncate(self.0)
    }
}

/// The process's umask.
///
/// umask(2) can only be read by setting it, which other threads would see, so
/// proc_pid_status(5) is asked first.
fn umask() -> u32 {
    let from_proc = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
        u32::from_str_radix(line.trim(), 8).ok()
    });
    from_proc.unwrap_or_else(|| {
        let mask = stat::umask(stat::Mode::from_bits_truncate(0o077));
        stat::umask(mask);
        mask.bits()
    })
}
