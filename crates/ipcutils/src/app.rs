//! The frame of a tool: arguments in, exit status out.
//!
//! Only this module touches the state of the process: signal dispositions, the
//! exit status, and which descriptors were closed. A tool is a function of its
//! arguments and of [`Io`].

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use clap::error::{ContextKind, ErrorKind as ClapKind};
use libipc::command::End;
use libipc::signals::Deferred;
use libipc::start::{self, Standard};
use libipc::text::printable;
use libipc::{Error, ErrorKind, copy};

/// What a tool works with: its standard descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Io<'fd> {
    stdin: Option<BorrowedFd<'fd>>,
    stdout: Option<BorrowedFd<'fd>>,
    stderr: Option<BorrowedFd<'fd>>,
}

impl<'fd> Io<'fd> {
    /// Standard input.
    ///
    /// # Errors
    /// If the process was started with it closed: an empty input it is not.
    pub fn stdin(&self) -> libipc::Result<BorrowedFd<'fd>> {
        self.stdin.ok_or_else(|| Error::new(ErrorKind::Failure, "standard input", "is closed"))
    }

    /// Standard output; an error if the process was started with it closed.
    pub fn stdout(&self) -> libipc::Result<BorrowedFd<'fd>> {
        self.stdout.ok_or_else(|| Error::new(ErrorKind::Failure, libipc::shm::OUTPUT, "is closed"))
    }

    /// Write a line to standard output: a bare value, for a script to read.
    pub fn print(&self, line: impl std::fmt::Display) -> libipc::Result<()> {
        self.print_while(line, None)
    }

    /// The same while signals wait, which are looked for.
    pub fn print_while(&self, line: impl std::fmt::Display, signals: Option<&Deferred>) -> libipc::Result<()> {
        copy::write_all(self.stdout()?, format!("{line}\n").as_bytes(), signals)
            .map_err(|(_, errno)| Error::new(ErrorKind::Failure, libipc::shm::OUTPUT, errno.desc()))
    }

    /// Write a line to standard error. Where that cannot be, nobody reads it.
    pub fn complain(&self, line: impl std::fmt::Display) {
        if let Some(stderr) = self.stderr {
            let _ = copy::write_all(stderr, format!("{line}\n").as_bytes(), None);
        }
    }
}

/// How a tool that did not fail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Failed with this status; everything has been said.
    Failed(u8),
}

/// With a command, the tool ends as that did.
impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end.status() {
            0 => Outcome::Done,
            status => Outcome::Failed(status),
        }
    }
}

/// A tool: what clap reads its arguments into.
pub trait Tool: clap::Parser {
    /// Do it.
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome>;

    /// What `-E` moves the statuses 75 and 124 to.
    fn busy_status(&self) -> Option<u8> {
        None
    }

    /// Whether it runs a command, whose status is the tool's: its own failures
    /// are then [`OWN_FAILURE`], as in env(1), but for those that say whether the
    /// command was run.
    fn runs_command(&self) -> bool {
        false
    }
}

/// The status of a tool's own failure where a command's would be expected.
pub const OWN_FAILURE: u8 = 125;

/// The exit status of each kind of failure: the table of ipcutils(7).
pub fn status(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failure => 1,
        ErrorKind::Usage => 2,
        ErrorKind::Missing => 3,
        ErrorKind::Exists => 4,
        ErrorKind::Denied => 5,
        ErrorKind::Gone => 6,
        ErrorKind::PeerDied => 7,
        ErrorKind::Unexpected => 8,
        ErrorKind::NoRoom => 9,
        ErrorKind::Busy => 75,
        ErrorKind::TimedOut => 124,
        ErrorKind::CommandRefused => 126,
        ErrorKind::CommandMissing => 127,
    }
}

/// The same for a tool that runs a command. [`ErrorKind::PeerDied`] is what
/// `--strict` asks for.
fn status_beside_command(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Busy
        | ErrorKind::TimedOut
        | ErrorKind::PeerDied
        | ErrorKind::CommandRefused
        | ErrorKind::CommandMissing => status(kind),
        _ => OWN_FAILURE,
    }
}

