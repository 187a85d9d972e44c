//! The floor plan: the sources are parsed, and held against the plan in their own
//! documentation.
//!
//! - A module of libipc uses what stands below it in the table of `libipc/src/lib.rs`,
//!   and nothing above or beside it.
//! - No two files use each other, whatever the way.
//! - The library names no tool and no flag. The tools name only tools and flags that
//!   can be typed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ipcutils::hints;
use ipcutils::tools::LIST;
use libipc::error::{Hint, Spelling};
use libipc::{Address, Kind, KindAddress, PosixName};
use syn::visit::Visit;

use crate::docs::{none, root};
use crate::util::entries;

/// The files of a crate, by module path: `["ring", "writer"]`.
type Crate = BTreeMap<Vec<String>, syn::File>;

fn load(dir: &Path) -> Crate {
    fn walk(dir: &Path, module: &[String], files: &mut Crate) {
        for name in entries(dir) {
            let path = dir.join(&name);
            let child = |name: &str| [module, &[name.to_owned()]].concat();
            if path.is_dir() {
                // The proofs of a module are not part of it, nor are the programs.
                if name != "tests" && name != "bin" {
                    walk(&path, &child(&name), files);
                }
            } else if let Some(stem) = name.strip_suffix(".rs") {
                let module = if stem == "mod" || stem == "lib" { module.to_vec() } else { child(stem) };
                files.insert(module, syn::parse_file(&std::fs::read_to_string(path).unwrap()).unwrap());
            }
        }
    }
    let mut files = Crate::new();
    walk(dir, &[], &mut files);
    files
}

/// Paths and string literals of a file, but for its tests.
#[derive(Default)]
struct Found {
    module: Vec<String>,
    paths: Vec<Vec<String>>,
    literals: Vec<String>,
}

impl Found {
    fn of(module: &[String], file: &syn::File) -> Self {
        let mut found = Found { module: module.to_vec(), ..Found::default() };
        found.visit_file(file);
        found
    }

    /// A path that begins with crate, self or super, from the root of the crate.
    fn add(&mut self, path: &[String]) {
        let mut here = self.module.clone();
        let mut path = path;
        match path.first().map(String::as_str) {
            Some("crate") => (here, path) = (Vec::new(), &path[1..]),
            Some("self" | "super") => {}
            _ => return,
        }
        while let Some(first) = path.first() {
            match first.as_str() {
                "self" => {}
                "super" => drop(here.pop()),
                _ => break,
            }
            path = &path[1..];
        }
        here.extend_from_slice(path);
        self.paths.push(here);
    }

    fn add_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                self.add_tree(&[prefix, &[path.ident.to_string()]].concat(), &path.tree);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(prefix, tree)),
            syn::UseTree::Name(name) => self.add(&[prefix, &[name.ident.to_string()]].concat()),
            syn::UseTree::Rename(name) => self.add(&[prefix, &[name.ident.to_string()]].concat()),
            syn::UseTree::Glob(_) => self.add(prefix),
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let is_test = match item {
            syn::Item::Mod(module) => module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")),
            _ => false,
        };
        if !is_test {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        syn::visit::visit_path(self, path);
    }

    // pub(super) uses nothing of its parent.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    // What documentation says is not said to a user.
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.literals.push(literal.value());
    }

    // The arguments of format! and its like are tokens: their first literal is the text.
    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let first = called.tokens.clone().into_iter().find_map(|token| match token {
            proc_macro2::TokenTree::Literal(literal) => syn::parse_str::<syn::LitStr>(&literal.to_string()).ok(),
            _ => None,
        });
        self.literals.extend(first.map(|literal| literal.value()));
        syn::visit::visit_macro(self, called);
    }
}

/// Which module a path is of: the longest part of it that is a file.
fn file_of(files: &Crate, path: &[String]) -> Option<Vec<String>> {
    (1..=path.len()).rev().map(|len| path[..len].to_vec()).find(|module| files.contains_key(module))
}

/// Which files use which.
fn uses(files: &Crate) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let of = |(module, file): (&Vec<String>, &syn::File)| {
        let paths = Found::of(module, file).paths;
        let used = paths.iter().filter_map(|path| file_of(files, path)).filter(|used| used != module).collect();
        (module.clone(), used)
    };
    // The root re-exports everything.
    files.iter().filter(|(module, _)| !module.is_empty()).map(of).collect()
}

/// Uses that go up in the table of layers, or beside.
fn upwards(files: &Crate, layers: &[Vec<String>]) -> Vec<String> {
    let rank = |name: &str| layers.iter().position(|layer| layer.iter().any(|module| module == name));
    let mut complaints = Vec::new();
    for (user, all) in uses(files) {
        let Some(above) = rank(&user[0]) else {
            complaints.push(format!("{}: is in no layer", user.join("::")));
            continue;
        };
        for used in all {
            // The table has the highest layer first.
            if used[0] != user[0] && rank(&used[0]).is_none_or(|below| below <= above) {
                complaints.push(format!("{} uses {}, which is not below it", user.join("::"), used.join("::")));
            }
        }
    }
    complaints
}

