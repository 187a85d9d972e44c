//! Foreign programs: compiled, or asked what they have.

use std::path::PathBuf;

use super::{Test, said};

/// A C program, compiled; None, said aloud, without a compiler.
pub fn compile(t: &Test, name: &str, source: &str) -> Option<PathBuf> {
    if t.lacks("cc") {
        return None;
    }
    let file = t.file(&format!("{name}.c"), source);
    let program = t.path(name);
    t.cmd("cc").args(["-O2", "-pthread", "-o"]).args([&program, &file]).run().ok();
    Some(program)
}

/// Whether python has this module; said aloud if not.
pub fn python_has(t: &Test, module: &str) -> bool {
    let has = t.bash(&format!("python3 -c 'import {module}' 2>/dev/null")).run().success();
    if !has {
        said(&format!("not tested: no python3 with {module}"));
    }
    has
}
