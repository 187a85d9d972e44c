//! Objects of a test's own, which go when it ends, also by a panic.
//!
//! The tests run in threads, and some of them make a child. Until it ends or executes
//! a program, the child has a copy of every descriptor. So what is released by closing
//! a descriptor is waited for; what is released by a call is released at once.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libipc::fs::copy::Control;
use libipc::fs::input::Input;
use libipc::shm::{PutOptions, Segment};
use libipc::wait::{Timeout, Wait};
use libipc::{Address, ErrorKind, Key, Kind, KindAddress, Result, SysV, lock, mq, ring, sem, shm};

/// How long a state is waited for: long, as the machine may be loaded.
const DEADLINE: Duration = Duration::from_secs(60);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The address of an object that goes with this value.
pub struct Own {
    kind: Kind,
    pub address: Address,
}

impl Own {
    /// A POSIX name that nothing else has.
    pub fn name(kind: Kind) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Own { kind, address: format!("/ipcutils-test-lib-{}-{count}", std::process::id()).parse().unwrap() }
    }

    /// A System V key that nothing else has: the bits 11, the process id, a count.
    pub fn key(kind: Kind) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed) & 0xff;
        let key = 3 << 30 | (std::process::id() & 0x3f_ffff) << 8 | count;
        Own { kind, address: Address::SysV(SysV::Key(Key::new(key.cast_signed()).unwrap())) }
    }

    /// An object that exists.
    pub fn id(kind: Kind, id: i32) -> Self {
        Own { kind, address: Address::SysV(SysV::Id(id)) }
    }

    pub fn remove(&self) -> Result<()> {
        match self.kind {
            Kind::Shm => shm::remove(&self.address),
            Kind::Ring => ring::remove(&self.address),
            Kind::Lock => lock::remove(&self.address),
            Kind::Mq => mq::remove(&self.address),
            Kind::Sem => sem::remove(&self.address),
        }
    }

    pub fn with_kind(&self) -> KindAddress {
        KindAddress::new(self.kind, self.address.clone()).unwrap()
    }

    /// The file of a POSIX segment, ring or lock.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm{}", self.address))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// No wait.
pub fn now() -> Wait {
    Wait::new(Timeout::Now)
}

/// A wait that ends in vain only if the test fails.
pub fn patient() -> Wait {
    Wait::new(Timeout::After(DEADLINE))
}

/// A short wait, which ends in vain.
pub fn brief() -> Wait {
    Wait::new(Timeout::After(Duration::from_millis(20)))
}

/// The kind of an error; a success is a failure of the test.
#[track_caller]
pub fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind,
    }
}

/// A file without a name, with this content.
pub fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

/// Make these bytes the content of a segment.
pub fn put(address: &Address, content: &[u8], options: &PutOptions) -> Result<()> {
    let file = file(content);
    shm::put(address, &Input::new(file.as_fd(), "a file")?, options, &mut Control::default(), |_, _| Ok(()))
}

/// The content of an open segment.
pub fn content(segment: &Segment) -> Result<Vec<u8>> {
    let mut out = file(b"");
    segment.copy_to(out.as_fd(), 0, None, false, &mut Control::default())?;
    out.rewind().unwrap();
    let mut content = Vec::new();
    out.read_to_end(&mut content).unwrap();
    Ok(content)
}

/// Poll until it is true.
#[track_caller]
pub fn wait_until(what: &str, mut state: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !state() {
        assert!(begin.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
