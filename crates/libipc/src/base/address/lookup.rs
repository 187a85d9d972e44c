//! From the address of a System V object to its identifier: the calls that all
//! three kinds share.

use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use super::key::{Key, Proj};
use super::types::SysV;
use crate::base::error::{Error, ErrorKind, Hint, Result, Spelling};
use crate::base::mode::Mode;
use crate::base::text::printable;

impl Key {
    /// The key that ftok(3) makes of a file: 16 bits of its inode number, 8 of its
    /// device number, and `proj`. Two files may have the same key.
    ///
    /// # Errors
    /// Those of stat(2) on the file: [`Missing`](crate::ErrorKind::Missing),
    /// [`Denied`](crate::ErrorKind::Denied).
    #[doc(alias = "ftok")]
    pub fn from_file(path: &Path, proj: Proj) -> Result<Self> {
        let stat = nix::sys::stat::stat(path).map_err(|errno| Error::errno(printable(path.as_os_str()), errno))?;
        let bits = u32::from(proj.get()) << 24 | (stat.st_dev as u32 & 0xff) << 16 | (stat.st_ino as u32 & 0xffff);
        Ok(Key(bits.cast_signed()))
    }
}

/// What the kernel finds a System V object by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup {
    Id(i32),
    Key(Key),
}

impl SysV {
    /// The key or identifier. The file of `ftok:` is looked up now.
    pub(crate) fn lookup(&self) -> Result<Lookup> {
        Ok(match self {
            SysV::Key(key) => Lookup::Key(*key),
            SysV::Id(id) => Lookup::Id(*id),
            SysV::Ftok(path, proj) => Lookup::Key(Key::from_file(path, *proj).map_err(|error| {
                let problem = format!("the file {}", error.problem);
                Error { object: self.to_string(), problem, ..error }
            })?),
            SysV::Private => {
                let error = Error::new(ErrorKind::Usage, self, "names no object that exists");
                return Err(error.hint(Hint::Say(Spelling::plain(["key:N", "id:N"]))));
            }
        })
    }

    /// The identifier of an object that exists. `get` is msgget, semget or shmget
    /// with a size or count of 0 and no flags.
    pub(crate) fn resolve(&self, get: impl FnOnce(i32) -> nix::Result<i32>) -> Result<i32> {
        match self.lookup()? {
            Lookup::Id(id) => Ok(id),
            Lookup::Key(key) => get(key.get()).map_err(|errno| Error::errno(self, errno)),
        }
    }

    /// The identifier, and whether the object is new. An absent object is made; with
    /// `exclusive`, one that exists is an error. `get` is msgget, semget or shmget
    /// with a key and flags. `not_made` translates the error numbers of a creation.
    pub(crate) fn find_or_create(
        &self,
        exclusive: bool,
        mode: Option<Mode>,
        get: impl Fn(i32, i32) -> nix::Result<i32>,
        not_made: impl FnOnce(Errno) -> Error,
    ) -> Result<(i32, bool)> {
        let key = match self {
            SysV::Private => libc::IPC_PRIVATE,
            SysV::Key(_) | SysV::Id(_) | SysV::Ftok(..) => match self.lookup()? {
                Lookup::Key(key) => key.get(),
                Lookup::Id(_) if exclusive => {
                    let problem = "exists already, or cannot: an identifier cannot be chosen";
                    let hint = Hint::Say(Spelling::plain(["key:N", "private:"]));
                    return Err(Error::new(ErrorKind::Exists, self, problem).hint(hint));
                }
                Lookup::Id(id) => return Ok((id, false)),
            },
        };
        let find = !exclusive && key != libc::IPC_PRIVATE;
        loop {
            // Look first: mostly the object exists, and reading the umask takes time.
            if find {
                match get(key, 0) {
                    Ok(id) => return Ok((id, false)),
                    Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(Error::errno(self, errno)),
                }
            }
            let mode = mode.unwrap_or(Mode::PRIVATE).for_sysv().cast_signed();
            match get(key, libc::IPC_CREAT | libc::IPC_EXCL | mode) {
                Ok(id) => return Ok((id, true)),
                Err(Errno::EEXIST) if find => {} // made between the two calls
                Err(errno) => return Err(not_made(errno)),
            }
        }
    }
}