/// Files that use each other, over others or directly: each circle once.
fn circles(files: &Crate) -> Vec<String> {
    let uses = uses(files);
    let mut complaints = BTreeSet::new();
    for start in uses.keys() {
        let (mut stack, mut seen) = (vec![vec![start.clone()]], BTreeSet::new());
        while let Some(way) = stack.pop() {
            for next in uses.get(&way[way.len() - 1]).into_iter().flatten() {
                if next == start {
                    let mut circle: Vec<_> = way.iter().map(|module| module.join("::")).collect();
                    let first = (0..circle.len()).min_by_key(|&i| circle[i].clone()).unwrap();
                    circle.rotate_left(first);
                    complaints.insert(circle.join(" -> "));
                } else if seen.insert(next.clone()) {
                    stack.push([&way[..], std::slice::from_ref(next)].concat());
                }
            }
        }
    }
    complaints.into_iter().map(|circle| format!("a circle: {circle}")).collect()
}

/// The table of layers in the documentation of the library, the highest first: the
/// words in backquotes of its last column.
fn layers(documentation: &str) -> Vec<Vec<String>> {
    let table = documentation.split("//! | layer | modules |").nth(1).unwrap().split("//!\n").next().unwrap();
    let cell = |line: &str| line.trim_start_matches("//! |").split('|').nth(1).map(str::to_owned);
    let words = |cell: String| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    table.lines().filter_map(cell).map(words).filter(|words| !words.is_empty()).collect()
}

#[test]
fn a_layer_uses_what_is_below_it() {
    let library = load(&root().join("crates/libipc/src"));
    let table = layers(&std::fs::read_to_string(root().join("crates/libipc/src/lib.rs")).unwrap());
    assert!(library.len() > 50 && table.len() > 6, "{table:?}");
    none(&upwards(&library, &table));
    none(&circles(&library));
    none(&circles(&load(&root().join("crates/ipcutils/src"))));
}

#[test]
fn a_circle_and_a_use_of_what_is_above_are_noticed() {
    let files = |all: &[(&str, &str)]| -> Crate {
        let one = |(module, text): &(&str, &str)| {
            (module.split("::").map(str::to_owned).collect(), syn::parse_file(text).unwrap())
        };
        all.iter().map(one).collect()
    };
    let table = layers("//! | layer | modules |\n//! | --- | --- |\n//! | b | [`high`] |\n//! | a | `low` |\n//!\n");
    assert_eq!(table, [["high".to_owned()], ["low".to_owned()]]);
    let good = files(&[("high", "use crate::low::X;"), ("low", "struct X;"), ("low::part", "use super::X;")]);
    assert_eq!(upwards(&good, &table), [""; 0]);
    assert_eq!(circles(&good), [""; 0]);
    let up = files(&[("high", ""), ("low", "fn f() { crate::high::g(); }")]);
    assert_eq!(upwards(&up, &table).len(), 1);
    let circle =
        files(&[("low::a", "use super::b::X;"), ("low::b", "use {super::c};"), ("low::c", "use crate::low::a;")]);
    assert_eq!(circles(&circle), ["a circle: low::a -> low::b -> low::c"]);
    assert_eq!(upwards(&files(&[("other", "")]), &table).len(), 1);
}

/// The words of a text that are flags, each with the tool it is for: the last one
/// named before it, or `own`. Other programs' flags are theirs.
fn flags(text: &str, own: &str) -> Vec<(String, String)> {
    const OTHERS: [&str; 6] = ["ulimit", "mount", "sysctl", "rm", "rmdir", "ipcrm"];
    let mut tool = own.to_owned();
    let mut found = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || "(),;'".contains(c)) {
        let name = word.trim_end_matches([':', '.']);
        if OTHERS.contains(&name) || LIST.iter().any(|(tool, _)| *tool == name) {
            tool = name.to_owned();
        } else if name == "or" || name == "begins" || name == "and" {
            tool = own.to_owned();
        }
        let flag = name.split('=').next().unwrap_or_default();
        let letters = flag.trim_start_matches('-');
        let dashes = flag.len() - letters.len();
        let is_flag = match dashes {
            1 => letters.len() == 1 && letters.chars().all(|c| c.is_ascii_alphabetic() && c != 'N'),
            2 => letters.starts_with(|c: char| c.is_ascii_alphabetic()),
            _ => false,
        };
        if is_flag && !OTHERS.contains(&tool.as_str()) {
            found.push((tool.clone(), flag.to_owned()));
        }
    }
    found
}

/// Flags in these words that no tool has.
fn unknown_flags(text: &str, own: &str) -> Vec<String> {
    let accepts = |tool: &str, flag: &str| {
        LIST.iter().filter(|(name, _)| *name == tool).any(|(_, command)| {
            let mut command = command();
            command.build();
            let mut arguments = command.get_arguments();
            arguments.any(|argument| match flag.strip_prefix("--") {
                Some(long) => argument.get_long() == Some(long),
                None => argument.get_short().is_some_and(|short| flag[1..].starts_with(short)),
            })
        })
    };
    let unknown = flags(text, own).into_iter().filter(|(tool, flag)| !accepts(tool, flag));
    unknown.map(|(tool, flag)| format!("{text:?} names {flag}, which {tool} has not")).collect()
}

