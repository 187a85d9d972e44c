//! The input of a segment or a ring, and what is known of its length beforehand.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Whence, lseek, read};

use super::copy::{Control, CopyError, STEP, copy, enlarge_pipe};
use crate::base::error::{Error, ErrorKind, Result};

/// An input: its descriptor, its name for messages, and its length if it is known.
#[derive(Debug)]
pub struct Input<'a> {
    fd: BorrowedFd<'a>,
    label: String,
    length: Option<u64>,
}

impl<'a> Input<'a> {
    /// The input behind a descriptor, which messages call `label`. A pipe is enlarged.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`] if it is a directory or no open descriptor.
    pub fn new(fd: BorrowedFd<'a>, label: impl Into<String>) -> Result<Self> {
        let label = label.into();
        let failed = |errno: Errno| Error::io(&label, errno);
        let stat = fstat(fd).map_err(failed)?;
        let length = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFDIR => return Err(failed(Errno::EISDIR)),
            SFlag::S_IFREG => {
                let at = lseek(fd, 0, Whence::SeekCur).map_err(failed)?;
                u64::try_from(stat.st_size - at).ok()
            }
            _ => {
                enlarge_pipe(fd);
                None
            }
        };
        Ok(Input { fd, label, length })
    }

    /// Its name for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The number of bytes that it will give, if that is known. A small size is not
    /// believed: files of /proc and /sys have small sizes that mean nothing.
    pub fn length(&self) -> Option<u64> {
        self.length.filter(|&length| length >= STEP as u64)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'a> {
        self.fd
    }

    /// Whether the input is at its end. Takes a byte from it if it is not.
    pub(crate) fn at_end(&self, control: &Control<'_>) -> Result<bool> {
        let ready = nix::poll::PollFlags::POLLIN;
        let n = control.retry(self.fd, ready, CopyError::Read, || read(self.fd, &mut [0]));
        n.map(|n| n == 0).map_err(|error| error.explain(&self.label, |errno| Error::errno(&self.label, errno)))
    }

    /// The length of the input if it is at most `room`, else None. An input of unknown
    /// length is spooled first, and the spool is returned too.
    pub(crate) fn at_most(&self, room: u64, control: &mut Control<'_>) -> Result<Option<(Option<File>, u64)>> {
        if let Some(length) = self.length() {
            return Ok((length <= room).then_some((None, length)));
        }
        let (spool, length) = self.spool(room.saturating_add(1), control)?;
        Ok((length <= room).then_some((Some(spool), length)))
    }

    /// Check that an input of known length has not grown while it was read.
    pub(crate) fn check_end(&self, spooled: bool, control: &Control<'_>) -> Result<()> {
        if spooled || self.at_end(control)? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Failure, &self.label, "became longer while it was read"))
    }

    /// Read at most `limit` bytes into memory that has no name.
    pub(crate) fn spool(&self, limit: u64, control: &mut Control<'_>) -> Result<(File, u64)> {
        let failed = |errno| Error::errno(format!("{} (spooled in memory)", self.label), errno);
        let spool = File::from(memfd_create("ipcutils", MFdFlags::MFD_CLOEXEC).map_err(failed)?);
        let length =
            copy(self.fd, spool.as_fd(), limit, control).map_err(|error| error.explain(&self.label, failed))?;
        lseek(&spool, 0, Whence::SeekSet).map_err(failed)?;
        Ok((spool, length))
    }
}
