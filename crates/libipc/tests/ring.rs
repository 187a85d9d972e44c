//! Rings: two ends, several readers, what a death leaves, removal.

use std::io::{Read, Seek};
use std::os::fd::AsFd;

use libipc::error::Hint;
use libipc::fs::copy::Control;
use libipc::fs::input::Input;
use libipc::mode::Mode;
use libipc::ring::{
    self, Framing, OnUnfinished, Output, ReadOptions, Reader, StartAt, Status, StreamState, WriteOptions, Writer,
};
use libipc::wait::Wait;
use libipc::{Address, Discard, ErrorKind, Kind, Result};

use crate::util::{Own, brief, file, kind, now, patient, wait_until};

const WRITE: WriteOptions = WriteOptions {
    capacity: ring::SMALLEST,
    mode: Mode::PRIVATE,
    foreign: false,
    on_unfinished: OnUnfinished::Refuse,
    many: false,
    overwrite: false,
    while_read: false,
    max_lag: None,
    expire: None,
};

const READ: ReadOptions = ReadOptions {
    wait: false,
    name: None,
    start_at: StartAt::Oldest,
    follow: false,
    framing: Framing::Bytes,
    count: None,
    drain: false,
};

#[test]
fn a_ring_too_small_to_be_of_use_is_refused() {
    let own = Own::name(Kind::Ring);
    for capacity in [0, 1, ring::SMALLEST - 1] {
        let options = WriteOptions { capacity, ..WriteOptions::default() };
        assert_eq!(kind(writer(&own.address, &options)), ErrorKind::Usage, "{capacity}");
    }
    assert_eq!(kind(own.remove()), ErrorKind::Missing);
    let default = writer(&own.address, &WriteOptions::default()).unwrap();
    assert_eq!(default.capacity(), 1 << 20);
    // A reader may have no other ring.
    let reader = Reader::open(&own.address, &ReadOptions::default(), &mut now()).unwrap();
    reader.leave();
}

#[test]
fn a_truncated_ring_can_be_removed() {
    for size in [0, 8, 100, 8192] {
        let own = Own::name(Kind::Ring);
        drop(writer(&own.address, &WRITE).unwrap());
        std::fs::File::options().write(true).open(own.path()).unwrap().set_len(size).unwrap();
        own.remove().unwrap();
        assert_eq!(kind(own.remove()), ErrorKind::Missing);
    }
}

#[test]
fn a_ring_that_was_made_in_vain_is_discarded() {
    let own = Own::name(Kind::Ring);
    let made = writer(&own.address, &WRITE).unwrap();
    assert!(made.is_new());
    let reader = reader(&own.address, &READ).unwrap();
    made.discard();
    assert!(Status::inspect(&own.address).is_ok(), "somebody reads it");
    reader.leave();
    wait_until("it is gone", || {
        made.discard();
        Status::inspect(&own.address).is_err()
    });
}

fn writer(address: &Address, options: &WriteOptions) -> Result<Writer> {
    Writer::open(address, options, &mut now())
}

fn reader(address: &Address, options: &ReadOptions) -> Result<Reader> {
    Reader::open(address, options, &mut now())
}

/// What the reader copies until the end of the stream, and how many bytes it lost.
fn read(reader: &mut Reader, wait: &mut Wait) -> (Vec<u8>, u64, Result<()>) {
    let (mut out, mut lost, mut content) = (file(b""), 0, Vec::new());
    let done = {
        let mut to = Output::Descriptor(out.as_fd());
        reader.copy_to(&mut to, wait, &mut |bytes| lost += bytes, &mut Control::default())
    };
    out.rewind().unwrap();
    out.read_to_end(&mut content).unwrap();
    (content, lost, done)
}