/// One of each hint.
fn examples() -> Vec<Hint> {
    let address = || Address::from(PosixName::parse("/x".as_ref()).unwrap());
    let of = |kind| KindAddress::new(kind, address()).unwrap();
    vec![
        Hint::Say(vec![Spelling { address: "/x".into(), meaning: Some("for a POSIX name") }]),
        Hint::Forms(Some(Kind::Lock)),
        Hint::PutKind(vec![Kind::Shm, Kind::Mq]),
        Hint::KindForms,
        Hint::OtherKind(of(Kind::Ring)),
        Hint::ReadAs(of(Kind::Lock)),
        Hint::Remove(of(Kind::Shm)),
        Hint::RemoveIfUnused(of(Kind::Lock)),
        Hint::WriteInPlace(Some(of(Kind::Shm))),
        Hint::PutAgain(of(Kind::Shm)),
        Hint::Force,
        Hint::SetMode(of(Kind::Ring), 0o640),
        Hint::ModeOrRemove(of(Kind::Shm)),
        Hint::RemoveFirst,
        Hint::Foreign(Kind::Shm),
        Hint::Foreign(Kind::Ring),
        Hint::Foreign(Kind::Mq),
        Hint::MakeRoom,
        Hint::MakeRoomOrRemount("size"),
        Hint::AskForLess,
        Hint::Size,
        Hint::LargerSize,
        Hint::Resize(of(Kind::Shm)),
        Hint::HoldBytes(of(Kind::Mq), 9),
        Hint::LargerMessages,
        Hint::LargerRing,
        Hint::Sysctl("kernel.shmmax"),
        Hint::SysctlSem(4),
        Hint::SysctlSet("kernel.shm_rmid_forced", "0"),
        Hint::Ulimit('u'),
        Hint::QueueBytes,
        Hint::FileSize,
        Hint::Processes,
        Hint::UseAsItIs(of(Kind::Sem)),
        Hint::Initialise(vec![1, 2], address()),
        Hint::FromZero,
        Hint::Reset(address()),
        Hint::ResetMutex(64, address()),
        Hint::ReadersLock,
        Hint::ResumeOrRestart(7),
        Hint::ReaderAway("name".into(), address()),
        Hint::ReadersFull(address()),
        Hint::Advice("words".into()),
    ]
}

#[test]
fn every_flag_and_tool_of_a_hint_can_be_typed() {
    let source = load(&root().join("crates/libipc/src")).remove(&["base".to_owned(), "hint".to_owned()][..]).unwrap();
    let variants = source.items.iter().find_map(|item| match item {
        syn::Item::Enum(hint) if hint.ident == "Hint" => Some(hint.variants.len()),
        _ => None,
    });
    let examples = examples();
    let kinds: BTreeSet<_> = examples.iter().map(|hint| format!("{:?}", std::mem::discriminant(hint))).collect();
    assert_eq!(Some(kinds.len()), variants, "examples() has not one of each hint");
    let mut complaints = Vec::new();
    for hint in &examples {
        for (tool, _) in LIST {
            complaints.extend(unknown_flags(&hints::words(hint, tool), tool));
        }
    }
    none(&complaints);
}

#[test]
fn the_library_names_no_tool_and_no_flag() {
    let mut complaints = Vec::new();
    for (module, file) in load(&root().join("crates/libipc/src")) {
        for literal in Found::of(&module, &file).literals {
            // An address is none.
            let text = literal.replace("ftok:", "");
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            let tool = words.into_iter().find(|word| LIST.iter().any(|(name, _)| name == word));
            let flag = flags(&literal, "no tool").first().map(|(_, flag)| flag.clone());
            let said = tool.map(str::to_owned).or(flag);
            complaints.extend(said.map(|said| format!("{}: {literal:?} says {said}", module.join("::"))));
        }
    }
    none(&complaints);
}

#[test]
fn every_flag_that_a_tool_names_can_be_typed() {
    let mut complaints = Vec::new();
    for (module, file) in load(&root().join("crates/ipcutils/src/tools")) {
        let Some(tool) = module.first() else { continue };
        // A word alone is an argument of something, and not said to anybody.
        for literal in Found::of(&module, &file).literals.iter().filter(|literal| literal.contains(' ')) {
            complaints.extend(unknown_flags(literal, tool));
        }
    }
    none(&complaints);
}

#[test]
fn a_flag_that_is_none_is_noticed() {
    assert_eq!(unknown_flags("--foreign writes it", "shmput"), [""; 0]);
    assert_eq!(unknown_flags("--foreing writes it", "shmput").len(), 1);
    assert_eq!(unknown_flags("write into it with shmput -i, or with semop -i", "semop").len(), 1);
    assert_eq!(unknown_flags("raise it with ulimit -q", "semop"), [""; 0]);
}
