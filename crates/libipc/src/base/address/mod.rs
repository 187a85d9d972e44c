//! How users name an object: one grammar for all kinds, described in ipcutils(7).
//!
//! | written | is | of |
//! | --- | --- | --- |
//! | `/name` | [`Name::Posix`] | every kind |
//! | `file:PATH` | [`Name::File`] | segments, rings, locks |
//! | `key:N`, `0xN` | [`SysV::Key`] | segments, queues, semaphores |
//! | `id:N` | [`SysV::Id`] | segments, queues, semaphores |
//! | `ftok:PATH[:PROJ]` | [`SysV::Ftok`] | segments, queues, semaphores |
//! | `private:` | [`SysV::Private`] | segments, queues, semaphores |
//!
//! The last column is [`Kind::accepts`]. A new form needs a variant of [`Name`] or
//! [`SysV`] and of [`Form`]; the compiler shows the rest. Parsing is pure: it checks the form and
//! makes no system call. Names are bytes and stay bytes.

mod key;
mod lookup;
mod name;
mod parse;
pub(super) mod types;

pub use key::{Key, Proj};
pub(crate) use lookup::Lookup;
pub use name::PosixName;
pub(crate) use types::Api;
pub use types::{Address, Form, Kind, KindAddress, Name, SysV};
