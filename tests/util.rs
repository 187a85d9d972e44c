//! The harness: a test has names of its own, which go when it ends, also by a
//! panic, and runs the tools as a shell would.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::mqueue::MQ_OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

/// How long a state is waited for: long, as the machine may be loaded.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What every name of a test begins with; `make test` looks for left ones.
const PREFIX: &str = "ipcutils-test";

/// A shell's background job ignores SIGINT, and so would all that it starts.
static IN_BACKGROUND: LazyLock<bool> = LazyLock::new(|| {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & (1 << (Signal::SIGINT as i32 - 1)) != 0
});

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One test: its own names, directory and processes.
pub struct Test {
    dir: tempfile::TempDir,
    prefix: String,
    keys: RefCell<Vec<i32>>,
    queues: RefCell<BTreeSet<String>>,
    pids: RefCell<Vec<u32>>,
}

impl Test {
    pub fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Test {
            dir: tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap(),
            // With its end, as that of test 2 begins that of test 21.
            prefix: format!("{PREFIX}-{}-{count}-", std::process::id()),
            keys: RefCell::default(),
            queues: RefCell::default(),
            pids: RefCell::default(),
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

    /// The address of a System V key that nothing else has.
    pub fn key(&self) -> String {
        // 22 bits of process number and 8 of count, never negative or 0.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let key = 0x4000_0000 | ((std::process::id() & 0x3f_ffff) << 8) | (count & 0xff);
        self.keys.borrow_mut().push(key as i32);
        format!("0x{key:08x}")
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

    /// A tool, or any program of the PATH, which has the tools first.
    pub fn cmd(&self, program: &str) -> Run<'_> {
        let mut command = Command::new(if *IN_BACKGROUND { "env" } else { program });
        if *IN_BACKGROUND {
            command.args(["--default-signal=INT,QUIT", program]);
        }
        command.current_dir(self.dir.path()).env("PATH", path_with_tools()).env("LC_ALL", "C");
        Run { test: self, command, stdin: Vec::new() }
    }

    /// A bash script; a failure within a pipeline counts.
    pub fn bash(&self, script: &str) -> Run<'_> {
        self.cmd("bash").args(["-o", "pipefail", "-c", script])
    }

    /// A bash script as root of its own namespaces (`flags` as of unshare(1):
    /// "--mount", "--ipc"), so that limits and mounts of the machine stay. None,
    /// said aloud, where the kernel does not permit that.
    pub fn unshared(&self, flags: &str, script: &str) -> Option<Run<'_>> {
        let flags = if nix::unistd::geteuid().is_root() { flags.to_owned() } else { format!("-r {flags}") };
        if !self.bash(&format!("unshare {flags} true")).run().success() {
            said(&format!("not tested: unshare {flags} is not permitted here"));
            return None;
        }
        Some(self.bash(&format!("unshare {flags} bash -o pipefail -ec \"$SCRIPT\"")).env("SCRIPT", script))
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

    /// What this test has made and not removed: its names in /dev/shm, its
    /// System V objects, and temporary names that stay.
    pub fn left(&self) -> BTreeSet<String> {
        let mut left: BTreeSet<_> =
            entries("/dev/shm").into_iter().filter(|name| name.contains(&self.prefix)).collect();
        for kind in ["shm", "sem", "msg"] {
            left.extend(self.sysv(kind).into_iter().map(|id| format!("{kind}:id:{id}")));
        }
        // No mount of /dev/mqueue is needed to open a queue.
        let exists = |name: &&String| {
            nix::mqueue::mq_open(name.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None)
                .is_ok_and(|queue| nix::mqueue::mq_close(queue).is_ok())
        };
        left.extend(self.queues.borrow().iter().filter(exists).map(|name| format!("mq:{name}")));
        left.extend(temporary("/dev/shm"));
        left.extend(temporary(self.dir.path()));
        left
    }

    /// The identifiers of this test's System V objects of one kind: those with
    /// its keys, and segments created by processes that it ran.
    fn sysv(&self, kind: &str) -> Vec<String> {
        let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| {
            let key = row[0].parse().is_ok_and(|key| self.keys.borrow().contains(&key));
            key || kind == "shm" && row[4].parse().is_ok_and(|pid| self.pids.borrow().contains(&pid))
        })
        .map(|row| row[1].to_owned())
        .collect()
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        for name in entries("/dev/shm").into_iter().filter(|name| name.contains(&self.prefix)) {
            let path = Path::new("/dev/shm").join(name);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
        for name in self.queues.borrow().iter() {
            let _ = nix::mqueue::mq_unlink(name.as_str());
        }
        for (kind, flag) in [("shm", "-m"), ("sem", "-s"), ("msg", "-q")] {
            for id in self.sysv(kind) {
                let _ = Command::new("ipcrm").args([flag, &id]).output();
            }
        }
    }
}

