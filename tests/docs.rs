//! The documents tell the truth: man pages, --help, completions, the README and
//! the list of tools are held against each other, and examples are run.
//!
//! Each check is a function from texts to a list of complaints, so that it can
//! be shown broken texts as well as ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap_complete::Shell;
use ipcutils::tools::LIST;

use crate::util::{Test, entries};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn names() -> BTreeSet<String> {
    LIST.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[track_caller]
pub fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The stems of the files in a directory that end so, but for those of no tool.
fn stems(dir: &str, ending: &str, others: &[&str]) -> BTreeSet<String> {
    let names = entries(root().join(dir)).into_iter();
    let stems = names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned));
    stems.filter(|stem| !others.contains(&stem.as_str())).collect()
}

#[test]
fn a_tool_has_the_same_name_in_each_place() {
    let not_tools =
        ["main", "cures", "docs", "fuzz", "habits", "house", "inject", "interop", "limits", "modes", "pipes", "undo"];
    assert_eq!(stems("crates/ipcutils/src/tools", ".rs", &["mod"]), names());
    assert_eq!(stems("crates/ipcutils/src/bin", ".rs", &[]), names());
    assert_eq!(stems("man", ".1", &[]), names());
    assert_eq!(stems("tests", ".rs", &not_tools), names());
}

/// Flags that differ between a man page and clap's options.
fn compare_flags(page: &str, command: &clap::Command) -> Vec<String> {
    let described: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix(".It Fl ")).flat_map(flags_of_item).collect();
    let mut command = command.clone();
    command.build();
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    let accepted: BTreeSet<String> = options
        .flat_map(|arg| {
            let short = arg.get_short().map(|short| format!("-{short}"));
            let long = arg.get_long().map(|long| format!("--{long}"));
            short.into_iter().chain(long)
        })
        .collect();
    let name = command.get_name();
    let undescribed = accepted.difference(&described).map(|flag| format!("{name}: {flag} is not in the man page"));
    let unknown = described.difference(&accepted).map(|flag| format!("{name}: the man page has {flag}, the tool not"));
    let synopsis = page.split(".Sh SYNOPSIS").nth(1).and_then(|rest| rest.split(".Sh ").next()).unwrap_or_default();
    let words: BTreeSet<_> = synopsis.split_whitespace().collect();
    let unshown =
        command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())).filter(|arg| {
            let short = arg.get_short().map(String::from);
            let long = arg.get_long().map(|long| format!("-{long}"));
            let positional = arg.is_positional().then(|| arg.get_id().to_string());
            // An address with its kind is two words in mdoc; a handler is a command, whose
            // status is not the tool's.
            let positional = positional.map(|id| match id.as_str() {
                "objects" => "address".to_owned(),
                "handler" => "command".to_owned(),
                _ => id,
            });
            ![short, long, positional].into_iter().flatten().any(|word| words.contains(word.as_str()))
        });
    let unshown = unshown.map(|arg| format!("{name}: the synopsis lacks {}", arg.get_id()));
    undescribed.chain(unknown).chain(unshown).collect()
}

/// `d , Fl -decimal Ar n` gives `-d` and `--decimal`.
fn flags_of_item(item: &str) -> Vec<String> {
    let flags = item.split("Fl ").map(|part| part.split([' ', ',']).next().unwrap_or_default());
    flags.map(|flag| format!("-{flag}")).collect()
}

#[test]
fn man_pages_and_options_agree() {
    let complaints: Vec<_> =
        LIST.iter().flat_map(|(name, command)| compare_flags(&read(&format!("man/{name}.1")), &command())).collect();
    none(&complaints);
}

#[test]
fn a_missing_or_invented_flag_is_noticed() {
    let (name, command) = LIST[0];
    let page = read(&format!("man/{name}.1"));
    let missing = page.replace(".It Fl -check", ".It Fl -chack");
    assert_eq!(compare_flags(&missing, &command()).len(), 2);
    let unshown = page.replacen(".Op Fl -check\n", "", 1);
    assert_eq!(compare_flags(&unshown, &command()).len(), 1);
}

