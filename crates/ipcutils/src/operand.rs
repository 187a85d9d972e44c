//! The operand FILE: what a tool reads instead of standard input.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use libipc::fs::input::Input;
use libipc::text::printable;
use libipc::{Error, Hint, Result};

use crate::app::{INPUT, Io};

/// An opened operand, or standard input.
#[derive(Debug)]
pub struct Operand(Option<(File, String)>);

impl Operand {
    /// Open the operand. None and `-` mean standard input.
    ///
    /// # Errors
    /// [`Failure`](libipc::ErrorKind::Failure): open(2).
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|&path| path != Path::new("-")) else { return Ok(Operand(None)) };
        let label = printable(path.as_os_str());
        let file = File::open(path).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::input(&label, &error);
            let advice = || Hint::Advice("it is taken for a file; data comes from standard input".into());
            if missing { error.hint(advice()) } else { error }
        })?;
        Ok(Operand(Some((file, label))))
    }

    /// The input to read.
    ///
    /// # Errors
    /// [`Failure`](libipc::ErrorKind::Failure) if it is a directory, or closed.
    pub fn input<'a>(&'a self, io: &Io<'a>) -> Result<Input<'a>> {
        match &self.0 {
            Some((file, label)) => Input::new(file.as_fd(), label),
            None => Input::new(io.stdin()?, INPUT),
        }
    }
}
