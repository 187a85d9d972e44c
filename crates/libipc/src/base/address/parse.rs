//! Reading and checking addresses: strict about numbers, and with a proposal where
//! something is no address.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::key::{Key, Proj};
use super::name::PosixName;
use super::types::{Address, Api, Kind, KindAddress, Name, SysV};
use crate::base::error::{Error, ErrorKind, Hint, Result, Spelling};
use crate::base::text::printable;

impl PosixName {
    /// Read the name of a POSIX object of any kind: one slash, then 1 to 255 bytes
    /// without a slash or NUL, and neither `.` nor `..`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], with the reason.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let refuse = |why: &str| Err(Error::new(ErrorKind::Usage, printable(text), why));
        match text.as_bytes().strip_prefix(b"/") {
            None => refuse("a POSIX name begins with a slash"),
            Some(b"") => refuse("a POSIX name has at least one byte after the slash"),
            Some(b"." | b"..") => refuse("is not a name"),
            Some(rest) if rest.contains(&b'/') => {
                let hint = match rest.strip_prefix(b"dev/shm/") {
                    Some(leaf) => Spelling::new(format!("/{}", printable(OsStr::from_bytes(leaf))), None),
                    None => Spelling::new(format!("file:{}", printable(text)), Some("for a file")),
                };
                refuse("a POSIX name has one slash, at its beginning")
                    .map_err(|error| error.hint(Hint::Say(vec![hint])))
            }
            Some(rest) if rest.contains(&0) => refuse("a name has no NUL"),
            Some(rest) if rest.len() > Self::LONGEST => refuse("a POSIX name has at most 255 bytes after the slash"),
            Some(_) => Ok(PosixName(text.to_owned())),
        }
    }

    /// Check that the name is short enough for a semaphore: sem_overview(7).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is not.
    pub fn check_semaphore(&self) -> Result<()> {
        if self.leaf().len() > Self::LONGEST_SEMAPHORE {
            let problem = "a semaphore's name has at most 251 bytes after the slash";
            return Err(Error::new(ErrorKind::Usage, printable(&self.0), problem));
        }
        Ok(())
    }
}

impl Address {
    /// Read an address of any kind.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], with the reason, for anything else.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let refuse = |problem: &str| Error::new(ErrorKind::Usage, printable(text), problem);
        let label = || printable(text);
        if bytes.first() == Some(&b'/') {
            return PosixName::parse(text).map(Address::from);
        }
        if bytes.starts_with(b"0x") || bytes.starts_with(b"0X") {
            return key(text, bytes).map(Address::SysV);
        }
        if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) {
            let zero = bytes.iter().all(|&byte| byte == b'0');
            let say = if zero {
                vec!["id:0".to_owned()]
            } else {
                vec![format!("id:{}", label()), format!("key:{}", label())]
            };
            return Err(refuse("a bare number could be a key or an identifier").hint(Hint::Say(Spelling::plain(say))));
        }
        let Some(colon) = bytes.iter().position(|&byte| byte == b':') else {
            if bytes.is_empty() {
                return Err(refuse("is no address").hint(Hint::Forms(None)));
            }
            let guesses = [("/", "for a POSIX name"), ("file:", "for a file")];
            let guesses = guesses.map(|(begin, what)| Spelling::new(format!("{begin}{}", label()), Some(what)));
            return Err(refuse("is no address").hint(Hint::Say(guesses.into())));
        };
        let rest = OsStr::from_bytes(&bytes[colon + 1..]);
        match &bytes[..colon] {
            b"key" => key(text, rest.as_bytes()).map(Address::SysV),
            b"id" => match number(rest.as_bytes(), false).and_then(|id| i32::try_from(id).ok()) {
                Some(id) => Ok(Address::SysV(SysV::Id(id))),
                None => Err(refuse("an identifier is a number from 0 to 2147483647")),
            },
            b"ftok" => {
                let (path, proj) = split_proj(rest);
                if path.is_empty() {
                    return Err(refuse("the path is missing").hint(Hint::Say(Spelling::plain(["ftok:PATH[:PROJ]"]))));
                }
                Ok(Address::SysV(SysV::Ftok(path.into(), proj)))
            }
            b"private" if rest.is_empty() => Ok(Address::SysV(SysV::Private)),
            b"private" => Err(refuse("nothing follows private:")),
            b"file" if rest.is_empty() => {
                Err(refuse("the path is missing").hint(Hint::Say(Spelling::plain(["file:PATH"]))))
            }
            b"file" => Ok(Address::Name(Name::File(rest.into()))),
            kind if Kind::from_bytes(kind).is_some() => {
                let hint = match Address::parse(rest) {
                    Ok(address) => Hint::Say(Spelling::plain([address.to_string()])),
                    Err(_) => Hint::Forms(None),
                };
                Err(refuse("the kind is known here, so none stands in front of the address").hint(hint))
            }
            _ => Err(refuse("is no address").hint(Hint::Forms(None))),
        }
    }

    /// The name of an object that is a file, as rings and locks are.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for another address.
    pub(crate) fn name(&self, kind: Kind) -> Result<&Name> {
        match self {
            Address::Name(name) => Ok(name),
            Address::SysV(_) => Err(kind.refuse(self)),
        }
    }

    /// The interface that a queue or semaphores at this address have.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an address that the kind cannot have.
    pub(crate) fn api(&self, kind: Kind) -> Result<Api<'_>> {
        match self {
            Address::SysV(sysv) => Ok(Api::SysV(sysv)),
            Address::Name(name) => name.posix().map(Api::Posix).ok_or_else(|| kind.refuse(self)),
        }
    }
}

