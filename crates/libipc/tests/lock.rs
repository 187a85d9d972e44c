//! Locks and conditions: two handles, who is there, removal; mutexes of C programs.
//! Commands are run in `process.rs`.

use std::os::unix::fs::FileExt;

use libipc::lock::{Condition, Lock, LockMode, OpenOptions, State, pthread};
use libipc::mode::Mode;
use libipc::shm::PutOptions;
use libipc::{Address, Discard, ErrorKind, Kind, Result};

use crate::util::{Own, brief, kind, now, patient, put, wait_until};

const EXCLUSIVE: OpenOptions = OpenOptions { mode: LockMode::Exclusive, create: Some(Mode::PRIVATE) };
const SHARED: OpenOptions = OpenOptions { mode: LockMode::Shared, create: None };

fn acquire(address: &Address, options: &OpenOptions) -> Result<Lock> {
    Lock::acquire(address, options, &mut now())
}

fn state(address: &Address) -> State {
    Lock::inspect(address).unwrap().state
}

#[test]
fn a_lock_from_two_handles() {
    let own = Own::name(Kind::Lock);
    assert_eq!(kind(acquire(&own.address, &SHARED)), ErrorKind::Missing);
    let one = acquire(&own.address, &EXCLUSIVE).unwrap();
    assert_eq!(state(&own.address), State::Held);
    assert_eq!(kind(acquire(&own.address, &EXCLUSIVE)), ErrorKind::Busy);
    assert_eq!(kind(acquire(&own.address, &SHARED)), ErrorKind::Busy);
    assert_eq!(kind(Lock::acquire(&own.address, &EXCLUSIVE, &mut brief())), ErrorKind::TimedOut);
    // Those who gave up are not listed as waiting any more.
    assert_eq!(Lock::inspect(&own.address).unwrap().waiters, []);
    one.release().unwrap();
    let readers = [acquire(&own.address, &SHARED).unwrap(), acquire(&own.address, &SHARED).unwrap()];
    let status = Lock::inspect(&own.address).unwrap();
    // Two of one process within a second may be listed as one.
    assert!(status.state == State::Shared && [1, 2].contains(&status.readers.len()), "{status:?}");
    assert_eq!(kind(one.reacquire(&mut now())), ErrorKind::Busy);
    drop(readers);
    one.reacquire(&mut patient()).unwrap();
    assert_eq!(one.owner_died(), Ok(None));
    drop(one);
    wait_until("it is free", || state(&own.address) == State::Free);
}

#[test]
fn a_lock_that_was_made_in_vain_is_discarded() {
    let own = Own::name(Kind::Lock);
    let made = Lock::open(&own.address, &EXCLUSIVE).unwrap();
    let other = Lock::open(&own.address, &EXCLUSIVE).unwrap();
    assert!(made.is_new() && !other.is_new());
    other.discard();
    made.discard();
    assert_eq!(state(&own.address), State::Free, "somebody has it open");
    drop(other);
    wait_until("it is gone", || {
        made.discard();
        Lock::inspect(&own.address).is_err()
    });
}

#[test]
fn a_reader_cannot_reset_a_lock() {
    let own = Own::name(Kind::Lock);
    let options = OpenOptions { mode: LockMode::Shared, ..EXCLUSIVE };
    for reader in [acquire(&own.address, &options).unwrap(), acquire(&own.address, &SHARED).unwrap()] {
        let error = reader.reset().unwrap_err();
        assert_eq!((error.kind, error.problem.as_str()), (ErrorKind::Usage, "a reader cannot mark the data as sound"));
        reader.release().unwrap();
    }
}

#[test]
fn a_removed_lock_is_another_lock() {
    let own = Own::name(Kind::Lock);
    let old = acquire(&own.address, &EXCLUSIVE).unwrap();
    let waiter = std::thread::spawn({
        let address = own.address.clone();
        move || Lock::acquire(&address, &EXCLUSIVE, &mut patient()).map(drop)
    });
    wait_until("it waits", || Lock::inspect(&own.address).unwrap().waiters.len() == 1);
    own.remove().unwrap();
    // It takes the one that it makes, though nobody has released the old one.
    assert_eq!(waiter.join().unwrap(), Ok(()));
    old.release().unwrap();
    assert_eq!(kind(old.reacquire(&mut now())), ErrorKind::Gone);
}

#[test]
fn what_is_no_lock_is_refused() {
    let own = Own::name(Kind::Shm);
    put(&own.address, &[0; 4096], &PutOptions::default()).unwrap();
    assert_eq!(kind(acquire(&own.address, &EXCLUSIVE)), ErrorKind::Unexpected);
    assert_eq!(kind(Lock::inspect(&own.address)), ErrorKind::Unexpected);
    assert_eq!(kind(acquire(&"key:7".parse().unwrap(), &EXCLUSIVE)), ErrorKind::Usage);
}

