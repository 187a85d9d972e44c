//! The tools of ipcutils.
//!
//! A tool is `tools/X.rs`: its arguments, one operation of libipc, its output.
//!
//! | module | what |
//! | --- | --- |
//! | [`tools`] | one file a tool, and their list |
//! | [`app`] | the frame: arguments in, bytes out, exit status |
//! | [`args`] | what the tools' options share: groups, and parsers of values |
//! | [`operand`], [`records`] | what comes in: FILE, lines |
//! | [`message`], [`show`], [`report`] | what goes out: messages, objects, what mqserve does |
//! | [`owner`] | the warning about a holder that died |
//! | [`existing`] | the warning about an object that is not as it was to be made |
//! | [`undo`] | what was made for a command that failed |
//! | [`human`] | sizes, ages and moments in words |
//! | [`hints`] | the words for a hint of the library |
//! | [`habits`] | what users of other tools type first |
#![forbid(unsafe_code)]

pub mod app;
pub mod args;
pub mod existing;
pub mod habits;
pub mod hints;
pub mod human;
pub mod message;
pub mod operand;
pub mod owner;
pub mod records;
pub mod report;
pub mod show;
pub mod tools;
pub mod undo;
