//! What a name in a directory is: POSIX objects and mapped files are files, and
//! differ only in where their names lie.
//!
//! | module | what |
//! | --- | --- |
//! | `entry` | a name, opened so that nothing planted under it can hurt |
//! | `draft` | new content, published under a name all at once |
//! | `removal` | a name taken away from one object and no other |
//! | `temporary` | names that exist for an instant, and their sweep |
//! | `byte_lock` | locks that the kernel holds on bytes of a file |
//! | `kind` | what an object is: segment, ring, lock or semaphore |
//! | `readers` | a file that those may read who may read another object |
//! | `space`, `watch` | reserved space; names that appear |
//! | `copy`, `input` | bytes from one descriptor to another |

pub(crate) mod byte_lock;
pub mod copy;
pub(crate) mod draft;
pub(crate) mod entry;
pub mod input;
pub(crate) mod kind;
pub(crate) mod readers;
pub(crate) mod removal;
pub(crate) mod space;
pub(crate) mod temporary;
pub(crate) mod watch;
