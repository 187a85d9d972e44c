//! An error, or a death, at every system call of every tool's main jobs: strace(1)
//! injects it, and the state that is left is judged.
//!
//! | injected | what must hold |
//! | --- | --- |
//! | an error | a status of the table, a line that says why, no panic. With 0 the same output and objects as without the error. Otherwise each object is as it was, or as it would be, and there is no new one |
//! | SIGTERM, SIGINT | the same; the death is by that signal, if it comes in time |
//! | SIGKILL | each object is as it was, or as it would be; the next user finds it usable |
//!
//! Temporary names are gone after the next sweep. A hang fails by the deadline of all
//! tests.
//!
//! `make test` injects one error and SIGKILL at each call, `make inject` all of them.

mod around;
mod claims;
mod scenarios;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use scenarios::Scenario;

use crate::util::{Output, Test, entries, sysvipc, wait_until, with_own_shm_dir};

/// Where a tool's own work begins, after the C library's start.
const BEGIN: &str = "fcntl(0, F_GETFD)";
/// Calls at which nothing is injected: brk(2) has no errors, and the others do not return.
const SPARED: [&str; 6] = ["brk", "execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn"];
/// And this command of fcntl(2), which tells a closed descriptor from an open one.
const SPARED_IN: &str = "F_GETFD";
/// Beside the statuses of a tool's own failures, but for 2: no call makes a usage error.
const OTHER_STATUSES: [i32; 5] = [75, 124, 125, 126, 127];

/// Whether this is the long form.
fn is_long() -> bool {
    std::env::var_os("IPCUTILS_INJECT").is_some()
}

/// The errors that a call may give; the short form takes one of them.
fn errors(call: &str) -> &'static [&'static str] {
    match call {
        // They cannot fail for arguments that are right.
        "getegid" | "geteuid" | "getpid" | "gettid" | "getuid" | "rt_sigaction" | "rt_sigprocmask" => &[],
        // strace does not close: then a pipe has no end, which the kernel never does.
        "close" => &[],
        "openat" => &["EMFILE", "ENOMEM", "EIO", "EINTR", "EACCES", "ENFILE", "ENOSPC", "ENOENT"],
        "linkat" | "mkdirat" => &["ENOSPC", "EACCES", "EIO", "EINTR", "ENOMEM", "EMLINK", "EDQUOT"],
        "renameat" | "renameat2" => &["EACCES", "ENOSPC", "EIO", "EINTR", "ENOMEM", "EXDEV"],
        "unlinkat" => &["EACCES", "EPERM", "EIO", "EINTR", "ENOENT", "EBUSY"],
        "write" | "pwrite64" | "writev" => &["ENOSPC", "EIO", "EINTR", "EAGAIN", "EPIPE", "EFBIG", "EDQUOT"],
        "read" | "pread64" => &["EINTR", "EIO", "EAGAIN", "EISDIR", "ENOMEM"],
        "ftruncate" | "fallocate" | "fdatasync" => &["ENOSPC", "EIO", "EINTR", "EFBIG", "EOPNOTSUPP"],
        "munmap" => &["ENOMEM", "EINVAL"],
        "fcntl" => &["ENOLCK", "EINTR", "EAGAIN", "EINVAL", "EDEADLK"],
        "flock" => &["EINTR", "ENOLCK", "EWOULDBLOCK", "EIO", "ENOMEM"],
        "clone" | "clone3" | "fork" | "vfork" => &["EAGAIN", "ENOMEM"],
        "wait4" | "waitid" => &["EINTR", "ECHILD"],
        "futex" => &["EINTR", "EAGAIN", "EPERM", "ENOSYS"],
        "poll" | "ppoll" => &["EINTR", "ENOMEM"],
        "mmap" => &["ENOMEM", "EAGAIN", "EPERM", "ENODEV", "EACCES"],
        "msgsnd" | "mq_timedsend" => &["ENOMEM", "EINTR", "EAGAIN", "EINVAL", "EACCES"],
        "msgrcv" | "mq_timedreceive" => &["EINTR", "EAGAIN", "EINVAL", "EACCES"],
        "semop" | "semtimedop" => &["ENOSPC", "EINTR", "ENOMEM", "EIDRM", "EACCES", "EAGAIN"],
        "shmget" | "msgget" | "semget" | "mq_open" => &["ENOSPC", "ENOMEM", "EACCES", "EINVAL", "ENOENT", "ENOSYS"],
        _ => &["EPERM", "ENOMEM", "EIO", "EINTR", "EAGAIN", "EINVAL", "ENOSYS"],
    }
}

/// The n-th call of this name by a process.
type Call = (String, usize);

