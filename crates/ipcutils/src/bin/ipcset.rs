//! See ipcset(1).
#![cfg_attr(not(test), no_main)]
#![forbid(unsafe_code)]

libipc::program!(|args| ipcutils::app::main::<ipcutils::tools::ipcset::Args>(env!("CARGO_BIN_NAME"), args));
