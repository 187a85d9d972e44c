//! Semaphores: two handles, what each interface can do, removal.

use libipc::sem::{Create, Op, OpenOptions, Ops, Semaphores};
use libipc::{Address, Discard, ErrorKind, Kind, Result, SysV};

use crate::util::{Own, brief, kind, now, patient, wait_until};

fn open(address: &Address, values: Option<&[u32]>) -> Result<Semaphores> {
    let create = values.map(|values| Create { values: values.into(), exclusive: false, mode: None });
    Semaphores::open(address, &OpenOptions { create }, &mut patient())
}

fn ops(address: &Address, ops: &[(u16, i16)]) -> Result<Ops> {
    let ops = ops.iter().map(|&(element, change)| Op { element, change, undo: false }).collect();
    Ops::new(address, ops, None)
}

/// A new set, by a handle and its address.
fn private(values: &[u32]) -> (Own, Semaphores) {
    let set = open(&Address::SysV(SysV::Private), Some(values)).unwrap();
    (Own::id(Kind::Sem, set.id().unwrap()), set)
}

#[test]
fn a_posix_semaphore_from_two_handles() {
    let own = Own::name(Kind::Sem);
    assert_eq!(kind(open(&own.address, None)), ErrorKind::Missing);
    let one = open(&own.address, Some(&[1])).unwrap();
    let exclusive = Create { values: vec![1], exclusive: true, mode: None };
    let again = Semaphores::open(&own.address, &OpenOptions { create: Some(exclusive) }, &mut now());
    assert_eq!(kind(again), ErrorKind::Exists);
    let other = open(&own.address, None).unwrap();
    let (take, give) = (ops(&own.address, &[(0, -1)]).unwrap(), ops(&own.address, &[(0, 1)]).unwrap());
    one.operate(&take, &mut now()).unwrap();
    assert_eq!(kind(other.operate(&take, &mut now())), ErrorKind::Busy);
    assert_eq!(kind(other.operate(&take, &mut brief())), ErrorKind::TimedOut);
    one.operate(&give, &mut now()).unwrap();
    other.operate(&take, &mut now()).unwrap();
    assert_eq!(Semaphores::inspect(&own.address).unwrap().values(), Ok(vec![0]));
    other.set(&[5]).unwrap();
    assert_eq!(one.values(), Ok(vec![5]));
    assert_eq!(kind(one.set(&[1, 2])), ErrorKind::Usage);
    assert_eq!(kind(one.set(&[1 << 31])), ErrorKind::Usage);
    own.remove().unwrap();
    assert_eq!(kind(own.remove()), ErrorKind::Missing);
}

#[test]
fn a_posix_semaphore_is_taken_one_at_a_time() {
    let own = Own::name(Kind::Sem);
    let set: Address = "key:7".parse().unwrap();
    for refused in [&[(0, 0)][..], &[(0, -5)], &[(1, -1)], &[(0, -1), (0, 1)]] {
        assert_eq!(kind(ops(&own.address, refused)), ErrorKind::Usage, "{refused:?}");
        assert_eq!(ops(&set, refused).unwrap().get().len(), refused.len());
    }
    let two = OpenOptions { create: Some(Create { values: vec![1, 2], exclusive: false, mode: None }) };
    assert_eq!(kind(Semaphores::open(&own.address, &two, &mut now())), ErrorKind::Usage);
    let file: Address = "file:x".parse().unwrap();
    assert_eq!(kind(ops(&file, &[])), ErrorKind::Usage);
    // Operations for the other interface are not performed, whatever they are.
    let semaphore = open(&own.address, Some(&[1])).unwrap();
    let (_set, private) = private(&[1]);
    for foreign in [&[(0, -1)][..], &[(0, 2)], &[(7, -1)]] {
        let foreign = ops(&set, foreign).unwrap();
        assert_eq!(kind(semaphore.operate(&foreign, &mut now())), ErrorKind::Usage);
        assert_eq!(kind(semaphore.operate(&foreign, &mut now())), ErrorKind::Usage);
    }
    let foreign = ops(&own.address, &[(0, -1)]).unwrap();
    assert_eq!(kind(private.operate(&foreign, &mut now())), ErrorKind::Usage);
    assert_eq!((semaphore.values(), private.values()), (Ok(vec![1]), Ok(vec![1])));
}

