//! Headers with flipped bits and random words: an end with some status, never a
//! panic, a hang or an access outside the mapping.
//!
//! All flips and 100,000 mutations with IPCUTILS_TORTURE, a part without.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::super::layout::{HEADER, Stream, new_header};
use super::super::{Framing, OnUnfinished, Output, ReadOptions, Reader, Status, WriteOptions, Writer, forget};
use crate::base::address::{Address, Name};
use crate::base::error::{ErrorKind, Result};
use crate::base::wait::{Timeout, Wait};
use crate::fs::copy::Control;

const CAPACITY: u64 = 4096;

fn is_long() -> bool {
    std::env::var_os("IPCUTILS_TORTURE").is_some()
}

/// A ring in a file, and its content in three states: new, read in part by a
/// name and ended, without an end and full.
struct Rings {
    dir: std::path::PathBuf,
    address: Address,
    states: Vec<Vec<u8>>,
    null: File,
}

impl Drop for Rings {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn wait() -> Wait {
    Wait::new(Timeout::Now)
}

fn how(on_unfinished: OnUnfinished, overwrite: bool) -> WriteOptions {
    WriteOptions { on_unfinished, overwrite, max_lag: Some(100), capacity: CAPACITY, ..WriteOptions::default() }
}

fn read(name: Option<&str>, framing: Framing) -> ReadOptions {
    let name = name.map(Into::into);
    ReadOptions { name, framing, ..ReadOptions::default() }
}

impl Rings {
    fn new(word: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipcutils-test-ring-{word}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("ring");
        let address = Address::Name(Name::File(path.clone()));
        let null = File::options().write(true).open("/dev/null").unwrap();
        let mut rings = Rings { dir, address, states: Vec::new(), null };
        let mut states = Vec::new();
        Writer::open(&rings.address, &how(OnUnfinished::Refuse, false), &mut wait()).unwrap().end();
        states.push(std::fs::read(&path).unwrap());
        let mut writer = Writer::open(&rings.address, &how(OnUnfinished::Refuse, true), &mut wait()).unwrap();
        writer.append(&[7; 3000], Framing::End(7), &mut wait()).unwrap();
        writer.end();
        rings.read(ReadOptions { count: Some(1000), ..read(Some("name"), Framing::Bytes) }).unwrap();
        states.push(std::fs::read(&path).unwrap());
        let mut writer = Writer::open(&rings.address, &how(OnUnfinished::Restart, false), &mut wait());
        assert_eq!(writer.as_ref().err().map(|error| error.kind), Some(ErrorKind::Busy));
        forget(&rings.address, "name".as_ref(), &mut wait()).unwrap();
        writer = Writer::open(&rings.address, &how(OnUnfinished::Restart, false), &mut wait());
        writer.unwrap().append(&[8; 4096], Framing::End(8), &mut wait()).unwrap();
        states.push(std::fs::read(&path).unwrap());
        rings.states = states;
        rings
    }

    fn read(&self, options: ReadOptions) -> Result<()> {
        let mut reader = Reader::open(&self.address, &options, &mut wait())?;
        let mut out = Output::Descriptor(self.null.as_fd());
        let copied = reader.copy_to(&mut out, &mut wait(), &mut |_| {}, &mut Control::default());
        reader.leave();
        copied
    }

    /// Everything that a tool may do with such a ring.
    fn attack(&self, state: usize, change: impl Fn(&mut [u8])) {
        let mut bytes = self.states[state].clone();
        change(&mut bytes);
        let Address::Name(Name::File(path)) = &self.address else { unreachable!() };
        let file = File::options().write(true).open(path).unwrap();
        let begin = Instant::now();
        let attacks: [&dyn Fn() -> Result<()>; 6] = [
            &|| Status::inspect(&self.address).map(drop),
            &|| self.read(read(None, Framing::Bytes)),
            &|| self.read(read(None, Framing::Length)),
            &|| self.read(read(Some("name"), Framing::End(b'\n'))),
            &|| {
                let mut writer = Writer::open(&self.address, &how(OnUnfinished::Resume, false), &mut wait())?;
                writer.append(b"some\n", Framing::End(b'\n'), &mut wait()).map(|()| writer.end())
            },
            &|| Writer::open(&self.address, &how(OnUnfinished::Restart, true), &mut wait()).map(Writer::end),
        ];
        for attack in attacks {
            file.write_all_at(&bytes, 0).unwrap();
            if let Err(error) = attack() {
                use ErrorKind::{Busy, Failure, Gone, NoRoom, PeerDied, Unexpected};
                let allowed = [Busy, Failure, Gone, NoRoom, PeerDied, Unexpected];
                assert!(allowed.contains(&error.kind), "state {state}: {error}");
            }
        }
        // A loaded machine is slow; nothing here waits.
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn k14_each_flipped_bit_of_the_header() {
    let rings = Rings::new("flip");
    for state in 0..rings.states.len() {
        let mut bit = 0;
        while bit < HEADER * 8 {
            rings.attack(state, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let interesting = bit / 8 < 408 || (4096..4096 + 112).contains(&(bit / 8));
            bit += if is_long() {
                1
            } else if interesting {
                3
            } else {
                511
            };
        }
    }
}

#[test]
fn k14_random_words_in_the_header() {
    let rings = Rings::new("random");
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 24
    };
    const WORDS: [usize; 20] =
        [8, 16, 24, 32, 64, 72, 88, 96, 128, 192, 256, 320, 328, 336, 384, 4096, 4104, 4112, 4120, 4224];
    for round in 0..if is_long() { 100_000 } else { 1000 } {
        let changes: Vec<_> = (0..1 + random() % 3)
            .map(|_| {
                let at = if random() % 4 == 0 {
                    random() as usize % (HEADER / 8) * 8
                } else {
                    WORDS[random() as usize % WORDS.len()]
                };
                // Small numbers, huge ones, and such as are there.
                let value = match random() % 4 {
                    0 => random() % 9000,
                    1 => 0u64.wrapping_sub(random() % 9000),
                    2 => u64::from_ne_bytes(
                        new_header(9, Stream::decode(0x6577316f).unwrap())[88..96].try_into().unwrap(),
                    ),
                    _ => random() << 24 ^ random(),
                };
                (at, value)
            })
            .collect();
        rings.attack(round % 3, |bytes| {
            for &(at, value) in &changes {
                bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
            }
        });
    }
}
