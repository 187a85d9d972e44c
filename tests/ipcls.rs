//! ipcls: what it lists is what there is; rows E26, M10, M12, M14.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::Value;

use crate::util::{AS_OTHER, Test, rounds, said};

mod held;
mod limits;
mod orphans;
mod ours;
mod used;
mod watch;

/// ipcls -J with these arguments.
fn json(t: &Test, args: &[&str]) -> Value {
    serde_json::from_slice(&t.cmd("ipcls").args(["-J"]).args(args).run().ok()).unwrap()
}

/// The one object at an address.
fn one(t: &Test, address: &str) -> Value {
    let mut document = json(t, &[address]);
    document["objects"][0].take()
}

#[test]
fn system_v_is_what_ipcs_and_lsipc_and_proc_list() {
    let t = Test::new();
    let script = "
        for i in 1 2 3; do ipcmk -M 500$i -p 640; ipcmk -Q -p 600; ipcmk -S $i -p 666; done >/dev/null
        echo x | shmput key:0x2a; mqsend -c key:0x2a hello; mqsend key:0x2a you
        keys() { awk 'NR > 1 { printf \"0x%08x %s %04d\\n\", $1 < 0 ? $1 + 4294967296 : $1, $2, $3 % 1000 }' /proc/sysvipc/$1; }
        for kind in shm:shm mq:msg sem:sem; do
            diff <(ipcls --no-headings -r --kind ${kind%:*} -o key,id,mode,api | grep sysv | cut -d' ' -f1-3) <(keys ${kind#*:})
        done
        old() { ipcs $1 | awk '/^0x/ { print $1, $2, $3, \"0\" $4, $5, $6 }'; }
        new() { ipcls --no-headings -r --kind $1 -o key,id,owner,mode,$2,api | grep 'sysv$' | cut -d' ' -f1-6 | sed 's/ sysv//'; }
        diff <(new shm size,attached) <(old -m)
        diff <(new mq size,messages) <(old -q)
        diff <(new sem size) <(old -s | sed 's/ $//')
        diff <(new shm size,attached) <(lsipc -b -m -r -P --noheadings -o KEY,ID,OWNER,PERMS,SIZE,NATTCH)
        diff <(new sem size) <(lsipc -s -r -P --noheadings -o KEY,ID,OWNER,PERMS,NSEMS)
        diff <(ipcls --kind shm -r --no-headings -o creator,last-pid,api | grep sysv | cut -d' ' -f1,2) <(awk 'NR > 1 { print $5, $6 }' /proc/sysvipc/shm)";
    if let Some(run) = t.unshared("--ipc --mount", script) {
        assert_eq!(run.run().text(), "");
    }
}

/// As glibc writes it on 64 bits: the value, and the mark of what processes share.
const SEMAPHORE_OF_7: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[if cfg!(target_endian = "little") { 0 } else { 7 }] = 7;
    bytes[if cfg!(target_endian = "little") { 8 } else { 11 }] = 128;
    bytes
};

#[test]
fn posix_is_what_dev_shm_holds() {
    let t = Test::new();
    for word in ["a", "b.c", "d e", "é"] {
        t.cmd("shmput").args([t.name(word)]).stdin("x").run().ok();
    }
    std::fs::write(t.shm_path("empty"), "").unwrap();
    std::fs::write(format!("/dev/shm/sem.{}", &t.name("s")[1..]), SEMAPHORE_OF_7).unwrap();
    std::fs::write(format!("/dev/shm/sem.{}", &t.name("no-sem")[1..]), 7u64.to_ne_bytes().repeat(4)).unwrap();
    std::fs::write(t.shm_path("ring"), b"\x89ipcring and more").unwrap();
    std::fs::write(t.shm_path("lock"), b"\x89ipclock and more").unwrap();
    // What is no object is none.
    std::fs::create_dir(t.shm_path("dir")).unwrap();
    t.bash(&format!("mkfifo {0}; ln -s /etc/passwd {1}", t.shm_path("fifo").display(), t.shm_path("link").display()))
        .run()
        .ok();
    let pattern = format!("{}*", &t.name("")[1..]);
    let listed = t.cmd("ipcls").args(["-A", "--kind", "shm,ring,lock,sem", "--name", &pattern]).run().text();
    let expected: [_; 9] =
        ["shm:a", "shm:b.c", "shm:d e", "shm:empty", "shm:é", "ring:ring", "lock:lock", "sem:no-sem", "sem:s"];
    let expected =
        expected.map(|word| word.split_once(':').unwrap()).map(|(kind, word)| format!("{kind}:{}", t.name(word)));
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    let object = one(&t, &format!("sem:{}", t.name("s")));
    assert_eq!((object["values"][0].as_u64(), object["size"].as_u64()), (Some(7), Some(1)));
    // What has not the form of a semaphore has no value.
    let object = one(&t, &format!("sem:{}", t.name("no-sem")));
    assert_eq!((&object["values"], &object["use"]), (&Value::Null, &"corrupt".into()));
    let object = one(&t, &format!("shm:{}", t.name("a")));
    assert_eq!(object["size"], 1);
    assert_eq!(object["state"], "idle");
}

/// With and without the mount, and with another namespace's.
#[test]
fn e26_queues_are_what_a_mounted_mqueue_holds() {
    let Some(t) = Test::with(&["POSIX queues"]) else { return };
    let script = "
        for i in 3 1 2; do mqsend -c --max-messages 4 --message-size 64 /q$i a bc; done
        mqrecv /q2 >/dev/null
        ipcls -A --kind mq >unmounted
        mkdir -p mnt; mount -t mqueue none mnt
        diff unmounted <(ls mnt | sed 's,^,mq:/,')
        diff <(ipcls -r --no-headings --kind mq -o address,size,use) - <<<'mq:/q1 3 2/4
mq:/q2 2 1/4
mq:/q3 3 2/4'
        ipcls mq:/q1 | grep -E '^(size|messages|max-messages|message-size):' | tr '\\n' ' '";
    let Some(run) = t.unshared("--ipc --mount", script) else { return };
    assert_eq!(run.run().text(), "size: 3 messages: 2 max-messages: 4 message-size: 64 ");
    if !t.second_user() {
        return;
    }
    // A /dev of its own, as this machine's may have no directory for queues.
    let script = format!(
        "mkdir dev; mount --rbind /dev dev; mount -t tmpfs -o mode=755 tmpfs /dev
        cd /dev; mkdir -m 1777 shm mqueue; ln -s /proc/self/fd fd; touch null; mount --bind \"$OLDPWD/dev/null\" null
        cd /; mqsend -c --max-messages 4 --message-size 64 /q a
        other() {{ {AS_OTHER} \"$@\"; }}
        other shmput /segment <<<x
        other ipcls -A 2>&1 || echo $?
        other ipcls -A --kind shm; other ipcls -J 2>/dev/null | grep -c errors || :
        mount -t mqueue none /dev/mqueue
        other ipcls -A --kind mq
        unshare --ipc {AS_OTHER} ipcls --kind mq -A 2>&1 || echo $?"
    );
    let run = t.unshared("--ipc --mount", &script).unwrap().run();
    let unlisted = "ipcls: mq: POSIX queues cannot be listed: /dev/mqueue is";
    let expected = format!(
        "shm:/segment\n{unlisted} not mounted (mount -t mqueue none /dev/mqueue, or be root)\n1\nshm:/segment\n1\nmq:/q\n\
         {unlisted} of another IPC namespace (mount it anew, or be root)\n1"
    );
    assert_eq!(run.text(), expected);
}

#[test]
fn m10_no_name_confuses_any_output() {
    let t = Test::new();
    let names: [&[u8]; 8] = [
        b"a\nb",
        b"\x1b[31mred",
        b"\xff\xfe",
        b"tab\there",
        b"bl ank",
        b"back\\x0a",
        b"quo\"te",
        "\u{202e}rtl".as_bytes(),
    ];
    for bytes in names {
        let name = OsString::from_vec([t.name("").as_bytes(), bytes].concat());
        t.cmd("shmput").args([name]).stdin("x").run().ok();
    }
    let pattern = format!("{}*", &t.name("")[1..]);
    let filter = ["--kind", "shm", "--name", &pattern];
    for form in [&["--no-headings"][..], &["-r", "--no-headings"], &["-A"], &["-J"]] {
        let text = t.cmd("ipcls").args(form).args(filter).run().text();
        assert_eq!(text.lines().count(), if form[0] == "-J" { 1 } else { names.len() }, "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    }
    let raw = t.cmd("ipcls").args(["-r", "--no-headings", "-o", "owner,address,size"]).args(filter).run().text();
    assert!(raw.lines().all(|line| line.split(' ').count() == 3), "{raw}");
    // JSON says the bytes of what cannot be said as text; --null says them all.
    let document = json(&t, &filter);
    let mut said: Vec<Vec<u8>> = Vec::new();
    for object in document["objects"].as_array().unwrap() {
        use base64::Engine;
        let address = object["address"].as_str().unwrap();
        said.push(match object["address_base64"].as_str() {
            Some(base64) => base64::prelude::BASE64_STANDARD.decode(base64).unwrap(),
            None => address.as_bytes().to_vec(),
        });
    }
    let plain = t.cmd("ipcls").args(["-A0"]).args(filter).run().ok();
    assert!(plain.ends_with(b"\0"));
    let listed: BTreeSet<_> = plain[..plain.len() - 1].split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    let expected = names.iter().map(|bytes| [b"shm:", t.name("").as_bytes(), bytes].concat()).collect::<BTreeSet<_>>();
    assert_eq!((&listed, said.into_iter().collect()), (&expected, expected.clone()));
    t.bash(&format!("ipcls -A0 --kind shm --name '{pattern}' | ipcunlink -0")).run().ok();
    assert!(t.left().is_empty());
}

#[test]
fn m12_what_vanishes_meanwhile_is_left_out() {
    let t = Test::new();
    let script = format!(
        "while [ ! -e stop ]; do
            for i in 1 2 3 4 5; do echo x | shmput {0}-$i; mqsend -c {1}; done
            ipcunlink shm:{0}-{{1,2,3,4,5}} mq:{1}
        done",
        t.name("n"),
        t.key()
    );
    let churn = t.bash(&script).spawn();
    for _ in 0..rounds(30) {
        let pattern = format!("*{}*", &t.name("")[1..]);
        t.cmd("ipcls").args(["-J", "--kind", "shm,sem", "--name", &pattern]).run().ok();
        t.cmd("ipcls").args(["--orphans", "--kind", "shm,ring", "--name", &pattern]).run().ok();
    }
    t.file("stop", "");
    churn.output().ok();
}

/// As many as there may be: linear, and not even a call of the system for each.
#[test]
fn m14_as_many_segments_as_there_may_be() {
    let Some(t) = Test::with(&["perl"]) else { return };
    // Of processes there are those of the script alone: each is looked at.
    let script = "
        make() { perl -e 'for ($ARGV[0]..$ARGV[1]) { defined shmget($_, 10, 01600) or die $! }' $1 $2; }
        calls() { strace -f -qq -o calls ipcls --kind shm >/dev/null; wc -l <calls; }
        echo 32000 >/proc/sys/kernel/shmmni
        list() { ipcls --kind shm \"$@\" | grep -c shm:key:; }
        make 1 4000; list -A
        few=0; ! strace -qq -o /dev/null true || few=$(calls)
        make 4001 32000; list -A; list -r --no-headings
        if [ $few -gt 0 ]; then echo $few $(calls); fi";
    let Some(run) = t.with_limits("--pid --fork --mount-proc", script) else { return };
    let text = run.run().text();
    let mut lines = text.lines();
    assert_eq!([lines.next(), lines.next(), lines.next()], [Some("4000"), Some("32000"), Some("32000")]);
    match lines.next().and_then(|line| line.split_once(' ')) {
        Some((few, many)) => {
            let (few, many): (usize, usize) = (few.parse().unwrap(), many.parse().unwrap());
            assert!(many < few + 28_000 / 2, "{few} calls for 4000, {many} for 32000");
        }
        None => said("not tested: how the calls of ipcls grow, as strace is missing"),
    }
}

#[test]
fn columns_and_filters() {
    let t = Test::new();
    let (name, key) = (t.name("seg"), t.key());
    t.bash(&format!(
        "echo xyz | shmput -m 640 {name}; echo x | shmput {key}; touch -d '2 hours ago' {}",
        t.shm_path("seg").display()
    ))
    .run()
    .ok();
    let ipcls = |args: &str| t.bash(&format!("ipcls {args}")).run();
    let text = ipcls(&format!("-o address,mode,size,api,type --no-headings shm:{name}")).text();
    assert_eq!(text, format!("shm:{name}  0640  4  posix  shm"));
    assert!(ipcls(&format!("-o mode,size shm:{name}")).text().starts_with("MODE  SIZE\n"));
    // Every column by itself, in every form, as the manual has it.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../man/ipcls.1")).unwrap();
    let section = page.split(".Ss Columns").nth(1).unwrap().split(".El").next().unwrap();
    let described: Vec<_> =
        section.lines().filter_map(|line| line.strip_prefix(".It Ic ")).flat_map(|line| line.split(" , ")).collect();
    let known: Vec<_> = ipcutils::show::Column::ALL.iter().map(|column| column.name).collect();
    assert_eq!(described, known);
    for column in &known {
        for form in ["", "-r", "-J"] {
            ipcls(&format!("{form} -o {column} shm:{name} shm:{key}")).ok();
        }
    }
    ipcls("-o adress").says(2, "choose from address, state");
    ipcls("--kind shm,msg").says(2, "one of shm, ring, lock, mq, sem");
    ipcls("--user nobody-of-that-name").says(2, "is no user of /etc/passwd");
    ipcls(&format!("--mine shm:{name}")).fails(2);
    ipcls("5").says(2, "the kind is missing");
    ipcls("--watch=0").says(2, "must be more than 0");
    ipcls("--watch").says(2, "say -J");
    ipcls(&format!("shm:{name}-not")).says(3, "does not exist");
    ipcls(&format!("mq:{name} ")).says(3, "does not exist");
    ipcls(&format!("ring:{name}")).says(8, &format!("is a segment (say shm:{name})"));
    // One that is missing does not hide the others.
    let output = ipcls(&format!("shm:{name}-not shm:{name}"));
    assert_eq!((output.status, output.stdout.is_empty()), (3, false), "{output:?}");
    // Which of the two it lists, whatever else there is.
    let named = |pattern: &str, args: &str| {
        let text = ipcls(&format!("-A --kind shm --name '{pattern}' {args}")).text();
        text.lines().inspect(|line| assert!(line.contains(&name) || line.contains(&key), "{line}")).count()
    };
    let list = |args: &str| named(&name, args) + named(&format!("key:{key}"), args);
    let me = nix::unistd::geteuid();
    assert_eq!(list(""), 2);
    assert_eq!(list("--mine"), 2);
    assert_eq!(list(&format!("--user {me}")), 2);
    assert_eq!(list("--user 4294967294"), 0);
    assert_eq!(list("--older 0"), 2);
    assert_eq!(list("--older 1h"), 0, "the change of a time is a change too");
    assert_eq!(list("--older 30d"), 0);
    for pattern in [&name, &name[1..], &format!("shm:{name}"), &format!("*{}", &name[8..])] {
        assert_eq!(named(pattern, ""), 1, "{pattern}");
    }
    assert_eq!(named(&format!("x{}", &name[1..]), ""), 0);
    // A file of one's own is looked at by its address.
    t.file("f", "content");
    assert_eq!(
        t.cmd("ipcls").args(["-o", "size,address", "--no-headings", "shm:file:f"]).run().text(),
        "7  shm:file:f"
    );
}

#[test]
fn m1_m2_output_that_cannot_be_written() {
    let t = Test::new();
    let name = t.name("seg");
    t.cmd("shmput").args([&name]).stdin("x").run().ok();
    let ipcls = format!("ipcls --kind shm --name {name}");
    for form in ["", "-J", "-r", "--watch=.01 -J"] {
        t.bash(&format!("{ipcls} {form} >/dev/full")).run().says(1, "standard output: No space left");
        t.bash(&format!("{ipcls} {form} >&-")).run().says(1, "standard output: is closed");
    }
    let script = format!("set +o pipefail; ({ipcls} -J --watch=.01; echo $? >status) | head -n 2 | wc -l; cat status");
    assert_eq!(t.bash(&script).run().text(), "2\n141");
}

#[test]
fn sorted_by_a_column_and_chosen_as_ipcs_does() {
    let t = Test::new();
    for (word, size) in [("a", 20), ("b", 300), ("c", 1)] {
        t.cmd("shmput").args([t.name(word)]).stdin(vec![b'x'; size]).run().ok();
    }
    let key = t.key();
    t.bash(&format!("echo x | shmput {key}; semop -c 1 {key}; semop -c 1 {}", t.name("s"))).run().ok();
    let words = |args: &[&str]| {
        let pattern = format!("*{}*", &t.name("")[1..]);
        let text = t.cmd("ipcls").args(["-A", "--name", &pattern]).args(args).run().text();
        text.replace(&t.name(""), "").replace('\n', " ")
    };
    assert_eq!(words(&["--sort", "size", "-m"]), "shm:c shm:a shm:b");
    assert_eq!(words(&["--sort=-size", "--kind", "shm"]), "shm:b shm:a shm:c");
    assert_eq!(words(&["-m", "-s", "--sort", "address"]), "sem:s shm:a shm:b shm:c");
    assert_eq!((words(&["-q", "--api", "sysv"]), words(&["--api", "sysv"])), (String::new(), String::new()));
    let of_key = |args: &[&str]| t.cmd("ipcls").args(["-A", "--name", &format!("*{key}")]).args(args).run().text();
    assert_eq!(of_key(&["--api", "sysv", "-s"]), format!("sem:key:{key}"));
    assert_eq!(of_key(&["--api", "posix", "-m", "-s"]), "");
    t.cmd("ipcls").args(["--sort", "sise"]).run().says(2, "is no column");
    t.cmd("ipcls").args(["--api", "bsd"]).run().fails(2);
}

/// What eval of a shell reads is what JSON says, and no name runs anything.
#[test]
fn m10_pairs_for_eval() {
    let t = Test::new();
    let evil = format!("{}$(touch hacked)`touch hacked`\"; touch hacked; \\", t.name("e"));
    t.cmd("shmput").args([&evil]).stdin("four").run().ok();
    let script = "eval \"$(ipcls -P --kind shm --name \"$GLOB\")\"; echo $SIZE $MODE $STATE $USE; printf '%s\\n' \"$ADDRESS\"; ls";
    let text = t.bash(script).env("GLOB", format!("{}*", &t.name("e")[1..])).run().text();
    let (first, address) = text.split_once('\n').unwrap();
    assert_eq!(first, "4 0600 idle");
    let expected = format!(
        "shm:{}",
        evil.replace('\\', "\\x5c").replace('$', "\\x24").replace('`', "\\x60").replace('"', "\\x22")
    );
    assert_eq!(address, expected);
}
