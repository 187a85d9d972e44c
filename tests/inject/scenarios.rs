//! The main jobs of every tool.

/// A job, and what is judged about it beside the general rules.
///
/// In scripts and arguments `$N` and `$P` are names, `$K` a key of System V, and
/// `$PREFIX` what the names begin with.
pub struct Scenario {
    pub name: &'static str,
    pub args: &'static [&'static str],
    pub stdin: &'static [u8],
    /// A script that makes what is there before.
    pub before: &'static str,
    /// The status without a fault.
    pub status: i32,
    /// Scripts whose outputs belong to the state.
    pub look: &'static [&'static str],
    /// A script that succeeds after any fault.
    pub after: &'static str,
    /// What must work on this machine: see [`crate::util::Test::lacks`].
    pub needs: &'static [&'static str],
    /// Whether contents of files are judged; not where they hold times and processes.
    pub contents: bool,
    /// Whether children are followed.
    pub follow: bool,
    /// Whether the tool ends with a command's status.
    pub command: bool,
    /// Whether a new object stays after a failure, as documented.
    pub stays: bool,
    /// Whether the object goes when it was written.
    pub takes: bool,
    /// Whether there are several objects, which may fail one by one, or a listing, which
    /// shows what it can.
    pub several: bool,
}

const JOB: Scenario = Scenario {
    name: "",
    args: &[],
    stdin: b"",
    before: "",
    status: 0,
    look: &[],
    after: "",
    needs: &[],
    contents: true,
    follow: false,
    command: false,
    stays: false,
    takes: false,
    several: false,
};

/// A server: what it leaves undone the next one does.
const SERVER: Scenario = Scenario { contents: false, stays: true, several: true, ..JOB };

const CONTENT: &[u8] = &[7; 10_000];
const OLD: &str = "head -c 5000 /dev/zero | shmput $N";
const OLD_FILE: &str = "head -c 5000 /dev/zero | shmput file:f";
const OLD_SEGMENT: &str = "head -c 10000 /dev/zero | shmput $K";
const QUEUE: &str = "mqsend -c --max-messages 4 --message-size 64 $N one two";
const QUEUES: &[&str] = &["POSIX queues"];
const LOCK: &str = "shmlock $N -- true";
const LOCK_AFTER: &str = "shmlock -w 60 $N -- true 2>/dev/null; shmlock --strict -w 60 $N -- true";
const RING: &str = "ringput --many -l -s 64K $N <<<one";
/// A ring that is there can be read to its end and written again.
const RING_AFTER: &str = "
    [ ! -e /dev/shm$N ] || {
        s=0; ringcat -n $N >read || s=$?; case $s in 0|7|75) ;; *) echo status $s; exit 1 ;; esac
        s=0; ringput -w 60 --many -l $N <<<two 2>error || s=$?
        [ $s = 0 ] || ringput -w 60 --restart $N <<<two
    }; rm -f read error";
