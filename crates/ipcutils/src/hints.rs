//! The words for a [`Hint`] of the library: the only place where a hint names a tool or
//! an option.
//!
//! A test compares them with the tools' command lines, so that a hint that cannot be
//! typed fails the build.

use std::fmt::Write;

use libipc::Kind;
use libipc::address::Form;
use libipc::error::{Error, ErrorKind, Hint, Spelling};
use libipc::text::printable;

/// An error of the tool `tool`, as the line that a user reads: the object, what went
/// wrong, the contexts, and how to mend it.
pub fn line(error: &Error, contexts: &[String], tool: &str) -> String {
    let mut line = error.to_string();
    for context in contexts {
        let _ = write!(line, "; {context}");
    }
    let words = error.hint.as_ref().map(|hint| words(hint, tool));
    if let Some(words) = words.or_else(|| absent(error, tool).map(str::to_owned)) {
        let _ = write!(line, " ({words})");
    }
    line
}

/// How the object would come to be, if this tool says that it does not exist.
fn absent(error: &Error, tool: &str) -> Option<&'static str> {
    // An identifier is never made, and other names are of files.
    if error.kind != ErrorKind::Missing || error.problem != "does not exist" || error.object.starts_with("id:") {
        return None;
    }
    match tool {
        "mqsend" => Some("-c creates it"),
        "mqrecv" => Some("-c creates it, --wait waits for it"),
        "semop" => Some("-c VALUE,... creates it"),
        "shmcat" => Some("shmput creates it, --wait waits for it"),
        "ringcat" => Some("ringput creates it, --wait waits for it"),
        "shmlock" => Some("shmlock ADDRESS COMMAND creates it"),
        "shmwake" => Some("shmwait and shmlock create it"),
        _ => None,
    }
}

/// The kind of object that a tool is for.
pub fn kind_of(tool: &str) -> Option<Kind> {
    match tool {
        "shmcat" | "shmput" => Some(Kind::Shm),
        "ringcat" | "ringput" => Some(Kind::Ring),
        "shmlock" | "shmwait" | "shmwake" => Some(Kind::Lock),
        "mqsend" | "mqrecv" => Some(Kind::Mq),
        "semop" => Some(Kind::Sem),
        _ => None,
    }
}

