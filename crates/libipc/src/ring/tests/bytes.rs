//! Every byte of the header changed alone: never a wrong record, or the end of a stream
//! where there is none, without an error.
//!
//! Of the bytes that nothing is stored in, a part without IPCUTILS_TORTURE.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::super::layout::HEADER;
use super::super::{Framing, Output, ReadOptions, Reader, StartAt, Status, WriteOptions, Writer};
use crate::base::address::{Address, Name};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::wait::{Timeout, Wait};
use crate::fs::copy::Control;

const CAPACITY: u64 = 4096;
/// The length of a record.
const RECORD: usize = 10;

fn now() -> Wait {
    Wait::new(Timeout::Now)
}

fn records(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).flat_map(|i| format!("{i:09}\n").into_bytes()).collect()
}

/// The bytes that are changed, each to these values. The letters of a state get all.
fn changes() -> impl Iterator<Item = (usize, u8)> {
    let used = |at: &usize| *at < 416 || (4096..4096 + 256).contains(at);
    let step = if std::env::var_os("IPCUTILS_TORTURE").is_some() { 1 } else { 61 };
    let bytes = (0..HEADER).filter(move |at| used(at) || at % step == 0);
    bytes.flat_map(|at| {
        let values = if (88..96).contains(&at) { (1..=255).collect() } else { vec![0xff, 1, 0x10] };
        values.into_iter().map(move |value| (at, value))
    })
}

struct Ring {
    dir: tempfile::TempDir,
    address: Address,
}

impl Ring {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = Address::Name(Name::File(dir.path().join("ring")));
        Ring { dir, address }
    }

    fn file(&self) -> File {
        File::options().read(true).write(true).open(self.dir.path().join("ring")).unwrap()
    }

    fn writer(&self) -> Writer {
        let options = WriteOptions { capacity: CAPACITY, ..WriteOptions::default() };
        Writer::open(&self.address, &options, &mut now()).unwrap()
    }

    fn reader(&self, name: Option<&str>, start_at: StartAt, count: Option<u64>) -> Result<Reader> {
        let name = name.map(Into::into);
        let options = ReadOptions { name, start_at, framing: Framing::End(b'\n'), count, ..ReadOptions::default() };
        Reader::open(&self.address, &options, &mut now())
    }
}

/// What the reader gets. A loss that is reported counts as an error, as for the tool.
fn copy(reader: &mut Reader) -> (Vec<u8>, Result<()>) {
    let (mut out, mut bytes, mut lost) = (tempfile::tempfile().unwrap(), Vec::new(), 0);
    let mut to = Output::Descriptor(out.as_fd());
    let done = reader.copy_to(&mut to, &mut now(), &mut |more| lost += more, &mut Control::default());
    out.rewind().unwrap();
    out.read_to_end(&mut bytes).unwrap();
    let whole = if lost == 0 { Ok(()) } else { Err(Error::new(ErrorKind::Failure, "a stream", "bytes lost")) };
    (bytes, done.and(whole))
}

/// What the readers of a quiescent ring get: a new one, one of a name, one with a
/// position; and the status.
fn look(ring: &Ring) -> [(Vec<u8>, Result<()>); 4] {
    let read = |name, start_at| match ring.reader(name, start_at, None) {
        Ok(mut reader) => {
            let read = copy(&mut reader);
            reader.leave();
            read
        }
        Err(error) => (Vec::new(), Err(error)),
    };
    let status = Status::inspect(&ring.address);
    let shown = status.map(|status| {
        let Status { capacity, generation, position, oldest, total, readers, .. } = status;
        // What was lost has no sum: a wrong number is no wrong record.
        let readers: Vec<_> = readers.iter().map(|reader| (&reader.name, reader.position, reader.lag)).collect();
        format!("{:?}", (capacity, generation, position, oldest, total, readers)).into_bytes()
    });
    let status = match shown {
        Ok(shown) => (shown, Ok(())),
        Err(error) => (Vec::new(), Err(error)),
    };
    [
        status,
        read(None, StartAt::Oldest),
        read(Some("name"), StartAt::Oldest),
        read(None, StartAt::Position(300 * RECORD as u64)),
    ]
}