/// A semaphore that is there has its old value again.
const SEMAPHORE_AFTER: &str = "
    a=$N; [ -e /dev/shm/sem.${N#/} ] || a=$K
    for ((i = 0; i < 6000; i++)); do
        [ $(semop --get $a) = 2 ] && exec semop -n $a -1; sleep .01
    done; semop --get $a; exit 1";
const EVERYTHING: &str = "
    echo x | shmput $PREFIX-a; shmlock $PREFIX-l -- true; ringput -s 64K $PREFIX-r </dev/null
    semop -c 1 $PREFIX-s; shmput $K <<<x; semop -c 1 $K; mqsend -c $K z";

pub const ALL: &[Scenario] = &[
    Scenario { name: "shmput", args: &["shmput", "$N"], stdin: CONTENT, ..JOB },
    Scenario { name: "shmput over another", args: &["shmput", "$N"], stdin: CONTENT, before: OLD, ..JOB },
    Scenario {
        name: "shmput --size",
        args: &["shmput", "--size", "20000", "$N"],
        stdin: CONTENT,
        before: OLD,
        ..JOB
    },
    Scenario { name: "shmput -x", args: &["shmput", "-x", "$N"], stdin: CONTENT, ..JOB },
    Scenario { name: "shmput file:", args: &["shmput", "file:f"], stdin: CONTENT, before: OLD_FILE, ..JOB },
    Scenario {
        name: "shmput -i",
        args: &["shmput", "-i", "$N"],
        stdin: CONTENT,
        before: "head -c 10000 /dev/zero | shmput $N",
        // Documented as not all or nothing.
        several: true,
        ..JOB
    },
    Scenario {
        name: "shmput key:",
        args: &["shmput", "$K"],
        stdin: CONTENT,
        after: "s=0; shmcat $K >read 2>error || s=$?
            case $s in 0) [ $(wc -c <read) = 10000 ] ;; 3|8|75) ;; *) cat error; exit 1 ;; esac; rm -f read error",
        ..JOB
    },
    Scenario {
        name: "shmput -i key:",
        args: &["shmput", "-i", "$K"],
        stdin: CONTENT,
        before: OLD_SEGMENT,
        several: true,
        ..JOB
    },
    Scenario { name: "shmcat", args: &["shmcat", "$N"], before: OLD, ..JOB },
    Scenario { name: "shmcat --rm", args: &["shmcat", "--rm", "$N"], before: OLD, takes: true, ..JOB },
    Scenario { name: "shmcat --rm file:", args: &["shmcat", "--rm", "file:f"], before: OLD_FILE, takes: true, ..JOB },
    Scenario { name: "shmcat --zero-copy", args: &["shmcat", "--zero-copy", "$N"], before: OLD, ..JOB },
    Scenario { name: "shmcat --wait", args: &["shmcat", "--wait", "-w", ".05", "$N"], status: 124, ..JOB },
    Scenario { name: "shmcat key:", args: &["shmcat", "$K"], before: OLD_SEGMENT, ..JOB },
    Scenario { name: "shmcat --rm key:", args: &["shmcat", "--rm", "$K"], before: OLD_SEGMENT, takes: true, ..JOB },
    Scenario {
        name: "ringput",
        args: &["ringput", "-s", "64K", "$N"],
        stdin: CONTENT,
        after: RING_AFTER,
        contents: false,
        stays: true,
        ..JOB
    },
    Scenario {
        name: "ringput --many",
        args: &["ringput", "--many", "-l", "$N"],
        stdin: b"two\nthree\n",
        before: RING,
        after: RING_AFTER,
        contents: false,
        ..JOB
    },
    Scenario { name: "ringput --position", args: &["ringput", "--position", "$N"], before: RING, ..JOB },
    Scenario {
        name: "ringcat",
        args: &["ringcat", "$N"],
        before: "head -c 10000 /dev/zero | ringput -s 64K $N",
        after: RING_AFTER,
        contents: false,
        ..JOB
    },
    Scenario {
        name: "ringcat --as",
        args: &["ringcat", "--as", "name", "$N"],
        before: "head -c 10000 /dev/zero | ringput -s 64K $N",
        contents: false,
        ..JOB
    },
    Scenario {
        name: "ringcat -w",
        args: &["ringcat", "-w", ".05", "$N"],
        before: RING,
        status: 124,
        after: RING_AFTER,
        contents: false,
        ..JOB
    },
    Scenario {
        name: "mqsend -c",
        args: &["mqsend", "-c", "--max-messages", "4", "--message-size", "64", "$N", "one", "two"],
        needs: QUEUES,
        ..JOB
    },
    Scenario {
        name: "mqsend -l",
        args: &["mqsend", "-l", "$N"],
        stdin: b"three\nfour\n",
        before: QUEUE,
        needs: QUEUES,
        ..JOB
    },
    Scenario { name: "mqsend -c key:", args: &["mqsend", "-c", "$K", "one", "two"], ..JOB },
    Scenario {
        name: "mqsend -w key:",
        args: &["mqsend", "-w", ".05", "$K", "three"],
        before: "mqsend -c $K one; while mqsend -n $K \"$(printf %8000d 1)\" 2>/dev/null; do :; done
            while mqsend -n $K \"$(printf %100d 1)\" 2>/dev/null; do :; done; while mqsend -n $K 1 2>/dev/null; do :; done",
        status: 124,
        ..JOB
    },
    Scenario { name: "mqrecv", args: &["mqrecv", "$N"], before: QUEUE, needs: QUEUES, ..JOB },
    Scenario { name: "mqrecv --drain", args: &["mqrecv", "--drain", "-l", "$N"], before: QUEUE, needs: QUEUES, ..JOB },
    Scenario {
        name: "mqrecv of two",
        args: &["mqrecv", "--count", "2", "-l", "$N", "$P"],
        before: "mqsend -c --max-messages 4 --message-size 64 $N one; mqsend -c --max-messages 4 --message-size 64 $P one",
        needs: QUEUES,
        ..JOB
    },
    Scenario { name: "mqrecv key:", args: &["mqrecv", "$K"], before: "mqsend -c $K one", ..JOB },
    Scenario { name: "mqrecv -w key:", args: &["mqrecv", "-w", ".05", "$K"], before: "mqsend -c -l $K </dev/null", status: 124, ..JOB },
    Scenario {
        name: "mqserve",
        args: &["mqserve", "--drain", "$N", "--", "sh", "-c", "cat >>out"],
        before: QUEUE,
        needs: QUEUES,
        after: "mqserve --drain $N -- sh -c 'cat >>out'; grep -q one out; grep -q two out
            ! grep -qs \"$N\" /dev/shm/ipcutils.claim.*",
        ..SERVER
    },
    Scenario {
        name: "mqserve key:",
        args: &["mqserve", "--drain", "$K", "--", "sh", "-c", "cat >>out"],
        before: "mqsend -c $K one two",
        after: "mqserve --drain $K -- sh -c 'cat >>out'; grep -q one out; grep -q two out
            ! grep -qs \"key:$(printf 0x%08x $K)\" /dev/shm/ipcutils.claim.*",
        ..SERVER
    },
    Scenario {
        name: "mqcall",
        args: &["mqcall", "-w", "60", "$N"],
        stdin: b"request",
        before: "mqsend -c --max-messages 4 --message-size 64 $N x; mqserve $N -- cat </dev/null >out 2>&1 & echo $! >server
            until [ -s out ]; do :; done 2>/dev/null; : >out",
        needs: QUEUES,
        after: "[ \"$(mqcall -w 60 $N again)\" = again ]; kill $(cat server)",
        contents: false,
        ..JOB
    },
    Scenario {
        name: "mqcall key:",
        args: &["mqcall", "-w", "60", "$K"],
        stdin: b"request",
        before: "mqsend -c $K x; mqserve $K -- cat </dev/null >out 2>&1 & echo $! >server
            until [ -s out ]; do :; done 2>/dev/null; : >out",
        after: "[ \"$(mqcall -w 60 $K again)\" = again ]; kill $(cat server)",
        contents: false,
        ..JOB
    },
    Scenario { name: "semop -c", args: &["semop", "-c", "2", "$N"], ..JOB },
    Scenario { name: "semop", args: &["semop", "$N", "-1"], before: "semop -c 2 $N", ..JOB },
    Scenario { name: "semop -w", args: &["semop", "-w", ".05", "$N", "-1"], before: "semop -c 0 $N", status: 124, contents: false, ..JOB },
    Scenario {
        name: "semop COMMAND",
        args: &["semop", "$N", "-1", "--", "true"],
        before: "semop -c 2 $N",
        after: SEMAPHORE_AFTER,
        contents: false,
        command: true,
        ..JOB
    },
    Scenario { name: "semop -c key:", args: &["semop", "-c", "2,3", "$K"], ..JOB },
    Scenario { name: "semop key:", args: &["semop", "$K", "-1"], before: "semop -c 2 $K", look: &["semop --get $K"], ..JOB },
    Scenario { name: "semop -w key:", args: &["semop", "-w", ".05", "$K", "-1"], before: "semop -c 0 $K", status: 124, ..JOB },
    Scenario {
        name: "semop key: COMMAND",
        args: &["semop", "$K", "-1", "--", "true"],
        before: "semop -c 2 $K",
        after: SEMAPHORE_AFTER,
        command: true,
        ..JOB
    },
    Scenario { name: "semop --get", args: &["semop", "--get", "$N"], before: "semop -c 2 $N", ..JOB },
    Scenario { name: "semop --set", args: &["semop", "--set", "5", "$N"], before: "semop -c 2 $N", ..JOB },
    Scenario {
        name: "shmlock, new",
        args: &["shmlock", "$N", "--", "true"],
        after: LOCK_AFTER,
        contents: false,
        command: true,
        ..JOB
    },
    Scenario {
        name: "shmlock",
        args: &["shmlock", "$N", "--", "true"],
        before: LOCK,
        after: LOCK_AFTER,
        contents: false,
        command: true,
        ..JOB
    },
    Scenario {
        name: "shmlock --shared",
        args: &["shmlock", "--shared", "$N", "--", "true"],
        before: LOCK,
        after: LOCK_AFTER,
        contents: false,
        command: true,
        ..JOB
    },
    Scenario { name: "shmlock --status", args: &["shmlock", "--status", "$N"], before: LOCK, ..JOB },
    Scenario {
        name: "shmwait",
        args: &["shmwait", "--until", "true", "$N"],
        before: LOCK,
        after: LOCK_AFTER,
        contents: false,
        command: true,
        ..JOB
    },
    Scenario {
        name: "shmwait -w",
        args: &["shmwait", "-w", ".05", "$N"],
        before: LOCK,
        status: 124,
        after: LOCK_AFTER,
        contents: false,
        ..JOB
    },
    Scenario { name: "shmwake", args: &["shmwake", "$N"], before: LOCK, contents: false, ..JOB },
    Scenario { name: "ipcls -J", args: &["ipcls", "-J", "--name", "*$PREFIX*"], before: EVERYTHING, several: true, needs: &["a list of POSIX queues"], ..JOB },
    Scenario { name: "ipcls --limits", args: &["ipcls", "--limits"], needs: &["a list of POSIX queues"], several: true, ..JOB },
    Scenario {
        name: "ipcls of some",
        args: &["ipcls", "lock:$PREFIX-l", "ring:$PREFIX-r", "sem:$PREFIX-s"],
        before: EVERYTHING,
        several: true,
        ..JOB
    },
    Scenario {
        name: "ipcunlink",
        args: &["ipcunlink", "shm:$PREFIX-a", "lock:$PREFIX-l", "ring:$PREFIX-r", "sem:$PREFIX-s"],
        before: EVERYTHING,
        several: true,
        ..JOB
    },
    Scenario { name: "ipcunlink mq:", args: &["ipcunlink", "mq:$N"], before: QUEUE, needs: QUEUES, ..JOB },
    Scenario {
        name: "ipcunlink key:",
        args: &["ipcunlink", "shm:$K", "mq:$K", "sem:$K"],
        before: EVERYTHING,
        several: true,
        ..JOB
    },
    Scenario {
        name: "ipcunlink --orphans",
        args: &["ipcunlink", "--orphans", "--name", "*$PREFIX*", "--yes"],
        // A lock and a ring whose holders were killed.
        before: "exec 2>/dev/null
            shmlock $PREFIX-l -- sh -c 'kill -9 $PPID $$'
            (while :; do echo x; done) | ringput -s 4K $PREFIX-r & until ringput --position $PREFIX-r; do :; done >position
            kill -9 $!; wait $!; rm position",
        several: true,
        ..JOB
    },
    Scenario {
        name: "ipcset",
        args: &["ipcset", "-m", "640", "shm:$PREFIX-a", "lock:$PREFIX-l", "ring:$PREFIX-r", "sem:$PREFIX-s"],
        before: EVERYTHING,
        several: true,
        ..JOB
    },
    Scenario { name: "ipcset --size", args: &["ipcset", "--size", "8K", "shm:$N"], before: OLD, several: true, ..JOB },
    Scenario {
        name: "ipcset key:",
        args: &["ipcset", "-m", "640", "shm:$K", "mq:$K", "sem:$K"],
        before: EVERYTHING,
        several: true,
        ..JOB
    },
    Scenario { name: "ftok", args: &["ftok", "/etc/passwd"], ..JOB },
];

pub fn of(tool: &str) -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().filter(move |scenario| scenario.args[0] == tool)
}
