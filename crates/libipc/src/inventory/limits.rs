//! The limits of IPC, how much of each is in use, and how to raise it:
//! proc_sys_kernel(5), mq_overview(7), getrlimit(2), logind.conf(5).

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use nix::unistd::{SysconfVar, geteuid, sysconf};

use super::list;
use super::object::{Detail, Object, Queue, Semaphores};
use crate::base::address::Kind;
use crate::base::error::Error;
use crate::base::sysctl::{number, setting};
use crate::fs::entry::{SHM_DIR, names};

/// A limit of the kernel.
#[derive(Clone, Debug)]
pub struct KernelLimit {
    /// The name that the manual gives it.
    pub name: &'static str,
    /// Its value.
    pub max: Max,
    /// How much is in use. For a limit of a single object it is the use of the largest
    /// one. None if it cannot be known.
    pub used: Option<u64>,
    /// What the numbers count.
    pub unit: Unit,
    /// Whether it holds for each object by itself: then an object as large as may be
    /// keeps no other from anything.
    pub each: bool,
    /// How to raise it: a command with N, or what to write where.
    pub raise: String,
    /// How to raise it in a few words, where the command is long.
    pub hint: Option<String>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Pages of memory, of this many bytes.
    Pages(u64),
    /// Something else, in a word.
    Number(&'static str),
}

impl Unit {
    /// The unit as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Bytes => "bytes",
            Unit::Pages(_) => "pages",
            Unit::Number(word) => word,
        }
    }
}

/// What a limit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Max {
    /// A number.
    Number(u64),
    /// There is no limit, or one beyond what a machine can have.
    Unlimited,
    /// A switch: its position, and whether in this position objects are removed
    /// without being asked.
    Switch(String, bool),
    /// It cannot be read here.
    Unknown,
}

/// The last user that counts as one of the system, as logind is built by default.
const LAST_SYSTEM_USER: u32 = 999;

/// More than this, in percent, is close to a limit.
const CLOSE: u64 = 80;

impl KernelLimit {
    /// How much of it is in use, in percent.
    pub fn percent(&self) -> Option<u64> {
        match (&self.max, self.used) {
            (Max::Number(max), Some(used)) if *max > 0 => {
                Some(u64::try_from(u128::from(used) * 100 / u128::from(*max)).unwrap_or(u64::MAX))
            }
            (Max::Number(_) | Max::Unlimited, Some(_)) => Some(0),
            _ => None,
        }
    }

    /// Whether it needs attention: more than 80 % is in use, or objects are removed
    /// without being asked.
    pub fn is_close(&self) -> bool {
        match &self.max {
            Max::Switch(_, risky) => *risky,
            Max::Number(max) if !self.each => {
                self.used.is_some_and(|used| u128::from(used) * 100 > u128::from(*max) * u128::from(CLOSE))
            }
            _ => false,
        }
    }
}

/// Every limit, and the errors of what could not be counted.
pub fn all() -> (Vec<KernelLimit>, Vec<Error>) {
    let (objects, failures) = list(&[Kind::Shm, Kind::Mq, Kind::Sem], None);
    let counted = Counted { objects, queues_known: failures.is_empty() };
    let mut limits = counted.system_v();
    limits.extend(counted.posix());
    limits.extend(switches());
    (limits, failures)
}

/// A setting of sysctl(8), which is known by the last word of its name.
fn limit(setting: &'static str, unit: Unit, used: Option<u64>) -> KernelLimit {
    let name = setting.rsplit('.').next().unwrap_or(setting);
    let (raise, hint) = (format!("sysctl {setting}=N"), Some(format!("{setting}=N")));
    KernelLimit { name, max: value(number(setting)), used, unit, each: false, raise, hint }
}

/// A limit of each object by itself.
fn each(limit: KernelLimit) -> KernelLimit {
    KernelLimit { each: true, ..limit }
}

fn value(number: Option<u64>) -> Max {
    match number {
        None => Max::Unknown,
        // The kernel's defaults for memory leave room at the top of the range.
        Some(number) if number > u64::MAX / 2 => Max::Unlimited,
        Some(number) => Max::Number(number),
    }
}

