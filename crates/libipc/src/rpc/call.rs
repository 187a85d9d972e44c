//! A call: a request that waits for its answer.
//!
//! The caller listens on a socket that only receivers of the queue can know. A server
//! that has taken the request connects to it, shows the secret of the request, and gets
//! the input and two pipes for what its command writes. The status comes over the socket,
//! whose end tells each side that the other has died.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, accept4, bind, listen, socket};
use nix::sys::stat::Mode as Bits;
use nix::unistd::{Whence, lseek, pipe2};

use super::envelope::{Envelope, Secret};
use crate::base::error::{Error, ErrorKind, Result, errno_of};
use crate::base::wait::{Deadline, Timeout, Wait, poll_timeout};
use crate::fs::copy::{Control, OUTPUT, STEP, copy, enlarge_pipe, write_all};
use crate::fs::input::Input;
use crate::mq::Queue;
use crate::sys;

/// What a call sends: its command's standard input.
#[derive(Debug)]
pub struct Request(File);

impl Request {
    /// These bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] without memory for them.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let failed = |errno| Error::errno("memory for a request", errno);
        let file = memfd_create("request", MFdFlags::MFD_CLOEXEC).map(File::from).map_err(failed)?;
        (&file).write_all(bytes).map_err(|error| failed(errno_of(&error)))?;
        Ok(Request(file))
    }

    /// All of an input.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] without memory for it; [`ErrorKind::Failure`] if it cannot be
    /// read.
    pub fn read(input: &Input<'_>) -> Result<Self> {
        input.spool(u64::MAX, &mut Control::default()).map(|(file, _)| Request(file))
    }

    /// The request from its beginning, whoever reads another copy of it.
    fn input(&self) -> nix::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Bits::empty()).or_else(|_| {
            lseek(&self.0, 0, Whence::SeekSet)?;
            self.0.try_clone().map(OwnedFd::from).map_err(|error| errno_of(&error))
        })
    }
}

/// How a call is made.
#[derive(Clone, Copy, Debug)]
pub struct CallOptions<'a> {
    /// How long it may take, from the sending to the end of the command.
    pub wait: Timeout,
    /// How often it is tried again when a server dies in the middle. Then the answer is
    /// not streamed, but held back until it is whole.
    pub retry: u32,
    /// Where the command's standard output goes.
    pub stdout: BorrowedFd<'a>,
    /// Where its standard error goes.
    pub stderr: BorrowedFd<'a>,
}

/// Send a request to a queue that is open for sending, and wait for the answer. Returns
/// the status of the command, as a shell reports it.
///
/// # Errors
/// - [`ErrorKind::TimedOut`]: no server has taken the call, or the command runs on and is
///   ended;
/// - [`ErrorKind::PeerDied`]: the server died in the middle, and the request may have been
///   done;
/// - [`ErrorKind::Gone`] if the queue is removed before a server has taken the call;
/// - [`ErrorKind::NoRoom`]; those of [`Queue::send`].
pub fn call(queue: &mut Queue, request: &Request, options: &CallOptions<'_>) -> Result<u8> {
    let timeout = match options.wait {
        Timeout::Now => Some(Duration::ZERO),
        Timeout::After(timeout) => Some(timeout),
        Timeout::Never => None,
    };
    let deadline = Deadline::after(timeout);
    let envelope = Envelope::new(timeout)?;
    let listener = listener(&envelope).map_err(|errno| Error::errno("a socket", errno))?;
    let number = i64::from(queue.id().is_some());
    queue.send(&envelope.encode(), number, &mut Wait::new(timeout.map_or(Timeout::Never, Timeout::After)))?;
    let mut left = options.retry;
    loop {
        let server = accept(queue, &listener, &envelope.secret, &deadline)?;
        let conversation = Conversation { server, deadline, label: queue.address() };
        let answer = if options.retry == 0 {
            conversation.run(request, options.stdout, options.stderr)?
        } else {
            let (out, err) = (Request::new(b"")?, Request::new(b"")?);
            let answer = conversation.run(request, out.0.as_fd(), err.0.as_fd())?;
            if let Answer::Status(_) = answer {
                out.release(options.stdout, OUTPUT)?;
                err.release(options.stderr, ERROR)?;
            }
            answer
        };
        match answer {
            Answer::Status(status) => return Ok(status),
            Answer::NotBegun => {}
            Answer::Died if left == 0 => break,
            Answer::Died => left -= 1,
        }
    }
    let problem = "the server died in the middle, and the request may have been done";
    Err(Error::new(ErrorKind::PeerDied, queue.address(), problem))
}

/// What standard error is called in messages.
const ERROR: &str = "standard error";

impl Request {
    /// Write what was held back.
    fn release(&self, to: BorrowedFd<'_>, label: &str) -> Result<()> {
        let input = self.input().map_err(|errno| Error::io(label, errno))?;
        copy(&input, to, u64::MAX, &mut Control::default())
            .map(drop)
            .map_err(|error| error.explain("the answer", |errno| Error::io(label, errno)))
    }
}

