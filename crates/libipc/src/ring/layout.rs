//! The layout of a ring's object, version 2: man/ipcutils-ring.5 publishes it.
//!
//! Version 1 had no sums, no [`PROMISE`], and one place for the start of a stream.
//!
//! All numbers have the machine's byte order. On a machine with the other order the
//! version is one that nobody knows.

use super::check::sum;
pub(super) use crate::fs::kind::RING_MAGIC as MAGIC;

/// The version that we know.
pub(super) const VERSION: u32 = 2;
/// Where the data begin.
pub(super) const HEADER: usize = SLOTS + COUNT * SLOT;
/// The constant part at the front: magic, version, header, capacity, first, and their
/// sum.
pub(super) const CONSTANT: usize = 40;
const SUMMED: usize = 32;

// What the writer stores.

/// The end of what is committed.
pub(super) const HEAD: usize = 64;
/// The writer may have written anything before this position.
pub(super) const LIMIT: usize = 72;
/// The generation and state of the stream: [`Stream`].
pub(super) const STREAM: usize = 88;
/// The next HEAD, stored before it: HEAD is never after it.
pub(super) const PROMISE: usize = 96;

/// The parts of a stream that are written before it begins, so that a single store of
/// STREAM begins it. Streams of odd and of even numbers have one place each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

impl Place {
    /// That of a stream with this number.
    pub(super) fn of(generation: u32) -> Self {
        Place(if generation.is_multiple_of(2) { 320 } else { 384 })
    }

    /// The position at which the stream began.
    pub(super) fn start(self) -> usize {
        self.0
    }

    /// The sum of what does not change until its end: [`Stream::sum`].
    pub(super) fn sum(self) -> usize {
        self.0 + 8
    }

    /// The sum of where it ended: [`Stream::seal`].
    pub(super) fn seal(self) -> usize {
        self.0 + 16
    }
}

/// A number that is raised to wake those who wait for bytes. The word after it is not
/// 0 if somebody may wait.
pub(super) const WRITTEN: usize = 128;
/// Another such number and flag, for those who wait for room.
pub(super) const READ: usize = 192;
/// The distance from such a number to its flag.
pub(super) const WAITING: usize = 4;
/// The position up to which readers that have left had read.
pub(super) const CONSUMED: usize = 256;

/// The slots of readers: owner, position, name.
pub(super) const SLOTS: usize = 4096;
/// How many slots there are.
pub(super) const COUNT: usize = 64;
pub(super) const SLOT: usize = 128;
const POSITION: usize = 8;
const NAME: usize = 64;
/// The longest name of a reader in bytes.
pub(super) const LONGEST_NAME: usize = 48;

/// The offset of a slot's owner.
pub(super) fn owner(slot: usize) -> usize {
    SLOTS + slot * SLOT
}

/// The offset of a slot's position.
pub(super) fn position(slot: usize) -> usize {
    owner(slot) + POSITION
}

/// The offsets of two copies of a named reader's position, stored before it.
pub(super) fn copies(slot: usize) -> [usize; 2] {
    [owner(slot) + 16, owner(slot) + 24]
}

/// The offset of the sum of a slot's name.
pub(super) fn name_sum(slot: usize) -> usize {
    owner(slot) + 32
}

/// The offset of the time when a named reader was last seen, in nanoseconds of
/// CLOCK_BOOTTIME.
pub(super) fn seen(slot: usize) -> usize {
    owner(slot) + 40
}

/// The offset of the number of bytes that a writer took from a named reader.
pub(super) fn taken(slot: usize) -> usize {
    owner(slot) + 48
}

/// The offset of each eight bytes of a slot's name.
pub(super) fn name(slot: usize) -> impl Iterator<Item = usize> {
    (owner(slot) + NAME..owner(slot) + NAME + LONGEST_NAME).step_by(8)
}

/// The bytes that are locked, far behind the content of any object.
pub(super) mod lock {
    use crate::fs::byte_lock::Range;

    const BASE: i64 = 1 << 62;
    /// Held by the writer; shared by many writers.
    pub(in crate::ring) const WRITER: Range = Range::at(BASE);
    /// Held by one of many writers while it appends.
    pub(in crate::ring) const APPEND: Range = Range::at(BASE + 1);
    /// Held while slots are given out and while a stream begins.
    pub(in crate::ring) const SLOTS: Range = Range::at(BASE + 2);
    /// All bytes before and after the writer's.
    pub(in crate::ring) const BUT_WRITER: [Range; 2] =
        [Range { start: 0, len: BASE }, Range { start: BASE + 1, len: 0 }];

    /// Held by the reader in a slot.
    pub(in crate::ring) fn reader(slot: usize) -> Range {
        Range::at(BASE + 16 + slot as i64)
    }
}

/// The state of the stream, in one word: the generation in its upper half, four
/// letters in its lower. No flipped bit makes a valid letter of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// The number of the stream, 1 for the first.
    pub(super) generation: u32,
    /// Its end was marked.
    pub(super) ended: bool,
    /// Any number of writers append to it.
    pub(super) many: bool,
    /// The writer waits for nobody.
    pub(super) overwrite: bool,
    /// The stream before it had no end.
    pub(super) died_before: bool,
}

