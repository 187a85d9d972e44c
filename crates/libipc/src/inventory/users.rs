//! The names of users and groups, from /etc/passwd and /etc/group alone: a
//! static program cannot ask the name service switch.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::base::text::printable;

/// Names by number.
#[derive(Debug)]
pub struct Names(BTreeMap<u32, String>);

impl Names {
    /// The names of users: passwd(5).
    pub fn of_users() -> Self {
        Names::read("/etc/passwd")
    }

    /// The names of groups: group(5).
    pub fn of_groups() -> Self {
        Names::read("/etc/group")
    }

    fn read(path: &str) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        let mut names = BTreeMap::new();
        for line in text.split(|&byte| byte == b'\n') {
            let mut fields = line.split(|&byte| byte == b':');
            let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
            let Some(number) = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok()) else {
                continue;
            };
            // The first line of a number is its name.
            names.entry(number).or_insert_with(|| printable(OsStr::from_bytes(name)));
        }
        Names(names)
    }

    /// The name, else the number.
    pub fn name(&self, number: u32) -> String {
        self.0.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }

    /// The number of a name, or of a number written in decimal.
    pub fn number(&self, word: &OsStr) -> Option<u32> {
        let word = word.to_str()?;
        let named = self.0.iter().find(|(_, name)| *name == word).map(|(number, _)| *number);
        named.or_else(|| word.bytes().all(|digit| digit.is_ascii_digit()).then(|| word.parse().ok()).flatten())
    }
}