/// How a tool with several operands ends, given the statuses of those that
/// failed: the one that they share, else 1.
pub fn common(failures: &[u8]) -> Outcome {
    match failures {
        [] => Outcome::Done,
        [first, rest @ ..] if rest.iter().all(|status| status == first) => Outcome::Failed(*first),
        _ => Outcome::Failed(status(ErrorKind::Failure)),
    }
}

/// The `main` of every binary: the name of the tool, and
/// the arguments, of which the first is the program's name.
pub fn main<T: Tool>(name: &str, args: Vec<OsString>) -> u8 {
    start::prepare();
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let io = Io {
        stdin: start::was_open(Standard::Input).then_some(stdin.as_fd()),
        stdout: start::was_open(Standard::Output).then_some(stdout.as_fd()),
        stderr: start::was_open(Standard::Error).then_some(stderr.as_fd()),
    };
    run::<T>(name, args.into_iter().skip(1), &io)
}

/// Run a tool with these arguments and descriptors; its exit status.
pub fn run<T: Tool>(name: &str, args: impl IntoIterator<Item = OsString>, io: &Io<'_>) -> u8 {
    let argv: Vec<_> = std::iter::once(OsString::from(name)).chain(args).collect();
    let tool = match T::try_parse_from(&argv) {
        Ok(tool) => tool,
        Err(error) => return not_parsed::<T>(name, &argv, &error, io),
    };
    let busy = tool.busy_status();
    let status = if tool.runs_command() { status_beside_command } else { status };
    match tool.run(io) {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Failed(status)) => status,
        Err(error) => {
            io.complain(format_args!("{name}: {error:#}"));
            let kind = error.downcast_ref::<Error>().map_or(ErrorKind::Failure, |error| error.kind);
            match (kind, busy) {
                (ErrorKind::Busy | ErrorKind::TimedOut, Some(busy)) => busy,
                _ => status(kind),
            }
        }
    }
}

/// Help and version go to stdout; a usage error is one line.
fn not_parsed<T: Tool>(name: &str, argv: &[OsString], error: &clap::Error, io: &Io<'_>) -> u8 {
    if matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion) {
        let text = error.to_string();
        return match io.print(text.trim_end()) {
            Ok(()) => 0,
            Err(error) => {
                io.complain(format_args!("{name}: {error}"));
                status(error.kind)
            }
        };
    }
    let message = usage_error(error);
    let help = if message.ends_with(')') { String::new() } else { format!(" (see '{name} --help')") };
    io.complain(format_args!("{name}: {message}{help}"));
    // What was not understood may have had a command.
    let had_command = argv.iter().any(|word| word == "--") && T::command().get_arguments().any(is_command);
    if had_command { OWN_FAILURE } else { status(ErrorKind::Usage) }
}

/// By convention, what follows `--` is called so.
fn is_command(argument: &clap::Arg) -> bool {
    argument.get_id() == "command"
}

/// clap's message on one line. Values were checked by our own parsers, whose
/// words say more than which option it was.
fn usage_error(error: &clap::Error) -> String {
    if let (ClapKind::ValueValidation, Some(source)) = (error.kind(), std::error::Error::source(error)) {
        let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        return match argument.split(' ').next().filter(|option| option.starts_with('-')) {
            Some(option) => format!("{option}: {source}"),
            None => source.to_string(),
        };
    }
    // Words of the command line are in it, whatever they hold.
    let text = error.to_string();
    let one_line = |text: &str| printable(OsStr::new(&text.split_whitespace().collect::<Vec<_>>().join(" ")));
    // Paragraphs: the message, tips, usage. Of the tips, a word misspelt.
    let mut paragraphs = text.split("\n\n");
    let message = one_line(paragraphs.next().unwrap_or(&text));
    let tip = paragraphs.map(one_line).find(|tip| tip.starts_with("tip: a similar"));
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    tip.map_or(message.clone(), |tip| format!("{message}, {}", &tip["tip: ".len()..]))
}