/// What is injected at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Error(&'static str),
    Signal(&'static str, i32),
}

impl Fault {
    /// All that are tried at this call. `count` varies the error of the short form.
    fn all(call: &str, count: usize) -> Vec<Fault> {
        let errors = errors(call);
        let kill = Fault::Signal("KILL", 9);
        if is_long() {
            let signals = [kill, Fault::Signal("TERM", 15), Fault::Signal("INT", 2)];
            return errors.iter().map(|error| Fault::Error(error)).chain(signals).collect();
        }
        errors.iter().cycle().skip(count).take(1).map(|error| Fault::Error(error)).chain([kill]).collect()
    }

    fn spec(self, (call, nth): &Call) -> String {
        match self {
            Fault::Error(error) => format!("inject={call}:error={error}:when={nth}"),
            Fault::Signal(signal, _) => format!("inject={call}:signal={signal}:when={nth}"),
        }
    }
}

/// What there is of a scenario: contents of files and objects, by name.
type State = BTreeMap<String, Vec<u8>>;

/// A scenario with names of its own.
struct Stage<'s> {
    test: Test,
    scenario: &'s Scenario,
    key: String,
    /// What there is before, and after without a fault.
    old: State,
    new: State,
    stdout: Vec<u8>,
    /// Temporary names that were seen after a fault: paths.
    temporary: RefCell<BTreeSet<String>>,
    complaints: RefCell<Vec<String>>,
}