/// Help that does not fit a terminal of 80 columns and 36 lines.
fn too_large(name: &str, help: &str) -> Vec<String> {
    let lines = help.lines().count();
    let wide = help.lines().filter(|line| line.chars().count() > 80).map(|line| format!("{name}: too wide: {line}"));
    let long = (lines > 36).then(|| format!("{name}: {lines} lines of help"));
    wide.chain(long).collect()
}

#[test]
fn help_fits_a_screen() {
    let t = Test::new();
    let mut complaints = Vec::new();
    for (name, _) in LIST {
        let help = t.cmd(name).args(["--help"]).run().text();
        assert_eq!(help, t.cmd(name).args(["-h"]).run().text());
        assert!(t.cmd(name).args(["--version"]).run().text().starts_with(&format!("{name} ")));
        complaints.extend(too_large(name, &help));
        t.bash(&format!("{name} --help >/dev/full")).run().says(1, "No space left");
    }
    none(&complaints);
    assert_eq!(too_large("x", &format!("{}\n{}", "y".repeat(81), "\n".repeat(36))).len(), 2);
}

#[test]
fn completions_are_those_of_the_options() {
    let mut complaints = Vec::new();
    let mut expected = BTreeSet::new();
    for (name, command) in LIST {
        for (shell, file) in [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut text = Vec::new();
            // No option takes the name of a file; only operands do.
            let mut command = command().mut_args(|arg| match arg.get_action().takes_values() && !arg.is_positional() {
                true => arg.value_hint(clap::ValueHint::Other),
                false => arg,
            });
            clap_complete::generate(shell, &mut command, *name, &mut text);
            complaints.extend(ensure_content(&format!("completions/{file}"), &text));
            expected.insert(file);
        }
    }
    none(&complaints);
    assert_eq!(entries(root().join("completions")).into_iter().collect::<BTreeSet<_>>(), expected);
}

/// With BLESS set, write a generated file; else complain if it differs.
fn ensure_content(path: &str, content: &[u8]) -> Option<String> {
    let file = root().join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, content).unwrap();
        return None;
    }
    let same = std::fs::read(file).is_ok_and(|found| found == content);
    (!same).then(|| format!("{path} is out of date: run make bless"))
}

#[test]
fn the_readme_has_every_tool() {
    let readme = read("README.md");
    let missing = names().into_iter().filter(|name| !readme.contains(&format!("`{name}`")));
    none(&missing.map(|name| format!("README.md: no {name}")).collect::<Vec<_>>());
    let overview = read("man/ipcutils.7");
    let missing = names().into_iter().filter(|name| !overview.contains(&format!(".It Xr {name} 1")));
    none(&missing.map(|name| format!("ipcutils.7: no {name}")).collect::<Vec<_>>());
}

/// The statuses of the code's one table are those of ipcutils(7).
#[test]
fn the_table_of_statuses_is_in_the_manual() {
    use libipc::ErrorKind::*;
    let page = read("man/ipcutils.7");
    let table = page.split(".Sh EXIT STATUS").nth(1).unwrap().split(".El").next().unwrap();
    let described: BTreeSet<u8> =
        table.lines().filter_map(|line| line.strip_prefix(".It ")?.parse().ok()).filter(|&status| status > 0).collect();
    let kinds = [Failure, Usage, Missing, Exists, Denied, Gone, PeerDied, Unexpected, NoRoom, Busy, TimedOut];
    let kinds = kinds.into_iter().chain([CommandRefused, CommandMissing]);
    let mut used: BTreeSet<u8> = kinds.clone().map(ipcutils::app::status).collect();
    assert_eq!(used.len(), kinds.count());
    used.insert(ipcutils::app::OWN_FAILURE);
    assert_eq!(described, used);
}