impl Name {
    /// The name of a POSIX object.
    pub(crate) fn posix(&self) -> Option<&PosixName> {
        if let Name::Posix(name) = self { Some(name) } else { None }
    }
}

/// As [`Address::parse`].
impl std::str::FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Address::parse(OsStr::new(text))
    }
}

impl Kind {
    /// Check that an object of this kind can have this address.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], with the forms that it can have.
    pub fn check(self, address: &Address) -> Result<()> {
        if !self.accepts(address.form()) {
            return Err(self.refuse(address));
        }
        match address {
            Address::Name(name) if self == Kind::Sem => name.posix().map_or(Ok(()), PosixName::check_semaphore),
            Address::Name(_) | Address::SysV(_) => Ok(()),
        }
    }

    /// The error of [`Kind::check`] for an address that it refuses.
    pub(crate) fn refuse(self, address: &Address) -> Error {
        let problem = match address {
            Address::SysV(_) => format!("no {} is a System V object", self.noun()),
            Address::Name(_) => format!("no {} is a file", self.noun()),
        };
        Error::new(ErrorKind::Usage, address, problem).hint(Hint::Forms(Some(self)))
    }

    /// Read an address of this kind, without the kind in front.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], with the reason. The hint proposes only addresses that
    /// this kind can have.
    pub fn parse(self, text: &OsStr) -> Result<Address> {
        let address = Address::parse(text).map_err(|error| Error { hint: self.fitting(error.hint), ..error })?;
        self.check(&address).map(|()| address)
    }

    /// The hint without the addresses that no object of this kind can have.
    fn fitting(self, hint: Option<Box<Hint>>) -> Option<Box<Hint>> {
        let fits = |spelling: &Spelling| {
            let form = Address::parse(OsStr::new(&spelling.address)).map(|address| address.form());
            form.map_or(true, |form| self.accepts(form))
        };
        hint.map(|hint| match *hint {
            Hint::Say(mut all) => {
                all.retain(fits);
                // With a single choice there is nothing to tell apart.
                if let [only] = &mut all[..] {
                    only.meaning = None;
                }
                if all.is_empty() { Hint::Forms(Some(self)) } else { Hint::Say(all) }
            }
            Hint::Forms(_) => Hint::Forms(Some(self)),
            other => other,
        })
        .map(Box::new)
    }
}

impl KindAddress {
    /// Put the kind in front of the address.
    ///
    /// # Errors
    /// Those of [`Kind::check`].
    pub fn new(kind: Kind, address: Address) -> Result<Self> {
        kind.check(&address)?;
        Ok(KindAddress { kind, address })
    }

    /// Read `KIND:ADDRESS`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] without a kind (the hint shows the choice), and for an
    /// address that this kind cannot have.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let colon = bytes.iter().position(|&byte| byte == b':').unwrap_or(0);
        let Some(kind) = Kind::from_bytes(&bytes[..colon]) else {
            let hint = match Address::parse(text) {
                Ok(address) => {
                    Hint::PutKind(Kind::ALL.into_iter().filter(|kind| kind.accepts(address.form())).collect())
                }
                Err(_) => Hint::KindForms,
            };
            return Err(Error::new(ErrorKind::Usage, printable(text), "the kind is missing").hint(hint));
        };
        let with_kind = |error: Error| {
            let hint = error.hint.map(|hint| match *hint {
                Hint::Say(all) => Hint::Say(all.into_iter().map(|spelling| spelling.of(kind)).collect()),
                other => other,
            });
            // The error is about the whole text, the kind included.
            Error { object: printable(text), hint: hint.map(Box::new), ..error }
        };
        let address = kind.parse(OsStr::from_bytes(&bytes[colon + 1..])).map_err(with_kind)?;
        Ok(KindAddress { kind, address })
    }
}

