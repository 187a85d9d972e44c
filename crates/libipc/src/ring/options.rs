//! How rings are written and read.

use std::ffi::OsString;

use crate::base::mode::Mode;

/// What becomes of a stream that is in the ring already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnfinished {
    /// Begin a new stream after one that has an end; one without an end is
    /// [`PeerDied`](crate::ErrorKind::PeerDied).
    Refuse,
    /// Go on where the last writer stopped, ended or not.
    Resume,
    /// Begin a new stream, whatever became of the last.
    Restart,
}

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Bytes that a new ring holds.
    pub capacity: u64,
    /// Permission bits of a new ring, before the umask.
    pub mode: Mode,
    /// What becomes of a stream that is there.
    pub on_unfinished: OnUnfinished,
    /// Share the stream with other writers of that kind.
    pub many: bool,
    /// Wait for no reader.
    pub overwrite: bool,
}

/// Where a new reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest byte that is still there.
    Oldest,
    /// With what is written from now on.
    Newest,
    /// After so many bytes of the stream.
    Position(u64),
}

/// How to read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Wait for the ring to exist.
    pub wait: bool,
    /// The name that keeps the position; none if left out.
    pub name: Option<OsString>,
    /// Where to begin, but for a name that has a position.
    pub start_at: StartAt,
    /// At the end of a stream, and at a writer's death, wait for the next.
    pub follow: bool,
    /// Whole records alone: the byte that ends them.
    pub end: Option<u8>,
    /// End after so many records, or bytes where there are no records.
    pub count: Option<u64>,
}