impl<'s> Stage<'s> {
    /// Run it without a fault; with it come the calls that it makes.
    fn new(scenario: &'s Scenario) -> (Self, Vec<Call>) {
        let test = Test::new();
        let key = test.key();
        for word in ["o", "p"] {
            test.queue(word);
        }
        let (old, new, stdout) = Default::default();
        let (temporary, complaints) = Default::default();
        let mut stage = Stage { test, scenario, key, old, new, stdout, temporary, complaints };
        stage.prepare();
        stage.old = stage.state();
        let trace = stage.test.path("trace");
        let output = stage.strace(&["-o", trace.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
        std::fs::remove_file(trace).unwrap();
        assert_eq!(output.status, scenario.status, "{}: {}", scenario.name, output.stderr);
        stage.new = stage.state();
        stage.stdout = output.stdout;
        (stage, some(calls(&text, scenario.follow)))
    }

    fn name(&self) -> String {
        self.test.name("o")
    }

    fn script(&self, script: &str) -> Output {
        let run = self.test.bash(script).env("N", self.name()).env("P", self.test.name("p"));
        run.env("K", &self.key).env("PREFIX", self.test.name("")).run()
    }

    fn prepare(&self) {
        self.script(self.scenario.before).ok();
    }

    fn strace(&self, options: &[&str]) -> Output {
        let words = [("$PREFIX", self.test.name("")), ("$N", self.name()), ("$P", self.test.name("p"))];
        let argument = |text: &&str| {
            let text = text.replace("$K", &self.key);
            words.iter().fold(text, |text, (word, value)| text.replace(word, value))
        };
        // With -D the tool is our child, and strace its grandchild.
        let follow = if self.scenario.follow { &["-D", "-qq", "-f"][..] } else { &["-D", "-qq"] };
        let args = self.scenario.args.iter().map(argument);
        let options = follow.iter().chain(options).map(|word| (*word).to_owned());
        self.test.cmd("strace").args(options.chain(args)).stdin(self.scenario.stdin).run()
    }

    fn state(&self) -> State {
        let mut state = State::new();
        let mut file = |shown: String, path: &Path| {
            if let Ok(content) = std::fs::read(path) {
                state.insert(shown, if self.scenario.contents { content } else { Vec::new() });
            }
        };
        let mark = &self.test.name("")[1..];
        for name in entries("/dev/shm") {
            if name.contains(mark) {
                file(format!("/dev/shm/{name}"), &Path::new("/dev/shm").join(&name));
            }
        }
        for name in entries(self.test.path("")) {
            file(name.clone(), &self.test.path(&name));
        }
        state.retain(|name, _| !name.starts_with(".ipcutils."));
        for left in self.test.left() {
            if left.starts_with("mq:") {
                state.insert(left, Vec::new());
            }
        }
        for kind in ["shm", "sem", "msg"] {
            let keys = [self.key.clone()].map(|key| i64::from_str_radix(&key[2..], 16).unwrap().to_string());
            for row in sysvipc(kind).iter().filter(|row| keys.contains(&row[0])) {
                state.insert(format!("{kind}:{}", row[0]), Vec::new());
            }
        }
        for look in self.scenario.look {
            let output = self.script(look);
            state.insert((*look).to_owned(), [output.status.to_string().into_bytes(), output.stdout].concat());
        }
        state
    }

    /// Make everything as it was before.
    fn restore(&self, now: &State) {
        let is_file = |name: &String| name.starts_with("/dev/shm/") || !name.contains(':') && !name.contains(' ');
        let files = self.scenario.contents && self.scenario.look.is_empty();
        if files && self.old.keys().chain(self.new.keys()).chain(now.keys()).all(is_file) {
            for name in now.keys().filter(|name| !self.old.contains_key(*name)) {
                std::fs::remove_file(self.test.path("").join(name)).unwrap();
            }
            for (name, content) in self.old.iter().filter(|(name, content)| now.get(*name) != Some(content)) {
                std::fs::write(self.test.path("").join(name), content).unwrap();
            }
            return;
        }
        self.test.clear();
        for name in entries(self.test.path("")) {
            let _ = std::fs::remove_file(self.test.path(&name));
        }
        self.prepare();
    }

    fn inject(&self, call: &Call, fault: Fault) {
        let spec = fault.spec(call);
        let output = self.strace(&["-o", "/dev/null", "-e", &format!("trace={}", call.0), "-e", &spec]);
        let state = self.state();
        let mut complaints = self.judge(&call.0, fault, &output, &state);
        if !self.scenario.after.is_empty() {
            let next = self.script(self.scenario.after);
            if next.status != 0 {
                complaints.push(format!("the next user: {} {}", next.status, next.stderr.trim()));
            }
        }
        let shown =
            |what| format!("{}, {spec}: {what}: {} {}", self.scenario.name, output.status, output.stderr.trim());
        self.complaints.borrow_mut().extend(complaints.into_iter().map(shown));
        for dir in [Path::new("/dev/shm"), &self.test.path("")] {
            let left = entries(dir).into_iter().filter(|name| name.starts_with(".ipcutils."));
            self.temporary.borrow_mut().extend(left.map(|name| dir.join(name).display().to_string()));
        }
        self.restore(&state);
    }

    fn judge(&self, call: &str, fault: Fault, output: &Output, state: &State) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut complain = |what: String| complaints.push(what);
        let Output { status, stderr, .. } = output;
        let died = match fault {
            Fault::Signal(_, signal) => *status == 128 + signal,
            Fault::Error(_) => false,
        };
        let (expected, command) = (self.scenario.status, self.scenario.command);
        let own = (0..=9).contains(status) && (*status != 2 || expected == 2) || OTHER_STATUSES.contains(status);
        if !(died || own || command && *status > 128) {
            complain("no status of the table".to_owned());
        }
        if stderr.contains("panicked") || stderr.contains("RUST_BACKTRACE") || stderr.contains("memory allocation") {
            complain("a panic".to_owned());
        }
        if *status == 0 && expected != 0 {
            complain("done, though it is not".to_owned());
        }
        if let Fault::Error(errno) = fault {
            let no_room = ["EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EDQUOT"].contains(&errno);
            if *status == 1 && no_room && !stderr.contains("standard") && !self.scenario.several {
                complain("no room, and not the status for it".to_owned());
            }
            if *status != 0 && stderr.is_empty() && !command && !call.starts_with("write") {
                complain("a failure without a word".to_owned());
            }
        }
        if *status == 0 && expected == 0 && !self.scenario.several {
            if output.stdout != self.stdout {
                complain(format!("done, with {} bytes of output for {}", output.stdout.len(), self.stdout.len()));
            }
            if *state != self.new {
                complain(format!("done, and the state is another: {}", difference(&self.new, state)));
            }
        }
        let killed = died && matches!(fault, Fault::Signal("KILL", _));
        // With 6 the tool has seen that the object is not its own any more; a queue in
        // which there are messages stays.
        let may_stay = [0, 6].contains(status) || killed || self.scenario.stays || stderr.contains("messages sent");
        for (name, content) in state {
            let (old, new) = (self.old.get(name), self.new.get(name));
            if old.is_none() && (new.is_none() || !may_stay) {
                complain(format!("left behind: {name}"));
            }
            if old.is_some_and(|old| old != content) && new.is_some_and(|new| new != content) && !self.scenario.several
            {
                complain(format!("neither old nor new: {name}"));
            }
        }
        for name in self.old.keys().filter(|name| !state.contains_key(*name)) {
            if self.new.contains_key(name) {
                complain(format!("lost: {name}"));
            } else if self.scenario.takes && output.stdout != self.stdout {
                complain(format!("removed before it was written: {name}"));
            }
        }
        complaints
    }

    /// The next sweep leaves none of the temporary names that were seen. An empty one
    /// may be a maker's that is about to lock it, for ten seconds.
    fn sweep(&self) {
        wait_until(&format!("no temporary names: {:?}", self.temporary.borrow()), || {
            self.script("shmput $P-sweep </dev/null && shmput file:sweep </dev/null && ipcunlink shm:$P-sweep").ok();
            self.temporary.borrow_mut().retain(|path| Path::new(path).exists());
            self.temporary.borrow().is_empty()
        });
    }
}

fn difference(a: &State, b: &State) -> String {
    let names: BTreeSet<_> = a.keys().chain(b.keys()).filter(|name| a.get(*name) != b.get(*name)).collect();
    format!("{names:?}")
}

/// The calls of a trace that are the tool's own: after its start, and of its children
/// before they become the command. `follow` says that lines begin with a process.
fn calls(trace: &str, follow: bool) -> Vec<Call> {
    let (mut counts, mut begun, mut ended) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let (mut calls, mut first) = (Vec::new(), None);
    for line in trace.lines() {
        let (pid, line) = if follow { line.split_once(' ').unwrap() } else { ("", line) };
        let line = line.trim_start();
        let main = *first.get_or_insert(pid) == pid;
        let Some((name, _)) = line.split_once('(') else { continue };
        if !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_') {
            continue;
        }
        if line.starts_with(BEGIN) || !main {
            begun.insert(pid);
        }
        if name == "execve" && begun.contains(pid) {
            ended.insert(pid);
        }
        let count = counts.entry((pid, name)).or_insert(0);
        *count += 1;
        let call = (name.to_owned(), *count);
        let spared = SPARED.contains(&name) || line.contains(SPARED_IN);
        if begun.contains(pid) && !ended.contains(pid) && !spared && !calls.contains(&call) {
            calls.push(call);
        }
    }
    calls
}