#[test]
fn every_reader_gets_every_byte() {
    let own = Own::name(Kind::Ring);
    assert_eq!(kind(reader(&own.address, &READ)), ErrorKind::Missing);
    assert_eq!(
        kind(Reader::open(&own.address, &ReadOptions { wait: true, ..READ }, &mut brief())),
        ErrorKind::TimedOut
    );
    let mut one = writer(&own.address, &WRITE).unwrap();
    assert_eq!(kind(writer(&own.address, &WRITE)), ErrorKind::Busy);
    let mut readers = [reader(&own.address, &READ).unwrap(), reader(&own.address, &READ).unwrap()];
    one.wait_for_readers(2, &mut now()).unwrap();
    assert_eq!(kind(one.wait_for_readers(3, &mut now())), ErrorKind::Busy);
    one.append(b"first\n", Framing::End(b'\n'), &mut now()).unwrap();
    let more = file(b"and more");
    one.copy_from(&Input::new(more.as_fd(), "a file").unwrap(), &mut now(), &mut Control::default()).unwrap();
    assert_eq!((one.position(), one.capacity()), (14, ring::SMALLEST));
    one.check().unwrap();
    one.end();
    for reader in &mut readers {
        assert_eq!(read(reader, &mut now()), (b"first\nand more".to_vec(), 0, Ok(())));
    }
    readers.into_iter().for_each(Reader::leave);
    let status = Status::inspect(&own.address).unwrap();
    assert_eq!((status.writer, status.position, status.readers.len()), (StreamState::Ended, 14, 0));
    own.remove().unwrap();
    assert_eq!(kind(Status::inspect(&own.address)), ErrorKind::Missing);
}

#[test]
fn a_full_ring_makes_its_writer_wait_or_overwrites() {
    let own = Own::name(Kind::Ring);
    let mut waits = writer(&own.address, &WRITE).unwrap();
    waits.append(&[b'x'; 4096], Framing::End(b'x'), &mut now()).unwrap();
    assert_eq!(kind(waits.append(b"y", Framing::End(b'y'), &mut now())), ErrorKind::Busy);
    assert_eq!(kind(waits.append(b"y", Framing::End(b'y'), &mut brief())), ErrorKind::TimedOut);
    let long = waits.append(&[b'x'; 4097], Framing::End(b'\n'), &mut now()).unwrap_err();
    assert_eq!((long.kind, long.hint.as_deref()), (ErrorKind::NoRoom, Some(&Hint::LargerRing)));

    let own = Own::name(Kind::Ring);
    let mut overwrites = writer(&own.address, &WriteOptions { overwrite: true, ..WRITE }).unwrap();
    let mut slow = reader(&own.address, &READ).unwrap();
    for _ in 0..2 {
        overwrites.append(&[b'x'; 4096], Framing::End(b'x'), &mut now()).unwrap();
    }
    overwrites.end();
    let (content, lost, done) = read(&mut slow, &mut now());
    assert_eq!((content.len() as u64 + lost, done), (8192, Ok(())));
    assert!(lost >= 4096);
}

#[test]
fn a_writer_that_died_is_told_of() {
    let own = Own::name(Kind::Ring);
    let mut dies = writer(&own.address, &WRITE).unwrap();
    dies.append(b"half", Framing::End(b'\n'), &mut now()).unwrap();
    drop(dies);
    let mut reader = reader(&own.address, &READ).unwrap();
    let (content, _, done) = read(&mut reader, &mut patient());
    assert_eq!((content, kind(done)), (b"half".to_vec(), ErrorKind::PeerDied));
    reader.leave();
    assert_eq!(Status::inspect(&own.address).unwrap().writer, StreamState::Died);
    let refused = writer(&own.address, &WRITE).unwrap_err();
    assert_eq!((refused.kind, refused.hint.as_deref()), (ErrorKind::PeerDied, Some(&Hint::ResumeOrRestart(4))));
    let resume = WriteOptions { on_unfinished: OnUnfinished::Resume, ..WRITE };
    let resumed = Writer::open(&own.address, &resume, &mut patient()).unwrap();
    assert_eq!(resumed.position(), 4);
    resumed.end();
    let next = Writer::open(&own.address, &WRITE, &mut patient()).unwrap();
    assert_eq!((next.position(), Status::inspect(&own.address).unwrap().generation), (0, 2));
}

