//! Where the command begins, if no `--` says so: as flock(1), env(1) and timeout(1) have
//! it, its first word is the first operand that is not the tool's own.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, Command};

/// Put `--` before the first operand that `is_own` refuses.
pub(super) fn separate(command: &Command, argv: &mut Vec<OsString>, is_own: fn(usize, &OsStr) -> bool) {
    if let Some(at) = first_of_command(command, argv, is_own) {
        argv.insert(at, "--".into());
    }
}

fn first_of_command(command: &Command, argv: &[OsString], is_own: fn(usize, &OsStr) -> bool) -> Option<usize> {
    let takes_value = |is: &dyn Fn(&Arg) -> bool| {
        command.get_arguments().any(|argument| is(argument) && argument.get_action().takes_values())
    };
    let (mut place, mut at) = (0, 1);
    while let Some(word) = argv.get(at) {
        match word.as_bytes() {
            b"--" => return None,
            // With = the value is in the word.
            [b'-', b'-', long @ ..] => {
                if takes_value(&|argument| argument.get_long().is_some_and(|name| name.as_bytes() == long)) {
                    at += 1;
                }
            }
            [b'-', first, ..] if !first.is_ascii_digit() => {
                let letters = word.as_bytes()[1..].iter().enumerate();
                let has_value = |letter: u8| takes_value(&|argument| argument.get_short() == Some(char::from(letter)));
                let valued = letters.clone().find(|(_, letter)| has_value(**letter));
                // The rest of the word is its value, else the next word is.
                if valued.is_some_and(|(i, _)| i + 2 == word.len()) {
                    at += 1;
                }
            }
            // -1 may be an operand, but no object is called so.
            [b'-', _, ..] if place == 0 => {}
            _ if is_own(place, word) => place += 1,
            _ => return Some(at),
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> String {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let command = Command::new("x").args([
            flag("number").short('n').action(clap::ArgAction::SetTrue),
            flag("wait").short('w').action(clap::ArgAction::Set),
        ]);
        let mut argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        separate(&command, &mut argv, |place, word| place == 0 || word.as_bytes().starts_with(b"-"));
        argv.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_command_begins_at_the_first_foreign_operand() {
        for (given, separated) in [
            ("x /a", "x /a"),
            ("x /a run -n", "x /a -- run -n"),
            ("x /a -- run", "x /a -- run"),
            ("x -n /a run -- y", "x -n /a -- run -- y"),
            ("x -w 1 /a run", "x -w 1 /a -- run"),
            ("x -w1 /a run", "x -w1 /a -- run"),
            ("x -nw 1 /a run", "x -nw 1 /a -- run"),
            ("x --wait 1 /a run", "x --wait 1 /a -- run"),
            ("x --wait=1 /a run", "x --wait=1 /a -- run"),
            ("x /a -1 -n -2 run", "x /a -1 -n -2 -- run"),
            ("x /a -w 1 run", "x /a -w 1 -- run"),
            ("x /a -z run", "x /a -z -- run"),
        ] {
            assert_eq!(words(given), separated);
        }
    }
}