fn key(text: &OsStr, digits: &[u8]) -> Result<SysV> {
    let refuse = |problem: &str| Error::new(ErrorKind::Usage, printable(text), problem);
    let key = number(digits, true).filter(|key| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(key));
    let Some(key) = key else {
        return Err(refuse("a key is a number of 32 bits, decimal, 0x hexadecimal or 0 octal"));
    };
    // 0xffffffff and -1 are one key: key_t is signed, ipcs prints it unsigned.
    match Key::new(key as i32) {
        Some(key) => Ok(SysV::Key(key)),
        None => Err(refuse("key 0 is IPC_PRIVATE, which finds no object")
            .hint(Hint::Say(Spelling::plain(["private:", "id:N"])))),
    }
}

/// Read a number: decimal, 0x hexadecimal or 0 octal, with a minus sign if `signed`.
/// A plus sign, white space and anything after the number are refused.
fn number(bytes: &[u8], signed: bool) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Address> {
        Address::parse(OsStr::new(text))
    }

    fn key(number: i32) -> Address {
        Address::SysV(SysV::Key(Key::new(number).unwrap()))
    }

    /// The addresses that the hint proposes.
    fn proposals(error: Error) -> Vec<String> {
        match error.hint.as_deref() {
            Some(Hint::Say(all)) => all.iter().map(|spelling| spelling.address.clone()).collect(),
            _ => Vec::new(),
        }
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
        assert_eq!(proposals(parse("5").unwrap_err()), ["id:5", "key:5"]);
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
        assert_eq!(semaphore(252).unwrap_err().object.len(), "sem:/".len() + 252);
    }

    #[test]
    fn ftok_splits_at_the_last_colon_before_a_proj() {
        let proj = |text: &str| Proj::parse(OsStr::new(text)).unwrap();
        let ftok = |path: &str, text: &str| Ok(Address::SysV(SysV::Ftok(path.into(), proj(text))));
        assert_eq!(parse("ftok:/a"), ftok("/a", "1"));
        assert_eq!(parse("ftok:/a:7"), ftok("/a", "7"));
        assert_eq!(parse("ftok:/a:x"), ftok("/a", "x"));
        assert_eq!(parse("ftok:/a:b:255"), ftok("/a:b", "255"));
        assert_eq!(parse("ftok:/a:256"), ftok("/a:256", "1"));
        assert_eq!(parse("ftok:/a:bc"), ftok("/a:bc", "1"));
        assert_eq!(parse("ftok:/a:"), ftok("/a:", "1"));
    }

    /// Each kind takes the forms of the table, and proposes no other.
    #[test]
    fn kinds_refuse_what_they_cannot_have_and_propose_what_they_can() {
        let examples = ["/a", "key:7", "id:7", "ftok:/:7", "private:", "file:a"];
        for kind in Kind::ALL {
            for text in examples {
                let address = parse(text).unwrap();
                let taken = kind.parse(OsStr::new(text));
                assert_eq!(taken.is_ok(), kind.accepts(address.form()), "{kind:?} {text}");
                if let Err(error) = taken {
                    assert_eq!(error.hint.as_deref(), Some(&Hint::Forms(Some(kind))), "{kind:?} {text}");
                }
            }
            for text in ["5", "seg", "0", "/a/b", "x/y"] {
                for proposal in proposals(kind.parse(OsStr::new(text)).unwrap_err()) {
                    let form = Address::parse(OsStr::new(&proposal)).map(|address| address.form());
                    assert!(form.is_err() || kind.accepts(form.unwrap()), "{kind:?} {text} {proposal}");
                }
            }
        }
        let of = |text: &str| proposals(KindAddress::parse(OsStr::new(text)).unwrap_err());
        assert_eq!(of("sem:x"), ["sem:/x"]);
        assert_eq!(of("shm:a  b"), ["shm:/a  b", "shm:file:a  b"]);
        let kinds = KindAddress::parse(OsStr::new("file:x")).unwrap_err().hint;
        assert_eq!(kinds.as_deref(), Some(&Hint::PutKind(vec![Kind::Shm, Kind::Ring, Kind::Lock])));
    }

    proptest! {
        #[test]
        fn fuzz_what_is_printed_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(address) = Address::parse(OsStr::from_bytes(&bytes)) {
                prop_assert_eq!(Address::parse(OsStr::from_bytes(&address.to_bytes())), Ok(address));
            }
            let _ = KindAddress::parse(OsStr::from_bytes(&bytes));
            for kind in Kind::ALL {
                let _ = kind.parse(OsStr::from_bytes(&bytes));
            }
        }

        #[test]
        fn fuzz_every_key_reads_back(number in any::<i32>().prop_filter("private", |n| *n != 0)) {
            prop_assert_eq!(parse(&key(number).to_string()), Ok(key(number)));
            prop_assert_eq!(parse(&format!("key:{number}")), Ok(key(number)));
            prop_assert_eq!(parse(&Key::new(number).unwrap().to_string()), Ok(key(number)));
        }
    }
}
