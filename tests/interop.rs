//! The tools beside C, perl, python and util-linux, which know nothing of them.

use std::io::{BufRead, BufReader};
use std::process::ChildStdout;

use crate::util::compile::{compile, python_has};
use crate::util::{Running, Test, noise};

/// A foreign process with a mapping, which it shows for each line that it gets.
struct Mapped {
    process: Running,
    lines: BufReader<ChildStdout>,
}

impl Mapped {
    fn new(mut process: Running) -> Self {
        let lines = BufReader::new(process.child.stdout.take().unwrap());
        Mapped { process, lines }
    }

    fn shows(&mut self) -> String {
        self.process.write(b"\n");
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

/// read and write copy a whole segment, map shows its first 5 bytes.
const SEGMENTS_C: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>
static char in[1 << 20];
int main(int argc, char **argv) {
    const char *verb = argv[1], *address = argv[2];
    int writes = !strcmp(verb, "write");
    size_t size = writes ? fread(in, 1, sizeof in, stdin) : 0;
    char *at;
    if (address[0] == '/') {
        int fd = shm_open(address, writes ? O_RDWR | O_CREAT | O_EXCL : O_RDONLY, 0600);
        struct stat st;
        if (fd < 0 || (writes && ftruncate(fd, size)) || fstat(fd, &st)) return perror(address), 1;
        size = st.st_size;
        at = mmap(NULL, size, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) return perror("mmap"), 1;
    } else {
        int id = shmget(strtoul(address, NULL, 0), size, writes ? IPC_CREAT | IPC_EXCL | 0600 : 0);
        struct shmid_ds ds;
        if (id < 0 || shmctl(id, IPC_STAT, &ds)) return perror(address), 1;
        size = ds.shm_segsz;
        at = shmat(id, NULL, writes ? 0 : SHM_RDONLY);
        if (at == (void *)-1) return perror("shmat"), 1;
    }
    if (writes) memcpy(at, in, size);
    else if (!strcmp(verb, "read")) fwrite(at, 1, size, stdout);
    else while (getchar() != EOF) printf("%.5s\n", at), fflush(stdout);
    return 0;
}
"#;

#[test]
fn c_reads_and_writes_whole_segments() {
    let t = Test::new();
    let Some(c) = compile(&t, "segments", SEGMENTS_C) else { return };
    let c = c.to_str().unwrap();
    let content = noise(1, 100_001);
    for address in [t.name("seg"), t.key()] {
        t.cmd("shmput").args([&address]).stdin(&*content).run().ok();
        assert!(t.cmd(c).args(["read", &address]).run().ok() == content, "{address}");
        t.cmd("ipcunlink").args(["--force", &format!("shm:{address}")]).run().ok();
        t.cmd(c).args(["write", &address]).stdin(&*content).run().ok();
        assert!(t.cmd("shmcat").args([&address]).run().ok() == content, "{address}");
        t.cmd("shmcat").args(["--rm", &address]).run().ok();
        assert!(t.cmd(c).args(["read", &address]).run().stderr.contains("No such file"));
    }
}

#[test]
fn c_sees_writes_in_place_and_keeps_what_is_replaced() {
    let t = Test::new();
    let Some(c) = compile(&t, "segments", SEGMENTS_C) else { return };
    for address in [t.name("seg"), t.key()] {
        t.cmd("shmput").args([&address]).stdin("hello").run().ok();
        let mut mapped = Mapped::new(t.cmd(c.to_str().unwrap()).args(["map", &address]).spawn_open());
        assert_eq!(mapped.shows(), "hello");
        t.cmd("shmput").args(["-i", "--offset", "1", &address]).stdin("ipp").run().ok();
        assert_eq!(mapped.shows(), "hippo");
        // Zero copy or not, what it maps is what we read.
        assert_eq!(t.cmd("shmcat").args(["--zero-copy", &address]).run().text(), "hippo");
        let put = t.cmd("shmput").args([&address]).stdin("other").run();
        if address.starts_with('/') {
            put.ok();
            assert_eq!(t.cmd("shmcat").args([&address]).run().text(), "other");
        } else {
            put.says(4, "ipcunlink");
        }
        assert_eq!(mapped.shows(), "hippo");
        t.cmd("ipcunlink").args(["--force", &format!("shm:{address}")]).run().ok();
        assert_eq!(mapped.shows(), "hippo");
    }
}

#[test]
fn perl_reads_and_writes() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    t.cmd("shmput").args([&key]).stdin(*b"ab\0\xffcd").run().ok();
    let read = format!("perl -e '$i = shmget({key}, 6, 0); shmread($i, $x, 0, 6) or die $!; print $x'");
    assert_eq!(t.bash(&read).run().ok(), b"ab\0\xffcd");
    let write = format!("perl -e '$i = shmget({key}, 6, 0); shmwrite($i, \"\\xff\\0\", 2, 2) or die $!'");
    t.bash(&write).run().ok();
    assert_eq!(t.cmd("shmcat").args([&key]).run().ok(), b"ab\xff\0cd");
    t.cmd("shmput").args(["-i", &key]).stdin("perl").run().ok();
    assert_eq!(t.bash(&read).run().text(), "perlcd");
    t.cmd("ipcunlink").args(["--force", &format!("shm:{key}")]).run().ok();
    let make = format!("perl -e '$i = shmget({key}, 9, 01640); shmwrite($i, \"from perl\", 0, 9) or die $!'");
    t.bash(&make).run().ok();
    assert_eq!(t.cmd("shmcat").args(["--rm", &key]).run().text(), "from perl");
}

#[test]
fn ipcs_shows_key_size_and_mode() {
    let t = Test::new();
    let key = t.key();
    for (mode, umask) in [("640", "0"), ("604", "0"), ("777", "027"), ("600", "077")] {
        t.bash(&format!("umask {umask}; shmput -m {mode} {key}")).stdin(vec![b'x'; 12345]).run().ok();
        let shown = t.bash(&format!("ipcs -m | awk '$1 == \"{key}\" {{ print $4, $5, $6 }}'")).run().text();
        assert_eq!(shown, format!("{mode} 12345 0"));
        t.cmd("ipcrm").args(["-M", &key]).run().ok();
        t.cmd("shmcat").args([&key]).run().says(3, "does not exist");
    }
    let id = t.cmd("shmput").args(["private:"]).stdin("x").run().text();
    let number = id.strip_prefix("id:").unwrap();
    let shown = t.bash(&format!("ipcs -m | awk '$2 == {number} {{ print $1, $4, $5 }}'")).run().text();
    assert_eq!(shown, "0x00000000 600 1");
    t.cmd("ipcrm").args(["-m", number]).run().ok();
    t.cmd("shmcat").args([&id]).run().says(3, "does not exist");
}

#[test]
fn what_ipcmk_makes() {
    let t = Test::new();
    let make = |flags: &[&str]| {
        let said = t.cmd("ipcmk").args(flags).run().text();
        said.rsplit(' ').next().unwrap().to_owned()
    };
    let id = make(&["-M", "100", "-p", "600"]);
    assert_eq!(t.cmd("shmcat").args([format!("id:{id}")]).run().ok(), [0; 100]);
    t.cmd("shmput").args(["-i", &format!("id:{id}")]).stdin("in place").run().ok();
    assert!(t.cmd("shmcat").args(["--rm", &format!("id:{id}")]).run().ok().starts_with(b"in place\0"));
    for (kind, flags) in [("mq", &["-Q"][..]), ("sem", &["-S", "2"])] {
        let id = make(flags);
        t.cmd("ipcunlink").args([format!("{kind}:id:{id}")]).run().ok();
        t.cmd("ipcunlink").args([format!("{kind}:id:{id}")]).run().says(3, "does not exist");
    }
}

#[test]
fn python_posix_ipc() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    if !python_has(&t, "posix_ipc") {
        return;
    }
    let name = t.queue("seg");
    let python = |script: &str| {
        let begin = "import sys, mmap, os, posix_ipc as p; n = sys.argv[1]\n";
        t.cmd("python3").args(["-c", &format!("{begin}{script}"), &name])
    };
    python("s = p.SharedMemory(n, p.O_CREX, size=100); m = mmap.mmap(s.fd, 100); m[:6] = b'py\\0\\xff\\n.'").run().ok();
    let content = t.cmd("shmcat").args([&name]).run().ok();
    assert_eq!((content.len(), &content[..6]), (100, &b"py\0\xff\n."[..]));
    let show = "
s = p.SharedMemory(n); m = mmap.mmap(s.fd, s.size)
for line in sys.stdin: print(m[:5].decode(), flush=True)";
    t.cmd("shmput").args([&name]).stdin("hello").run().ok();
    let mut mapped = Mapped::new(python(show).spawn_open());
    assert_eq!(mapped.shows(), "hello");
    t.cmd("shmput").args(["-i", &name]).stdin("HE").run().ok();
    assert_eq!(mapped.shows(), "HEllo");
    t.cmd("shmput").args([&name]).stdin("other").run().ok();
    assert_eq!(mapped.shows(), "HEllo");
    python("p.unlink_shared_memory(n)").run().ok();
    t.cmd("shmcat").args([&name]).run().says(3, "does not exist");
    // A semaphore of its own goes as sem:, and is never taken for a segment.
    python("p.Semaphore(n, p.O_CREX)").run().ok();
    t.cmd("shmcat").args([&name]).run().says(3, "does not exist");
    t.cmd("ipcunlink").args([format!("sem:{name}")]).run().ok();
    python("p.MessageQueue(n, p.O_CREX, max_messages=4, max_message_size=64)").run().ok();
    t.cmd("ipcunlink").args([format!("mq:{name}")]).run().ok();
}

