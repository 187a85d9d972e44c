//! The bar of `--progress`, on a terminal.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr, or nothing. Its last state stays on the screen, after a
/// failure as well.
#[derive(Debug)]
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar if it is `wanted` and stderr is a terminal. It shows bytes and
    /// rate, and the time left where the length is known.
    pub fn new(wanted: bool, length: Option<u64>) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Bar(None);
        }
        let (bar, template) = match length {
            Some(length) => {
                (ProgressBar::new(length), "{bytes} of {total_bytes} {wide_bar} {percent}% {bytes_per_sec}, {eta} left")
            }
            None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}, {elapsed}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_draw_target(ProgressDrawTarget::stderr());
        Bar(Some(bar))
    }

    /// So many bytes more; None where nothing is drawn.
    pub fn moved(&self) -> Option<impl FnMut(u64)> {
        self.0.as_ref().map(|bar| |bytes| bar.inc(bytes))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.abandon();
            let _ = writeln!(std::io::stderr());
        }
    }
}
