//! See shmput(1).
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    ipcutils::app::main::<ipcutils::tools::shmput::Args>(env!("CARGO_BIN_NAME"))
}