/// The hint in the words of the tool that shows it.
pub fn words(hint: &Hint, tool: &str) -> String {
    // The tool's own flag needs no tool in front.
    let flag = |of: &str, flag: &str| if of == tool { flag.to_owned() } else { format!("{of} {flag}") };
    match hint {
        Hint::Say(all) => format!("say {}", spellings(all)),
        Hint::Forms(kind) => forms(*kind, tool),
        Hint::PutKind(kinds) => {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("{}:", kind.as_str())).collect();
            format!("put {} in front", either(&kinds))
        }
        Hint::KindForms => format!("say KIND:ADDRESS, where KIND is {}", either(&Kind::ALL.map(Kind::as_str))),
        Hint::OtherKind(address) => format!("say {address}"),
        Hint::ReadAs(of) => match of.kind() {
            Kind::Shm => format!("shmcat {} reads it", of.address()),
            Kind::Ring => format!("ringcat {} reads it", of.address()),
            Kind::Lock => format!("shmlock --status {} shows it", of.address()),
            Kind::Mq => format!("mqrecv {} receives from it", of.address()),
            Kind::Sem => format!("semop --get {} shows it", of.address()),
        },
        Hint::Remove(address) => format!("ipcunlink {address} removes it"),
        Hint::RemoveIfUnused(address) => format!("if nothing uses it, ipcunlink {address} removes it"),
        Hint::WriteInPlace(None) => format!("write into it with {}", flag("shmput", "-i")),
        Hint::WriteInPlace(Some(address)) => {
            format!("write into it with {}, or remove it with ipcunlink {address}", flag("shmput", "-i"))
        }
        Hint::PutAgain(address) => format!("put it again with shmput, or remove it with ipcunlink {address}"),
        Hint::ModeOrRemove(address) => {
            format!("if it is whole, ipcset -m 0600 {address}, else remove it with ipcunlink {address}")
        }
        Hint::RemoveFirst => "its owner and group cannot be kept: remove it with ipcunlink first".into(),
        Hint::Foreign(kind) => {
            let writer = match kind {
                Kind::Ring => "ringput",
                Kind::Mq => "mqsend",
                Kind::Shm | Kind::Lock | Kind::Sem => "shmput",
            };
            format!("{} writes it all the same", flag(writer, "--foreign"))
        }
        Hint::Force => format!("{} does it all the same", flag("ipcset", "--force")),
        Hint::SetMode(address, bits) => format!("ipcset -m {bits:04o} {address} changes it"),
        Hint::MakeRoom => "remove what is not needed".into(),
        Hint::MakeRoomOrRemount(option) => {
            format!("ipcls --space tells what fills it; mount -o remount,{option}=N /dev/shm makes it larger")
        }
        Hint::AskForLess => "ask for less, or remove what is not needed with ipcunlink".into(),
        Hint::Size => format!("give {} N", flag("shmput", "--size")),
        Hint::LargerSize => format!("give a larger {}", flag("shmput", "--size")),
        Hint::Resize(address) => format!("ipcset --size N {address} makes it larger"),
        Hint::HoldBytes(address, bytes) => format!("ipcset --max-bytes {bytes} {address} raises it"),
        Hint::LargerMessages => format!("make the queue anew with a larger {}", flag("mqsend", "--message-size")),
        Hint::LargerRing => format!("remove it with ipcunlink and make a larger one with {}", flag("ringput", "-s")),
        Hint::Sysctl(setting) => format!("sysctl {setting}=N raises it"),
        Hint::SysctlSem(number) => semaphore_limit(*number),
        Hint::SysctlSet(setting, value) => format!("sysctl {setting}={value}"),
        Hint::Ulimit(option) => format!("raise it with ulimit -{option}"),
        Hint::QueueBytes => "raise it with ulimit -q, remove queues, or ask for fewer or smaller messages".into(),
        Hint::FileSize => "see 'ulimit -f' and the file system's largest file".into(),
        Hint::Processes => "see 'ulimit -u' and kernel.pid_max".into(),
        Hint::UseAsItIs(address) => {
            format!("leave {} out, or remove the set with ipcunlink {address}", flag("semop", "-c"))
        }
        Hint::Initialise(values, address) => {
            const SHOWN: usize = 8;
            let mut list = values.iter().take(SHOWN).map(u32::to_string).collect::<Vec<_>>().join(",");
            if values.len() > SHOWN {
                list += ",...";
            }
            format!(
                "its maker has died or is another program: semop --set {list} {address}, or ipcunlink sem:{address}"
            )
        }
        Hint::FromZero => "they are counted from 0".into(),
        Hint::Reset(address) => format!("see that the data is sound, then shmlock --reset {address}"),
        Hint::ResetMutex(offset, address) => {
            format!("see that the data is sound, then shmlock --pthread {offset} --reset {address}")
        }
        Hint::ReadersLock if tool == "shmlock" => {
            "it takes write permission; --shared takes read permission alone".into()
        }
        Hint::ReadersLock => "it takes write permission".into(),
        Hint::ResumeOrRestart(committed) => format!(
            "{} goes on after byte {committed}, {} begins anew",
            flag("ringput", "--resume"),
            flag("ringput", "--restart")
        ),
        Hint::ReaderAway(name, address) => {
            let name = printable(name);
            format!("ringcat --as {name} {address} reads on, ringcat --forget {name} {address} gives it up")
        }
        Hint::ReadersFull(address) => {
            format!("ringcat --status {address} lists them, ringcat --forget NAME {address} gives one up that is away")
        }
        Hint::Advice(words) => words.clone(),
    }
}

/// Addresses, each with what it is for, if that is known.
fn spellings(all: &[Spelling]) -> String {
    let explained = all.iter().any(|spelling| spelling.meaning.is_some());
    let words: Vec<String> = all
        .iter()
        .map(|Spelling { address, meaning }| match meaning {
            Some(meaning) => format!("{address} {meaning}"),
            None => address.clone(),
        })
        .collect();
    if explained { words.join(", ") } else { either(&words) }
}

/// `a, b or c`.
fn either<T: AsRef<str>>(words: &[T]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// The forms of an address of this kind, or of any.
fn forms(kind: Option<Kind>, tool: &str) -> String {
    let forms: Vec<&str> = match kind {
        Some(kind) => kind.forms().map(Form::as_str).collect(),
        None => Form::ALL.map(Form::as_str).into(),
    };
    let mutex = if tool == "shmlock" { ", or --pthread OFFSET for a mutex in a segment" } else { "" };
    format!("say {}{mutex}", either(&forms))
}

/// One of the numbers of kernel.sem: SEMMSL, SEMMNS, SEMOPM, SEMMNI. Removing other sets
/// helps with the second and the fourth only.
fn semaphore_limit(number: u8) -> String {
    let now = std::fs::read_to_string("/proc/sys/kernel/sem").unwrap_or_default();
    let numbers = now.split_whitespace().enumerate();
    let numbers: Vec<&str> = numbers.map(|(i, now)| if i + 1 == usize::from(number) { "N" } else { now }).collect();
    let room = if matches!(number, 2 | 4) { ", ipcunlink makes room" } else { "" };
    format!("sysctl kernel.sem='{}' raises it{room}", numbers.join(" "))
}
