//! mqcall: send a request to a served queue, and wait for the answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use libipc::fs::input::Input;
use libipc::mq::{Direction, OpenOptions, Queue};
use libipc::rpc::{CallOptions, Caller, Request};
use libipc::wait::Timeout;
use libipc::{Error, ErrorKind, Kind};

use crate::app::{INPUT, Io, Outcome, Tool, combined};
use crate::args::{self, Ends};
use crate::records::Records;

/// Have a served queue's command run: the arguments, or standard input
#[derive(clap::Parser, Debug)]
#[command(name = "mqcall", version, override_usage = "mqcall [OPTIONS] ADDRESS [REQUEST]...")]
#[command(after_help = args::AFTER_HELP)]
#[command(mut_arg("lines", |arg| arg.help("Each line of standard input is a call")))]
#[command(mut_arg("null", |arg| arg.help("Each record, ended by a NUL, is a call")))]
pub struct Args {
    #[command(flatten)]
    ends: Ends,
    /// Wait at most this long for each call: status 124
    #[arg(short = 'w', long, value_name = "DURATION", value_parser = args::duration)]
    timeout: Option<Duration>,
    /// Use this status instead of 124
    #[arg(short = 'E', long, value_name = "CODE", value_parser = args::exit_status)]
    busy_status: Option<u8>,
    /// Tries after a server died [default: 0]
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = args::number::<u32>(0..=1000))]
    retry: u32,
    // One operand, so that a word after the address is never an option.
    #[arg(value_name = "ADDRESS", num_args = 1.., required = true, trailing_var_arg = true,
        help = args::forms(Kind::Mq, &[]) + ", then requests")]
    address: Vec<OsString>,
}

/// The longest record of -l and -0.
const LONGEST: usize = 1 << 30;

impl Tool for Args {
    fn run(self, io: &Io<'_>) -> anyhow::Result<Outcome> {
        let Some((address, requests)) = self.address.split_first() else { return Ok(Outcome::Done) };
        let address = Kind::Mq.parse(address)?;
        let requests = requests.strip_prefix(&[OsString::from("--")]).unwrap_or(requests);
        if self.ends.end().is_some() && !requests.is_empty() {
            let problem = "with -l or -0 the requests come from standard input";
            return Err(Error::new(ErrorKind::Usage, address, problem).into());
        }
        let options = CallOptions {
            wait: self.timeout.map_or(Timeout::Never, Timeout::After),
            retry: self.retry,
            stdout: io.stdout()?,
            stderr: io.stderr()?,
        };
        let open = OpenOptions { direction: Direction::Send, create: None };
        let mut queue = Queue::open(&address, &open)?;
        let mut caller = Caller::new(&mut queue, options)?;
        let mut failures = Vec::new();
        let mut ended = |status: Option<u8>| failures.extend(status.filter(|&status| status != 0));
        for request in requests {
            caller.send(Request::Bytes(request.as_bytes().to_vec()))?;
            ended(caller.answer()?);
        }
        let Some(end) = self.ends.end() else {
            if requests.is_empty() {
                caller.send(Request::read(&Input::new(io.stdin()?, INPUT)?)?)?;
                ended(caller.answer()?);
            }
            return Ok(combined(&failures));
        };
        let input = Input::new(io.stdin()?, INPUT)?;
        let mut records = Records::new(&input, end, LONGEST);
        let too_long = || Error::new(ErrorKind::NoRoom, INPUT, "a record is longer than 1 GiB");
        // While answers come at once, the next record need not wait for the last answer.
        loop {
            if !caller.is_waiting() || caller.has_room() && records.has_whole() {
                let Some((record, _)) = records.next(too_long)? else { break };
                caller.send(Request::Bytes(record.to_vec()))?;
            } else {
                ended(caller.answer()?);
            }
        }
        Ok(combined(&failures))
    }
}
