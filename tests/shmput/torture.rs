//! Death and races. Short in `make test`, long in `make torture`.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::filler::wait_old;
use super::{content, put};
use crate::util::sysv::{HALF_FILLED, set as sysv_set};
use crate::util::{Run, Test, entries, noise, rounds, said, wait_until};

/// The inputs a and b of a race, and the function `one_of`, which is true for a
/// file that is exactly one of them; RACES is the number of rounds.
fn race<'t>(t: &'t Test, races: usize, script: &str) -> Run<'t> {
    t.file("a", noise(1, 300_000));
    t.file("b", noise(2, 299_999));
    let script = format!("set -e\none_of() {{ cmp -s a $1 || cmp -s b $1; }}\n{script}");
    t.bash(&script).env("RACES", rounds(races).to_string())
}

#[test]
fn g9_kill_9_at_any_moment_leaves_the_old_or_the_new() {
    let t = Test::new();
    let mut old = noise(0, 1 << 20);
    let begin = Instant::now();
    put(&t, &["file:o"], &*old).run().ok();
    let whole = begin.elapsed() * 5 / 4;
    let mut replaced = 0;
    for round in 1..=rounds(30) {
        let new = noise(round as u64, 1 << 20);
        let moment = whole * u32::from(noise(round as u64, 1)[0]) / 256;
        let writer = put(&t, &["file:o"], &*new).spawn();
        let begin = Instant::now();
        wait_until("the moment", || begin.elapsed() >= moment);
        writer.kill(Signal::SIGKILL);
        let status = writer.output().status;
        assert!(status == 137 || status == 0, "{status}");
        let now = content(&t, "file:o");
        assert!(now == new || now == old && status != 0, "a mix, of {} bytes, status {status}", now.len());
        replaced += usize::from(now == new);
        old = now;
    }
    put(&t, &["file:o"], "end").run().ok();
    assert_eq!(entries(t.path("")), ["o"], "after {replaced} replacements");
}

#[test]
fn g10_of_two_writers_one_wins() {
    let t = Test::new();
    let script = "
        for ((i = 0; i < RACES; i++)); do
            for o in $NAME file:o; do
                shmput $o <a & p=$!; shmput $o <b & wait $p; wait $!
                shmcat $o >out; one_of out
            done
        done";
    race(&t, 40, script).env("NAME", t.name("o")).run().ok();
    assert_eq!(t.left().len(), 1, "{:?}", t.left());
}

#[test]
fn g10_of_exclusive_writers_exactly_one_wins() {
    let t = Test::new();
    let script = "
        for ((i = 0; i < RACES; i++)); do
            for o in $NAME-$i file:o$i; do
                pids= won=
                for j in a b a b; do shmput -x $o <$j 2>>errors & pids+=\" $j:$!\"; done
                for p in $pids; do
                    s=0; wait ${p#*:} || s=$?
                    case $s in 0) won+=${p%%:*} ;; 4) ;; *) cat errors; exit 1 ;; esac
                done
                shmcat $o | cmp - $won
                ipcunlink --force shm:$o
            done
        done";
    race(&t, 20, script).env("NAME", t.name("o")).run().ok();
    assert!(t.left().is_empty(), "{:?}", t.left());
}

#[test]
fn g10_readers_never_see_a_mix() {
    let t = Test::new();
    let script = "
        shmput $NAME <a
        { for ((i = 0; i < RACES; i++)); do shmput $NAME <b; shmput $NAME <a; done; touch stop; } & writer=$!
        read_it() { until [ -e stop ]; do shmcat $NAME >out$1; one_of out$1; done; }
        read_it 1 & one=$!; read_it 2 & wait $!; wait $one; wait $writer";
    race(&t, 60, script).env("NAME", t.name("o")).run().ok();
    assert_eq!(t.left().len(), 1, "{:?}", t.left());
}

/// Of the racers for KEY exactly one wins, and the segment is its input.
const ONE_WINS: &str = "
    one_wins() {
        local pids= won= p s
        for j in a b a b; do shmput $KEY <$j 2>>errors & pids+=\" $j:$!\"; done
        for p in $pids; do
            s=0; wait ${p#*:} || s=$?
            case $s in 0) won+=${p%%:*} ;; 4) ;; *) echo status $s; cat errors; exit 1 ;; esac
        done
        shmcat $KEY | cmp - $won
    }";

#[test]
fn system_v_racers_exactly_one_wins() {
    let t = Test::new();
    let script = format!("{ONE_WINS}\nfor ((i = 0; i < RACES; i++)); do one_wins; ipcunlink --force shm:$KEY; done");
    let key = t.key();
    race(&t, 30, &script).env("KEY", &key).run().ok();
    assert!(t.left().is_empty(), "{:?}", t.left());
}

