//! Names and paths made fit for one line of a terminal.
//!
//! Names are bytes that others choose: a newline or an escape sequence in one
//! must not forge a line of our output.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// `name` with `\xNN` for control characters, invisible characters, backslashes and
/// bytes that are not UTF-8.
pub fn printable(name: &OsStr) -> String {
    let mut text = String::with_capacity(name.len());
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(text, "\\x{byte:02x}");
        }
    };
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' || is_invisible(c) {
                escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// What draws nothing or redraws the line: separators, format characters (Cf of the
/// Unicode standard), fillers and tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m10_names_cannot_forge_output() {
        assert_eq!(printable(OsStr::new("/plain-é")), "/plain-é");
        assert_eq!(printable(OsStr::from_bytes(b"/a\nb\x1b[2J\xff\\")), "/a\\x0ab\\x1b[2J\\xff\\x5c");
        assert_eq!(printable(OsStr::new("/a\u{202e}b")), "/a\\xe2\\x80\\xaeb");
        for c in "\u{61c}\u{ad}\u{180e}\u{fff9}\u{fffa}\u{fffb}\u{3164}\u{e0041}\u{e007f}\u{2066}\u{feff}".chars() {
            let text = printable(OsStr::new(&String::from(c)));
            assert!(text.starts_with("\\x") && text.is_ascii(), "{c:?}: {text}");
        }
        for c in "aé\u{4e00}\u{3042}\u{1f600}\u{fffd}".chars() {
            assert_eq!(printable(OsStr::new(&String::from(c))), String::from(c));
        }
    }
}