#[test]
fn a_wake_up_after_the_counter_was_read_is_not_missed() {
    let own = Own::name(Kind::Lock);
    let lock = Lock::open(&own.address, &EXCLUSIVE).unwrap();
    let condition = Condition::to_sleep(&lock).unwrap();
    let seen = condition.sequence().unwrap();
    let other = Lock::open(&own.address, &EXCLUSIVE).unwrap();
    Condition::to_wake(&other).unwrap().wake(false).unwrap();
    condition.sleep(seen, &mut now()).unwrap();
    assert_eq!(condition.sequence(), Ok(seen.wrapping_add(1)));
}

#[test]
fn a_sleeper_is_announced_until_it_wakes() {
    let own = Own::name(Kind::Lock);
    let lock = Lock::open(&own.address, &EXCLUSIVE).unwrap();
    let sleeper = std::thread::spawn({
        let address = own.address.clone();
        move || {
            let lock = Lock::open(&address, &EXCLUSIVE)?;
            let condition = Condition::to_sleep(&lock)?;
            condition.sleep(condition.sequence()?, &mut patient())
        }
    });
    let sleepers = || Lock::inspect(&own.address).unwrap().sleepers;
    wait_until("it sleeps", || sleepers().len() == 1);
    assert_eq!(sleepers()[0].pid, std::process::id());
    Condition::to_wake(&lock).unwrap().wake(true).unwrap();
    assert_eq!(sleeper.join().unwrap(), Ok(()));
    assert_eq!(sleepers(), []);
}

#[test]
fn a_sleeper_is_no_longer_announced_after_an_error() {
    let own = Own::name(Kind::Lock);
    let lock = Lock::open(&own.address, &EXCLUSIVE).unwrap();
    let condition = Condition::to_sleep(&lock).unwrap();
    let seen = condition.sequence().unwrap();
    let sleepers = || Lock::inspect(&own.address).unwrap().sleepers;
    assert_eq!(kind(condition.sleep(seen, &mut now())), ErrorKind::Busy);
    assert_eq!(sleepers(), []);
    assert_eq!(kind(condition.sleep(seen, &mut brief())), ErrorKind::TimedOut);
    assert_eq!(sleepers(), []);
    // Overwritten while it sleeps, and then as it was: the lock and its condition
    // are open all the time.
    let file = std::fs::File::options().read(true).write(true).open(own.path()).unwrap();
    let mut magic = [0; 8];
    file.read_exact_at(&mut magic, 0).unwrap();
    file.write_all_at(&[0; 8], 0).unwrap();
    assert_eq!(kind(condition.sleep(seen, &mut patient())), ErrorKind::Unexpected);
    file.write_all_at(&magic, 0).unwrap();
    assert_eq!(sleepers(), []);
}

/// A robust mutex that processes share, unlocked, as glibc has it on 64 bits: 40
/// bytes, of which the fifth word is the kind.
fn mutex() -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[16..20].copy_from_slice(&(0x10u32 | 0x80).to_ne_bytes());
    bytes
}

#[test]
fn a_pthread_mutex_from_two_handles() {
    let own = Own::name(Kind::Shm);
    put(&own.address, &mutex(), &PutOptions::default()).unwrap();
    assert_eq!(kind(pthread::Mutex::open(&own.address, 8)), ErrorKind::Unexpected);
    let one = pthread::Mutex::open(&own.address, 0).unwrap();
    assert_eq!(one.lock(&mut now()), Ok(false));
    let other = pthread::Mutex::open(&own.address, 0).unwrap();
    assert_eq!(kind(other.lock(&mut now())), ErrorKind::Busy);
    assert_eq!(kind(other.lock(&mut brief())), ErrorKind::TimedOut);
    one.unlock(false).unwrap();
    assert_eq!(other.lock(&mut now()), Ok(false));
    other.unlock(false).unwrap();
    let segment = std::fs::File::open(own.path()).unwrap();
    own.remove().unwrap();
    assert_eq!(kind(one.lock(&mut now())), ErrorKind::Gone);
    // Who has it mapped still may go on: the first word says whether it is locked.
    let mut word = [1; 4];
    segment.read_exact_at(&mut word, 0).unwrap();
    assert_eq!(u32::from_ne_bytes(word), 0);
}

/// Each keeps its mapping for the kernel, which looks through the mutexes that a
/// thread held at its end. There is no limit to how many do.
#[test]
fn nine_pthread_mutexes_dropped_while_held() {
    const COUNT: u64 = 9;
    let own = Own::name(Kind::Shm);
    put(&own.address, &mutex().repeat(COUNT as usize), &PutOptions::default()).unwrap();
    let holder = std::thread::spawn({
        let address = own.address.clone();
        move || {
            for i in 0..COUNT {
                let mutex = pthread::Mutex::open(&address, i * 40).unwrap();
                assert_eq!(mutex.lock(&mut now()), Ok(false));
            }
        }
    });
    holder.join().unwrap();
    for i in 0..COUNT {
        let mutex = pthread::Mutex::open(&own.address, i * 40).unwrap();
        // Joined before the kernel had marked it, perhaps.
        assert_eq!(mutex.lock(&mut patient()), Ok(true), "{i}");
        mutex.unlock(true).unwrap();
        assert_eq!(mutex.lock(&mut now()), Ok(false));
        mutex.unlock(false).unwrap();
    }
}
