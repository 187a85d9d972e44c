//! How users name an object: one grammar for every tool, in ipcutils(7).
//!
//! Parsing is pure: it checks the form and makes no system call. Names are
//! bytes and stay bytes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use crate::error::{Error, ErrorKind, Result};
use crate::mode::Mode;
use crate::text::printable;

/// A System V key (key_t), never 0, which is IPC_PRIVATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(i32);

impl Key {
    /// From a number; None for 0.
    pub fn new(key: i32) -> Option<Self> {
        (key != 0).then_some(Key(key))
    }

    /// The number, as shmget(2) takes it.
    pub fn get(self) -> i32 {
        self.0
    }

    /// The key of ftok(3): 16 bits of the inode's number, 8 of the device's and
    /// `proj`. It is not unique: two files may give one key.
    #[doc(alias = "ftok")]
    pub fn from_file(path: &Path, proj: Proj) -> Result<Self> {
        let stat = nix::sys::stat::stat(path).map_err(|errno| Error::errno(printable(path.as_os_str()), errno))?;
        let bits = u32::from(proj.0) << 24 | (stat.st_dev as u32 & 0xff) << 16 | (stat.st_ino as u32 & 0xffff);
        Ok(Key(bits.cast_signed()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

/// The project identifier of ftok(3): 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proj(u8);

impl Default for Proj {
    fn default() -> Self {
        Proj(1)
    }
}

impl Proj {
    /// A number from 1 to 255, or one character that is no digit.
    pub fn parse(text: &OsStr) -> Option<Self> {
        match text.as_bytes() {
            [byte] if !byte.is_ascii_digit() => Some(Proj(*byte)),
            digits if !digits.is_empty() && digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
                let number: u8 = std::str::from_utf8(digits).ok()?.parse().ok()?;
                (number > 0).then_some(Proj(number))
            }
            _ => None,
        }
    }
}

/// The name of a POSIX object: a slash, then 1 to 255 bytes without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosixName(OsString);

impl PosixName {
    /// The longest name, in bytes after the slash.
    pub const LONGEST: usize = 255;
    /// The longest name of a semaphore, whose file has `sem.` in front.
    pub const LONGEST_SEMAPHORE: usize = 251;

    /// Check the one rule for names of every kind.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let refuse = |why: &str| Err(Error::new(ErrorKind::Usage, printable(text), why));
        match text.as_bytes().strip_prefix(b"/") {
            None => refuse("a POSIX name begins with a slash"),
            Some(b"") => refuse("a POSIX name has at least one byte after the slash"),
            Some(b"." | b"..") => refuse("is not a name"),
            Some(rest) if rest.contains(&b'/') => {
                let mend = match rest.strip_prefix(b"dev/shm/") {
                    Some(leaf) => format!("say /{}", printable(OsStr::from_bytes(leaf))),
                    None => format!("say file:{} for a file", printable(text)),
                };
                refuse("a POSIX name has one slash, at its beginning").map_err(|error| error.mend(mend))
            }
            Some(rest) if rest.contains(&0) => refuse("a name has no NUL"),
            Some(rest) if rest.len() > Self::LONGEST => refuse("a POSIX name has at most 255 bytes after the slash"),
            Some(_) => Ok(PosixName(text.to_owned())),
        }
    }

    /// The same name for a semaphore, which may have 4 bytes less.
    pub fn for_semaphore(self) -> Result<Self> {
        if self.leaf().len() > Self::LONGEST_SEMAPHORE {
            let what = "a semaphore's name has at most 251 bytes after the slash";
            return Err(Error::new(ErrorKind::Usage, printable(&self.0), what));
        }
        Ok(self)
    }

    /// The name with its slash.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The name without its slash: the file's name in /dev/shm or /dev/mqueue.
    pub fn leaf(&self) -> &OsStr {
        OsStr::from_bytes(&self.0.as_bytes()[1..])
    }
}

/// How a System V object is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SysV {
    /// `key:N` or a bare `0xN`.
    Key(Key),
    /// `id:N`.
    Id(i32),
    /// `ftok:PATH[:PROJ]`.
    Ftok(PathBuf, Proj),
    /// `private:`, a new object that no key finds.
    Private,
}

/// The kernel objects that an identifier can name.
pub(crate) enum Lookup {
    Id(i32),
    Key(Key),
}

impl SysV {
    /// The key or identifier; the file of `ftok:` is looked at now.
    pub(crate) fn lookup(&self) -> Result<Lookup> {
        Ok(match self {
            SysV::Key(key) => Lookup::Key(*key),
            SysV::Id(id) => Lookup::Id(*id),
            SysV::Ftok(path, proj) => Lookup::Key(Key::from_file(path, *proj).map_err(|error| {
                let what = format!("the file {}", error.what);
                Error { object: self.to_string(), what, ..error }
            })?),
            SysV::Private => {
                let what = "names no object that exists";
                return Err(Error::new(ErrorKind::Usage, "private:", what).mend("say key:N or id:N"));
            }
        })
    }

