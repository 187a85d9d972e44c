//! The warning about a lock whose last holder died inside.

use libipc::lock::OwnerDied;
use libipc::{Address, Hint, Result};

use crate::app::Io;

/// Warn that the last holder died, or fail if the user is `strict`. `hint` says how to
/// mark the data as sound.
///
/// # Errors
/// [`PeerDied`](libipc::ErrorKind::PeerDied).
pub fn died(io: &Io<'_>, died: &OwnerDied, address: &Address, strict: bool, hint: Hint) -> Result<()> {
    let error = died.error(address, hint);
    if strict {
        return Err(error);
    }
    io.warn(format_args!("{error} (see that the data is sound)"));
    Ok(())
}