/// What runs the rest of a command line as the other user.
pub const AS_OTHER: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/// Say something on the real standard error, which the test runner does not
/// capture: what was not tested must not look tested.
pub fn said(what: &str) {
    let _ = std::io::stderr().write_all(format!("  {what}\n").as_bytes());
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

/// The names in a directory.
pub fn entries(dir: impl AsRef<Path>) -> Vec<String> {
    let dir = std::fs::read_dir(dir).into_iter().flatten().flatten();
    dir.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Temporary names of the tools that are still there after a second, long after
/// a live tool has renamed its own.
fn temporary(dir: impl AsRef<Path>) -> Vec<String> {
    let now = || entries(&dir).into_iter().filter(|name| name.starts_with(".ipcutils.")).collect::<Vec<_>>();
    let mut left = now();
    let begin = Instant::now();
    while !left.is_empty() && begin.elapsed() < Duration::from_secs(1) {
        std::thread::park_timeout(Duration::from_millis(5));
        let still = now();
        left.retain(|name| still.contains(name));
    }
    left
}

/// Where the tools are: those of this build, or of IPCUTILS_BIN_DIR.
pub fn bin_dir() -> PathBuf {
    let built = || Path::new(env!("CARGO_BIN_EXE_ftok")).parent().unwrap().to_owned();
    std::env::var_os("IPCUTILS_BIN_DIR").map_or_else(built, PathBuf::from)
}

fn path_with_tools() -> std::ffi::OsString {
    let mut path = bin_dir().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}

/// A program to be run.
pub struct Run<'t> {
    test: &'t Test,
    command: Command,
    stdin: Vec<u8>,
}

impl Run<'_> {
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.stdin = input.into();
        self
    }

    /// Run it to its end.
    pub fn run(self) -> Output {
        self.spawn().output()
    }

    /// Start it, with its input written by a thread.
    pub fn spawn(mut self) -> Running {
        let input = std::mem::take(&mut self.stdin);
        let mut running = self.spawn_open();
        let mut stdin = running.child.stdin.take().unwrap();
        // A tool may end before it has read everything.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        running
    }

    /// Start it with its input left open, to be written or closed by the test.
    pub fn spawn_open(mut self) -> Running {
        let shown = format!("{:?}", self.command);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        self.test.pids.borrow_mut().push(child.id());
        let running = Running { child, shown };
        if *IN_BACKGROUND {
            wait_until("env runs the program", || running.name() != "env" || running.state() == 'Z');
        }
        running
    }
}

/// A program that runs; killed if the test ends first.
pub struct Running {
    pub child: Child,
    shown: String,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn kill(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Wait until it sleeps in the kernel.
    #[track_caller]
    pub fn wait_blocked(&self) {
        wait_until(&format!("{} sleeps", self.shown), || self.state() == 'S');
    }

    /// The name of the program that it runs now.
    pub fn name(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/comm", self.pid())).unwrap_or_default().trim().to_owned()
    }

    /// The letter of ps(1) for its state.
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
    }

    /// Write to an input that was left open.
    pub fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Wait for its end, an input left open being closed.
    pub fn output(mut self) -> Output {
        let (mut stdout, mut stderr) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        drop(self.child.stdin.take());
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut stderr, &mut bytes).map(|_| bytes)
        });
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut out).unwrap();
        let stderr = String::from_utf8_lossy(&errors.join().unwrap().unwrap()).into_owned();
        let status = self.child.wait().unwrap();
        let status = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        Output { shown: std::mem::take(&mut self.shown), status, stdout: out, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Output {
    shown: String,
    /// As a shell says it: 128+n for a death by signal n.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// It did what it should, and said nothing; its output.
    #[track_caller]
    pub fn ok(self) -> Vec<u8> {
        if self.status != 0 || !self.stderr.is_empty() {
            self.fail("status 0 and nothing on stderr");
        }
        self.stdout
    }

    /// The same, as text without the last newline.
    #[track_caller]
    pub fn text(self) -> String {
        String::from_utf8(self.ok()).unwrap().trim_end_matches('\n').to_owned()
    }

    /// It failed with this status, said so in one line, and put nothing on
    /// stdout; that line.
    #[track_caller]
    pub fn fails(self, status: i32) -> String {
        let one_line = self.stderr.ends_with('\n') && self.stderr.lines().count() == 1;
        if self.status != status || !one_line || !self.stdout.is_empty() {
            self.fail(&format!("status {status}, one line on stderr, nothing on stdout"));
        }
        self.stderr.trim_end().to_owned()
    }

    /// It failed as [`Output::fails`] says, with these words among others.
    #[track_caller]
    pub fn says(self, status: i32, words: &str) {
        if !self.stderr.contains(words) {
            self.fail(&format!("the words {words:?}"));
        }
        self.fails(status);
    }

    #[track_caller]
    fn fail(&self, expected: &str) -> ! {
        let ruler = "~".repeat(70);
        let Output { shown, status, stdout, stderr } = self;
        let stdout = String::from_utf8_lossy(&stdout[..stdout.len().min(2000)]);
        panic!(
            "\n{ruler}\n{shown}\n{ruler}\nexpected: {expected}\n{ruler}\nstatus: {status}\nstdout: {stdout}\nstderr: {stderr}\n{ruler}\n"
        );
    }
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
