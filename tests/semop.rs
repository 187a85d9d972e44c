//! semop: its operands and options; rows C of System V are in semop/sysv.rs, F of
//! POSIX in semop/posix.rs, what a command gets in semop/command.rs.

mod barrier;
mod command;
mod create;
mod foreign;
mod guardian;
mod posix;
mod sysv;
mod torture;

use serde_json::{Value, json};

use crate::util::{Output, Running, Test, wait_until};

pub fn semop(t: &Test, args: &[&str]) -> Output {
    t.cmd("semop").args(args).run()
}

/// A new semaphore of each interface with this value.
#[track_caller]
pub fn both(t: &Test, value: &str) -> [String; 2] {
    let addresses = [t.key(), t.name("sem")];
    for address in &addresses {
        semop(t, &["-x", "-c", value, address]).ok();
    }
    addresses
}

/// A new System V set.
#[track_caller]
pub fn set(t: &Test, values: &str) -> String {
    let key = t.key();
    semop(t, &["-x", "-c", values, &key]).ok();
    key
}

/// The values, with spaces between them.
#[track_caller]
pub fn values(t: &Test, address: &str) -> String {
    semop(t, &["--get", address]).text().replace('\n', " ")
}

/// Wait for values that come a moment later.
#[track_caller]
pub fn wait_for(t: &Test, address: &str, wanted: &str) {
    wait_until(&format!("{address} becomes {wanted}"), || values(t, address) == wanted);
}

/// One that has begun to wait.
#[track_caller]
pub fn blocked(t: &Test, args: &[&str]) -> Running {
    let running = t.cmd("semop").args(args).spawn();
    let address = args.iter().find(|arg| arg.starts_with("0x") || arg.starts_with('/')).unwrap();
    wait_until("somebody waits", || {
        let json = semop(t, &["--get", "-J", address]).text();
        let waits = json.contains("\"waiting\":1") || json.contains("\"waiting_for_zero\":1");
        running.state() == 'Z' || waits
    });
    running
}

#[test]
fn takes_and_gives() {
    let t = Test::new();
    for address in both(&t, "2") {
        semop(&t, &[&address, "-1"]).ok();
        assert_eq!(values(&t, &address), "1");
        semop(&t, &["-n", &address, "0:-1"]).ok();
        semop(&t, &["-n", &address, "-1"]).says(75, "has too little to take");
        semop(&t, &["-n", "-E", "9", &address, "-1"]).says(9, "has too little to take");
        semop(&t, &["-w", "0", &address, "-1"]).says(124, "and the timeout has passed");
        semop(&t, &[&address, "+1"]).ok();
        assert_eq!(values(&t, &address), "1");
        semop(&t, &["--set", "0", &address]).ok();
        let waits = blocked(&t, &["-w", "100", &address, "-1", "--", "echo", "hello"]);
        drop(waits);
        let waits = blocked(&t, &["-w", "100", &address, "-1"]);
        semop(&t, &[&address, "+1"]).ok();
        waits.output().ok();
        assert_eq!(values(&t, &address), "0");
    }
}

#[test]
fn c6_options_and_hyphens() {
    let t = Test::new();
    for address in both(&t, "2") {
        // What follows -- is the command's, whatever it looks like.
        let echo = [&address, "-1", "--", "echo", "-1", "-n", "--", "+2"];
        assert_eq!(semop(&t, &echo).text(), "-1 -n -- +2");
        wait_for(&t, &address, "2");
        for args in
            [&["-n", "-E", "3", &address, "-1"], &[&address, "-1", "-n", "-E", "3"], &["-n", &address, "-1", "-E", "3"]]
        {
            semop(&t, args).ok();
            semop(&t, &[&address, "+1"]).ok();
        }
        // With "(see semop --help)", but for what has its own advice.
        for (args, status, words) in [
            (&[&*address][..], 2, "there is no OP (say -1"),
            (&[&address, "--"], 2, "there is no OP"),
            (&[&address, "--", "true"], 125, "there is no OP"),
            (&["-c", "1", &address, "--", "true"], 125, "there is no OP"),
            (&["-x", &address, "-1"], 2, "--create"),
            (&["-m", "600", &address, "-1"], 2, "--create"),
            (&["--get", &address, "-1"], 2, "cannot be used with"),
            (&["--get", &address, "--", "true"], 125, "cannot be used with"),
            (&["--set", "1", &address, "-1"], 2, "cannot be used with"),
            (&["--get", "--set", "1", &address], 2, "cannot be used with"),
            (&["--get", "-n", &address], 2, "cannot be used with"),
            (&["-J", &address], 2, "--get"),
            (&["-n", "-w", "1", &address, "-1"], 2, "cannot be used with"),
            (&["--bad", &address, "--", "true"], 125, "unexpected argument"),
            (&["5", "-1"], 2, "say id:5 or key:5"),
            (&["file:x", "-1"], 2, "no semaphore is a file"),
            (&["private:", "-1"], 2, "say -c VALUE"),
            (&["--get", "private:"], 2, "names no object"),
        ] {
            semop(&t, args).says(status, words);
        }
        assert_eq!(values(&t, &address), "2");
    }
    assert!(semop(&t, &[]).fails(2).contains("ADDRESS"));
}

