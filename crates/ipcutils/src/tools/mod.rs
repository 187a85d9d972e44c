//! The list of tools.

/// Declares the modules, and [`LIST`] for tests and generators.
macro_rules! tools {
    ($($name:ident)*) => {
        $(pub mod $name;)*

        /// Name and command line of every tool.
        pub const LIST: &[(&str, fn() -> clap::Command)] =
            &[$((stringify!($name), || <$name::Args as clap::CommandFactory>::command())),*];
    };
}

tools! { ftok shmput shmcat ringput ringcat mqsend mqrecv mqserve mqcall semop shmlock shmwait shmwake ipcls ipcunlink ipcset }