#[test]
fn k14_each_byte_of_a_quiescent_header() {
    // Ended within the first lap; ended after it; without an end.
    for (first, second, ends) in [(0, 350, true), (300, 350, true), (0, 350, false)] {
        let ring = Ring::new();
        let mut writer = ring.writer();
        writer.append(&records(1000, first), Framing::End(b'\n'), &mut now()).unwrap();
        writer.end();
        ring.reader(None, StartAt::Oldest, None).map(|mut reader| copy(&mut reader)).unwrap().1.unwrap();
        let mut writer = ring.writer();
        let mut named = ring.reader(Some("name"), StartAt::Oldest, Some(100)).unwrap();
        writer.append(&records(0, second), Framing::End(b'\n'), &mut now()).unwrap();
        assert_eq!(copy(&mut named).0.len(), 100 * RECORD);
        if ends {
            writer.end();
        } else {
            drop(writer);
        }
        named.leave();
        let file = ring.file();
        let mut whole = Vec::new();
        (&file).read_to_end(&mut whole).unwrap();
        let expected = look(&ring);
        assert!(expected[1..].iter().all(|(_, done)| done.is_ok() == ends), "{expected:?}");
        for (at, change) in changes() {
            let mut changed = whole.clone();
            changed[at] ^= change;
            file.write_all_at(&changed, 0).unwrap();
            for (i, ((found, done), (expected, as_it_is))) in look(&ring).iter().zip(&expected).enumerate() {
                // Of a stream without an end, a death may have left more than HEAD says.
                let right = found == expected && as_it_is.is_ok() || !ends && i == 0;
                assert!(done.is_err() || right, "{first} {ends}, byte {at} ^ {change:#x}, {i}: {found:?}");
            }
        }
    }
}

#[test]
fn k14_each_byte_of_a_header_in_use() {
    let ring = Ring::new();
    ring.writer().end();
    let mut whole = Vec::new();
    ring.file().read_to_end(&mut whole).unwrap();
    let (one, two, three) = (records(0, 100), records(100, 290), records(390, 290));
    let all = [&one[..], &two, &three].concat();
    for (at, change) in changes() {
        let file = ring.file();
        file.write_all_at(&whole, 0).unwrap();
        let mut writer = ring.writer();
        // One is where the writer is, one has read nothing.
        let mut fast = ring.reader(Some("fast"), StartAt::Oldest, None).unwrap();
        let mut slow = ring.reader(None, StartAt::Oldest, None).unwrap();
        writer.append(&one, Framing::End(b'\n'), &mut now()).unwrap();
        let (mut read, done) = copy(&mut fast);
        assert_eq!((&read, done.unwrap_err().kind), (&one, ErrorKind::Busy));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ change], at as u64).unwrap();
        // Nothing was committed meanwhile.
        let (more, done) = copy(&mut fast);
        let context = format!("byte {at} ^ {change:#x}: {done:?}");
        assert!(more.is_empty() && done.is_err(), "{context} {}", String::from_utf8_lossy(&more));
        let mut wrote = writer.append(&two, Framing::End(b'\n'), &mut now());
        read.extend(copy(&mut fast).0);
        let mut late = Vec::new();
        if at % 2 == 0 {
            late.extend(copy(&mut slow).0);
        }
        wrote = wrote.and_then(|()| writer.append(&three, Framing::End(b'\n'), &mut now()));
        match wrote.and_then(|()| writer.check()) {
            Ok(()) => writer.end(),
            Err(_) => drop(writer),
        }
        for (mut reader, mut read) in [(fast, read), (slow, late)] {
            let (more, done) = copy(&mut reader);
            read.extend(more);
            assert!(done.is_err() || read == all, "{context}, then {} of {}", read.len(), all.len());
        }
    }
}
