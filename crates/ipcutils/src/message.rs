//! How received messages are written: raw, ended by a byte, or as JSON.

use std::os::fd::BorrowedFd;

use base64::Engine;
use libipc::fs::copy::{self, OUTPUT};
use libipc::process::signals::Deferred;
use libipc::rpc::Body;
use libipc::{Address, Error, ErrorKind, Result};

use crate::app::Io;

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
    /// How many bytes of it are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<usize>,
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
    /// The longest part of a message that is written, and who is told of more.
    longest: Option<(usize, &'fd Io<'fd>)>,
    /// Who is told of each message.
    told: Option<&'fd Io<'fd>>,
    io: &'fd Io<'fd>,
    failed: Vec<u8>,
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
    pub fn new(io: &'fd Io<'fd>, fd: BorrowedFd<'fd>, format: Format, taken: bool) -> Self {
        let (buffer, ends, failed) = Default::default();
        Output { io, fd, format, taken, buffer, ends, failed, longest: None, told: None, signals: None }
    }

    /// Write no more than the first bytes of a message, and say on standard error how many
    /// were cut.
    #[must_use]
    pub fn cut(self, longest: Option<usize>, io: &'fd Io<'fd>) -> Self {
        Output { longest: longest.map(|longest| (longest, io)), ..self }
    }

    /// Say on standard error what each message is.
    #[must_use]
    pub fn telling(self, told: Option<&'fd Io<'fd>>) -> Self {
        Output { told, ..self }
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
        let sysv = matches!(address, Address::SysV(_));
        let whole = body.len();
        let cut = self.tell(address, whole, number);
        let body = &body[..whole - cut];
        match self.format {
            Format::Raw => self.buffer.extend_from_slice(body),
            Format::Ended(end) => {
                self.buffer.extend_from_slice(body);
                self.buffer.push(end);
            }
            Format::Json => {
                let text = std::str::from_utf8(body).ok();
                let json = Json {
                    address: address.to_string(),
                    priority: (!sysv).then_some(number),
                    r#type: sysv.then_some(number),
                    length: whole,
                    cut: Some(cut).filter(|&cut| cut > 0),
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

    /// Say what is to be said of a message of this length. Returns how many bytes of it are
    /// cut.
    fn tell(&self, address: &Address, whole: usize, number: i64) -> usize {
        let cut = self.longest.map_or(0, |(longest, _)| whole.saturating_sub(longest));
        if let Some(io) = self.told {
            let kind = if matches!(address, Address::SysV(_)) { "type" } else { "priority" };
            io.warn(format_args!("{address}: {kind} {number}, {whole} bytes"));
        }
        if let (1.., Some((_, io))) = (cut, self.longest) {
            io.warn(format_args!("{address}: a message of {whole} bytes, of which {cut} were cut"));
        }
        cut
    }

    /// Write the body that a reference tells of, and use it up. What is wrong with it is
    /// said, and false returned: the next message may be a good one.
    ///
    /// # Errors
    /// Those of [`Output::flush`].
    pub fn put_body(&mut self, address: &Address, body: Result<Body>, number: i64) -> Result<bool> {
        let body = match body {
            Ok(body) => body,
            Err(error) => return Ok(self.refuse(address, &error)),
        };
        match self.format {
            Format::Json => match body.read() {
                Ok(bytes) => self.put(address, &bytes, number)?,
                Err(error) => return Ok(self.refuse(address, &error)),
            },
            Format::Raw | Format::Ended(_) => {
                self.flush()?;
                self.hold()?;
                let whole = usize::try_from(body.length()).unwrap_or(usize::MAX);
                let wanted = whole - self.tell(address, whole, number);
                if let Err(mut error) = body.copy_to(self.fd, wanted as u64, self.signals.as_ref()) {
                    if error.kind == ErrorKind::Unexpected {
                        return Ok(self.refuse(address, &error));
                    }
                    error.problem += &format!("; the message stays in shm:{}", body.label());
                    return Err(error);
                }
                if let Format::Ended(end) = self.format {
                    self.buffer.push(end);
                }
            }
        }
        self.flush()?;
        if self.taken
            && let Err(error) = body.remove()
        {
            self.failed.push(self.io.fail(&error, &["the message was received, and its body stays".to_owned()]));
        }
        Ok(true)
    }

    /// Say why a message cannot be written. Returns false.
    pub fn refuse(&mut self, address: &Address, error: &Error) -> bool {
        self.failed.push(self.io.fail(error, &[format!("a message of {address} is not written")]));
        false
    }

    /// The statuses of bodies that could not be written.
    pub fn failed(&self) -> &[u8] {
        &self.failed
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
