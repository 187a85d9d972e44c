//! See ipcunlink(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ipcutils::app::main::<ipcutils::tools::ipcunlink::Args>(env!("CARGO_BIN_NAME"))
}
