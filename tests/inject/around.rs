//! Calls that a sandbox refuses, and permissions beside the mode.

use nix::libc::{SYS_futex, SYS_memfd_create, SYS_prctl};

use crate::util::{Run, Test, said};

/// A perl program that refuses a system call to a command: seccomp(2). Its arguments are
/// the number of prctl(2), that of the call, its error, and the command.
const REFUSE: &str = "
    my ($prctl, $call, $errno) = map { 0 + $_ } splice @ARGV, 0, 3;
    my $filter = join '', map { pack 'SCCL', @$_ }
        [0x20, 0, 0, 0], [0x15, 0, 1, $call], [0x06, 0, 0, 0x50000 | $errno], [0x06, 0, 0, 0x7fff0000];
    my $program = pack 'S x6 P', length($filter) / 8, $filter;
    syscall($prctl, 38, 1, 0, 0, 0) == 0 && syscall($prctl, 22, 2, $program) == 0 or die \"refused: $!\";
    exec @ARGV or die $!";

/// A script in which no command has this call.
fn refused<'t>(t: &'t Test, call: i64, errno: i32, script: &str) -> Run<'t> {
    let numbers = [SYS_prctl, call, errno.into()].map(|number| number.to_string());
    let args = ["-e", REFUSE].map(str::to_owned).into_iter().chain(numbers);
    let shell = ["bash", "-o", "pipefail", "-ec", script].map(str::to_owned);
    t.cmd("perl").args(args.chain(shell)).env("N", t.name("o")).env("P", t.name("p"))
}

/// Whether filters are permitted here; said aloud if not.
fn with_filters() -> Option<Test> {
    let t = Test::with(&["perl"])?;
    let works = refused(&t, SYS_memfd_create, 1, "true").run().success();
    if !works {
        said("not tested: seccomp filters are not permitted");
    }
    works.then_some(t)
}

/// Everything that waits for a word of memory notices a change without futex(2), too.
#[test]
fn m24_without_futex() {
    let Some(t) = with_filters() else { return };
    for errno in [nix::libc::EPERM, nix::libc::ENOSYS] {
        let waits = "
            semop -c 0 $N; semop -w 60 $N -1 & semop $N +1; wait $!
            s=0; semop -w .05 $N -1 2>/dev/null || s=$?; [ $s = 124 ]; ipcunlink sem:$N
            ringcat --wait $N >out & seq 20000 | ringput -w 60 --readers 1 -s 4K $N; wait $!; seq 20000 | cmp - out
            ringput --many -l -s 4K $P <<<x; s=0; ringcat -w .05 $P >out 2>/dev/null || s=$?; [ $s = 124 ]; ipcunlink ring:$N ring:$P
            shmwait -w 60 --until '[ -e flag ]' $N & shmlock $N -- sh -c ': >flag'; shmwake --all $N; wait $!
            s=0; shmwait -w .05 $N 2>/dev/null || s=$?; [ $s = 124 ]; rm out flag; ipcunlink lock:$N";
        let output = refused(&t, SYS_futex, errno, waits).run();
        assert_eq!(output.status, 0, "{output:?}");
        assert!(t.left().is_empty());
    }
}

/// What needs a spool of its own says so, and the rest does without.
#[test]
fn m24_without_memfd() {
    let Some(t) = with_filters() else { return };
    let script = "
        seq 100 | shmput $N; shmcat $N | cmp - <(seq 100)
        cp /dev/shm$N before
        s=0; seq 99 | shmput -i $N 2>error || s=$?
        case $s in 0) ;; *) [ $s = 1 -o $s = 5 ]; grep -q '^shmput: ' error; cmp before /dev/shm$N ;; esac
        ipcls --kind shm --name \"*$N\" >/dev/null; ipcunlink shm:$N; rm -f before error";
    for errno in [nix::libc::EPERM, nix::libc::ENOSYS] {
        let output = refused(&t, SYS_memfd_create, errno, script).run();
        assert_eq!(output.status, 0, "{output:?}");
        assert!(t.left().is_empty());
    }
}

/// The kernel kills who exceeds the memory of a control group: what was there stays, and
/// nothing else does.
#[test]
fn m24_within_a_control_group() {
    let t = Test::new();
    let script = "
        # The shell tells who was killed.
        exec 2>/dev/null
        set +o pipefail
        group=/sys/fs/cgroup/memory/$GROUP limit=memory.limit_in_bytes
        [ -d /sys/fs/cgroup/memory ] || { group=/sys/fs/cgroup/$GROUP limit=memory.max; }
        mkdir $group && echo 8M >$group/$limit || { rmdir $group || :; echo none; exit 0; }
        trap 'rmdir $group' EXIT
        within() { bash -c \"echo \\$\\$ >$group/cgroup.procs; $1\" >out 2>&1; }
        echo old | shmput /x
        within 'head -c 100M /dev/zero | shmput /x' && echo done
        within 'head -c 100M /dev/zero | shmput key:5' && echo done
        within 'seq 100000 | ringput -s 64M /r' && echo done
        within 'mqsend -c key:8 x; mqserve --drain key:8 -- true; shmlock /l -- true; semop -c 1 key:9 -1' || cat out
        shmcat /x; ls -A /dev/shm; ipcls -A --api sysv";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    let output = run.env("GROUP", &t.name("group")[1..]).run();
    if output.stdout == b"none\n" {
        return said("not tested: no control group with a limit can be made");
    }
    assert_eq!(output.text(), "old\nl\nx\nmq:key:0x00000008\nsem:key:0x00000009");
}

/// With an access control list the bits of the group are those of its mask. As bits
/// they would give the group what a single user has.
#[test]
fn g8_an_access_control_list_stays_with_the_object() {
    let Some(t) = Test::with(&["setfacl", "getfacl"]) else { return };
    for (address, path) in [(t.name("o"), t.shm_path("o")), ("file:o".to_owned(), t.path("o"))] {
        let run = |script: &str| t.bash(script).env("ADDRESS", &address).env("FILE", &path).run();
        run("echo old | shmput $ADDRESS").ok();
        if !run("setfacl -m u:12345:rw,g::--- $FILE 2>/dev/null").success() {
            said(&format!("not tested: {} has no access control lists", path.display()));
            continue;
        }
        let list = || run("getfacl -cp $FILE").text();
        let before = list();
        assert!(before.contains("user:12345:rw") && before.contains("group::---"), "{before}");
        for script in
            ["echo new | shmput $ADDRESS", "printf new | shmput -i $ADDRESS", "echo new | shmput --size 9 $ADDRESS"]
        {
            run(script).ok();
            assert_eq!(list(), before, "{script}");
        }
        run("shmcat $ADDRESS >out && ipcls shm:$ADDRESS >out").ok();
        // Bits that are asked for are all that there is.
        run("echo new | shmput -m 640 $ADDRESS").ok();
        assert_eq!(list(), "user::rw-\ngroup::r--\nother::---");
        run("ipcunlink shm:$ADDRESS").ok();
    }
}