#[test]
fn a_name_keeps_the_position_of_a_reader() {
    let own = Own::name(Kind::Ring);
    let mut one = writer(&own.address, &WRITE).unwrap();
    one.append(b"a\nb\n", Framing::End(b'\n'), &mut now()).unwrap();
    let named =
        |count| ReadOptions { name: Some("me".into()), framing: Framing::End(b'\n'), count: Some(count), ..READ };
    let mut first = reader(&own.address, &named(1)).unwrap();
    assert_eq!(read(&mut first, &mut now()).0, b"a\n");
    assert_eq!(kind(reader(&own.address, &named(1))), ErrorKind::Busy);
    assert_eq!(kind(ring::forget(&own.address, "me".as_ref(), &mut now())), ErrorKind::Busy);
    first.leave();
    let mut again = None;
    wait_until("the name is away", || {
        again = reader(&own.address, &named(1)).ok();
        again.is_some()
    });
    assert_eq!(read(&mut again.unwrap(), &mut now()).0, b"b\n");
    wait_until("the name is given up", || ring::forget(&own.address, "me".as_ref(), &mut now()).is_ok());
    assert_eq!(kind(ring::forget(&own.address, "me".as_ref(), &mut now())), ErrorKind::Missing);
    let nobody = ReadOptions { name: Some("".into()), ..READ };
    assert_eq!(kind(reader(&own.address, &nobody)), ErrorKind::Usage);
    assert_eq!(kind(reader(&own.address, &ReadOptions { start_at: StartAt::Position(5), ..READ })), ErrorKind::Failure);
}

#[test]
fn many_writers_share_a_stream_until_it_is_ended() {
    let own = Own::name(Kind::Ring);
    let many = WriteOptions { many: true, ..WRITE };
    let mut writers = [writer(&own.address, &many).unwrap(), writer(&own.address, &many).unwrap()];
    for writer in &mut writers {
        writer.append(b"x\n", Framing::End(b'\n'), &mut now()).unwrap();
    }
    assert_eq!(kind(writer(&own.address, &WRITE)), ErrorKind::Busy);
    ring::end(&own.address, &mut now()).unwrap();
    assert_eq!(kind(writers[0].append(b"y\n", Framing::End(b'\n'), &mut now())), ErrorKind::Gone);
    let mut reader = reader(&own.address, &READ).unwrap();
    assert_eq!(read(&mut reader, &mut now()), (b"x\nx\n".to_vec(), 0, Ok(())));
}

#[test]
fn both_ends_of_a_removed_ring_are_told() {
    let own = Own::name(Kind::Ring);
    let one = writer(&own.address, &WRITE).unwrap();
    let (opened, open) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn({
        let address = own.address.clone();
        move || {
            let mut reader = reader(&address, &READ).unwrap();
            opened.send(()).unwrap();
            read(&mut reader, &mut patient()).2
        }
    });
    open.recv().unwrap();
    own.remove().unwrap();
    assert_eq!(kind(one.check()), ErrorKind::Gone);
    assert_eq!(kind(waiter.join().unwrap()), ErrorKind::Gone);
}

/// Each maps memory that others may truncate; there is no limit to how many do.
#[test]
fn nine_rings_open_at_once_survive_a_truncation() {
    let own: Vec<_> = (0..9).map(|_| Own::name(Kind::Ring)).collect();
    let mut writers: Vec<_> = own.iter().map(|own| writer(&own.address, &WRITE).unwrap()).collect();
    for writer in &mut writers {
        writer.append(b"x", Framing::End(b'x'), &mut now()).unwrap();
    }
    for own in &own {
        let file = std::fs::File::options().write(true).open(own.path()).unwrap();
        file.set_len(0).unwrap();
    }
    for writer in &mut writers {
        assert_eq!(kind(writer.append(b"x", Framing::End(b'x'), &mut now())), ErrorKind::Gone);
    }
}
