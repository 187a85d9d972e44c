//! The frame of a tool: arguments in, exit status out.
//!
//! A tool is a function of its arguments and of [`Io`]. Every other effect on the
//! process is made here, or listed here:
//!
//! | effect | why | given back |
//! | --- | --- | --- |
//! | SIGXFSZ ignored, by [`main`] | a write beyond RLIMIT_FSIZE is an error, no death | to a command |
//! | the words and the status without memory, the panic hook, by [`main`] | one line and a status of the table | never |
//! | closed descriptors 0 to 2 opened on /dev/null, by [`main`] | no file of ours gets their numbers | to a command |
//! | the action of SIGBUS, while memory is mapped | truncated memory is an error, no death | when it is unmapped |
//! | the action of SIGCHLD, while a command runs | an ignored one would hide its end | when the command has ended |
//! | the signal mask, for some calls and while a command runs | no work is left half done | at their end |
//! | a timer, and the action of the last real-time signal | calls without a timeout of their own end | when the wait is over |
//! | the umask, read by setting it, only without /proc | System V objects obey it too | at once |
//! | SIGTSTP, SIGCONT, SIGWINCH, by `ipcls --watch` | the screen is given back | handlers before ours still run; a stop stops |
//! | a child in other namespaces, by `--namespace` | no process comes back from there | when the work is done |
//! | termios(3), by `ipcls --watch` | single keys | however it ends |
//!
//! Statics, all in libipc: how the process was started, what it says without memory, the guarded mappings, the
//! pipes of a terminal's signals. SIGPIPE is left as it is: a closed pipe ends a
//! program quietly, and is an error where the process ignores the signal.

mod io;
mod progress;
mod status;
mod usage;

use std::ffi::OsString;
use std::os::fd::AsFd;

use clap::error::ErrorKind as ClapKind;
use libipc::process::namespace;
use libipc::process::start::{self, Standard};
use libipc::{Error, ErrorKind};

pub use io::{INPUT, Io};
pub use progress::Bar;
pub use status::{OWN_FAILURE, Outcome, combined, status};

use status::status_beside_command;

/// A tool: what clap reads its arguments into. By convention the option `-E` is
/// called `busy_status`, and what follows `--` is called `command`.
pub trait Tool: clap::Parser {
    /// Run the tool. An error may carry contexts, which say what was done before it, as
    /// "messages sent: 3".
    ///
    /// # Errors
    /// A [`libipc::Error`], whose kind decides the exit status.
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome>;

    /// The process in whose namespaces it runs, in a child; None for our own.
    fn namespace(&self) -> Option<i32> {
        None
    }
}

/// The `main` of every binary. It gets the name of the tool and the arguments, of which
/// the first is the program's name, and returns the exit status.
pub fn main<T: Tool>(name: &'static str, args: Vec<OsString>) -> u8 {
    start::prepare();
    last_resort(name);
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let io = Io::new(
        name,
        start::was_open(Standard::Input).then_some(stdin.as_fd()),
        start::was_open(Standard::Output).then_some(stdout.as_fd()),
        start::was_open(Standard::Error).then_some(stderr.as_fd()),
    );
    match start::check_stack() {
        Ok(()) => run::<T>(args.into_iter().skip(1), &io),
        Err(error) if had_command::<T>(&args) => {
            io.fail(&error, &[]);
            OWN_FAILURE
        }
        Err(error) => io.fail(&error, &[]),
    }
}

/// The status of a program without memory for what must have some. With a command it
/// becomes [`OWN_FAILURE`], as soon as the arguments are known.
pub const NO_MEMORY: u8 = status(ErrorKind::NoRoom);

/// A fault of this program is one line and a status of the table.
fn last_resort(name: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let at = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        let payload = panic.payload();
        let what =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(|what| &**what));
        let what = what.unwrap_or("a panic").replace('\n', " ");
        eprintln!("{name}: a fault of this program{at}: {what} (please report it)");
        let beside_command = start::last_status() == OWN_FAILURE;
        std::process::exit(if beside_command { OWN_FAILURE } else { status(ErrorKind::Failure) }.into());
    }));
}

/// Run a tool with these arguments and descriptors. Returns its exit status.
pub fn run<T: Tool>(args: impl IntoIterator<Item = OsString>, io: &Io<'_>) -> u8 {
    let argv: Vec<_> = std::iter::once(OsString::from(io.tool)).chain(args).collect();
    let parsed = T::command().try_get_matches_from(&argv).and_then(|matches| {
        let busy = matches.try_get_one::<u8>("busy_status").ok().flatten().copied();
        let command = matches.try_contains_id("command").unwrap_or(false);
        Ok((T::from_arg_matches(&matches)?, busy, command))
    });
    let (tool, busy, command) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return not_parsed::<T>(&argv, &error, io),
    };
    if command {
        start::set_last_status(OWN_FAILURE);
    }
    let namespace = tool.namespace();
    let run = || {
        let error = match tool.run(io) {
            Ok(Outcome::Done) => return 0,
            Ok(Outcome::Failed(status)) => return status,
            Err(error) => error,
        };
        let kind = tell(&error, io);
        match (kind, busy) {
            (ErrorKind::Busy | ErrorKind::TimedOut, Some(busy)) => busy,
            _ if command => status_beside_command(kind),
            _ => status(kind),
        }
    };
    match namespace {
        None => run(),
        Some(pid) => namespace::within(pid, run).unwrap_or_else(|error| io.fail(&error, &[])),
    }
}

/// Report an error and its contexts. Returns its kind.
fn tell(error: &anyhow::Error, io: &Io<'_>) -> ErrorKind {
    let Some(root) = error.downcast_ref::<Error>() else {
        io.warn(format_args!("{error:#}"));
        return ErrorKind::Failure;
    };
    // The chain ends with the error itself; the innermost context was first.
    let contexts = error.chain().take_while(|link| !link.is::<Error>()).map(ToString::to_string);
    let mut contexts: Vec<String> = contexts.collect();
    contexts.reverse();
    io.fail(root, &contexts);
    root.kind
}

/// Help and version go to stdout; a usage error is one line.
fn not_parsed<T: Tool>(argv: &[OsString], error: &clap::Error, io: &Io<'_>) -> u8 {
    if matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion) {
        let text = error.to_string();
        return io.print(text.trim_end()).map_or_else(|error| io.fail(&error, &[]), |()| 0);
    }
    let message = usage::line(error, io.tool);
    let help = if message.ends_with(')') { String::new() } else { format!(" (see '{} --help')", io.tool) };
    io.warn(format_args!("{message}{help}"));
    if had_command::<T>(argv) { OWN_FAILURE } else { status(ErrorKind::Usage) }
}

/// Whether arguments that were not understood may include a command.
fn had_command<T: Tool>(argv: &[OsString]) -> bool {
    let is_command = |argument: &clap::Arg| argument.get_id() == "command";
    argv.iter().any(|word| word == "--") && T::command().get_arguments().any(is_command)
}
