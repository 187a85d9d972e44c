//! How received messages are written: raw, ended by a byte, or as JSON.

use std::os::fd::BorrowedFd;

use base64::Engine;
use libipc::fs::copy::{self, OUTPUT};
use libipc::process::signals::Deferred;
use libipc::{Address, Error, ErrorKind, Result};

/// The form of a message on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The body, nothing added.
    Raw,
    /// The body and this byte.
    Ended(u8),
    /// An object a line.
    Json,
}

/// A message as JSON: the body as text, or as base64 where it is not UTF-8.
#[derive(serde::Serialize)]
struct Json<'a> {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<i64>,
    length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Messages on their way to standard output.
#[derive(Debug)]
pub struct Output<'fd> {
    fd: BorrowedFd<'fd>,
    format: Format,
    /// Whether the messages were taken from the queue: then those that cannot be
    /// written are lost. Otherwise they are copies.
    taken: bool,
    buffer: Vec<u8>,
    /// Where in the buffer each message ends.
    ends: Vec<usize>,
    /// Signals are deferred while messages are here that are nowhere else.
    signals: Option<Deferred>,
}

impl<'fd> Output<'fd> {
    /// How many bytes are collected before they are written.
    const ENOUGH: usize = 64 * 1024;
    /// How many messages are collected at most.
    const MANY: usize = 4096;

    /// Messages for this descriptor. A pipe is not enlarged: the messages in it are
    /// lost with its reader.
    pub fn new(fd: BorrowedFd<'fd>, format: Format, taken: bool) -> Self {
        Output { fd, format, taken, buffer: Vec::new(), ends: Vec::new(), signals: None }
    }

    /// Defer signals, before a message is taken, until it is written.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] if there is no descriptor for that.
    pub fn hold(&mut self) -> Result<()> {
        if self.signals.is_none() {
            self.signals = Some(Deferred::new()?);
        }
        Ok(())
    }

    /// Add a message, which the next [`Output::flush`] writes at the latest.
    ///
    /// # Errors
    /// Those of [`Output::flush`].
    pub fn put(&mut self, address: &Address, body: &[u8], number: i64) -> Result<()> {
        match self.format {
            Format::Raw => self.buffer.extend_from_slice(body),
            Format::Ended(end) => {
                self.buffer.extend_from_slice(body);
                self.buffer.push(end);
            }
            Format::Json => {
                let sysv = matches!(address, Address::SysV(_));
                let text = std::str::from_utf8(body).ok();
                let json = Json {
                    address: address.to_string(),
                    priority: (!sysv).then_some(number),
                    r#type: sysv.then_some(number),
                    length: body.len(),
                    body: text,
                    base64: text.is_none().then(|| base64::engine::general_purpose::STANDARD.encode(body)),
                };
                serde_json::to_writer(&mut self.buffer, &json)
                    .map_err(|error| Error::new(ErrorKind::Failure, address, error.to_string()))?;
                self.buffer.push(b'\n');
            }
        }
        self.ends.push(self.buffer.len());
        if self.buffer.len() >= Self::ENOUGH || self.ends.len() >= Self::MANY { self.flush() } else { Ok(()) }
    }

    /// Write the messages that were added.
    ///
    /// # Errors
    /// [`ErrorKind::Failure`], and how many messages it has lost.
    pub fn flush(&mut self) -> Result<()> {
        let written = copy::write_all(self.fd, &self.buffer, self.signals.as_ref());
        let result = written.map_err(|unwritten| {
            let lost = self.ends.iter().filter(|&&end| end > unwritten.written).count();
            let mut error = unwritten.explain(OUTPUT);
            if self.taken {
                error.problem += &format!("; messages taken from the queue and lost: {lost}");
            }
            error
        });
        self.buffer.clear();
        self.ends.clear();
        // A signal that came meanwhile ends the process here, with everything written.
        self.signals = None;
        result
    }
}
