//! The tools of ipcutils.
//!
//! A tool is `tools/X.rs`: its arguments, one operation of libipc, its output.
//! [`app`] is the frame around each, [`args`] what their options share,
//! [`tools`] the list.
#![forbid(unsafe_code)]

pub mod app;
pub mod args;
pub mod columns;
pub mod limits;
pub mod listing;
pub mod messages;
pub mod operand;
pub mod progress;
pub mod records;
pub mod screen;
pub mod tools;