#[test]
fn a_set_of_nothing_is_refused() {
    for own in [Own::name(Kind::Sem), Own::key(Kind::Sem)] {
        let error = open(&own.address, Some(&[])).unwrap_err();
        assert_eq!((error.kind, error.problem.as_str()), (ErrorKind::Usage, "a new set has at least one value"));
        assert_eq!(kind(own.remove()), ErrorKind::Missing);
    }
}

#[test]
fn semaphores_that_were_made_in_vain_are_discarded() {
    for own in [Own::name(Kind::Sem), Own::key(Kind::Sem)] {
        let made = open(&own.address, Some(&[1])).unwrap();
        assert!(made.is_new());
        let other = open(&own.address, Some(&[1])).unwrap();
        assert!(!other.is_new());
        // It was there for this one.
        other.discard();
        assert!(open(&own.address, None).is_ok());
        // It is used by now.
        other.operate(&ops(&own.address, &[(0, 1)]).unwrap(), &mut now()).unwrap();
        made.discard();
        other.operate(&ops(&own.address, &[(0, -1)]).unwrap(), &mut now()).unwrap();
        drop(other);
        // A child that another test has forked may have the file too, until its exec.
        wait_until("it is gone", || {
            made.discard();
            Semaphores::inspect(&own.address).and_then(|set| set.values()).is_err()
        });
    }
}

#[test]
fn a_waiter_is_woken_by_a_give_and_told_of_a_removal() {
    for removed in [false, true] {
        let own = Own::name(Kind::Sem);
        let semaphore = open(&own.address, Some(&[0])).unwrap();
        let waiter = std::thread::spawn({
            let address = own.address.clone();
            move || {
                let take = ops(&address, &[(0, -1)]).unwrap();
                open(&address, None).unwrap().operate(&take, &mut patient())
            }
        });
        wait_until("it waits", || semaphore.states().unwrap()[0].waiting == 1);
        if removed {
            own.remove().unwrap();
            assert_eq!(kind(waiter.join().unwrap()), ErrorKind::Gone);
        } else {
            semaphore.operate(&ops(&own.address, &[(0, 1)]).unwrap(), &mut now()).unwrap();
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
        assert_eq!(semaphore.states().unwrap()[0].waiting, 0);
    }
}

#[test]
fn a_set_performs_all_operations_or_none() {
    let (own, set) = private(&[1, 0, 32767]);
    let other = open(&own.address, None).unwrap();
    let ops = |all| ops(&own.address, all).unwrap();
    set.operate(&ops(&[(0, -1), (1, 1)]), &mut now()).unwrap();
    assert_eq!(other.values(), Ok(vec![0, 1, 32767]));
    assert_eq!(kind(other.operate(&ops(&[(1, -1), (0, -1)]), &mut now())), ErrorKind::Busy);
    assert_eq!(kind(other.operate(&ops(&[(1, 0)]), &mut brief())), ErrorKind::TimedOut);
    assert_eq!(kind(other.operate(&ops(&[(0, 1), (2, 1)]), &mut now())), ErrorKind::NoRoom);
    assert_eq!(kind(other.operate(&ops(&[(3, 1)]), &mut now())), ErrorKind::Failure);
    assert_eq!(other.values(), Ok(vec![0, 1, 32767]));
    other.operate(&ops(&[(0, 0)]), &mut now()).unwrap();
    other.set(&[4, 5, 6]).unwrap();
    let states = set.states().unwrap();
    assert_eq!(states.iter().map(|state| state.value).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!(states[0].last_pid, Some(std::process::id().cast_signed()));
    assert_eq!(kind(set.set(&[1])), ErrorKind::Failure);
    own.remove().unwrap();
    assert_eq!(kind(set.values()), ErrorKind::Gone);
    assert_eq!(kind(open(&own.address, None).and_then(|set| set.values())), ErrorKind::Missing);
}

#[test]
fn a_set_is_opened_as_it_was_made() {
    let own = Own::key(Kind::Sem);
    assert_eq!(kind(open(&own.address, None)), ErrorKind::Missing);
    let set = open(&own.address, Some(&[1, 2])).unwrap();
    assert_eq!(open(&own.address, Some(&[7, 7])).unwrap().values(), Ok(vec![1, 2]));
    assert_eq!(kind(open(&own.address, Some(&[1]))), ErrorKind::Unexpected);
    assert_eq!(kind(open(&own.address, Some(&[40000]))), ErrorKind::Usage);
    set.discard();
    assert_eq!(kind(open(&own.address, None)), ErrorKind::Missing);
}