    /// The identifier, for which `get` is msgget, semget or shmget with a size
    /// or count of 0 and no flags.
    pub(crate) fn resolve(&self, get: impl FnOnce(i32) -> nix::Result<i32>) -> Result<i32> {
        match self.lookup()? {
            Lookup::Id(id) => Ok(id),
            Lookup::Key(key) => get(key.get()).map_err(|errno| Error::errno(self, errno)),
        }
    }

    /// The identifier, and whether the object is new: it is made if it is absent,
    /// or in any case if it must be. `get` is msgget, semget or shmget with a key
    /// and flags; `not_made` translates the numbers of a creation.
    pub(crate) fn find_or_create(
        &self,
        exclusive: bool,
        mode: Option<Mode>,
        get: impl Fn(i32, i32) -> nix::Result<i32>,
        not_made: impl FnOnce(Errno) -> Error,
    ) -> Result<(i32, bool)> {
        let key = match self {
            SysV::Private => libc::IPC_PRIVATE,
            _ => match self.lookup()? {
                Lookup::Key(key) => key.get(),
                Lookup::Id(_) if exclusive => {
                    let what = "exists already, or cannot: an identifier cannot be chosen";
                    return Err(Error::new(ErrorKind::Exists, self, what).mend("say key:N or private:"));
                }
                Lookup::Id(id) => return Ok((id, false)),
            },
        };
        let find = !exclusive && key != libc::IPC_PRIVATE;
        loop {
            // Looked for first, as it mostly exists, and the umask takes time.
            if find {
                match get(key, 0) {
                    Ok(id) => return Ok((id, false)),
                    Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(Error::errno(self, errno)),
                }
            }
            let mode = mode.unwrap_or(Mode::PRIVATE).masked().cast_signed();
            match get(key, libc::IPC_CREAT | libc::IPC_EXCL | mode) {
                Ok(id) => return Ok((id, true)),
                Err(Errno::EEXIST) if find => {} // made between the two calls
                Err(errno) => return Err(not_made(errno)),
            }
        }
    }
}

impl fmt::Display for SysV {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SysV::Key(key) => write!(f, "key:{key}"),
            SysV::Id(id) => write!(f, "id:{id}"),
            SysV::Ftok(path, proj) => write!(f, "ftok:{}:{}", printable(path.as_os_str()), proj.0),
            SysV::Private => f.write_str("private:"),
        }
    }
}

/// What an object is named by, its kind being known from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `/name`.
    Posix(PosixName),
    /// A System V object.
    SysV(SysV),
    /// `file:PATH`, a mapped file.
    File(PathBuf),
}

const FORMS: &str = "say /name, key:N, id:N, ftok:PATH[:PROJ], private: or file:PATH";

impl Address {
    /// Read an address.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], with the reason, for whatever is none.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let refuse = |what: &str| Error::new(ErrorKind::Usage, printable(text), what);
        if bytes.first() == Some(&b'/') {
            return PosixName::parse(text).map(Address::Posix);
        }
        if bytes.starts_with(b"0x") || bytes.starts_with(b"0X") {
            return parse_key(text, bytes).map(Address::SysV);
        }
        if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) {
            let number = printable(text);
            let zero = bytes.iter().all(|&byte| byte == b'0');
            let mend = if zero { "say id:0".to_owned() } else { format!("say id:{number} or key:{number}") };
            return Err(refuse("a bare number could be a key or an identifier").mend(mend));
        }
        let Some(colon) = bytes.iter().position(|&byte| byte == b':') else {
            let shown = printable(text);
            let guess = format!("say /{shown} for a POSIX name, file:{shown} for a file");
            return Err(refuse("is no address").mend(if bytes.is_empty() { FORMS.to_owned() } else { guess }));
        };
        let rest = OsStr::from_bytes(&bytes[colon + 1..]);
        match &bytes[..colon] {
            b"key" => parse_key(text, rest.as_bytes()).map(Address::SysV),
            b"id" => match parse_number(rest.as_bytes(), false).and_then(|id| i32::try_from(id).ok()) {
                Some(id) => Ok(Address::SysV(SysV::Id(id))),
                None => Err(refuse("an identifier is a number from 0 to 2147483647")),
            },
            b"ftok" => {
                let (path, proj) = split_proj(rest);
                if path.is_empty() {
                    return Err(refuse("the path is missing").mend("say ftok:PATH[:PROJ]"));
                }
                Ok(Address::SysV(SysV::Ftok(path.into(), proj)))
            }
            b"private" if rest.is_empty() => Ok(Address::SysV(SysV::Private)),
            b"private" => Err(refuse("nothing follows private:")),
            b"file" if rest.is_empty() => Err(refuse("the path is missing").mend("say file:PATH")),
            b"file" => Ok(Address::File(rest.into())),
            kind if Kind::from_bytes(kind).is_some() => {
                let mend = Address::parse(rest).map_or(FORMS.to_owned(), |address| format!("say {address}"));
                Err(refuse("this tool knows its kind, so none stands in front of the address").mend(mend))
            }
            _ => Err(refuse("is no address").mend(FORMS)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Posix(name) => f.write_str(&printable(name.as_os_str())),
            Address::SysV(sysv) => sysv.fmt(f),
            Address::File(path) => write!(f, "file:{}", printable(path.as_os_str())),
        }
    }
}