struct Counted {
    objects: Vec<Object>,
    queues_known: bool,
}

impl Counted {
    fn of(&self, kind: Kind, sysv: bool) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.address.kind == kind && object.is_sysv() == sysv)
    }

    fn system_v(&self) -> Vec<KernelLimit> {
        let count = |kind| Some(self.of(kind, true).count() as u64);
        let largest = |kind| Some(self.of(kind, true).filter_map(|object| object.size).max().unwrap_or(0));
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, i64::cast_unsigned);
        let pages = self.of(Kind::Shm, true).filter_map(|object| object.size).map(|size| size.div_ceil(page)).sum();
        let sets: Vec<u64> = self.of(Kind::Sem, true).map(semaphores).collect();
        // kernel.sem has four numbers: semmsl, semmns, semopm, semmni.
        let line = setting("kernel.sem").unwrap_or_default();
        let sem: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let sem_limit = |name, position: usize, unit, used| {
            let now = |i: usize| sem.get(i).map_or("?".to_owned(), u64::to_string);
            let line =
                (0..4).map(|i| if i == position { "N".to_owned() } else { now(i) }).collect::<Vec<_>>().join(" ");
            let raise = format!("sysctl kernel.sem='{line}'");
            let hint = Some(format!("kernel.sem, number {} of 4", position + 1));
            let (max, unit) = (value(sem.get(position).copied()), Unit::Number(unit));
            KernelLimit { name, max, used, unit, each: false, raise, hint }
        };
        vec![
            limit("kernel.shmmni", Unit::Number("segments"), count(Kind::Shm)),
            each(limit("kernel.shmmax", Unit::Bytes, largest(Kind::Shm))),
            limit("kernel.shmall", Unit::Pages(page), Some(pages)),
            limit("kernel.msgmni", Unit::Number("queues"), count(Kind::Mq)),
            limit("kernel.msgmax", Unit::Bytes, None),
            limit("kernel.msgmnb", Unit::Bytes, largest(Kind::Mq)),
            sem_limit("semmni", 3, "sets", count(Kind::Sem)),
            sem_limit("semmns", 1, "sems", Some(sets.iter().sum())),
            each(sem_limit("semmsl", 0, "sems", Some(sets.iter().copied().max().unwrap_or(0)))),
            sem_limit("semopm", 2, "ops", None),
        ]
    }

    fn posix(&self) -> Vec<KernelLimit> {
        let queues: Vec<&Object> = self.of(Kind::Mq, false).collect();
        let known = |number| self.queues_known.then_some(number);
        let attributes = queues.iter().filter_map(|queue| attributes(queue));
        let messages = attributes.clone().map(|(messages, _)| messages).max().unwrap_or(0);
        let size = attributes.map(|(_, size)| size).max().unwrap_or(0);
        let own = geteuid().as_raw();
        let used: Option<u64> = queues.iter().filter(|queue| queue.uid == own).map(|queue| charged(queue)).sum();
        let soft = getrlimit(Resource::RLIMIT_MSGQUEUE).ok().map(|(soft, _)| soft);
        let rlimit = KernelLimit {
            name: "RLIMIT_MSGQUEUE",
            max: value(soft),
            used: used.and_then(known),
            unit: Unit::Bytes,
            each: false,
            raise: "ulimit -q N".into(),
            hint: None,
        };
        let memory = statvfs(SHM_DIR).ok();
        let of_shm = |name, option: &str, unit, size: u64, total: Option<u64>, free: Option<u64>| KernelLimit {
            name,
            // A tmpfs without a limit says 0.
            max: total
                .map_or(Max::Unknown, |total| if total == 0 { Max::Unlimited } else { Max::Number(total * size) }),
            used: total.zip(free).map(|(total, free)| total.saturating_sub(free) * size),
            unit,
            each: false,
            raise: format!("mount -o remount,{option}=N {SHM_DIR}"),
            hint: Some(format!("remount with {option}=N")),
        };
        let fs = memory.as_ref();
        vec![
            limit("fs.mqueue.queues_max", Unit::Number("queues"), known(queues.len() as u64)),
            each(limit("fs.mqueue.msg_max", Unit::Number("messages"), known(messages))),
            each(limit("fs.mqueue.msgsize_max", Unit::Bytes, known(size))),
            rlimit,
            of_shm(
                "/dev/shm",
                "size",
                Unit::Bytes,
                fs.map_or(1, |fs| fs.fragment_size()),
                fs.map(|fs| fs.blocks()),
                fs.map(|fs| fs.blocks_free()),
            ),
            of_shm(
                "/dev/shm inodes",
                "nr_inodes",
                Unit::Number("inodes"),
                1,
                fs.map(|fs| fs.files()),
                fs.map(|fs| fs.files_free()),
            ),
        ]
    }
}