fn listener(envelope: &Envelope) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &envelope.socket().map_err(|_| Errno::EINVAL)?)?;
    listen(&socket, Backlog::new(8)?)?;
    Ok(socket)
}

/// How often the queue is looked at while nobody has taken the call.
const LOOK: Duration = Duration::from_secs(1);
/// How long one that connects has to show the secret.
const SHOWN: Duration = Duration::from_secs(1);

/// Wait for a server.
fn accept(queue: &Queue, listener: &OwnedFd, secret: &Secret, deadline: &Deadline) -> Result<UnixStream> {
    let failed = |errno| Error::errno("a socket", errno);
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        match accept4(listener.as_raw_fd(), flags) {
            Ok(fd) => {
                let server = sys::socket::accepted(fd);
                if knows(&server, secret) {
                    return Ok(server);
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => {
                if deadline.passed() {
                    let problem = "no server has taken the call, and the timeout has passed";
                    return Err(Error::new(ErrorKind::TimedOut, queue.address(), problem));
                }
                queue.check_linked()?;
                let timeout = poll_timeout(deadline.at_most(LOOK));
                match poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], timeout) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// Whether one that has connected has received the request.
fn knows(server: &UnixStream, secret: &Secret) -> bool {
    let (mut shown, mut done, deadline) = (Secret::default(), 0, Deadline::after(Some(SHOWN)));
    while done < shown.len() && !deadline.passed() {
        let timeout = poll_timeout(deadline.at_most(SHOWN));
        let _ = poll(&mut [PollFd::new(server.as_fd(), PollFlags::POLLIN)], timeout);
        match (&*server).read(&mut shown[done..]) {
            Ok(0) => return false,
            Ok(n) => done += n,
            Err(_) => {}
        }
    }
    done == shown.len() && shown == *secret
}

/// How a conversation ended.
enum Answer {
    /// With the status of the command.
    Status(u8),
    /// The server had given up before it got the request.
    NotBegun,
    /// The server has died.
    Died,
}

/// A server that works on the call.
struct Conversation {
    server: UnixStream,
    deadline: Deadline,
    label: String,
}

impl Conversation {
    /// Give the request out and write what comes back.
    fn run(&self, request: &Request, stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> Result<Answer> {
        let failed = |errno| Error::errno("a pipe for the answer", errno);
        let (out, out_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let (err, err_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        enlarge_pipe(&out);
        let input = request.input().map_err(failed)?;
        if sys::socket::send(&self.server, [input.as_fd(), out_end.as_fd(), err_end.as_fd()]).is_err() {
            return Ok(Answer::NotBegun);
        }
        // The command alone has them now.
        drop((out_end, err_end, input));
        let mut streams = [Stream::new(out, stdout, OUTPUT)?, Stream::new(err, stderr, ERROR)?];
        loop {
            let open = streams.iter().filter(|stream| stream.open);
            let mut fds = vec![PollFd::new(self.server.as_fd(), PollFlags::POLLIN)];
            fds.extend(open.map(|stream| PollFd::new(stream.from.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, poll_timeout(self.deadline.at_most(LOOK))) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let mut status = [0];
            let ended = match (&self.server).read(&mut status) {
                Ok(0) => Some(Answer::Died),
                Ok(_) => Some(Answer::Status(status[0])),
                Err(error) if matches!(errno_of(&error), Errno::EAGAIN | Errno::EINTR) => None,
                Err(_) => Some(Answer::Died),
            };
            // What the command has written before its end is in the pipes by then.
            for stream in &mut streams {
                stream.pass(ended.is_some())?;
            }
            if let Some(answer) = ended {
                return Ok(answer);
            }
            if self.deadline.passed() {
                let problem = "the command has not ended, and the timeout has passed";
                return Err(Error::new(ErrorKind::TimedOut, &self.label, problem));
            }
        }
    }
}

/// One of the two that come back.
struct Stream<'a> {
    from: OwnedFd,
    to: BorrowedFd<'a>,
    label: &'static str,
    open: bool,
    buffer: Vec<u8>,
}

impl<'a> Stream<'a> {
    fn new(from: OwnedFd, to: BorrowedFd<'a>, label: &'static str) -> Result<Self> {
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| Error::errno("a pipe", errno))?;
        Ok(Stream { from, to, label, open: true, buffer: Vec::new() })
    }

    /// Write on what is there: one block, or all.
    fn pass(&mut self, all: bool) -> Result<()> {
        while self.open {
            self.buffer.resize(STEP, 0);
            match nix::unistd::read(&self.from, &mut self.buffer) {
                Ok(0) => self.open = false,
                Ok(n) => {
                    write_all(self.to, &self.buffer[..n], None).map_err(|unwritten| unwritten.explain(self.label))?;
                    if !all {
                        break;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }
}
