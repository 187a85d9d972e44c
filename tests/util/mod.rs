//! The harness: a test has names of its own, which go when it ends, also by a
//! panic, and runs the tools as a shell would.
//!
//! Other programs use the machine meanwhile, and so may a second run of these
//! tests. What a test judges is therefore its own: names and keys carry the mark
//! of the run, and what cannot (limits, all objects, all processes) is judged in
//! namespaces, by [`Test::unshared`]. Nothing has to happen within some time but
//! that of [`DEADLINE`], after which it has failed.

pub mod compile;
pub mod holders;
pub mod locks;
pub mod queues;
pub mod rings;
mod run;
pub mod sysv;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::mqueue::{MQ_OFlag, MqAttr, mq_close, mq_open, mq_unlink};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

pub use run::{Output, Run, Running};

/// How long a state is waited for: long, as the machine may be loaded.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What every name of a test begins with; tests/alone.sh looks for left ones.
const PREFIX: &str = "ipcutils-test";

/// How many keys a run has, at most, at the same time.
const KEYS: u32 = 1 << 10;

/// What tells this run from others: 20 bits, from tests/alone.sh or by chance.
static MARK: LazyLock<u32> = LazyLock::new(|| {
    let given = std::env::var("IPCUTILS_TEST_MARK").ok().map(|text| text.parse().unwrap());
    given.unwrap_or_else(|| RandomState::new().build_hasher().finish() as u32) & 0xf_ffff
});

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Numbers of keys that tests have now.
static TAKEN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// What is inherited by all that a test runs is made the same everywhere.
static SETTLED: Once = Once::new();

fn settle() {
    umask(Mode::from_bits_truncate(0o022));
    // Only a privileged one may; see Test::lacks_queues for others.
    let _ = setrlimit(Resource::RLIMIT_MSGQUEUE, RLIM_INFINITY, RLIM_INFINITY);
}

/// One test: its own names, directory and processes.
pub struct Test {
    dir: tempfile::TempDir,
    prefix: String,
    keys: RefCell<Vec<i32>>,
    numbers: RefCell<Vec<u32>>,
    queues: RefCell<BTreeSet<String>>,
    segments: Arc<Mutex<run::Segments>>,
}

impl Test {
    pub fn new() -> Self {
        SETTLED.call_once(settle);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Test {
            dir: tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap(),
            // With its end, as that of test 2 begins that of test 21.
            prefix: format!("{PREFIX}-{}-{count}-", *MARK),
            keys: RefCell::default(),
            numbers: RefCell::default(),
            queues: RefCell::default(),
            segments: Arc::default(),
        }
    }

    /// A test that needs these foreign programs, or "POSIX queues". None, said
    /// aloud, where one is missing.
    pub fn with(programs: &[&str]) -> Option<Self> {
        let t = Test::new();
        (!programs.iter().any(|program| t.lacks(program))).then_some(t)
    }

    /// Whether a foreign program is missing or does not work; said aloud if so.
    pub fn lacks(&self, program: &str) -> bool {
        let works = match program {
            "POSIX queues" => return self.lacks_queues(),
            // A sandbox may forbid ptrace(2).
            "strace" => "strace -qq -o /dev/null true",
            // /dev/mqueue may not be mounted.
            "a list of POSIX queues" => "ipcls --kind mq --api posix",
            "script" => "script -qec true /dev/null",
            "python3" => "python3 -c ''",
            "perl" => "perl -e ''",
            _ => &format!("command -v {program}"),
        };
        let lacks = !self.bash(&format!("{works} >/dev/null 2>&1")).run().success();
        if lacks {
            said(&format!("not tested: {program} is missing"));
        }
        lacks
    }

    /// A user has one limit for the bytes of all queues on the machine, and a
    /// namespace one for their number: other programs may have used them up.
    fn lacks_queues(&self) -> bool {
        static ONE_ASKS: Mutex<()> = Mutex::new(());
        let _one = ONE_ASKS.lock();
        // More than the queues of any test take.
        let attributes = MqAttr::new(0, 8, 8192, 0);
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDONLY;
        let name = self.queue("room");
        match mq_open(name.as_str(), flags, Mode::S_IRUSR, Some(&attributes)) {
            Err(Errno::EMFILE | Errno::ENOSPC) => {
                said("not tested: other programs leave this user no POSIX queues (ulimit -q, fs.mqueue.queues_max)");
                true
            }
            queue => {
                mq_close(queue.unwrap()).unwrap();
                mq_unlink(name.as_str()).unwrap();
                false
            }
        }
    }

    /// A POSIX name of this test's own; the same for the same `word`.
    pub fn name(&self, word: impl Display) -> String {
        format!("/{}{word}", self.prefix)
    }

    /// The file of that name in /dev/shm.
    pub fn shm_path(&self, word: impl Display) -> PathBuf {
        PathBuf::from(format!("/dev/shm{}", self.name(word)))
    }

