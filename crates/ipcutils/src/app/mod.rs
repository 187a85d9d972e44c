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
//! | the action of SIGCHLD, while a command or a child in other namespaces runs | an ignored one would hide its end | when it has ended |
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
mod separate;
mod status;
mod usage;

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;

use clap::error::ErrorKind as ClapKind;
use libipc::process::namespace;
use libipc::process::start::{self, Standard};
use libipc::{Error, ErrorKind, KindAddress, inventory};

pub use io::{INPUT, Io};
pub use progress::Bar;
pub use status::{OWN_FAILURE, Outcome, combined, status};

use crate::hints;
use status::status_beside_command;

/// A tool: what clap reads its arguments into. By convention the option `-E` is
/// called `busy_status`, `-q` is called `quiet`, and the words of a command are called
/// `command`, or `shell` for a string of sh.
pub trait Tool: clap::Parser {
    /// Whether this operand, the `place`th from 0 on, is the tool's own. The first that is
    /// not begins the command.
    fn is_own(_place: usize, _operand: &OsStr) -> bool {
        true
    }

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
    let mut argv: Vec<_> = std::iter::once(OsString::from(io.tool)).chain(args).collect();
    separate::separate(&T::command(), &mut argv, T::is_own);
    let parsed = T::command().try_get_matches_from(&argv).and_then(|matches| {
        let busy = matches.try_get_one::<u8>("busy_status").ok().flatten().copied();
        let command = ["command", "shell"].iter().any(|id| matches.try_contains_id(id).unwrap_or(false));
        let quiet = matches.try_get_one::<bool>("quiet").ok().flatten().copied().unwrap_or(false);
        Ok((T::from_arg_matches(&matches)?, busy, command, quiet))
    });
    let (tool, busy, command, quiet) = match parsed {
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
        let silent = quiet && error.downcast_ref::<Error>().is_some_and(|error| is_wait(error.kind));
        let kind = tell(&error, &Io { stderr: io.stderr.filter(|_| !silent), ..*io });
        match (kind, busy) {
            (kind, Some(busy)) if is_wait(kind) => busy,
            _ if command => status_beside_command(kind),
            _ => status(kind),
        }
    };
    match namespace {
        None => run(),
        Some(pid) => namespace::within(pid, run).unwrap_or_else(|error| io.fail(&error, &[])),
    }
}

/// Whether it would have to wait, or has waited in vain.
fn is_wait(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Busy | ErrorKind::TimedOut)
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
    contexts.extend(permissions(root, io.tool));
    io.fail(root, &contexts);
    root.kind
}

/// To whom an object belongs that may not be used, and its mode.
fn permissions(error: &Error, tool: &str) -> Option<String> {
    if error.kind != ErrorKind::Denied || error.errno.is_none() {
        return None;
    }
    let kind = hints::kind_of(tool)?;
    let address = kind.parse(OsStr::new(&error.object)).ok()?;
    let object = inventory::find(&KindAddress::new(kind, address).ok()?).ok()?;
    let owner = inventory::users::Names::of_users().name(object.uid);
    Some(format!("it belongs to {owner}, and its mode is {:04o}", object.mode))
}

/// Help and version go to stdout; a usage error is one line.
fn not_parsed<T: Tool>(argv: &[OsString], error: &clap::Error, io: &Io<'_>) -> u8 {
    if matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion) {
        let text = error.to_string();
        return io.print(text.trim_end()).map_or_else(|error| io.fail(&error, &[]), |()| 0);
    }
    let message = usage::line(error, io.tool, argv);
    let help = if message.ends_with(')') { String::new() } else { format!(" (see '{} --help')", io.tool) };
    io.warn(format_args!("{message}{help}"));
    if had_command::<T>(argv) { OWN_FAILURE } else { status(ErrorKind::Usage) }
}

/// Whether arguments that were not understood may include a command.
fn had_command<T: Tool>(argv: &[OsString]) -> bool {
    let is_command = |argument: &clap::Arg| argument.get_id() == "command";
    argv.iter().any(|word| word == "--") && T::command().get_arguments().any(is_command)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// This program again, with a panic.
    #[test]
    fn m24_a_fault_of_the_program_is_one_line_and_a_status() {
        const AGAIN: &str = "IPCUTILS_TEST_FAULT";
        if let Some(status) = std::env::var(AGAIN).ok().and_then(|status| status.parse().ok()) {
            last_resort("tool");
            start::set_last_status(status);
            panic!("two\nlines");
        }
        for (last, expected) in [(NO_MEMORY, status(ErrorKind::Failure)), (OWN_FAILURE, OWN_FAILURE)] {
            let name = "app::tests::m24_a_fault_of_the_program_is_one_line_and_a_status";
            let mut again = Command::new(std::env::current_exe().unwrap());
            let output = again.args(["--exact", name, "--nocapture"]).env(AGAIN, last.to_string()).output().unwrap();
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(expected.into()));
            assert!(
                errors.starts_with("tool: a fault of this program at ") && errors.contains(": two lines ("),
                "{errors}"
            );
            assert_eq!(errors.lines().count(), 1, "{errors}");
        }
    }
}
