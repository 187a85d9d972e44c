//! Arguments that no man page has: every tool parses them, or refuses them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::LazyLock;

use ipcutils::tools::LIST;
use proptest::prelude::*;

/// Values near the edges of what the parsers take.
const VALUES: [&str; 30] = [
    "/x",
    "key:-1",
    "key:0",
    "0x2a",
    "id:5",
    "ftok:/:1",
    "ftok:",
    "private:",
    "file:x",
    "sem:/x",
    "mq:key:7",
    "-",
    "--",
    "",
    "0",
    "-1",
    "+1",
    "0:-1",
    "1,2",
    "18446744073709551616",
    "9223372036854775807",
    "1K",
    "8388608T",
    ".5",
    "1m30s",
    "1e99",
    "0777",
    "state,use",
    "*",
    "é\u{202e}",
];

/// Each tool's command line, and its flags.
static TOOLS: LazyLock<Vec<(clap::Command, Vec<String>)>> = LazyLock::new(|| {
    let flags = |command: &clap::Command| {
        let options = command.get_arguments();
        let flags = options.flat_map(|option| {
            let short = option.get_short().map(|short| format!("-{short}"));
            short.into_iter().chain(option.get_long().map(|long| format!("--{long}")))
        });
        flags.collect()
    };
    LIST.iter()
        .map(|(_, command)| command())
        .map(|mut command| {
            command.build();
            let flags = flags(&command);
            (command, flags)
        })
        .collect()
});

/// A word: a flag, a value, both in one, or any bytes.
fn word() -> impl Strategy<Value = (u8, usize, usize, Vec<u8>)> {
    (0..4_u8, any::<usize>(), 0..VALUES.len(), proptest::collection::vec(any::<u8>(), 0..20))
}

proptest! {
    #[test]
    fn fuzz_arguments(tool in 0..LIST.len(), words in proptest::collection::vec(word(), 0..8)) {
        let (command, flags) = &TOOLS[tool];
        let words = words.into_iter().map(|(form, flag, value, bytes)| {
            let (flag, value) = (&flags[flag % flags.len()], VALUES[value]);
            match form {
                0 => flag.into(),
                1 => value.into(),
                2 => format!("{flag}={value}").into(),
                _ => OsString::from_vec(bytes.into_iter().map(|byte| byte.max(1)).collect()),
            }
        });
        let argv = std::iter::once(OsString::from(LIST[tool].0)).chain(words);
        if let Err(error) = command.clone().try_get_matches_from(argv) {
            // Its text is made only when it is shown.
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
