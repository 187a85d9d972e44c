//! What the README says of the package is what Cargo.toml says.

#[test]
fn the_readme_names_the_oldest_compiler_and_the_licence() {
    let readme = include_str!("../README.md");
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(readme.contains(&format!("Rust {version} or later")), "{version}");
    assert!(readme.contains(&env!("CARGO_PKG_LICENSE").replace(" OR ", " or ")));
    let zero = env!("CARGO_PKG_VERSION").starts_with("0.");
    assert_eq!(zero, readme.contains("The version is 0.x"));
}
