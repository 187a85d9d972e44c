//! Who may read an object, for a file that the same users shall read, and no others.

use std::fs::File;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown, geteuid};

use crate::sys::xattr;

/// Owners, groups and permission bits of an object: a System V object has two of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readers {
    pub(crate) users: [u32; 2],
    pub(crate) groups: [u32; 2],
    pub(crate) mode: u32,
}

// The tags of an access control list, in its order: acl(5), linux/posix_acl.h.
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;
/// The version of a list as an attribute: linux/posix_acl_xattr.h.
const VERSION: u32 = 2;

impl Readers {
    pub(crate) fn of_file(stat: &FileStat) -> Self {
        Readers { users: [stat.st_uid; 2], groups: [stat.st_gid; 2], mode: stat.st_mode & 0o777 }
    }

    /// What a class of users may do with the file: read it, if they may read the object;
    /// write it too, if they may read and write the object.
    fn class(&self, shift: u32) -> u32 {
        match (self.mode >> shift) & 6 {
            6 => 6,
            4 => 4,
            _ => 0,
        }
    }

    /// Let them read this file of ours: by its mode, or by an access control list where a
    /// mode cannot say it.
    pub(crate) fn admit(&self, file: &File) -> nix::Result<()> {
        let stat = fstat(file)?;
        let (group, other) = (self.class(3), self.class(0));
        let own = geteuid().as_raw();
        // Root reads everything.
        let is_other = |user: &&u32| **user != own && **user != 0;
        let mut strangers: Vec<u32> = self.users.iter().filter(is_other).copied().collect();
        strangers.dedup();
        let mut groups = self.groups.to_vec();
        groups.dedup();
        if let ([], [only]) = (&*strangers, &*groups) {
            let of_group = || stat.st_gid == *only || fchown(file, None, Some(Gid::from_raw(*only))).is_ok();
            if group == other || of_group() {
                return fchmod(file, Mode::from_bits_truncate(0o600 | group << 3 | other));
            }
        }
        if let ([owner], [group_id]) = (&*strangers, &*groups)
            && fchown(file, Some(Uid::from_raw(*owner)), Some(Gid::from_raw(*group_id))).is_ok()
        {
            return fchmod(file, Mode::from_bits_truncate(self.class(6) << 6 | group << 3 | other));
        }
        strangers.sort_unstable();
        groups.sort_unstable();
        let mut list = VERSION.to_le_bytes().to_vec();
        let mut add = |tag: u16, bits: u32, id: u32| {
            list.extend(tag.to_le_bytes());
            list.extend((bits as u16).to_le_bytes());
            list.extend(id.to_le_bytes());
        };
        add(USER_OBJ, 6, u32::MAX);
        strangers.iter().for_each(|&user| add(USER, self.class(6), user));
        // The file's own group is the sender's, and not meant.
        add(GROUP_OBJ, other, u32::MAX);
        groups.iter().for_each(|&id| add(GROUP, group, id));
        add(MASK, 6, u32::MAX);
        add(OTHER, other, u32::MAX);
        match xattr::set_access_list(file, &list) {
            // Then it is for its owner and root.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => fchmod(file, Mode::from_bits_truncate(0o600)),
            other => other,
        }
    }
}
