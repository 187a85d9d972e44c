//! Foreign processes that hold an object until they are killed. They are python:
//! a test that has them begins with `Test::with(&["python3"])`.

use std::io::Read;
use std::path::Path;

use super::{Running, Test};

/// Wait until a process has written a line.
pub fn wait_for_line(running: &mut Running) {
    let stdout = running.child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        stdout.read_exact(&mut byte).unwrap();
    }
}

fn python(t: &Test, script: &str, arg: impl AsRef<std::ffi::OsStr>) -> Running {
    let mut running = t.cmd("python3").args(["-c".as_ref(), script.as_ref(), arg.as_ref()]).spawn();
    wait_for_line(&mut running);
    running
}

/// A process that has a System V segment attached.
pub fn attach(t: &Test, id: &str) -> Running {
    let script = "import ctypes, sys, time
c = ctypes.CDLL(None); c.shmat.restype = ctypes.c_void_p
assert c.shmat(int(sys.argv[1]), None, 0) != ctypes.c_void_p(-1).value
print('attached', flush=True); time.sleep(1000)";
    python(t, script, id)
}

/// A process that has the file mapped, and not open.
pub fn map(t: &Test, path: &Path) -> Running {
    python(t, MAP, path)
}

/// The script of [`map`], whose argument is the file.
pub const MAP: &str = "import ctypes, os, sys, time
c = ctypes.CDLL(None); c.mmap.restype = ctypes.c_void_p; f = os.open(sys.argv[1], os.O_RDONLY)
assert c.mmap(None, ctypes.c_size_t(4096), 1, 1, f, ctypes.c_long(0)) != ctypes.c_void_p(-1).value
os.close(f); print('mapped', flush=True); time.sleep(1000)";

/// A process that has an OFD lock on a byte of the file.
pub fn lock(t: &Test, path: &Path) -> Running {
    python(t, LOCK, path)
}

/// The script of [`lock`], whose argument is the file.
pub const LOCK: &str = "import fcntl, os, struct, sys, time
f = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 5, 1, 0))
print('locked', flush=True); time.sleep(1000)";
