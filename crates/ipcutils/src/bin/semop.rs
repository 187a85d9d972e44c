//! See semop(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ipcutils::app::main::<ipcutils::tools::semop::Args>(env!("CARGO_BIN_NAME"))
}
