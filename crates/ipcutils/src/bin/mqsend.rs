//! See mqsend(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ipcutils::app::main::<ipcutils::tools::mqsend::Args>(env!("CARGO_BIN_NAME"))
}
