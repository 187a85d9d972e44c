//! Headers with flipped bits and random words: an end with some status, never a
//! panic, a hang or an access outside the mapping.
//!
//! All flips and 100,000 mutations with IPCUTILS_TORTURE, a part without.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::layout::{HEADER, new_header};
use super::*;
use crate::mode::Mode;
use crate::wait::{Limit, Patience};

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

fn patience() -> Patience {
    Patience::new(Limit::Nonblock)
}

fn how(begin: Begin, overwrite: bool) -> Write {
    Write { capacity: CAPACITY, mode: Mode::PRIVATE, begin, many: false, overwrite }
}

fn read(name: Option<&str>, end: Option<u8>) -> Read {
    let name = name.map(Into::into);
    Read { wait: false, name, from: From::Oldest, follow: false, end, count: None }
}

impl Rings {
    fn new(word: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipcutils-test-ring-{word}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("ring");
        let address = Address::File(path.clone());
        let null = File::options().write(true).open("/dev/null").unwrap();
        let mut rings = Rings { dir, address, states: Vec::new(), null };
        let mut states = Vec::new();
        Writer::open(&rings.address, &how(Begin::New, false), &mut patience()).unwrap().end();
        states.push(std::fs::read(&path).unwrap());
        let mut writer = Writer::open(&rings.address, &how(Begin::New, true), &mut patience()).unwrap();
        writer.append(&[7; 3000], 7, &mut patience()).unwrap();
        writer.end();
        rings.read(Read { count: Some(1000), ..read(Some("name"), None) }).unwrap();
        states.push(std::fs::read(&path).unwrap());
        let mut writer = Writer::open(&rings.address, &how(Begin::Restart, false), &mut patience());
        assert_eq!(writer.as_ref().err().map(|error| error.kind), Some(ErrorKind::Busy));
        forget(&rings.address, "name".as_ref(), &mut patience()).unwrap();
        writer = Writer::open(&rings.address, &how(Begin::Restart, false), &mut patience());
        writer.unwrap().append(&[8; 4096], 8, &mut patience()).unwrap();
        states.push(std::fs::read(&path).unwrap());
        rings.states = states;
        rings
    }

    fn read(&self, how: Read) -> Result<()> {
        let mut reader = Reader::open(&self.address, how, &mut patience())?;
        let copied = reader.copy_to(self.null.as_fd(), &mut patience(), &mut |_| {});
        reader.leave();
        copied
    }

    /// Everything that a tool may do with such a ring.
    fn attack(&self, state: usize, change: impl Fn(&mut [u8])) {
        let mut bytes = self.states[state].clone();
        change(&mut bytes);
        let Address::File(path) = &self.address else { unreachable!() };
        let file = File::options().write(true).open(path).unwrap();
        let begin = Instant::now();
        let attacks: [&dyn Fn() -> Result<()>; 5] = [
            &|| Status::of(&self.address).map(drop),
            &|| self.read(read(None, None)),
            &|| self.read(read(Some("name"), Some(b'\n'))),
            &|| {
                let mut writer = Writer::open(&self.address, &how(Begin::Resume, false), &mut patience())?;
                writer.append(b"some\n", b'\n', &mut patience()).map(|()| writer.end())
            },
            &|| Writer::open(&self.address, &how(Begin::Restart, true), &mut patience()).map(Writer::end),
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
            let interesting = bit / 8 < 272 || (4096..4096 + 80).contains(&(bit / 8));
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
    const WORDS: [usize; 14] = [8, 16, 24, 64, 72, 80, 88, 128, 192, 256, 4096, 4104, 4112, 4160];
    for round in 0..if is_long() { 100_000 } else { 1000 } {
        let changes: Vec<_> = (0..1 + random() % 3)
            .map(|_| {
                let at = if random() % 4 == 0 {
                    random() as usize % (HEADER / 8) * 8
                } else {
                    WORDS[random() as usize % 14]
                };
                // Small numbers, huge ones, and such as are there.
                let value = match random() % 4 {
                    0 => random() % 9000,
                    1 => 0u64.wrapping_sub(random() % 9000),
                    2 => u64::from_ne_bytes(
                        new_header(9, layout::Stream::decode(0x6577316f).unwrap())[88..96].try_into().unwrap(),
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
