//! The bar of `--progress`, on a terminal.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::BorrowedFd;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar is drawn in a second, at most.
const RATE: u8 = 20;

/// A bar on a terminal, or nothing. Its last state stays on the screen, after a
/// failure as well.
#[derive(Debug)]
pub struct Bar(Option<(ProgressBar, File)>);

impl Bar {
    /// A bar if `out` is a terminal. It shows bytes and rate, and the time left
    /// where the length is known.
    pub(super) fn new(out: Option<BorrowedFd<'_>>, length: Option<u64>) -> Self {
        let terminal = out.filter(IsTerminal::is_terminal).and_then(|out| out.try_clone_to_owned().ok());
        let files = terminal.and_then(|terminal| {
            let file = File::from(terminal);
            Some((file.try_clone().ok()?, file.try_clone().ok()?, file))
        });
        let Some((read, write, file)) = files else { return Bar(None) };
        let (bar, template) = match length {
            Some(length) => {
                (ProgressBar::new(length), "{bytes} of {total_bytes} {wide_bar} {percent}% {bytes_per_sec}, {eta} left")
            }
            None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}, {elapsed}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_draw_target(ProgressDrawTarget::term(Term::read_write_pair(read, write), RATE));
        Bar(Some((bar, file)))
    }

    /// A function that adds bytes to the bar; None if there is no bar.
    pub fn counter(&self) -> Option<impl FnMut(u64)> {
        self.0.as_ref().map(|(bar, _)| |bytes| bar.inc(bytes))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((bar, terminal)) = &mut self.0 {
            bar.abandon();
            let _ = writeln!(terminal);
        }
    }
}
