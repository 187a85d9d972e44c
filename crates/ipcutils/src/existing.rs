//! What is said of an object that exists and is not as it was to be made.

use libipc::mode::Mode;
use libipc::{Address, Error, ErrorKind, Hint, Kind, KindAddress};

use crate::app::Io;

/// Say that the object exists with another mode than was asked for, or another `size`,
/// in words. `has` is None if it was made just now.
pub fn report(
    io: &Io<'_>,
    (kind, address): (Kind, &Address),
    asked: Option<Mode>,
    has: Option<u32>,
    size: Option<String>,
) {
    let (Some(has), Ok(object)) = (has, KindAddress::new(kind, address.clone())) else { return };
    let other = asked.map(Mode::bits).filter(|&bits| bits != has);
    let mode = other.map(|_| format!("mode {has:04o}"));
    let found = mode.into_iter().chain(size).collect::<Vec<_>>().join(" and ");
    if found.is_empty() {
        return;
    }
    let mut error = Error::new(ErrorKind::Exists, address, format!("exists already, with {found}"));
    if let Some(bits) = other {
        error = error.hint(Hint::SetMode(object, bits));
    }
    io.note(&error);
}
