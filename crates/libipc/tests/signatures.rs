//! No type of nix or libc stands in a public signature: a caller would have to use
//! the same version of that crate.

use std::collections::BTreeSet;
use std::path::Path;

use syn::visit::Visit;
use syn::{ImplItem, Item, UseName, UsePath, UseRename, UseTree, Visibility};

/// Names that std has, too: there libc has them from.
const OF_STD: [&str; 2] = ["c_char", "c_int"];

fn is_foreign(name: &str) -> bool {
    name == "nix" || name == "libc"
}

/// The names that a file has from nix or libc.
fn imported(file: &syn::File) -> BTreeSet<String> {
    fn walk(tree: &UseTree, foreign: bool, names: &mut BTreeSet<String>) {
        match tree {
            UseTree::Path(path) => walk(&path.tree, foreign || is_foreign(&path.ident.to_string()), names),
            UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, foreign, names)),
            UseTree::Name(name) if foreign => drop(names.insert(name.ident.to_string())),
            UseTree::Rename(name) if foreign => drop(names.insert(name.rename.to_string())),
            UseTree::Glob(_) if foreign => panic!("a glob hides names"),
            UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => {}
        }
    }
    let mut names = BTreeSet::from(["nix".to_owned(), "libc".to_owned()]);
    for item in &file.items {
        if let Item::Use(item) = item {
            walk(&item.tree, false, &mut names);
        }
    }
    names.retain(|name| !OF_STD.contains(&name.as_str()));
    names
}

/// Looks at what the public items of a file say of types, and not into bodies.
struct Public<'a> {
    foreign: &'a BTreeSet<String>,
    found: Vec<String>,
}

impl Public<'_> {
    fn item(&mut self, item: &Item) {
        match item {
            Item::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
            Item::Struct(item) if is_public(&item.vis) => {
                self.visit_generics(&item.generics);
                item.fields.iter().filter(|field| is_public(&field.vis)).for_each(|field| self.visit_field(field));
            }
            Item::Enum(item) if is_public(&item.vis) => self.visit_item_enum(item),
            Item::Trait(item) if is_public(&item.vis) => self.visit_item_trait(item),
            Item::Type(item) if is_public(&item.vis) => self.visit_item_type(item),
            Item::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Static(item) if is_public(&item.vis) => self.visit_type(&item.ty),
            Item::Use(item) if is_public(&item.vis) => self.visit_item_use(item),
            Item::Mod(item) if is_public(&item.vis) => {
                item.content.iter().flat_map(|(_, items)| items).for_each(|item| self.item(item));
            }
            // Of a trait: what it is for, whoever can reach the type.
            Item::Impl(item) => {
                if let Some((_, path, _)) = &item.trait_ {
                    self.visit_path(path);
                }
                for item in &item.items {
                    match item {
                        ImplItem::Fn(item) if is_public(&item.vis) => self.visit_signature(&item.sig),
                        ImplItem::Const(item) if is_public(&item.vis) => self.visit_type(&item.ty),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Public<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string());
        self.found.extend(names.filter(|name| self.foreign.contains(name)));
        syn::visit::visit_path(self, path);
    }

    // The names of a use are no path.
    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        let (UseTree::Path(UsePath { ident, .. })
        | UseTree::Name(UseName { ident })
        | UseTree::Rename(UseRename { ident, .. })) = tree
        else {
            return syn::visit::visit_use_tree(self, tree);
        };
        self.found.extend(Some(ident.to_string()).filter(|name| self.foreign.contains(name)));
        syn::visit::visit_use_tree(self, tree);
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Foreign names in the public items of a source.
fn foreign(source: &str) -> Vec<String> {
    let file = syn::parse_file(source).unwrap();
    let mut public = Public { foreign: &imported(&file), found: Vec::new() };
    file.items.iter().for_each(|item| public.item(item));
    public.found
}

#[test]
fn no_public_signature_has_a_type_of_nix_or_libc() {
    fn walk(dir: &Path, complaints: &mut Vec<String>, files: &mut usize) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What is public there is so within the library alone.
                if !path.ends_with("sys") {
                    walk(&path, complaints, files);
                }
            } else {
                *files += 1;
                let found = foreign(&std::fs::read_to_string(&path).unwrap());
                complaints.extend(found.into_iter().map(|name| format!("{}: {name}", path.display())));
            }
        }
    }
    let (mut complaints, mut files) = (Vec::new(), 0);
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut complaints, &mut files);
    assert!(files > 50);
    assert_eq!(complaints, [""; 0]);
}

#[test]
fn a_type_of_nix_is_noticed_wherever_it_stands() {
    let import = "use nix::errno::Errno; use nix::libc::{self, c_int};";
    for public in [
        "pub fn f() -> Result<(), Errno> {}",
        "pub fn f() -> nix::Result<()> {}",
        "pub struct S { pub field: Errno }",
        "pub struct S(pub Option<libc::pid_t>);",
        "pub enum E { A(Errno) }",
        "pub type T = Errno;",
        "pub const C: Errno = Errno::EIO;",
        "pub use nix::libc;",
        "pub mod m { pub fn f(_: Errno) {} }",
        "impl S { pub fn f(&self, _: Errno) {} }",
        "impl From<Errno> for S { fn from(_: Errno) -> S { S } }",
        "pub trait T { fn f(_: Errno); }",
    ] {
        assert_ne!(foreign(&format!("{import} {public}")), [""; 0], "{public}");
    }
    for private in [
        "fn f() -> Errno { Errno::EIO }",
        "pub fn f() { let _ = Errno::EIO; }",
        "pub(crate) fn f(_: Errno) {}",
        "pub struct S { field: Errno }",
        "impl S { fn f(&self, _: Errno) {} }",
        "pub fn f(_: c_int) {}",
    ] {
        assert_eq!(foreign(&format!("{import} {private}")), [""; 0], "{private}");
    }
}
