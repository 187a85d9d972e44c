//! How rings are written and read.

use std::ffi::OsString;
use std::time::Duration;

use super::Framing;
use crate::base::mode::Mode;

/// What becomes of the stream that is in the ring already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnfinished {
    /// Begin a new stream after one that has an end; one without an end is
    /// [`PeerDied`](crate::ErrorKind::PeerDied).
    #[default]
    Refuse,
    /// Go on where the last writer stopped, ended or not.
    Resume,
    /// Begin a new stream, whatever became of the last.
    Restart,
}

/// How [`Writer::open`](super::Writer::open) opens a ring.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// The capacity of a new ring in bytes, at least [`SMALLEST`](super::SMALLEST). A
    /// ring that exists keeps its own.
    pub capacity: u64,
    /// Permission bits of a new ring.
    pub mode: Mode,
    /// Write into a ring that exists also if another user, who is not root, owns it:
    /// [`Denied`](crate::ErrorKind::Denied) otherwise. It may be planted.
    pub foreign: bool,
    /// What becomes of a stream that is there.
    pub on_unfinished: OnUnfinished,
    /// Share the stream with other writers that have set this.
    pub many: bool,
    /// Wait for no reader: slow ones lose bytes.
    pub overwrite: bool,
    /// End as with a closed pipe once there was a reader and there is none.
    pub while_read: bool,
    /// How many bytes a named reader that is away may hold back.
    pub max_lag: Option<u64>,
    /// After how long a named reader that is away holds nothing back.
    pub expire: Option<Duration>,
}

/// A private ring of a mebibyte, whose one writer waits for its readers.
impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions {
            capacity: 1 << 20,
            mode: Mode::PRIVATE,
            foreign: false,
            on_unfinished: OnUnfinished::Refuse,
            many: false,
            overwrite: false,
            while_read: false,
            max_lag: None,
            expire: None,
        }
    }
}

/// Where a new reader begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest byte that is still there.
    #[default]
    Oldest,
    /// With what is written from now on.
    Newest,
    /// After this many bytes of the stream.
    Position(u64),
}

/// How [`Reader::open`](super::Reader::open) opens a ring. By default it reads bytes of
/// one stream, and the ring must exist.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Wait for the ring to exist.
    pub wait: bool,
    /// The name that keeps the position while the reader is away, 1 to
    /// [`LONGEST_NAME`](super::LONGEST_NAME) bytes.
    pub name: Option<OsString>,
    /// Where to begin. A name that has a position goes on there.
    pub start_at: StartAt,
    /// At the end of a stream, and after a writer's death, wait for the next stream.
    pub follow: bool,
    /// How records are told apart, to read whole records only.
    pub framing: Framing,
    /// End after this many records, or bytes if there are no records.
    pub count: Option<u64>,
    /// End when everything was read that is there.
    pub drain: bool,
}
