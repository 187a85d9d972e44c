//! ftok: the System V key of a file.

use std::path::PathBuf;

use libipc::address::Proj;
use libipc::{Error, ErrorKind, Hint, Key, mq, sem, shm};

use crate::app::{Io, Outcome, Tool};
use crate::args;

/// Print the System V key of a file, as ftok(3) makes it
#[derive(clap::Parser, Debug)]
#[command(name = "ftok", version, after_help = args::AFTER_HELP)]
pub struct Args {
    /// Print the key in decimal, signed as key_t is
    #[arg(short = 'd', long)]
    decimal: bool,
    /// Print the key in octal
    #[arg(short = 'o', long, conflicts_with = "decimal")]
    octal: bool,
    /// End with status 4 if an object has this key already
    #[arg(long)]
    check: bool,
    /// A file that exists; the key is made of its inode and device
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    /// A number from 1 to 255, or one character
    #[arg(value_parser = args::proj(), default_value = "1")]
    proj: Proj,
}

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let key = Key::from_file(&self.path, self.proj)?;
        if self.check {
            refuse_taken(key)?;
        }
        match (self.decimal, self.octal) {
            (true, _) => io.print(key.get())?,
            (_, true) => io.print(format_args!("0{:o}", key.get()))?,
            _ => io.print(key)?,
        }
        Ok(Outcome::Done)
    }
}

fn refuse_taken(key: Key) -> libipc::Result<()> {
    let found = [("shm", shm::sysv::find(key)), ("mq", mq::sysv::find(key)), ("sem", sem::sysv::find(key))];
    let taken: Vec<_> = found.iter().filter_map(|(kind, id)| id.map(|id| format!("{kind}:id:{id}"))).collect();
    if taken.is_empty() {
        return Ok(());
    }
    let what = format!("is the key of {} already", taken.join(" and "));
    Err(Error::new(ErrorKind::Exists, format!("key:{key}"), what)
        .hint(Hint::Advice("choose another PROJ, or another file".into())))
}