/// Of many calls of one name the first and the last: a listing looks at every process.
fn some(calls: Vec<Call>) -> Vec<Call> {
    let (first, last) = if is_long() { (60, 20) } else { (4, 2) };
    let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    calls.iter().for_each(|(name, nth)| places.entry(name.clone()).or_default().push(*nth));
    let chosen = |(name, nth): &Call| {
        let all = &places[name];
        let place = all.iter().position(|other| other == nth).unwrap();
        place < first || place + last >= all.len()
    };
    calls.into_iter().filter(chosen).collect()
}

/// The scenarios of one tool, each with all its calls and faults.
fn run(tool: &str) {
    with_own_shm_dir(|| inject_all(tool));
}

fn inject_all(tool: &str) {
    let Some(_) = Test::with(&["strace"]) else { return };
    let mut complaints = Vec::new();
    let (mut faults, mut count) = (0, 0);
    for scenario in scenarios::of(tool) {
        if scenario.needs.iter().any(|need| Test::with(&[need]).is_none()) {
            continue;
        }
        let (stage, calls) = Stage::new(scenario);
        assert!(calls.len() > 5, "{}: the trace shows no start of the tool", scenario.name);
        stage.restore(&stage.new);
        for call in &calls {
            count += 1;
            for fault in Fault::all(&call.0, count) {
                stage.inject(call, fault);
                faults += 1;
            }
        }
        stage.sweep();
        complaints.extend(stage.complaints.take());
    }
    if is_long() {
        crate::util::said(&format!("{faults} faults"));
    }
    assert!(complaints.is_empty(), "{faults} faults, {} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

macro_rules! tools {
    ($($name:ident)*) => { $(#[test] fn $name() { run(stringify!($name)); })* };
}

tools! { ftok shmput shmcat ringput ringcat mqsend mqrecv mqserve mqcall semop shmlock shmwait shmwake ipcls ipcunlink ipcset }

/// Each tool has a scenario.
#[test]
fn every_tool_is_there() {
    let lacking: Vec<_> =
        ipcutils::tools::LIST.iter().filter(|(tool, _)| scenarios::of(tool).next().is_none()).collect();
    assert!(lacking.is_empty(), "{:?}", lacking.iter().map(|(tool, _)| tool).collect::<Vec<_>>());
}

#[test]
fn calls_are_those_after_the_start() {
    let trace = "1 execve(\"x\") = 0\n1 read(3) = 1\n1 fcntl(0, F_GETFD) = 0\n1 read(3) = 1\n1 vfork( <unfinished ...>\n\
                 2 read(3) = 1\n2 execve(\"true\") = 0\n2 close(3) = 0\n1 <... vfork resumed>) = 2\n+++ 1 exited with 0 +++\n";
    let expected = [("read", 2), ("vfork", 1), ("read", 1)].map(|(name, nth)| (name.to_owned(), nth));
    assert_eq!(calls(trace, true), expected);
}