#[test]
fn m9_ops_and_values_that_are_none() {
    let t = Test::new();
    for op in [
        "", "1", "+", "-", "=", "=1", "+0", "-0", "--1", "+1x", "0x1", "+ 1", "+-1", ":-1", "1:", "x:-1", "-1:-1",
        "65536:-1",
    ]
    .into_iter()
    .chain(["1:1:-1", "+32768", "+99999999999999999999", "0:-32768"])
    {
        t.cmd("semop").args(["0x1", op]).run().fails(2);
    }
    for value in ["", ",", "1,", ",1", "-1", "+1", "x", "1 ", "0x1", "99999999999", "2147483648"] {
        for option in ["-c", "--set"] {
            semop(&t, &[&format!("{option}{}{value}", if option == "-c" { "" } else { "=" }), "0x1"]).fails(2);
        }
    }
}

#[test]
fn m10_names_of_any_bytes() {
    let t = Test::new();
    let script = "n=$0$'\\xff\\n'; semop -c 3 \"$n\" -1; semop --get -J \"$n\"; semop \"$n\" -3 -n; echo $?; ipcunlink \"sem:$n\"";
    let output = t.cmd("bash").args(["-c", script, &t.name("a")]).run();
    let shown = format!("{}\\xff\\x0a", t.name("a"));
    let escaped = shown.replace('\\', "\\\\");
    let json = format!("{{\"address\":\"{escaped}\",\"elements\":[{{\"index\":0,\"value\":2,\"waiting\":0}}]}}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{json}\n2\n"));
    assert!(output.stderr.starts_with(&format!("semop: {shown}: a POSIX semaphore is taken")), "{output:?}");
}