fn parse_key(text: &OsStr, number: &[u8]) -> Result<SysV> {
    let refuse = |what: &str| Error::new(ErrorKind::Usage, printable(text), what);
    let key = parse_number(number, true).filter(|key| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(key));
    let Some(key) = key else {
        return Err(refuse("a key is a number of 32 bits, decimal, 0x hexadecimal or 0 octal"));
    };
    // 0xffffffff and -1 are one key: key_t is signed, ipcs prints it unsigned.
    match Key::new(key as i32) {
        Some(key) => Ok(SysV::Key(key)),
        None => Err(refuse("key 0 is IPC_PRIVATE, which finds no object").mend("say private: or id:N")),
    }
}

/// Decimal, 0x hexadecimal or 0 octal, with a minus sign if `signed`; no plus
/// sign, no white space, nothing after it.
fn parse_number(bytes: &[u8], signed: bool) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) if signed => (true, digits),
        Some(_) => return None,
        None => (false, text),
    };
    let (digits, radix) = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        (hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (&digits[1..], 8)
    } else {
        (digits, 10)
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// Split at the last colon if a valid PROJ follows it.
fn split_proj(text: &OsStr) -> (&OsStr, Proj) {
    let bytes = text.as_bytes();
    let split = bytes.iter().rposition(|&byte| byte == b':').and_then(|colon| {
        let proj = Proj::parse(OsStr::from_bytes(&bytes[colon + 1..]))?;
        Some((OsStr::from_bytes(&bytes[..colon]), proj))
    });
    split.unwrap_or((text, Proj::default()))
}

/// The kinds of object, as they stand in front of an address where the tool
/// does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Shared memory.
    Shm,
    /// A ring of ours, in shared memory.
    Ring,
    /// A lock of ours, in shared memory.
    Lock,
    /// A message queue.
    Mq,
    /// Semaphores.
    Sem,
}

impl Kind {
    /// The word in front of the address.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Shm => "shm",
            Kind::Ring => "ring",
            Kind::Lock => "lock",
            Kind::Mq => "mq",
            Kind::Sem => "sem",
        }
    }

    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Shm, Kind::Ring, Kind::Lock, Kind::Mq, Kind::Sem];

    /// The kind of a word.
    pub fn from_bytes(word: &[u8]) -> Option<Self> {
        Kind::ALL.into_iter().find(|k| k.as_str().as_bytes() == word)
    }
}

/// An address with its kind in front: `shm:/seg`, `mq:key:0x2a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindAddress {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub address: Address,
}

impl KindAddress {
    /// Read `KIND:ADDRESS`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without a kind (the message shows the choice), and
    /// for an address that this kind cannot have.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let refuse = |what: &str| Error::new(ErrorKind::Usage, printable(text), what);
        let bytes = text.as_bytes();
        let colon = bytes.iter().position(|&byte| byte == b':').unwrap_or(0);
        let Some(kind) = Kind::from_bytes(&bytes[..colon]) else {
            let shown = printable(text);
            let mend = match Address::parse(text) {
                Ok(Address::Posix(_)) => format!("put shm:, ring:, lock:, mq: or sem: in front of {shown}"),
                Ok(Address::File(_)) => format!("put shm:, ring: or lock: in front of {shown}"),
                Ok(Address::SysV(_)) => format!("say shm:{shown}, mq:{shown} or sem:{shown}"),
                Err(_) => "say KIND:ADDRESS, where KIND is shm, ring, lock, mq or sem".to_owned(),
            };
            return Err(refuse("the kind is missing").mend(mend));
        };
        // What is said of the address is said of the whole.
        let with_kind = |error: Error| {
            let prefixed = |mend: String| {
                let words = mend.split(' ').map(|word| match word.split([':', '/']).next() {
                    Some("" | "id" | "key" | "ftok" | "file") => format!("{}:{word}", kind.as_str()),
                    _ => word.to_owned(),
                });
                words.collect::<Vec<_>>().join(" ")
            };
            Error { object: printable(text), mend: error.mend.map(prefixed), ..error }
        };
        let address = match Address::parse(OsStr::from_bytes(&bytes[colon + 1..])).map_err(with_kind)? {
            Address::Posix(name) if kind == Kind::Sem => Address::Posix(name.for_semaphore()?),
            address => address,
        };
        match (&address, kind) {
            (Address::File(_), Kind::Mq | Kind::Sem) => Err(refuse("no queue or semaphore is a file")),
            (Address::SysV(_), Kind::Ring | Kind::Lock) => {
                Err(refuse("a ring or a lock is /name or file:PATH, never a System V object"))
            }
            _ => Ok(KindAddress { kind, address }),
        }
    }
}

