//! Usage errors on one line, in the style of all messages.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ErrorKind as ClapKind};
use libipc::error::Error;
use libipc::text::printable;

use crate::{habits, hints};

/// clap's message on one line. For a value that one of our own parsers refused, it is
/// the parser's message.
pub(super) fn line(error: &clap::Error, tool: &str, argv: &[OsString]) -> String {
    if let (ClapKind::ValueValidation, Some(source)) = (error.kind(), std::error::Error::source(error)) {
        let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        let words = match source.downcast_ref::<Error>() {
            Some(error) => hints::line(error, &[], tool),
            None => source.to_string(),
        };
        return match argument.split(' ').next().filter(|option| option.starts_with('-')) {
            Some(option) => format!("{option}: {words}"),
            None => words,
        };
    }
    // Words of the command line are in it, whatever they hold.
    let text = error.to_string();
    let one_line = |text: &str| printable(OsStr::new(&text.split_whitespace().collect::<Vec<_>>().join(" ")));
    // Paragraphs: the message, tips, usage. Only the tip about a misspelt word is kept.
    let mut paragraphs = text.split("\n\n");
    let message = one_line(paragraphs.next().unwrap_or(&text));
    let tip = paragraphs.map(one_line).find(|tip| tip.starts_with("tip: a similar"));
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    if let Some(advice) = habits::advice(error, tool, argv) {
        return format!("{message} ({advice})");
    }
    tip.map_or(message.clone(), |tip| format!("{message}, {}", &tip["tip: ".len()..]))
}