impl Stream {
    pub(super) fn decode(word: u64) -> Option<Self> {
        let [state, writers, policy, before] = (word as u32).to_le_bytes();
        let choose = |letter, no, yes| (letter == no || letter == yes).then_some(letter == yes);
        Some(Stream {
            generation: (word >> 32) as u32,
            ended: choose(state, b'o', b'e')?,
            many: choose(writers, b'1', b'm')?,
            overwrite: choose(policy, b'w', b'l')?,
            died_before: choose(before, b'e', b'x')?,
        })
    }

    pub(super) fn encode(self) -> u64 {
        let choose = |is, no, yes| if is { yes } else { no };
        let letters = [
            choose(self.ended, b'o', b'e'),
            choose(self.many, b'1', b'm'),
            choose(self.overwrite, b'w', b'l'),
            choose(self.died_before, b'e', b'x'),
        ];
        u64::from(self.generation) << 32 | u64::from(u32::from_le_bytes(letters))
    }

    /// The sum of what does not change while the stream lasts: its number, how it
    /// treats its readers, what was before it, and where it began.
    pub(super) fn sum(self, start: u64) -> u64 {
        let word = Stream { ended: false, many: false, ..self }.encode();
        sum_of([word, start])
    }

    /// The sum of an ended stream: its state, and where it began and ended.
    pub(super) fn seal(self, start: u64, head: u64, limit: u64) -> u64 {
        sum_of([Stream { ended: true, ..self }.encode(), start, head, limit])
    }
}

fn sum_of<const N: usize>(words: [u64; N]) -> u64 {
    sum(words.map(u64::to_ne_bytes).as_flattened())
}

/// The owner of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody.
    Free,
    /// A reader of this generation, which holds the slot's lock or is dead.
    Anonymous(u32),
    /// A reader of this generation with a name, which keeps the slot while it is away.
    Named(u32),
}

impl Owner {
    const ANONYMOUS: u32 = u32::from_le_bytes(*b"anon");
    const NAMED: u32 = u32::from_le_bytes(*b"name");

    pub(super) fn decode(word: u64) -> Option<Self> {
        let generation = (word >> 32) as u32;
        match word as u32 {
            0 if generation == 0 => Some(Owner::Free),
            Self::ANONYMOUS => Some(Owner::Anonymous(generation)),
            Self::NAMED => Some(Owner::Named(generation)),
            _ => None,
        }
    }

    pub(super) fn encode(self) -> u64 {
        let (generation, letters) = match self {
            Owner::Free => (0, 0),
            Owner::Anonymous(generation) => (generation, Self::ANONYMOUS),
            Owner::Named(generation) => (generation, Self::NAMED),
        };
        u64::from(generation) << 32 | u64::from(letters)
    }

    /// The stream that it reads.
    pub(super) fn generation(self) -> Option<u32> {
        match self {
            Owner::Free => None,
            Owner::Anonymous(generation) | Owner::Named(generation) => Some(generation),
        }
    }

    /// This owner, reading another stream.
    pub(super) fn in_generation(self, generation: u32) -> Self {
        match self {
            Owner::Free => Owner::Free,
            Owner::Anonymous(_) => Owner::Anonymous(generation),
            Owner::Named(_) => Owner::Named(generation),
        }
    }
}

/// The first page of a new ring, whose first stream is open and empty.
pub(super) fn new_header(capacity: u64, stream: Stream) -> Vec<u8> {
    let mut header = vec![0; SLOTS];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(8, &VERSION.to_ne_bytes());
    put(12, &(HEADER as u32).to_ne_bytes());
    put(16, &capacity.to_ne_bytes());
    put(STREAM, &stream.encode().to_ne_bytes());
    put(Place::of(stream.generation).sum(), &stream.sum(0).to_ne_bytes());
    let constant = sum(&header[..SUMMED]).to_ne_bytes();
    header[SUMMED..CONSTANT].copy_from_slice(&constant);
    header
}

/// The part of the header that never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) capacity: u64,
    /// The position that the first byte of the data area has in a new ring.
    pub(super) first: u64,
}

/// Read the constant part. The error says what is wrong with it.
pub(super) fn read_constant(bytes: &[u8; CONSTANT], size: u64) -> Result<Constant, &'static str> {
    let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
    let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
    if bytes[..8] != MAGIC {
        return Err("is no ring");
    }
    if word(8) != VERSION {
        return Err("is a ring of another version or machine");
    }
    let capacity = long(16);
    let end = capacity.checked_add(HEADER as u64);
    if word(12) as usize != HEADER || capacity == 0 || end.is_none_or(|end| end > size || isize::try_from(end).is_err())
    {
        return Err("is corrupt: its sizes are impossible");
    }
    if long(SUMMED) != sum(&bytes[..SUMMED]) {
        return Err("is corrupt: its sizes have another sum");
    }
    Ok(Constant { capacity, first: long(24) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k14_no_flipped_bit_makes_another_valid_state() {
        for letters in 0..16 {
            let bit = |n| letters >> n & 1 != 0;
            let stream = Stream { generation: 7, ended: bit(0), many: bit(1), overwrite: bit(2), died_before: bit(3) };
            assert_eq!(Stream::decode(stream.encode()), Some(stream));
            for flip in 0..32 {
                assert_eq!(Stream::decode(stream.encode() ^ 1 << flip), None, "{stream:?} {flip}");
            }
        }
        for owner in [Owner::Free, Owner::Anonymous(3), Owner::Named(u32::MAX)] {
            assert_eq!(Owner::decode(owner.encode()), Some(owner));
            for flip in 0..32 {
                assert_eq!(Owner::decode(owner.encode() ^ 1 << flip), None, "{owner:?} {flip}");
            }
        }
    }
}
