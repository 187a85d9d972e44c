//! What speaks for an object being left over, and what against.

use std::time::{Duration, SystemTime};

use super::holders::{Holder, Unseen};
use super::lives::Lives;
use super::object::{Detail, Object, Queue, Segment, Times};
use crate::base::text::printable;

/// When an object that nobody holds counts as left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// It was not used or changed for this long.
    pub age: Duration,
    /// The age is reason enough, where nothing is known of who may come back.
    pub age_alone: bool,
}

impl Patience {
    /// The user said that what was not used for so long is needed by nobody. Without
    /// this it takes a minute and a reason.
    pub fn older(age: Option<Duration>) -> Self {
        age.map_or(Patience { age: Duration::from_secs(60), age_alone: false }, |age| Patience { age, age_alone: true })
    }
}

impl Default for Patience {
    fn default() -> Self {
        Patience::older(None)
    }
}

/// Which way a sign points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The object may be left over.
    For,
    /// The object is not left over, or nobody can know.
    Against,
    /// It says nothing by itself.
    Neither,
}

/// A thing that is known of an object, or that cannot be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Which way it points.
    pub weight: Weight,
    /// What is known, in words.
    pub words: String,
}

/// Whether the signs make an orphan: one at least speaks for it, and none against.
pub(super) fn are_of_an_orphan(signs: &[Sign]) -> bool {
    let has = |weight| signs.iter().any(|sign| sign.weight == weight);
    has(Weight::For) && !has(Weight::Against)
}

/// Signs that are being collected.
pub(super) struct Signs<'a> {
    signs: Vec<Sign>,
    patience: &'a Patience,
    lives: &'a mut Lives,
}

impl<'a> Signs<'a> {
    pub(super) fn new(patience: &'a Patience, lives: &'a mut Lives) -> Self {
        Signs { signs: Vec::new(), patience, lives }
    }

    fn add(&mut self, weight: Weight, words: impl Into<String>) {
        self.signs.push(Sign { weight, words: words.into() });
    }

    /// A sign that only the age can outweigh.
    fn unless_old(&mut self, words: impl Into<String>) {
        let weight = if self.patience.age_alone { Weight::Neither } else { Weight::Against };
        self.add(weight, words);
    }

    /// All signs of this object. `waiting` is how many wait for it, if that is known.
    pub(super) fn of(mut self, object: &Object, holders: &[Holder], unseen: Unseen, waiting: Option<u64>) -> Vec<Sign> {
        self.holders(object, holders, unseen);
        match waiting {
            Some(0) | None if object.backing.is_some() => {}
            Some(0) => self.add(Weight::Neither, "nobody waits on it"),
            Some(1) => self.add(Weight::Against, "a process waits on it"),
            Some(count) => self.add(Weight::Against, format!("{count} processes wait on it")),
            None => self.unless_old("whether anybody waits on it cannot be known"),
        }
        match &object.detail {
            Detail::Segment(Segment { leftover: true, .. }) => {
                self.add(Weight::For, "a tool of ipcutils that was making it has died");
            }
            Detail::Segment(segment) if object.is_sysv() => self.segment(object, segment),
            Detail::Queue(queue) if object.is_sysv() => self.queue(object.times, queue),
            Detail::Semaphores(_) if object.is_sysv() => self.set(object),
            Detail::Ring(Ok(status), _) => {
                for name in status.readers.iter().filter_map(|reader| reader.name.as_deref()) {
                    self.unless_old(format!("the reader {} has a position in it", printable(name)));
                }
                self.name(object);
            }
            _ => self.name(object),
        }
        self.age(object);
        self.signs
    }

    fn holders(&mut self, object: &Object, holders: &[Holder], unseen: Unseen) {
        for holder in holders {
            let who = self.lives.named(holder.pid);
            self.add(Weight::Against, format!("process {who} holds it"));
        }
        match unseen {
            Unseen::Some(count) => {
                self.add(Weight::Against, format!("{count} attached by processes that cannot be seen"))
            }
            Unseen::Unknown => self.add(Weight::Against, "whether anybody else holds it cannot be known"),
            Unseen::None if holders.is_empty() && object.backing.is_some() => {
                self.add(Weight::Neither, "nobody holds it");
            }
            Unseen::None => {}
        }
    }

