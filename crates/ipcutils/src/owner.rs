//! What a tool tells of a lock whose last holder died inside.

use libipc::lock::OwnerDied;
use libipc::{Address, Hint, Result};

use crate::app::Io;

/// Say so on standard error, or fail if the user is `strict`. `hint` tells how to say
/// that the data is sound.
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