/// The statuses that a page lists, in its order.
fn statuses(page: &str) -> Vec<&str> {
    let section = page.split(".Sh EXIT STATUS").nth(1).and_then(|rest| rest.split("\n.Sh ").next());
    section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix(".It ")).collect()
}

/// What a page lacks of the form of all pages: the version in the footer. A
/// tool's page also has its sections, and a sorted list of statuses of `table`.
fn misshapen(file: &str, page: &str, table: &[&str]) -> Vec<String> {
    let version = env!("CARGO_PKG_VERSION");
    let mut missing = Vec::new();
    if !page.contains(&format!("\n.Os ipcutils {version}\n")) {
        missing.push(format!("version {version}"));
    }
    if file.ends_with(".1") {
        let sections = ["EXIT STATUS", "EXAMPLES", "SEE ALSO", "STANDARDS"].into_iter();
        missing.extend(sections.map(str::to_owned).filter(|name| !page.contains(&format!("\n.Sh {name}\n"))));
        let found = statuses(page);
        let number = |status: &&str| status.split('+').next().and_then(|number| number.parse::<u8>().ok());
        if found.is_empty() || !found.is_sorted_by_key(number) {
            missing.push("list of statuses in order".to_owned());
        }
        let unknown = found.into_iter().filter(|status| !table.contains(status));
        missing.extend(unknown.map(|status| format!("status {status} in ipcutils(7)")));
    }
    missing.into_iter().map(|what| format!("man/{file}: no {what}")).collect()
}

#[test]
fn the_pages_have_one_form() {
    let overview = read("man/ipcutils.7");
    let table = statuses(&overview);
    let pages = entries(root().join("man"));
    none(&pages.iter().flat_map(|file| misshapen(file, &read(&format!("man/{file}")), &table)).collect::<Vec<_>>());
    // A page without it is noticed.
    let page = read("man/ftok.1");
    for (part, broken) in [
        (".Os ipcutils ", ".Os ipcutils 9"),
        (".Sh STANDARDS", ".Sh HISTORY"),
        (".It 3", ".It 5"),
        (".It 5", ".It 7b"),
        (".It 8", ".It 10"),
    ] {
        assert_ne!(misshapen("x.1", &page.replacen(part, broken, 1), &table).len(), 0, "{broken}");
    }
    assert_eq!(misshapen("x.1", "", &table).len(), 6);
}

/// One command of an example, and what it prints.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    output: String,
}

/// The steps in the literal displays of a page's EXAMPLES: `$ ` begins a
/// command, `> ` goes on with it, other lines are its output.
fn steps(page: &str) -> Vec<Step> {
    let examples = page.split(".Sh EXAMPLES").nth(1).and_then(|rest| rest.split("\n.Sh ").next()).unwrap_or_default();
    let mut steps: Vec<Step> = Vec::new();
    for display in examples.split(".Bd -literal").skip(1) {
        let lines = display.split(".Ed").next().unwrap_or_default().lines().skip(1);
        for line in lines.map(|line| line.replace("\\e", "\\").replace("\\-", "-").replace("\\&", "")) {
            match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
                (Some(command), _, _) => steps.push(Step { command: command.to_owned(), output: String::new() }),
                (_, Some(more), Some(step)) => step.command += &format!("\n{more}"),
                (_, _, Some(step)) => step.output += &format!("{line}\n"),
                _ => panic!("an example begins with output: {line}"),
            }
        }
    }
    steps
}