impl fmt::Display for KindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(OsStr::new(text))
    }

    fn key(number: i32) -> Address {
        Address::SysV(SysV::Key(Key(number)))
    }

    #[test]
    fn a9_one_key_signed_or_not() {
        for text in ["key:-1", "key:0xffffffff", "0xffffffff", "key:4294967295", "key:037777777777"] {
            assert_eq!(parse(text), Ok(key(-1)), "{text}");
        }
        assert_eq!(parse("key:-16728012"), parse("0xff00c034"));
        assert_eq!(key(42).to_string(), "key:0x0000002a");
    }

    #[test]
    fn m9_numbers_out_of_range_or_with_junk_are_refused() {
        for text in [
            "key:",
            "key:+1",
            "key: 1",
            "key:1 ",
            "key:1x",
            "key:0x",
            "key:08",
            "key:4294967296",
            "key:-2147483649",
            "key:99999999999999999999",
            "key:--1",
            "key:0x-1",
            "0x",
            "0xg",
            "id:",
            "id:-1",
            "id:2147483648",
            "id:1k",
            "5",
            "0",
            "007",
            "",
            "seg",
            "key",
            "key:0",
            "key:0x0",
            "0x0",
            "private:1",
            "file:",
            "ftok:",
            "shm:/seg",
        ] {
            assert_eq!(parse(text).map_err(|e| e.kind), Err(ErrorKind::Usage), "{text:?}");
        }
        assert_eq!(parse("5").unwrap_err().mend.as_deref(), Some("say id:5 or key:5"));
    }

    #[test]
    fn e5_one_rule_for_posix_names() {
        for text in ["/", "/.", "/..", "//a", "/a/b", "/a/", "/a\0"] {
            assert_eq!(parse(text).map_err(|e| e.kind), Err(ErrorKind::Usage), "{text:?}");
        }
        let longest = format!("/{}", "x".repeat(255));
        assert!(parse(&longest).is_ok());
        assert!(parse(&format!("{longest}x")).is_err());
        for text in ["/...", "/.a", "/ ", "/a:b"] {
            assert!(parse(text).is_ok(), "{text:?}");
        }
        let semaphore = |n: usize| KindAddress::parse(OsStr::new(&format!("sem:/{}", "x".repeat(n))));
        assert!(semaphore(251).is_ok() && semaphore(252).is_err());
    }

    #[test]
    fn ftok_splits_at_the_last_colon_before_a_proj() {
        let ftok = |path: &str, proj| Ok(Address::SysV(SysV::Ftok(path.into(), Proj(proj))));
        assert_eq!(parse("ftok:/a"), ftok("/a", 1));
        assert_eq!(parse("ftok:/a:7"), ftok("/a", 7));
        assert_eq!(parse("ftok:/a:x"), ftok("/a", b'x'));
        assert_eq!(parse("ftok:/a:b:255"), ftok("/a:b", 255));
        assert_eq!(parse("ftok:/a:256"), ftok("/a:256", 1));
        assert_eq!(parse("ftok:/a:bc"), ftok("/a:bc", 1));
        assert_eq!(parse("ftok:/a:"), ftok("/a:", 1));
    }

    #[test]
    fn a1_a2_a3_proj() {
        let proj = |text: &str| Proj::parse(OsStr::new(text)).map(|p| p.0);
        assert_eq!(proj("a"), Some(97));
        assert_eq!(proj("9"), Some(9));
        assert_eq!(proj("255"), Some(255));
        for text in ["", "0", "000", "256", "257", "-1", "ab", "+1", "é", "0001"] {
            assert_eq!(proj(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_display_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Address::parse(OsStr::from_bytes(&bytes));
            let _ = KindAddress::parse(OsStr::from_bytes(&bytes));
        }

        #[test]
        fn every_key_reads_back(number in any::<i32>().prop_filter("private", |n| *n != 0)) {
            prop_assert_eq!(parse(&key(number).to_string()), Ok(key(number)));
            prop_assert_eq!(parse(&format!("key:{number}")), Ok(key(number)));
            prop_assert_eq!(parse(&format!("{}", Key(number))), Ok(key(number)));
        }
    }
}