fn semaphores(object: &Object) -> u64 {
    match object.detail {
        Detail::Semaphores(Semaphores { count, .. }) => count,
        _ => 0,
    }
}

fn attributes(queue: &Object) -> Option<(u64, u64)> {
    match queue.detail {
        Detail::Queue(Queue { max_messages: Some(messages), message_size: Some(size), .. }) => Some((messages, size)),
        _ => None,
    }
}

/// What the kernel charges its maker for a queue: mqueue_get_inode in
/// ipc/mqueue.c, with the sizes of its structures on 64 bits. None if it cannot
/// be read.
fn charged(queue: &Object) -> Option<u64> {
    const MESSAGE: u64 = 48;
    const NODE: u64 = 48;
    const PRIORITIES: u64 = 32768;
    let (messages, size) = attributes(queue)?;
    Some(messages * (size + MESSAGE) + messages.min(PRIORITIES) * NODE)
}

/// The switches that remove objects without being asked.
fn switches() -> Vec<KernelLimit> {
    let switch = |name, word: String, risky, raise: &str| KernelLimit {
        name,
        max: Max::Switch(word, risky),
        used: None,
        unit: Unit::Number("-"),
        each: false,
        raise: raise.to_owned(),
        hint: raise.strip_prefix("sysctl ").or(raise.split(" in ").next()).map(str::to_owned),
    };
    let forced = setting("kernel.shm_rmid_forced");
    let remove = remove_ipc();
    vec![
        switch(
            "shm_rmid_forced",
            forced.clone().unwrap_or_else(|| "?".into()),
            forced.is_some_and(|value| value != "0"),
            "sysctl kernel.shm_rmid_forced=0",
        ),
        switch(
            "RemoveIPC",
            match (remove, Path::new("/run/systemd/seats").exists()) {
                (_, false) => "no logind".into(),
                (true, true) => "yes".into(),
                (false, true) => "no".into(),
            },
            // It spares root and the users of the system: logind.conf(5).
            remove && Path::new("/run/systemd/seats").exists() && geteuid().as_raw() > LAST_SYSTEM_USER,
            "RemoveIPC=no in /etc/systemd/logind.conf",
        ),
    ]
}

/// RemoveIPC of logind.conf(5), which is on if nothing else is said. The drop-ins
/// of all directories count in the order of their names.
fn remove_ipc() -> bool {
    let dirs = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"];
    let main = dirs.iter().map(|dir| Path::new(dir).join("logind.conf")).find(|path| path.exists());
    let mut drop_ins: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let dir = Path::new(dir).join("logind.conf.d");
        let found = names(&dir).into_iter().flatten().map(|name| dir.join(name));
        for path in found.filter(|path| path.extension().is_some_and(|end| end == "conf")) {
            // The same name in an earlier directory hides it.
            if drop_ins.iter().all(|other| other.file_name() != path.file_name()) {
                drop_ins.push(path);
            }
        }
    }
    drop_ins.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let mut remove = true;
    for path in main.into_iter().chain(drop_ins) {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut login = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                login = line == "[Login]";
            }
            let Some(value) = line.strip_prefix("RemoveIPC").and_then(|rest| rest.trim().strip_prefix('=')) else {
                continue;
            };
            if !login {
                continue;
            }
            remove = matches!(value.trim().to_ascii_lowercase().as_str(), "" | "1" | "yes" | "y" | "true" | "t" | "on");
        }
    }
    remove
}
