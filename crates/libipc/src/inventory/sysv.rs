//! System V objects: /proc/sysvipc, which shows all objects, also those without read
//! permission; proc_sysvipc(5).

use std::time::SystemTime;

use super::holders::Backing;
use super::lives::Lives;
use super::object::{Creator, Detail, Object, Queue, Segment, Semaphores, Times, missing, moment, sysv_address};
use crate::base::address::{Key, Kind, Lookup, SysV};
use crate::base::error::Result;
use crate::{mq, shm, sys};

/// The lines of a table that are wanted, as numbers. Permissions are octal, all others
/// decimal.
fn rows(kind: &str, only: Option<&Lookup>) -> Vec<Vec<i64>> {
    let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
    let number = |(column, field): (usize, &str)| match column {
        2 => i64::from_str_radix(field, 8).ok(),
        // Sizes have no sign.
        _ => field.parse().ok().or_else(|| field.parse::<u64>().ok().map(|_| i64::MAX)),
    };
    let row = |line: &str| line.split_ascii_whitespace().enumerate().map(number).collect::<Option<Vec<_>>>();
    let wanted = |row: &Vec<i64>| match only {
        None => true,
        Some(Lookup::Id(id)) => row.get(1) == Some(&i64::from(*id)),
        Some(Lookup::Key(key)) => row.first() == Some(&i64::from(key.get())),
    };
    table.lines().skip(1).filter_map(row).filter(wanted).collect()
}

/// A time of a table, in which 0 is never.
fn time(seconds: i64) -> Option<SystemTime> {
    (seconds != 0).then(|| moment(seconds))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The part that the tables have in common: key, identifier and permissions come
/// first; the owners begin at column `uid`.
fn object(kind: Kind, row: &[i64], uid: usize, detail: Detail, times: Times) -> Object {
    let (key, id) = (Key::new(row[0] as i32), row[1] as i32);
    Object {
        address: sysv_address(kind, key, id),
        key,
        id: Some(id),
        uid: row[uid] as u32,
        gid: row[uid + 1] as u32,
        mode: row[2] as u32 & 0o777,
        size: None,
        detail,
        creator: Some(Creator { pid: None, uid: row[uid + 2] as u32, gone: None }),
        times,
        backing: None,
    }
}

pub(super) fn segments(objects: &mut Vec<Object>, only: Option<&Lookup>) {
    let mut lives = Lives::default();
    for row in rows("shm", only) {
        // key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap
        let &[_, id, perms, size, creator, last, attached, _, _, creator_uid, _, at, dt, ct, ref rest @ ..] = &row[..]
        else {
            continue;
        };
        let (id, creator, last) = (id as i32, creator as i32, last as i32);
        let detail = Segment {
            removed: perms & 0o1000 != 0,
            leftover: attached == 0 && shm::sysv::is_half_filled(id, perms as u32 & 0o777),
            filling: attached > 0 && shm::sysv::is_being_filled(perms as u32 & 0o777),
            attached: Some(unsigned(attached)),
            last_pid: Some(last),
            resident: rest.first().map(|&resident| unsigned(resident)),
            swapped: rest.get(1).map(|&swapped| unsigned(swapped)),
        };
        let times = Times { changed: time(ct), attached: time(at), detached: time(dt), ..Times::default() };
        objects.push(Object {
            size: Some(unsigned(size)),
            creator: Some(Creator {
                pid: (creator > 0).then_some(creator),
                uid: creator_uid as u32,
                gone: lives.gone(creator, moment(ct)),
            }),
            backing: Some(Backing::Segment(unsigned(id.into()))),
            ..object(Kind::Shm, &row, 7, Detail::Segment(detail), times)
        });
    }
}

pub(super) fn queues(objects: &mut Vec<Object>, only: Option<&Lookup>) {
    for row in rows("msg", only) {
        // key msqid perms cbytes qnum lspid lrpid uid gid cuid cgid stime rtime ctime
        let &[_, id, _, bytes, messages, sender, receiver, _, _, _, _, sent, received, changed, ..] = &row[..] else {
            continue;
        };
        let detail = Queue {
            messages: u64::try_from(messages).ok(),
            // The one number that the table lacks.
            max_bytes: mq::sysv::stat(id as i32).ok().map(|stat| stat.msg_qbytes),
            last_sender: Some(sender as i32),
            last_receiver: Some(receiver as i32),
            ..Queue::default()
        };
        let times = Times { changed: time(changed), sent: time(sent), received: time(received), ..Times::default() };
        let object = object(Kind::Mq, &row, 7, Detail::Queue(detail), times);
        objects.push(Object { size: u64::try_from(bytes).ok(), ..object });
    }
}

pub(super) fn sets(objects: &mut Vec<Object>, only: Option<&Lookup>) {
    for row in rows("sem", only) {
        // key semid perms nsems uid gid cuid cgid otime ctime
        let &[_, id, _, count, _, _, _, _, operated, changed, ..] = &row[..] else { continue };
        let count = unsigned(count);
        let values = sys::sem::values(id as i32, count as usize).ok();
        let values = values.map(|values| values.into_iter().map(u32::from).collect());
        let detail = Semaphores { count, values, waiting: None, corrupt: false };
        let times = Times { changed: time(changed), operated: time(operated), ..Times::default() };
        objects.push(object(Kind::Sem, &row, 4, Detail::Semaphores(detail), times));
    }
}

/// The object of this kind with this key or identifier.
pub(super) fn find(kind: Kind, address: &SysV) -> Result<Object> {
    let lookup = address.lookup()?;
    let mut objects = Vec::new();
    match kind {
        Kind::Mq => queues(&mut objects, Some(&lookup)),
        Kind::Sem => sets(&mut objects, Some(&lookup)),
        Kind::Shm | Kind::Ring | Kind::Lock => segments(&mut objects, Some(&lookup)),
    }
    objects.pop().ok_or_else(|| missing(address))
}
