//! The cure in a message is typed as it stands, and then what failed succeeds.

use crate::util::compile::compile;
use crate::util::{Test, said};

/// A failure, the cure in its message, and a number for the N in it.
struct Case {
    /// What leads to the failure.
    before: &'static str,
    /// What fails, and succeeds after the cure.
    fails: &'static str,
    /// The cure, as a pattern of grep.
    cure: &'static str,
    n: &'static str,
}

const fn case(before: &'static str, fails: &'static str, cure: &'static str) -> Case {
    Case { before, fails, cure, n: "" }
}

/// Run each case among objects of its own. `type_it` finds the cure in the message and
/// runs it. An option alone is one of the tool that failed.
fn typed(t: &Test, cases: &[Case]) {
    const TYPE_IT: &str = "
        cure=$(grep -oEe \"$CURE\" message | head -n 1 | sed \"s/\\bN\\b/$N/\")
        [ -n \"$cure\" ] || { echo \"no cure in: $(cat message)\"; exit; }
        case $cure in
            -*) eval \"${FAILS/ / $cure }\" >out 2>&1 || echo \"still fails with $cure: $(cat out)\"; exit ;;
        esac
        eval \"$cure\" >out 2>&1 || echo \"the cure fails: $cure: $(cat out)\"
        eval \"$FAILS\" >out 2>&1 || echo \"still fails after $cure: $(cat out)\"";
    for Case { before, fails, cure, n } in cases {
        let script = format!(
            "{before}
            if eval \"$FAILS\" >out 2>message; then echo it does not fail; exit; fi
            {TYPE_IT}"
        );
        let Some(run) = t.with_limits("--mount", &script) else { return };
        let text = run.env("FAILS", fails).env("CURE", cure).env("N", n).run().text();
        assert_eq!(text, "", "{before}; {fails}");
    }
}

#[test]
fn limits_are_raised_as_the_message_says() {
    let t = Test::new();
    if t.lacks("sysctl") {
        return;
    }
    typed(
        &t,
        &[
            Case {
                before: "echo 3 100 10 10 >/proc/sys/kernel/sem",
                fails: "semop -c 1,1,1,1 key:6",
                cure: "sysctl kernel.sem='[^']*'",
                n: "8",
            },
            Case {
                before: "echo 10 12 10 10 >/proc/sys/kernel/sem; semop -c 1,1,1,1,1,1,1,1,1 key:5",
                fails: "semop -c 1,1,1,1 key:6",
                cure: "sysctl kernel.sem='[^']*'",
                n: "20",
            },
            Case {
                before: "echo 10 100 10 1 >/proc/sys/kernel/sem; semop -c 1 key:5",
                fails: "semop -c 1 key:6",
                cure: "sysctl kernel.sem='[^']*'",
                n: "2",
            },
            Case {
                before: "echo 1000 >/proc/sys/kernel/shmmax",
                fails: "head -c 2000 /dev/zero | shmput key:6",
                cure: "sysctl [a-z.]*=N",
                n: "2000",
            },
            Case {
                before: "echo 1 >/proc/sys/kernel/shmmni; echo x | shmput key:5",
                fails: "echo x | shmput key:6",
                cure: "sysctl [a-z.]*=N",
                n: "2",
            },
            Case {
                before: "echo 0 >/proc/sys/kernel/msgmni",
                fails: "mqsend -c key:6 x",
                cure: "sysctl [a-z.]*=N",
                n: "2",
            },
        ],
    );
}

#[test]
fn a_full_dev_shm_is_made_larger_as_the_message_says() {
    let t = Test::new();
    if !nix::unistd::geteuid().is_root() {
        // mount(8) names the owner by the number that he has outside.
        return said("not tested: only root may mount /dev/shm anew");
    }
    typed(
        &t,
        &[Case {
            before: "mount -t tmpfs -o size=64K tmpfs /dev/shm",
            fails: "head -c 100K /dev/zero | shmput /s",
            cure: "mount -o remount,size=N /dev/shm",
            n: "1M",
        }],
    );
}

#[test]
fn objects_in_the_way_are_treated_as_the_message_says() {
    let t = Test::new();
    typed(&t, &[
        // What is held or of another kind.
        case("echo x | shmput /s; exec 8</dev/shm/s", "ipcunlink shm:/s", "--force"),
        // A segment that exists under a System V key.
        case("echo x | shmput key:6", "echo y | shmput key:6", "ipcunlink shm:id:[0-9]*"),
        case("echo x | shmput key:6", "shmput key:6 <<<y", "-i\\b"),
        // What is no semaphore.
        case("echo x >/dev/shm/sem.s", "semop -c 1 /s", "ipcunlink sem:/s"),
        case("semop -c 1,1 key:6", "semop -c 1 key:6", "ipcunlink sem:[a-z:0-9x]*"),
        // Nothing to mend but what a dead process has left.
        case("(shmlock /l -- sh -c 'kill -9 $PPID' || :) 2>/dev/null", "shmlock --strict /l -- true", "shmlock --reset /l"),
        case(
            "(echo x; exec sleep 5) | ringput /r & until ringcat --status /r 2>/dev/null | grep -q 'position: 2'; do :; done
             { kill -9 $!; wait $!; } 2>/dev/null || :",
            "ringput /r </dev/null",
            "--restart",
        ),
        // A named reader that is away keeps the writer waiting.
        case(
            "printf 'x\\ny\\n' | ringput -l -s 4K --readers 1 /r & ringcat -l --wait --count 1 --as me /r >/dev/null; wait",
            "ringput -w .1 /r <<<z",
            "ringcat --forget me /r",
        ),
    ]);
}

/// Cures that are another command: it succeeds.
#[test]
fn another_command_works_as_the_message_says() {
    let t = Test::new();
    let script = "
        set +e
        ringput /r <<<x; shmput /s <<<x; shmlock /l -- true; semop -c 1 /sem; semop -c 1,2 key:7; mqsend -c key:5 x
        perl -e '$i = semget(55, 1, 01600)' 2>/dev/null
        fails() { # COMMAND CURE: a pattern, whose part in front of a space and a parenthesis is typed
            if bash -c \"$1\" >out 2>message; then echo \"$1: does not fail\"; return; fi
            cure=$(grep -oEe \"$2\" message | head -n 1)
            [ -n \"$cure\" ] || { echo \"$1: no cure in $(cat message)\"; return; }
            bash -c \"$cure\" >out 2>&1 </dev/null || echo \"$cure fails: $(cat out)\"
        }
        fails 'shmcat /r' 'ringcat /r'
        fails 'shmcat /l' 'shmlock --status /l'
        fails 'shmcat mq:/s' 'mqrecv /s' >not-there; grep -q 'does not exist' not-there || cat not-there
        fails 'ringput /s' 'ipcunlink shm:/s'; shmput /s <<<x
        fails 'ringput /l' 'ipcunlink lock:/l'; shmlock /l -- true
        fails 'shmlock /s -- true' 'ipcunlink shm:/s'; shmput /s <<<x
        fails 'shmlock /r -- true' 'ipcunlink ring:/r'; ringput /r <<<x
        fails 'shmput /r <<<x' 'ipcunlink ring:/r'; ringput /r <<<x
        fails 'semop -c 1 key:7' 'ipcunlink sem:key:0x[0-9a-f]*'
        fails 'semop -n -c 1 key:55 -1' 'semop --set [0-9,]* key:0x[0-9a-f]*' 2>/dev/null";
    if t.lacks("perl") {
        return;
    }
    if let Some(run) = t.unshared("--ipc --mount", script) {
        assert_eq!(run.run().text(), "");
    }
}

/// Cures that change the address, or add an option: the same command succeeds with it.
#[test]
fn the_same_command_works_as_the_message_says() {
    let t = Test::new();
    let script = "
        set +e
        ringput /r <<<x; shmput /s <<<x; semop -c 1 /sem; mqsend -c key:7 x; mqsend -c key:8 x
        mqsend -c --max-messages 2 --message-size 8 /q x
        mended() { # COMMAND CURE EDIT: sed turns COMMAND into the mended one
            if bash -c \"$1\" >out 2>message; then echo \"$1: does not fail\"; return; fi
            grep -qFe \"$2\" message || echo \"$1: $2 is not in $(cat message)\"
            again=$(sed -E \"$3\" <<<\"$1\")
            bash -c \"$again\" >out 2>&1 || echo \"$again fails: $(cat out)\"
        }
        mended 'mqsend key:9 x' '-c creates it' 's/mqsend/mqsend -c/'
        mended 'semop -n key:9 -1' '-c VALUE,... creates it' 's/-n/-c 1/'
        mended 'mqrecv 7' 'say id:7 or key:7' 's/7/key:7/'
        mended 'mqsend file:/x y' 'say /name, key:N' 's/file:.x/key:8/'
        mended 'ipcls shm:/r' 'say ring:/r' 's/shm/ring/'
        mended 'ipcls /s' 'put shm:, ring:, lock:, mq: or sem: in front' 's,/s,shm:/s,'
        mended 'ipcunlink --dry-run /s' 'put shm:, ring:, lock:, mq: or sem: in front' 's,/s,shm:/s,'
        mended 'ipcset -m 600 s' 'say KIND:ADDRESS' 's, s, shm:/s,'
        mended 'shmput -i /s <<<longer' 'ipcset --size N shm:/s' 's,^,ipcset --size 7 shm:/s; ,'
        mended 'shmput --size 2 key:6 <<<longer' 'give a larger --size' 's/2/7/'
        mended 'mqsend /q longer-than-8' 'with a larger --message-size' 's/.*/ipcunlink mq:\\/q; mqsend -c --max-messages 2 --message-size 16 \\/q longer-than-8/'
        head -c 5000 /dev/zero | tr '\\0' x >long; echo >>long
        mended 'ringput -l -s 4K /rr <long' 'larger one with -s' 's/.*/ipcunlink ring:\\/rr; ringput -l -s 8K \\/rr <long/'";
    let Some(t) = (!t.lacks("POSIX queues")).then_some(t) else { return };
    if let Some(run) = t.unshared("--ipc --mount", script) {
        assert_eq!(run.run().text(), "");
    }
}

/// The mutex of a C program whose holder died.
#[test]
fn f7_a_mutex_is_reset_as_the_message_says() {
    let t = Test::new();
    let source = "
        #include <fcntl.h>
        #include <pthread.h>
        #include <signal.h>
        #include <sys/mman.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
            if (argc != 2 || fd < 0 || ftruncate(fd, 4096)) return 1;
            pthread_mutex_t *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            pthread_mutexattr_t a;
            pthread_mutexattr_init(&a);
            pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
            pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
            pthread_mutex_init(m, &a);
            pthread_mutex_lock(m);
            kill(getpid(), SIGKILL);
        }";
    let Some(program) = compile(&t, "holder", source) else { return said("not tested: no C compiler") };
    let lock = t.name("m");
    t.cmd(program.to_str().unwrap()).args([t.shm_path("m")]).run();
    let strict = || t.bash(&format!("shmlock --pthread 0 --strict {lock} -- true")).run();
    let message = strict().fails(7);
    let cure = message.split("then ").nth(1).unwrap().trim_end().trim_end_matches(')');
    assert!(cure.starts_with("shmlock --pthread 0 --reset "), "{message}");
    t.bash(cure).run().ok();
    strict().ok();
}