    /// Whether a process that used the object at `then` has ended. One that is not known
    /// to live keeps an old object from nothing.
    fn user(&mut self, role: &str, pid: i32, then: Option<SystemTime>) -> bool {
        let gone = then.and_then(|then| self.lives.gone(pid, then));
        match gone {
            Some(true) => self.add(Weight::Neither, format!("{role}, process {pid}, has ended")),
            Some(false) => {
                let who = self.lives.named(pid);
                self.add(Weight::Against, format!("{role}, process {who}, lives"));
            }
            None if pid == 0 => {
                self.unless_old(format!("{role} is of another PID namespace: nobody here can know whether it lives"))
            }
            None => self.unless_old(format!("whether {role}, process {pid}, lives cannot be known")),
        }
        gone == Some(true)
    }

    fn segment(&mut self, object: &Object, segment: &Segment) {
        let Times { attached, detached, changed, .. } = object.times;
        let creator = object.creator.and_then(|creator| creator.pid).unwrap_or(0);
        let mut gone = self.user("its creator", creator, changed);
        if attached.is_none() {
            return self.add(Weight::Against, "nobody ever attached it: it may be there to be used later");
        }
        let last = segment.last_pid.unwrap_or(0);
        if last != creator || last == 0 {
            gone &= self.user("its last user", last, attached.max(detached));
            // As shmput(1) leaves it: the mode was set last. See `shm::sysv`.
            if gone && attached.max(detached) <= changed {
                return self.unless_old("it was filled, and nobody has used it since");
            }
        }
        if gone {
            self.add(Weight::For, "nobody lives who is known to have used it");
        }
    }

    fn queue(&mut self, times: Times, queue: &Queue) {
        let users = [
            ("its last sender", queue.last_sender, times.sent),
            ("its last receiver", queue.last_receiver, times.received),
        ];
        for (role, pid, then) in users {
            if then.is_some() {
                self.user(role, pid.unwrap_or(0), then);
            }
        }
    }

    fn set(&mut self, object: &Object) {
        let Some(mut pids) = object.last_pids() else {
            return self.unless_old("who changed it last cannot be known");
        };
        pids.sort_unstable();
        pids.dedup();
        let then = object.times.operated.max(object.times.changed);
        for pid in pids.into_iter().filter(|&pid| pid != 0) {
            self.user("its last user", i32::try_from(pid).unwrap_or(0), then);
        }
    }

    /// A name in which a process number stands, as many programs choose.
    fn name(&mut self, object: &Object) {
        let Some(made) = object.times.created.or(object.times.changed) else { return };
        let bytes = object.address.address.to_bytes();
        let numbers = bytes.split(|byte| !byte.is_ascii_alphanumeric()).filter_map(process_number);
        for pid in numbers {
            match self.lives.gone(pid, made) {
                Some(true) => {
                    self.add(Weight::For, format!("its name has the number of process {pid}, which has ended"))
                }
                Some(false) => {
                    let who = self.lives.named(pid);
                    self.add(Weight::Against, format!("its name has the number of process {who}, which lives"));
                }
                None => {}
            }
        }
    }

    fn age(&mut self, object: &Object) {
        let (age, least) = (object.age(), self.patience.age);
        let words = format!("last used or changed {} s ago", age.as_secs());
        match age >= least {
            true if self.patience.age_alone => self.add(Weight::For, words),
            true => self.add(Weight::Neither, words),
            false => self.add(Weight::Against, format!("{words}, which is less than {} s", least.as_secs())),
        }
    }
}

/// A word of a name that can be the number of a process of a user.
fn process_number(word: &[u8]) -> Option<i32> {
    // Small numbers are counters, and belong to the system. The kernel goes to 2^22.
    let number: i32 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (word[0] != b'0' && (300..=1 << 22).contains(&number)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_processes_in_names() {
        assert_eq!(process_number(b"12345"), Some(12345));
        for none in [&b""[..], b"0123", b"1", b"299", b"4194305", b"12a", b"99999999999999"] {
            assert_eq!(process_number(none), None, "{none:?}");
        }
    }
}
