//! See mqserve(1).
#![cfg_attr(not(test), no_main)]
#![forbid(unsafe_code)]

libipc::program!(
    env!("CARGO_BIN_NAME"),
    ipcutils::app::NO_MEMORY,
    ipcutils::app::main::<ipcutils::tools::mqserve::Args>
);
