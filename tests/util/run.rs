//! Programs that a test runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::{Test, bin_dir, entries, rounds, sysvipc, wait_until};

/// How long a program may run: far longer than any does, for a hang alone.
const LIMIT: Duration = Duration::from_secs(400);

/// Whether a signal is ignored from the start, as nohup and a background job
/// have it: then all that is started would ignore it too.
static SOME_IGNORED: LazyLock<bool> = LazyLock::new(|| {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    // Rust itself ignores SIGPIPE, and not in what it starts.
    u64::from_str_radix(ignored.trim(), 16).unwrap() & !(1 << (Signal::SIGPIPE as i32 - 1)) != 0
});

/// What a shell or a user may have set, and a tool or a test would go by.
const NOT_INHERITED: [&str; 13] = [
    "BASH_ENV",
    "CDPATH",
    "COLUMNS",
    "ENV",
    "IPCUTILS_OWNER_DIED",
    "LANGUAGE",
    "LINES",
    "NO_COLOR",
    "PERL5OPT",
    "POSIXLY_CORRECT",
    // With it every error of anyhow makes a backtrace.
    "RUST_BACKTRACE",
    "TMUX",
    "TMUX_TMPDIR",
];

/// Segments of System V made by the processes that a test ran.
///
/// The kernel says the maker's number, and that alone tells nothing: the number
/// was another's before the process was started, and will be as soon as it has
/// been waited for. In between, a segment that is new is of its making.
#[derive(Default)]
pub struct Segments {
    /// The segments that were there before, of each process that runs.
    before: BTreeMap<u32, BTreeSet<String>>,
    /// Those of the processes that have ended.
    made: BTreeSet<String>,
}

impl Segments {
    /// Whether this row of /proc/sysvipc/shm is one of them.
    pub fn contain(&self, row: &[String]) -> bool {
        let before = row[4].parse().ok().and_then(|pid: u32| self.before.get(&pid));
        self.made.contains(&row[1]) || before.is_some_and(|before| !before.contains(&row[1]))
    }

    /// Start a process. Nobody can look before its number is known.
    fn spawn(segments: &Mutex<Self>, command: &mut Command) -> std::io::Result<Child> {
        let mut segments = segments.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sysvipc("shm").into_iter().map(|row| row[1].clone()).collect();
        let child = command.spawn()?;
        segments.before.insert(child.id(), before);
        Ok(child)
    }

    /// To be called when a process has ended, and has not been waited for.
    fn ended(&mut self, pid: u32) {
        let now: Vec<_> = sysvipc("shm").into_iter().filter(|row| row[4] == pid.to_string()).collect();
        let made: Vec<_> = now.into_iter().filter(|row| self.contain(row)).map(|row| row[1].clone()).collect();
        self.made.extend(made);
        self.before.remove(&pid);
    }
}

impl Test {
    /// A tool, or any program of the PATH, which has the tools first.
    pub fn cmd(&self, program: &str) -> Run<'_> {
        let mut command = Command::new(if *SOME_IGNORED { "env" } else { program });
        if *SOME_IGNORED {
            command.args(["--default-signal", program]);
        }
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        let path = [bin_dir().into_os_string(), std::env::var_os("PATH").unwrap_or_default()];
        command.current_dir(self.path("")).env("PATH", path.join(OsStr::new(":")));
        command.envs([("LC_ALL", "C"), ("TERM", "xterm"), ("SHELL", "/bin/sh")]);
        Run { test: self, command, stdin: Vec::new() }
    }
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
        let segments = self.test.segments.clone();
        let child = Segments::spawn(&segments, &mut self.command).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let running = Running { child, shown, segments, waited: false };
        if *SOME_IGNORED {
            wait_until("env runs the program", || running.name() != "env" || running.state() == 'Z');
        }
        running
    }
}

/// A program that runs; killed if the test ends first.
pub struct Running {
    pub child: Child,
    shown: String,
    segments: Arc<Mutex<Segments>>,
    waited: bool,
}

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
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
        self.proc("comm").trim().to_owned()
    }

    /// The letter of ps(1) for its state.
    pub fn state(&self) -> char {
        self.proc("stat").rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
    }

    /// A file of its own in /proc, or nothing.
    pub fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap_or_default()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        entries(format!("/proc/{}/fd", self.pid())).len()
    }

    /// How many times it has gone to sleep until now.
    pub fn sleeps(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// User and system time, in hundredths of a second.
    pub fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Write to an input that was left open.
    pub fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// The same to one that may have ended.
    pub fn try_write(&mut self, bytes: &[u8]) {
        let _ = self.child.stdin.as_mut().unwrap().write_all(bytes);
    }

    /// Wait for its end, an input left open being closed.
    ///
    /// # Panics
    /// If it runs on and on.
    #[track_caller]
    pub fn output(mut self) -> Output {
        drop(self.child.stdin.take());
        let begin = Instant::now();
        let [stdout, stderr] = self.read(begin);
        let status = self.wait(begin);
        let status = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Output { shown: std::mem::take(&mut self.shown), status, stdout, stderr }
    }

    /// What it puts on stdout and stderr, until both are closed.
    #[track_caller]
    fn read(&mut self, begin: Instant) -> [Vec<u8>; 2] {
        let pipes = [self.child.stdout.take().map(OwnedFd::from), self.child.stderr.take().map(OwnedFd::from)];
        let pipes = pipes.into_iter().enumerate().filter_map(|(i, pipe)| Some((File::from(pipe?), i)));
        let (mut pipes, mut read, mut buffer) = (pipes.collect::<Vec<_>>(), [vec![], vec![]], vec![0; 1 << 16]);
        while !pipes.is_empty() {
            let mut fds: Vec<_> = pipes.iter().map(|(pipe, _)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
            poll(&mut fds, PollTimeout::try_from(self.time_left(begin)).unwrap()).unwrap();
            let ready: Vec<_> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
            let mut ready = ready.into_iter();
            pipes.retain_mut(|(pipe, i)| {
                let n = ready.next().unwrap().then(|| pipe.read(&mut buffer).unwrap());
                read[*i].extend(&buffer[..n.unwrap_or(0)]);
                n != Some(0)
            });
        }
        read
    }

    /// Wait for its end alone, its outputs being read or closed.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.wait(Instant::now())
    }

    #[track_caller]
    fn wait(&mut self, begin: Instant) -> ExitStatus {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // Mostly it has closed its outputs, and so is about to end.
        let mut pause = Duration::from_micros(20);
        while waitid(Id::Pid(self.pid()), flags) == Ok(WaitStatus::StillAlive) {
            self.time_left(begin);
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        self.segments.lock().unwrap_or_else(PoisonError::into_inner).ended(self.child.id());
        self.waited = true;
        self.child.wait().unwrap()
    }

    #[track_caller]
    fn time_left(&self, begin: Instant) -> Duration {
        let limit = LIMIT * u32::try_from(rounds(1)).unwrap();
        let left = limit.saturating_sub(begin.elapsed());
        assert!(!left.is_zero(), "not within {limit:?}: the end of {}", self.shown);
        left.min(Duration::from_secs(10))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            let _ = self.child.kill();
            let _ = waitid(Id::Pid(self.pid()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            self.segments.lock().unwrap_or_else(PoisonError::into_inner).ended(self.child.id());
            let _ = self.child.wait();
        }
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