    /// The same for a POSIX message queue, removed at the end.
    pub fn queue(&self, word: impl Display) -> String {
        let name = self.name(word);
        self.queues.borrow_mut().insert(name.clone());
        name
    }

    /// The address of a System V key that nothing else has: its bits are 01, the
    /// mark of the run, and a number that no other test has now.
    pub fn key(&self) -> String {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let number = || COUNT.fetch_add(1, Ordering::Relaxed) % KEYS;
        let free = (0..KEYS).map(|_| number()).find(|&number| taken.insert(number)).expect("a key is free");
        self.numbers.borrow_mut().push(free);
        let key = 1 << 30 | *MARK << 10 | free;
        self.keys.borrow_mut().push(key.cast_signed());
        format!("0x{key:08x}")
    }

    /// Make a file whose key of ftok(3) with this PROJ no object has; one that has
    /// it later is this test's.
    pub fn keyed(&self, path: PathBuf, proj: u8) {
        for aside in 0.. {
            std::fs::write(&path, "").unwrap();
            let stat = path.metadata().unwrap();
            let key = (stat.ino() & 0xffff | (stat.dev() & 0xff) << 16 | u64::from(proj) << 24) as u32;
            let key = key.cast_signed();
            let has = |kind| sysvipc(kind).iter().any(|row| row[0] == key.to_string());
            if !["shm", "sem", "msg"].into_iter().any(has) {
                return self.keys.borrow_mut().push(key);
            }
            // It keeps its inode, so that the next one has another.
            std::fs::rename(&path, format!("{}.{aside}", path.display())).unwrap();
        }
    }

    /// A path in this test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file in this test's own directory.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A bash script; a failure within a pipeline counts.
    pub fn bash(&self, script: &str) -> Run<'_> {
        self.cmd("bash").args(["-o", "pipefail", "-c", script])
    }

    /// A bash script as root of its own namespaces (`flags` as of unshare(1):
    /// "--mount", "--ipc"), so that limits and mounts of the machine stay. With
    /// --mount its /dev/shm is its own, and empty. None, said aloud, where the
    /// kernel does not permit that.
    pub fn unshared(&self, flags: &str, script: &str) -> Option<Run<'_>> {
        self.unshared_if("", flags, script)
    }

    /// The same in an IPC namespace, whose limits it may set.
    pub fn with_limits(&self, flags: &str, script: &str) -> Option<Run<'_>> {
        self.unshared_if("echo 100 >/proc/sys/kernel/shmmni", &format!("--ipc {flags}"), script)
    }

    fn unshared_if(&self, probe: &str, flags: &str, script: &str) -> Option<Run<'_>> {
        let flags = if nix::unistd::geteuid().is_root() { flags.to_owned() } else { format!("-r {flags}") };
        let mounts = flags.split(' ').any(|flag| flag == "--mount");
        let mount = if mounts { "mount -t tmpfs -o mode=1777 tmpfs /dev/shm\n" } else { "" };
        let run = |script: &str| {
            let command = format!("unshare {flags} bash -o pipefail -ec \"$SCRIPT\"");
            self.bash(&command).env("SCRIPT", format!("{mount}{script}"))
        };
        if !run(probe).run().success() {
            said(&format!("not tested: not permitted here: unshare {flags} {probe}"));
            return None;
        }
        Some(run(script))
    }

    /// Whether this test may act as a second user; said aloud if not. The other
    /// user is 65534, and must be able to reach the tools.
    pub fn second_user(&self) -> bool {
        let can =
            nix::unistd::geteuid().is_root() && self.bash(&format!("{AS_OTHER} ftok / >/dev/null")).run().success();
        if !can {
            said("not tested: a second user needs root, and tools that others may execute");
        }
        can
    }

    /// What runs a command as a user whom permissions bind. None, said aloud,
    /// where there is none.
    pub fn unprivileged(&self) -> Option<&'static str> {
        if nix::unistd::geteuid().is_root() { self.second_user().then_some(AS_OTHER) } else { Some("") }
    }

    /// Whether the calls in which other processes sleep may be looked at; said aloud if
    /// not. A setting of Yama permits it for one's own children alone.
    pub fn sees_calls(&self) -> bool {
        let mut other = self.bash("exec sleep 1000").spawn();
        let sees = self.bash(&format!("cat /proc/{}/syscall", other.pid())).run().success();
        other.kill(nix::sys::signal::Signal::SIGKILL);
        other.end();
        if !sees {
            said("not tested: who sleeps in which call may not be seen here");
        }
        sees
    }

    /// What this test has made and not removed: its names in /dev/shm, its
    /// queues, its System V objects, and temporary names in its directory. Those
    /// in /dev/shm are nobody's in particular; tests/alone.sh looks for them.
    pub fn left(&self) -> BTreeSet<String> {
        let mut left: BTreeSet<_> =
            entries("/dev/shm").into_iter().filter(|name| name.contains(&self.prefix)).collect();
        for kind in ["shm", "sem", "msg"] {
            left.extend(self.sysv(kind).into_iter().map(|id| format!("{kind}:id:{id}")));
        }
        // No mount of /dev/mqueue is needed to open a queue.
        let exists = |name: &&String| {
            mq_open(name.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None).is_ok_and(|queue| mq_close(queue).is_ok())
        };
        left.extend(self.queues.borrow().iter().filter(exists).map(|name| format!("mq:{name}")));
        left.extend(entries(self.dir.path()).into_iter().filter(|name| name.starts_with(".ipcutils.")));
        left
    }

    /// The identifiers of this test's System V objects of one kind: those with
    /// its keys, and segments made by processes that it ran.
    fn sysv(&self, kind: &str) -> Vec<String> {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys.borrow();
        let own = |row: &Vec<String>| {
            row[0].parse().is_ok_and(|key| keys.contains(&key)) || kind == "shm" && segments.contain(row)
        };
        sysvipc(kind).into_iter().filter(own).map(|row| row[1].clone()).collect()
    }

    /// Remove what this test has made, but for what lies in its directory.
    pub fn clear(&self) {
        for name in entries("/dev/shm").into_iter().filter(|name| name.contains(&self.prefix)) {
            let path = Path::new("/dev/shm").join(&name);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
        // A claim and a body say which queue they are of.
        let begins = |name: &String| ["ipcutils.claim.", "ipcutils.body."].iter().any(|begin| name.starts_with(begin));
        for name in entries("/dev/shm").into_iter().filter(begins) {
            let path = Path::new("/dev/shm").join(&name);
            // It may be a FIFO by now.
            let file = std::fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&path);
            let mut content = Vec::new();
            let _ = file.and_then(|file| file.take(2048).read_to_end(&mut content));
            let keys = self.keys.borrow();
            let mut own = keys.iter().map(|key| format!("key:0x{key:08x}")).chain([self.name("")]);
            let at = if name.starts_with("ipcutils.claim.") { 64 } else { 88 };
            if content.get(at..).is_some_and(|address| own.any(|own| address.starts_with(own.as_bytes()))) {
                let _ = std::fs::remove_file(path);
            }
        }
        for name in self.queues.borrow().iter() {
            let _ = mq_unlink(name.as_str());
        }
        for (kind, flag) in [("shm", "-m"), ("sem", "-s"), ("msg", "-q")] {
            for id in self.sysv(kind) {
                let _ = Command::new("ipcrm").args([flag, &id]).output();
            }
        }
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        self.clear();
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|number| !self.numbers.borrow().contains(number));
    }
}

