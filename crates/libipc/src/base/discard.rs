//! What was made by a call that failed.

/// An open object that may have been made when it was opened. A failed command leaves
/// nothing behind: its program discards what was made for it.
pub trait Discard {
    /// Whether the call that opened it has made it.
    fn is_new(&self) -> bool;

    /// Remove the object if the call that opened it has made it, and nobody else has
    /// used it since.
    fn discard(&self);
}

impl<T: Discard> Discard for [T] {
    fn is_new(&self) -> bool {
        self.iter().any(Discard::is_new)
    }

    fn discard(&self) {
        self.iter().for_each(Discard::discard);
    }
}

impl<T: Discard + ?Sized> Discard for &T {
    fn is_new(&self) -> bool {
        (**self).is_new()
    }

    fn discard(&self) {
        (**self).discard();
    }
}
