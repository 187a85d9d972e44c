//! What users of other tools type first, and what it is called here.

use std::ffi::OsString;

use clap::error::{ContextKind, ErrorKind};

/// A tool, a flag that it has not, and what to do instead.
pub const FLAGS: &[(&str, &str, &str)] = &[
    // flock(1)
    ("shmlock", "-x", "without --shared the lock is exclusive"),
    ("shmlock", "-e", "without --shared the lock is exclusive"),
    ("shmlock", "--exclusive", "without --shared the lock is exclusive"),
    ("shmlock", "--nb", "say -n"),
    ("shmlock", "--nonblocking", "say -n"),
    ("shmlock", "--wait", "say -w DURATION"),
    ("shmlock", "--conflict-exit-code", "say -E CODE"),
    ("shmlock", "-F", "shmlock marks the end of the command, and stays for it"),
    ("shmlock", "--no-fork", "shmlock marks the end of the command, and stays for it"),
    ("shmlock", "--fcntl", "the lock is always one of fcntl, on a byte of its own"),
    ("shmlock", "--start", "a lock has no parts: use two locks"),
    ("shmlock", "--length", "a lock has no parts: use two locks"),
    // ipcmd(1), sem(1)
    ("semop", "-s", "the set is the operand ADDRESS, as id:N or key:N"),
    ("semop", "-u", "say -1u, with a command: what has a u is undone when it ends"),
    // ipcs(1), lsipc(1), ipcrm(1)
    ("ipcls", "-M", "say --kind shm"),
    ("ipcls", "-Q", "say --kind mq"),
    ("ipcls", "-S", "say --kind sem"),
    ("ipcls", "-l", "say --limits"),
    ("ipcls", "-i", "say KIND:id:N"),
    ("ipcls", "--color", "color is for a terminal alone; NO_COLOR=1 turns it off"),
    ("ipcunlink", "-m", "say shm:id:N"),
    ("ipcunlink", "-M", "say shm:key:N"),
    ("ipcunlink", "-q", "say mq:id:N"),
    ("ipcunlink", "-Q", "say mq:key:N"),
    ("ipcunlink", "-s", "say sem:id:N"),
    ("ipcunlink", "-S", "say sem:key:N"),
    ("ipcunlink", "-a", "say what is to go; ipcls lists it"),
    ("ipcunlink", "--all", "say what is to go; ipcls lists it"),
    // dd(1), head(1)
    ("shmcat", "-n", "-w 0 does not wait"),
    ("shmput", "-s", "say --size N"),
    ("ringcat", "-c", "say --count N"),
];

/// What to do instead of what clap has refused, if that is known.
pub fn advice(error: &clap::Error, tool: &str, argv: &[OsString]) -> Option<String> {
    let refused = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let before = |word: &str| {
        let at = argv.iter().position(|given| given.to_str() == Some(word))?;
        argv.get(at.checked_sub(1)?)?.to_str()
    };
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = refused.split('=').next().unwrap_or_default();
            if let Some((.., advice)) = FLAGS.iter().find(|(of, name, _)| *of == tool && *name == flag) {
                return Some((*advice).to_owned());
            }
            let undone = |word: &&OsString| word.to_str().is_some_and(|word| word == format!("{refused}u"));
            if tool == "semop" && argv.iter().any(|word| undone(&word)) {
                return Some(format!("say 0:{refused}u"));
            }
            if refused.strip_prefix('-').is_some_and(is_number) {
                return match (before(&refused), tool) {
                    (Some("-w" | "--timeout"), _) => Some("a duration is never negative".to_owned()),
                    (_, "semop") => Some("ADDRESS comes first, as in semop /name -1".to_owned()),
                    _ => None,
                };
            }
            // head(1) and tail(1) take a number here.
            let number = before(&refused).filter(|number| is_number(number))?;
            (before(number) == Some("-n")).then(|| format!("-n does not wait; --count {number} is how many"))
        }
        ErrorKind::MissingRequiredArgument if tool == "ipcunlink" => {
            Some("say what is to go, as KIND:ADDRESS, or --orphans".to_owned())
        }
        _ => None,
    }
}