#[test]
fn m1_m2_private_that_cannot_say_its_identifier_leaves_none() {
    let t = Test::new();
    for (script, status) in [
        ("semop -c 1 private: +1 >/dev/full", 1),
        ("semop -c 1 private: +1 -- echo run >/dev/full", 125),
        ("semop -c 1 private: +1 >&-", 1),
        ("mkfifo p; exec 3<>p 4>p 3<&-; semop -c 1 private: >&4", 141),
        ("semop -c 1 private: 1:+1", 2),
    ] {
        let script = format!("{{ {script}; }} || echo $?; tail -n +2 /proc/sysvipc/sem");
        let Some(run) = t.unshared("--ipc", &script) else { return };
        let output = run.run();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert_eq!(stdout, format!("{status}\n"), "{script}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), usize::from(status != 141), "{output:?}");
    }
}

#[test]
fn private_is_found_by_its_identifier() {
    let t = Test::new();
    let id = semop(&t, &["-c", "1,0", "private:", "1:+2"]).text();
    assert_eq!(values(&t, &id), "1 2");
    t.cmd("ipcunlink").args([format!("sem:{id}")]).run().ok();
    for args in [&[&*id, "-1"][..], &["--get", &id], &["-c", "1,0", &id, "-1"], &["--set", "1,0", &id]] {
        semop(&t, args).says(3, "does not exist");
    }
    semop(&t, &["-x", "-c", "1", &id]).says(4, "an identifier cannot be chosen");
}

#[test]
fn m2_values_that_cannot_be_written() {
    let t = Test::new();
    for address in both(&t, "1") {
        for options in ["--get", "--get -J"] {
            t.bash(&format!("semop {options} {address} >/dev/full")).run().says(1, "No space left");
            t.bash(&format!("semop {options} {address} >&-")).run().says(1, "is closed");
        }
    }
}

#[test]
fn json_of_both() {
    let t = Test::new();
    let [key, name] = both(&t, "3");
    let json = |address: &str| semop(&t, &["--get", "-J", address]).text();
    let read = |address: &str| serde_json::from_str::<Value>(&json(address)).unwrap();
    let elements = json!([{ "index": 0, "value": 3, "waiting": 0 }]);
    assert_eq!(read(&name), json!({ "address": &name, "elements": elements }));
    let mut of_key = read(&key);
    let element = of_key["elements"][0].as_object_mut().unwrap();
    assert!(element.remove("last_pid").is_some_and(|pid| pid.is_u64()), "{}", json(&key));
    assert_eq!(element.remove("waiting_for_zero"), Some(0.into()));
    assert_eq!(of_key, json!({ "address": format!("key:{key}"), "elements": elements }));
    let waits = blocked(&t, &[&key, "=0"]);
    assert!(json(&key).contains("\"waiting\":0,\"waiting_for_zero\":1"), "{}", json(&key));
    drop(waits);
    let waits = blocked(&t, &[&name, "-1"]);
    drop(waits);
}

#[test]
fn set_gives_values() {
    let t = Test::new();
    let key = set(&t, "1,2,3");
    semop(&t, &["--set", "0,32767,0", &key]).ok();
    assert_eq!(values(&t, &key), "0 32767 0");
    semop(&t, &["--set", "32767,0,1", &key]).ok();
    assert_eq!(values(&t, &key), "32767 0 1");
    for few in ["1,2", "1,2,3,4"] {
        semop(&t, &["--set", few, &key]).says(1, "the set has 3 elements");
    }
    semop(&t, &["--set", "32768,1,1", &key]).says(2, "at most 32767");
    assert_eq!(values(&t, &key), "32767 0 1");
    // It wakes whoever waits for it.
    semop(&t, &["--set", "0,0,0", &key]).ok();
    let waits = blocked(&t, &[&key, "0:-2", "1:-1"]);
    semop(&t, &["--set", "3,1,0", &key]).ok();
    waits.output().ok();
    assert_eq!(values(&t, &key), "1 0 0");
    let name = t.name("sem");
    semop(&t, &["-c", "5", &name]).ok();
    for value in ["0", "7", "7", "3"] {
        semop(&t, &["--set", value, &name]).ok();
        assert_eq!(values(&t, &name), value);
    }
    for missing in [t.name("none"), t.key(), "id:2147483647".to_owned()] {
        semop(&t, &["--set", "1", &missing]).says(3, "does not exist");
        semop(&t, &["--get", &missing]).says(3, "does not exist");
        semop(&t, &[&missing, "+1"]).says(3, "does not exist");
        semop(&t, &[&missing, "+1", "--", "true"]).says(125, "does not exist");
    }
}

#[test]
fn no_more_than_a_value_is_given() {
    let t = Test::new();
    for address in both(&t, "0") {
        for (op, after) in [("+1", "1"), ("+1", "2"), ("+5", "3"), ("+1", "3")] {
            semop(&t, &["--max", "3", &address, op]).ok();
            assert_eq!(values(&t, &address), after);
        }
        semop(&t, &["--max", "1", &address, "+1"]).ok();
        assert_eq!(values(&t, &address), "3");
        for ops in [&["-1"][..], &[], &["+1", "+1"], &["=0"], &["+1", "true"]] {
            let status = if ops.contains(&"true") { 125 } else { 2 };
            semop(&t, &[&["--max", "3", &*address], ops].concat()).fails(status);
        }
        // Many at once, and one that takes: never more.
        semop(&t, &["--set", "0", &address]).ok();
        let script = format!("for i in {{1..10}}; do semop --max 2 {address} +1 & done; wait; semop --get {address}");
        assert_eq!(t.bash(&script).run().text(), "2");
        // A waiter is woken.
        semop(&t, &["--set", "0", &address]).ok();
        let waits = blocked(&t, &[&address, "-1"]);
        semop(&t, &["--max", "1", &address, "+1"]).ok();
        waits.output().ok();
    }
}

#[test]
fn verbose_says_how_long_and_quiet_says_nothing() {
    let t = Test::new();
    for address in both(&t, "1") {
        let said = semop(&t, &["-v", &address, "-1", "true"]);
        assert!(said.success() && said.stderr.contains(": waited for 0."), "{said:?}");
        semop(&t, &[&address, "-1"]).ok();
        semop(&t, &["-qn", &address, "-1"]).fails_in_silence(75);
        semop(&t, &["-q", "-w", "0", &address, "-1", "true"]).fails_in_silence(124);
        semop(&t, &["-q", "-x", "-c", "1", &address]).says(4, "exists already");
    }
}
