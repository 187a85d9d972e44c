//! Addresses: read, written, refused with a reason on one line.

use libipc::address::{Form, Name, Proj};
use libipc::{Address, ErrorKind, Key, Kind, KindAddress, PosixName, SysV};

use crate::util::kind;

#[test]
fn what_is_written_reads_back() {
    for (text, form) in [
        ("/name", Form::Posix),
        ("key:0x0000002a", Form::Key),
        ("id:7", Form::Id),
        ("ftok:/tmp:1", Form::Ftok),
        ("private:", Form::Private),
        ("file:/tmp/x", Form::File),
    ] {
        let address: Address = text.parse().unwrap();
        assert_eq!((address.form(), address.to_string()), (form, text.to_owned()));
        assert_eq!(address.to_bytes(), text.as_bytes());
    }
    assert_eq!("0x2a".parse::<Address>(), Ok(Address::SysV(SysV::Key(Key::new(42).unwrap()))));
}

#[test]
fn a_refusal_has_a_reason_on_one_line() {
    for text in ["", "5", "/", "/a/b", "key:0", "id:-1", "a\nb", "/a\nb/c", "shm:/x"] {
        let error = text.parse::<Address>().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage, "{text:?}");
        assert!(error.errno.is_none() && !error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn a_kind_takes_the_addresses_that_it_can_have() {
    let file = Address::Name(Name::File("x".into()));
    assert_eq!(Kind::Shm.check(&file), Ok(()));
    assert_eq!(kind(Kind::Mq.check(&file)), ErrorKind::Usage);
    assert_eq!(kind(KindAddress::new(Kind::Ring, Address::SysV(SysV::Private))), ErrorKind::Usage);
    let pasted = KindAddress::parse("sem:/x".as_ref()).unwrap();
    assert_eq!((pasted.kind(), pasted.to_string()), (Kind::Sem, "sem:/x".to_owned()));
    assert_eq!(kind(KindAddress::parse("/x".as_ref())), ErrorKind::Usage);
    let long = PosixName::parse(format!("/{}", "x".repeat(252)).as_ref()).unwrap();
    assert_eq!(kind(long.check_semaphore()), ErrorKind::Usage);
}

#[test]
fn a_file_has_one_key_for_each_proj() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let of = |proj: &str| Key::from_file(file.path(), Proj::parse(proj.as_ref()).unwrap());
    assert_eq!(of("1"), of("1"));
    assert_ne!(of("1"), of("2"));
    let path = file.path().to_owned();
    drop(file);
    assert_eq!(kind(Key::from_file(&path, Proj::default())), ErrorKind::Missing);
}