/// Run the steps in one shell, as a user would, and compare what they print; a
/// `...` in the page stands for anything within its line.
///
/// They have fixed names and keys, and some sweep: that is for a machine of
/// their own. Where there is none, they are not run.
fn run_steps(steps: &[Step]) -> Vec<String> {
    let t = Test::new();
    let needs = [("mqsend", "POSIX queues"), ("perl", "perl")].into_iter();
    let mut needs = needs.filter(|(word, _)| steps.iter().any(|step| step.command.contains(word)));
    if needs.any(|(_, what)| t.lacks(what)) {
        return Vec::new();
    }
    // The tools print keys with all their digits.
    let whole = |text: &str| text.replace("0x2a", "0x0000002a");
    let mut script = String::from("set +e\n");
    for (i, step) in steps.iter().enumerate() {
        // The status of one step is what the next one's $? sees.
        script += &format!("{{ (exit $last)\n{}\n}} >out.{i} 2>&1; last=$?\n", whole(&step.command));
    }
    // Background jobs have ended before the output is looked at.
    script += "wait\n";
    let mut complaints = Vec::new();
    let Some(run) = t.unshared("--ipc --mount", &script) else { return complaints };
    let run = run.env("last", "0").run();
    if !run.stderr.is_empty() {
        complaints.push(run.stderr);
    }
    for (i, step) in steps.iter().enumerate() {
        let printed = String::from_utf8_lossy(&std::fs::read(t.path(&format!("out.{i}"))).unwrap()).into_owned();
        let expected = whole(&step.output);
        let matches = expected.lines().count() == printed.lines().count()
            && expected.lines().zip(printed.lines()).all(|(expected, line)| match expected.split_once("...") {
                Some((begin, end)) => line.starts_with(begin) && line.ends_with(end),
                None => line == expected,
            });
        if !matches {
            complaints.push(format!("$ {}\nexpected: {expected}printed: {printed}", step.command));
        }
    }
    complaints
}

#[test]
fn the_examples_of_the_manual_do_what_they_show() {
    let mut complaints = Vec::new();
    for page in names().iter().map(|name| format!("man/{name}.1")).chain(["man/ipcutils.7".to_owned()]) {
        let steps = steps(&read(&page));
        assert!(!steps.is_empty(), "{page} has no examples");
        complaints.extend(run_steps(&steps).into_iter().map(|complaint| format!("{page}: {complaint}")));
    }
    none(&complaints);
}

#[test]
fn the_examples_of_the_readme_do_what_they_show() {
    let readme = read("README.md");
    let blocks = readme.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap());
    let page: String = blocks.map(|block| format!(".Bd -literal\n{block}.Ed\n")).collect();
    let steps = steps(&format!(".Sh EXAMPLES\n{page}"));
    assert!(!steps.is_empty());
    none(&run_steps(&steps));
}

#[test]
fn an_example_that_lies_is_noticed() {
    let page = |output: &str| format!(".Sh EXAMPLES\n.Bd -literal\n$ echo a; false\n{output}$ echo $?\n1\n.Ed\n");
    if Test::new().unshared("--ipc --mount", "").is_none() {
        return;
    }
    none(&run_steps(&steps(&page("a\n"))));
    none(&run_steps(&steps(&page("...\n"))));
    for lie in ["", "b\n", "a\na\n"] {
        assert_eq!(run_steps(&steps(&page(lie))).len(), 1, "{lie:?}");
    }
}

/// tests/failures.md names only tests that exist.
#[test]
fn the_table_of_failures_is_true() {
    let table = read("tests/failures.md");
    let sources = sources(&root().join("tests")) + &sources(&root().join("crates"));
    let named = table.split('`').skip(1).step_by(2).filter(|word| {
        let mut letters = word.chars();
        letters.next().is_some_and(|c| c.is_ascii_lowercase()) && letters.next().is_some_and(|c| c.is_ascii_digit())
    });
    let named: Vec<_> = named.collect();
    assert!(named.len() > 20, "{named:?}");
    let missing = named.into_iter().filter(|name| !sources.contains(&format!("fn {name}(")));
    none(&missing.map(|name| format!("tests/failures.md: no test {name}")).collect::<Vec<_>>());
}

/// All Rust below a directory.
fn sources(dir: &Path) -> String {
    let mut all = String::new();
    for name in entries(dir) {
        let path = dir.join(name);
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            all += &std::fs::read_to_string(path).unwrap();
        }
    }
    all
}
