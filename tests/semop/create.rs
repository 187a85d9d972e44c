//! A set between the two calls of its maker: row C22.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{semop, values};
use crate::util::{Test, wait_until};

/// The set as it is between the two calls of its maker.
fn half_made(t: &Test, key: &str, count: usize) {
    t.cmd("perl").args(["-e", &format!("defined semget({key}, {count}, 01600) or die $!")]).run().ok();
}

#[test]
fn c22_a_set_that_nobody_initialises_names_the_mend() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    half_made(&t, &key, 2);
    // The caller's own patience first.
    semop(&t, &["-n", "-c", "1,2", &key, "-1"]).says(75, "nobody has initialised it");
    let begin = Instant::now();
    semop(&t, &["-w", ".2", "-c", "1,2", &key, "-1"]).says(124, "nobody has initialised it");
    assert!(begin.elapsed() >= Duration::from_millis(200));
    let mend = format!("semop --set 1,2 key:{key}, or ipcunlink sem:key:{key})");
    let both = [(&[][..], 8), (&["--", "true"], 125)]
        .map(|(command, status)| (t.cmd("semop").args(["-c", "1,2", &key, "-1"]).args(command).spawn(), status));
    both.into_iter().for_each(|(running, status)| running.output().says(status, &mend));
    // Without -c nothing is waited for.
    semop(&t, &["-n", &key, "-1"]).says(75, "has too little");
    semop(&t, &["--set", "1,2", &key]).ok();
    semop(&t, &["-n", "-c", "1,2", &key, "-1"]).ok();
    assert_eq!(values(&t, &key), "0 2");
}

#[test]
fn c22_the_set_of_ipcmk() {
    let t = Test::new();
    let id = t.cmd("ipcmk").args(["-S", "2"]).run().text();
    let id = format!("id:{}", id.rsplit(' ').next().unwrap());
    semop(&t, &["-w", ".1", "-c", "0,0", &id, "+1"]).says(124, "nobody has initialised it");
    semop(&t, &[&id, "1:+1"]).ok();
    // That was an operation.
    semop(&t, &["-n", "-c", "0,0", &id, "+1"]).ok();
    t.cmd("ipcunlink").args([format!("sem:{id}")]).run().ok();
}

#[test]
fn c22_a_waiter_goes_on_when_it_is_initialised_or_made_anew() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let key = t.key();
    for mend in [
        format!("semop --set 1 {key}"),
        format!("ipcunlink sem:{key}; semop -c 1 {key}"),
        format!("ipcunlink sem:{key}"),
    ] {
        half_made(&t, &key, 1);
        let waits = t.cmd("semop").args(["-c", "1", &key, "-1"]).spawn();
        waits.wait_blocked();
        t.bash(&mend).run().ok();
        waits.output().ok();
        assert_eq!(values(&t, &key), "0");
        t.cmd("ipcunlink").args([format!("sem:{key}")]).run().ok();
    }
}

/// SETVAL and SETALL leave no time of an operation, but their process.
#[test]
fn c22_a_set_that_another_program_has_set_is_used_at_once() {
    let Some(t) = Test::with(&["perl"]) else { return };
    let make = |key: &str, then: &str| {
        let begin = format!("$i = semget({key}, 2, 01600); defined $i or die $!;");
        t.cmd("perl").args(["-e", &format!("$| = 1; {begin} {then} print qq(set\n)")])
    };
    // SETALL is 17, SETVAL 16. One value that is not 0 is enough, as none is missing.
    for set in ["semctl($i, 0, 17, pack('s!2', 0, 1));", "semctl($i, 1, 16, 1); semctl($i, 0, 16, 0);"] {
        let key = t.key();
        let mut maker =
            make(&key, &format!("{set} $SIG{{TERM}} = sub {{ exit }}; print qq(set\n); sleep 1000;")).spawn();
        crate::util::holders::wait_for_line(&mut maker);
        semop(&t, &["-n", "-c", "0,9", &key, "1:-1"]).ok();
        assert_eq!(values(&t, &key), "0 0");
        maker.kill(Signal::SIGTERM);
        maker.output();
    }
    // All 0: the program may raise them next, unless it has ended.
    let key = t.key();
    make(&key, "semctl($i, 0, 17, pack('s!2', 0, 0));").run().ok();
    semop(&t, &["-n", "-c", "0,9", &key, "1:+1"]).ok();
    // One is not set.
    let key = t.key();
    make(&key, "semctl($i, 0, 16, 1);").run().ok();
    let mend = |output: crate::util::Output, status| output.says(status, "semop --set 0,9 key:");
    mend(semop(&t, &["-w", ".1", "-c", "0,9", &key, "+1"]), 124);
    // Once its time is over that is no more "busy".
    wait_until("its time is over", || semop(&t, &["-n", "-c", "0,9", &key, "+1"]).status != 75);
    mend(semop(&t, &["-n", "-c", "0,9", &key, "+1"]), 8);
    mend(semop(&t, &["-w", "100", "-c", "0,9", &key, "+1"]), 8);
}

/// A maker that is slow between its two calls: what others give is not lost, and
/// who says -c waits.
#[test]
fn c22_what_is_given_before_it_is_initialised_stays() {
    let Some(t) = Test::with(&["strace"]) else { return };
    let key = t.key();
    // As slow as strace lives: when that is ended, the maker goes on.
    let strace = ["-I1", "-o", "/dev/null", "-e", "inject=semtimedop:delay_enter=1000000000:when=1"];
    let maker = t.cmd("strace").args(strace).args(["semop", "-c", "1,0", &key]).spawn();
    wait_until("the set is there", || semop(&t, &["--get", &key]).success());
    assert_eq!(values(&t, &key), "0 0");
    let waits = t.cmd("semop").args(["-c", "1,0", &key, "-1"]).spawn();
    waits.wait_blocked();
    semop(&t, &[&key, "1:+1", "+1"]).ok();
    maker.kill(Signal::SIGTERM);
    waits.output().ok();
    let maker = maker.output();
    assert_eq!((maker.status, &*maker.stderr), (143, ""));
    assert_eq!(values(&t, &key), "1 1");
}