#[test]
fn python_sysv_ipc() {
    let t = Test::new();
    if !python_has(&t, "sysv_ipc") {
        return;
    }
    let key = t.key();
    let python = |script: &str| {
        let script = format!("import sys, sysv_ipc as s; k = int(sys.argv[1], 0)\n{script}");
        t.cmd("python3").args(["-c", &script, &key])
    };
    python("s.SharedMemory(k, s.IPC_CREX, size=6, init_character=b'.').write(b'py\\0\\xff')").run().ok();
    assert_eq!(t.cmd("shmcat").args([&key]).run().ok(), b"py\0\xff..");
    let show = "
m = s.SharedMemory(k)
for line in sys.stdin: print(m.read(6).decode(), flush=True)";
    t.cmd("shmput").args(["-i", &key]).stdin("hello!").run().ok();
    let mut mapped = Mapped::new(python(show).spawn_open());
    assert_eq!(mapped.shows(), "hello!");
    t.cmd("shmput").args(["-i", "--offset=5", &key]).stdin("?").run().ok();
    assert_eq!(mapped.shows(), "hello?");
    t.cmd("shmcat").args(["--rm", &key]).run().ok();
    assert_eq!(mapped.shows(), "hello?");
    t.cmd("shmput").args([&key]).stdin("ours").run().ok();
    assert_eq!(python("m = s.SharedMemory(k); print(m.size, m.read().decode())").run().text(), "4 ours");
    python("s.SharedMemory(k).remove()").run().ok();
    t.cmd("shmcat").args([&key]).run().says(3, "does not exist");
}

