//! Which objects are wanted: one choice for listing and for removing.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::judge::{State, Verdict};
use super::object::Object;
use super::signs::Patience;
use crate::sys;

/// The conditions that an object must meet.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// It belongs to this user.
    pub uid: Option<u32>,
    /// Its address or name matches.
    pub pattern: Option<Pattern>,
    /// It was not used or changed for this long.
    pub older: Option<Duration>,
    /// It is in one of these states; in any, if there is none.
    pub states: Vec<State>,
}

impl Filter {
    /// Whether an object that was not judged may be wanted.
    pub fn admits(&self, object: &Object) -> bool {
        self.uid.is_none_or(|uid| object.uid == uid)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(object))
            && self.older.is_none_or(|older| object.age() >= older)
    }

    /// Whether an object that [`Filter::admits`] is wanted with this verdict.
    pub fn accepts(&self, verdict: &Verdict) -> bool {
        self.states.is_empty() || self.states.contains(&verdict.state)
    }

    /// What makes an orphan, with the age that is asked for.
    pub fn patience(&self) -> Patience {
        Patience::older(self.older)
    }
}

/// A pattern of fnmatch(3): `*`, `?`, `[...]`.
#[derive(Clone, Debug)]
#[doc(alias = "fnmatch")]
pub struct Pattern(CString);

impl Pattern {
    /// The pattern in this text; None if there is a NUL in it.
    pub fn new(text: &OsStr) -> Option<Self> {
        CString::new(text.as_bytes()).ok().map(Pattern)
    }

    /// Whether it matches the address of an object, with the kind in front or
    /// without, or its name without the slash.
    pub fn matches(&self, object: &Object) -> bool {
        let without_kind = object.address.address.to_bytes();
        let whole = object.address.to_bytes();
        let bare = without_kind.strip_prefix(b"/").unwrap_or(&without_kind);
        [&whole, &without_kind[..], bare]
            .into_iter()
            .any(|text| CString::new(text).is_ok_and(|text| sys::pattern::matches(&self.0, &text)))
    }
}
