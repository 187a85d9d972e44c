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

/// Separators and directional marks, which draw nothing or redraw the line.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m10_names_cannot_forge_output() {
        assert_eq!(printable(OsStr::new("/plain-é")), "/plain-é");
        assert_eq!(printable(OsStr::from_bytes(b"/a\nb\x1b[2J\xff\\")), "/a\\x0ab\\x1b[2J\\xff\\x5c");
        assert_eq!(printable(OsStr::new("/a\u{202e}b")), "/a\\xe2\\x80\\xaeb");
    }
}