#[test]
fn python_shared_memory() {
    let t = Test::new();
    if !python_has(&t, "multiprocessing.shared_memory") {
        return;
    }
    // Its resource tracker removes what it knows when the program ends, so
    // everything happens while it runs.
    let script = "
import sys, subprocess
from multiprocessing import resource_tracker, shared_memory
resource_tracker.register = lambda *a: None
resource_tracker.unregister = lambda *a: None
n = sys.argv[1]
run = lambda *a, **k: subprocess.run(a, check=True, stdout=subprocess.PIPE, **k).stdout
m = shared_memory.SharedMemory(n, create=True, size=100)
m.buf[:3] = b'py\\xff'
assert run('shmcat', n) == b'py\\xff' + bytes(97)
run('shmput', '-i', '--offset', '99', n, input=b'!')
assert bytes(m.buf[97:100]) == b'\\0\\0!'
run('shmput', n, input=b'replaced')
assert bytes(m.buf[:3]) == b'py\\xff'
other = shared_memory.SharedMemory(n)
assert bytes(other.buf[:8]) == b'replaced'
other.unlink()
assert subprocess.run(['shmcat', n], stderr=subprocess.PIPE).returncode == 3";
    t.cmd("python3").args(["-c", script, &t.name("seg")]).run().ok();
    assert!(t.left().is_empty());
}
