//! What is put into a segment, and how much of it is known beforehand.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Whence, lseek, read};

use crate::copy::{STEP, Watch, copy, enlarge_pipe};
use crate::error::{Error, ErrorKind, Result};

/// An input: its descriptor, its name for messages, its length if it is known.
#[derive(Debug)]
pub struct Input<'a> {
    fd: BorrowedFd<'a>,
    shown: String,
    length: Option<u64>,
}

impl<'a> Input<'a> {
    /// From a descriptor, called `shown` in messages. A pipe is enlarged.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`] if it is a directory or no open descriptor.
    pub fn new(fd: BorrowedFd<'a>, shown: impl Into<String>) -> Result<Self> {
        let shown = shown.into();
        let failed = |errno: Errno| Error::new(ErrorKind::Failure, &shown, errno.desc());
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
        Ok(Input { fd, shown, length })
    }

    /// Its name for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The number of bytes it will give. Files of /proc and /sys claim sizes
    /// that mean nothing, all of them small, so a small one is not believed.
    pub fn length(&self) -> Option<u64> {
        self.length.filter(|&length| length >= STEP as u64)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'a> {
        self.fd
    }

    /// Whether there is nothing more to be read, which takes a byte if there is.
    pub(super) fn at_end(&self, watch: &Watch<'_>) -> Result<bool> {
        let ready = nix::poll::PollFlags::POLLIN;
        let n = watch.retry(self.fd, ready, crate::copy::CopyError::Read, || read(self.fd, &mut [0]));
        n.map(|n| n == 0)
            .map_err(|error| super::copy_failed(error, &self.shown, |errno| Error::errno(&self.shown, errno)))
    }

    /// The whole input if it has at most `room` bytes, else None: its length, and
    /// what it was spooled to if the length was not known beforehand.
    pub(super) fn at_most(&self, room: u64, watch: &mut Watch<'_>) -> Result<Option<(Option<File>, u64)>> {
        if let Some(length) = self.length() {
            return Ok((length <= room).then_some((None, length)));
        }
        let (spool, length) = self.spool(room.saturating_add(1), watch)?;
        Ok((length <= room).then_some((Some(spool), length)))
    }

    /// After an input of known length has been read: that it has not grown.
    pub(super) fn check_end(&self, spooled: bool, watch: &Watch<'_>) -> Result<()> {
        if spooled || self.at_end(watch)? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Failure, &self.shown, "became longer while it was read"))
    }

    /// Read at most `limit` bytes into memory that has no name.
    pub(super) fn spool(&self, limit: u64, watch: &mut Watch<'_>) -> Result<(File, u64)> {
        let failed = |errno| Error::errno(format!("{} (spooled in memory)", self.shown), errno);
        let spool = File::from(memfd_create("ipcutils", MFdFlags::MFD_CLOEXEC).map_err(failed)?);
        let length = copy(self.fd, spool.as_fd(), limit, watch)
            .map_err(|error| super::copy_failed(error, &self.shown, failed))?;
        lseek(&spool, 0, Whence::SeekSet).map_err(failed)?;
        Ok((spool, length))
    }
}