#[test]
fn racers_for_what_a_dead_filler_left_exactly_one_wins() {
    for _ in 0..rounds(1) {
        let Some(t) = Test::with(&["perl"]) else { return };
        let keys: Vec<_> = (0..8).map(|_| t.key()).collect();
        for key in &keys {
            t.bash(&format!("perl -e 'defined shmget({key}, 7, 01600) or die'")).run().ok();
            sysv_set(&t, "", key, HALF_FILLED).ok();
        }
        keys.iter().for_each(|key| wait_old(key));
        for key in &keys {
            race(&t, 1, &format!("{ONE_WINS}\none_wins; ipcunlink --force shm:$KEY")).env("KEY", key).run().ok();
        }
        assert!(t.left().is_empty(), "{:?}", t.left());
    }
}

#[test]
fn d12_a_segment_that_comes_and_goes_is_whole_or_missing() {
    let t = Test::new();
    let script = "
        { for ((i = 0; i < RACES; i++)); do shmput $KEY <a; ipcunlink --force shm:$KEY; done; touch stop; } & writer=$!
        until [ -e stop ]; do
            s=0; shmcat $KEY >out 2>error || s=$?
            case $s in 0) cmp a out ;; 3|75) [ ! -s out ] ;; *) echo status $s; cat error; exit 1 ;; esac
        done
        wait $writer";
    let key = t.key();
    race(&t, 100, script).env("KEY", &key).run().ok();
    assert!(t.left().is_empty(), "{:?}", t.left());
}

#[test]
fn g4_truncated_in_a_loop_it_is_whole_or_gone() {
    let t = Test::new();
    let script = "
        shmput --size 1M $NAME </dev/null
        (until [ -e stop ]; do truncate -s 0 $FILE; truncate -s 1M $FILE; done) & truncater=$!
        for ((i = 0; i < RACES; i++)); do
            for option in --offset=0 --zero-copy; do
                s=0; shmcat $option $NAME 2>error | cat >out || s=$?
                case $s in
                    0) [ $(stat -c %s out) = 0 ] || cmp -n 1M out /dev/zero; [ ! -s error ] ;;
                    6) grep -q 'was truncated' error ;;
                    *) touch stop; echo status $s; cat error; exit 1 ;;
                esac
            done
        done
        touch stop; wait $truncater";
    race(&t, 40, script).env("NAME", t.name("o")).env("FILE", t.shm_path("o")).run().ok();
}

#[test]
fn g4_truncated_while_it_is_written_in_place_is_not_a_success() {
    let t = Test::new();
    let script = "
        head -c 64M < <(seq 9999999) >in
        for ((i = 0; i < RACES; i++)); do
            shmput --size 64M file:o </dev/null
            shmput -i file:o in 2>error & writer=$!
            # not before it writes
            until [ \"$(head -c 1 o | tr -d '\\0')\" ]; do [ -e /proc/$writer ] || break; done
            truncate -s 0 o
            s=0; wait $writer || s=$?
            case $s in
                # then the truncation came after the end
                0) [ ! -s o ] || { cmp in o; continue; } ;;
                6) grep -q 'was truncated' error ;;
                *) echo status $s; cat error; exit 1 ;;
            esac
        done";
    race(&t, 8, script).run().ok();
}

#[test]
fn replaced_while_it_is_written_in_place_nothing_mixes() {
    let t = Test::new();
    // What is replaced meanwhile gets the bytes, the new object none of them.
    let script = "
        shmput $NAME <a
        for ((i = 0; i < RACES; i++)); do shmput -i $NAME <b 2>err || [ $? = 6 ] || cat err >&2; done & writer=$!
        while kill -0 $writer 2>/dev/null; do
            shmput $NAME <a
            shmcat --offset 299999 $NAME | cmp - <(tail -c 1 a) || { [ $(jobs -r | wc -l) = 0 ] || exit 1; }
        done
        wait $writer";
    race(&t, 30, script).env("NAME", t.name("o")).run().ok();
}

#[test]
fn four_gibibytes() {
    let t = Test::new();
    if rounds(1) == 1 {
        return said("not tested: an object of 4 GiB (make torture)");
    }
    let script = "
        want=$(head -c 4294967299 < <(seq 1000000000) | cksum)
        head -c 4294967299 < <(seq 1000000000) | shmput $NAME
        [ \"$(shmcat $NAME | cksum)\" = \"$want\" ]";
    t.bash(script).env("NAME", t.name("o")).run().ok();
}