/// What runs the rest of a command line as the other user.
pub const AS_OTHER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/// For a script that counts descriptors: none but 0, 1 and 2, whatever these tests
/// were started with.
pub const NO_OTHERS: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-";

/// Say something on the real standard error, which the test runner does not
/// capture: what was not tested must not look tested.
pub fn said(what: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = std::io::stderr().write_all(format!("  {test}: {what}\n").as_bytes());
}

/// Run a test with a /dev/shm of its own, for what judges names that do not tell who
/// made them. Threads and processes that it starts see the same.
pub fn with_own_shm_dir(test: impl FnOnce() + Send) {
    let own = || -> nix::Result<()> {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))
    };
    let run = || {
        if own().is_err() {
            said("not apart: its names are judged among those of others in /dev/shm");
        }
        test();
    };
    // The thread may be the one of all tests.
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, run).unwrap();
        thread.join().unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// Poll until it is true.
///
/// # Panics
/// At the deadline.
#[track_caller]
pub fn wait_until(what: &str, mut state: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !state() {
        assert!(begin.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Hold a promised time against the clock, in `make torture` alone: in `make
/// test` anything may run beside the tests.
#[track_caller]
pub fn promised(begin: Instant, limit: Duration) {
    let took = begin.elapsed();
    assert!(took < limit || rounds(1) == 1, "promised within {limit:?}, it took {took:?}");
}

/// The names in a directory.
pub fn entries(dir: impl AsRef<Path>) -> Vec<String> {
    let dir = std::fs::read_dir(dir).into_iter().flatten().flatten();
    dir.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The rows of /proc/sysvipc for "shm", "sem" or "msg", without their heading.
pub fn sysvipc(kind: &str) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
    table.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Where the tools are: those of this build, or of IPCUTILS_BIN_DIR.
pub fn bin_dir() -> PathBuf {
    let built = || Path::new(env!("CARGO_BIN_EXE_ftok")).parent().unwrap().to_owned();
    std::env::var_os("IPCUTILS_BIN_DIR").map_or_else(built, PathBuf::from)
}

/// Bytes that look random, the same for the same seed: a linear congruential
/// generator (Knuth's MMIX constants), of which the high bits are used.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| step()).collect()
}

/// `short`, or that many times IPCUTILS_TORTURE (`make torture`).
pub fn rounds(short: usize) -> usize {
    let factor = std::env::var("IPCUTILS_TORTURE").ok().and_then(|text| text.parse().ok());
    short * factor.unwrap_or(1)
}
