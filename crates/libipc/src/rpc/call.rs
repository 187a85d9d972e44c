//! A caller: sends requests, and waits for their answers.
//!
//! It listens on a socket that only receivers of the queue can know. A server that has
//! taken a request connects to it, shows the secret of the request, and says that it works
//! on the call. A server that runs a command for each call gets the input and two pipes
//! for what the command writes; one whose command answers lines sends the answer itself.
//! The status comes over the socket, whose end tells each side that the other has died.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode as Bits;
use nix::unistd::{Whence, lseek, pipe2, read};

use super::envelope::{self, Envelope};
use super::peer::{Listener, Peer};
use super::wire::What;
use crate::base::error::{Error, ErrorKind, Result, errno_of};
use crate::base::wait::{Deadline, Timeout, Wait, poll_timeout};
use crate::fs::copy::{Control, OUTPUT, STEP, enlarge_pipe, write_all};
use crate::fs::input::Input;
use crate::mq::Queue;

/// What standard error is called in messages.
const ERROR: &str = "standard error";

/// How often the queue is looked at while nobody has taken a call.
const LOOK: Duration = Duration::from_secs(1);

/// More calls at the same time are not begun, and none beside the first if answers take
/// longer than this: those behind a slow call would wait for it.
const MOST: usize = 64;
const FAST: Duration = Duration::from_millis(1);

/// What a call sends: its command's standard input.
#[derive(Debug)]
pub enum Request {
    /// Bytes that may be short enough for the message itself.
    Bytes(Vec<u8>),
    /// A file in memory.
    File(File),
}

impl Request {
    /// All of an input.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`] without memory for it; [`ErrorKind::Failure`] if it cannot be
    /// read.
    pub fn read(input: &Input<'_>) -> Result<Self> {
        input.spool(u64::MAX, &mut Control::default()).map(|(file, _)| Request::File(file))
    }

    /// The request from its beginning, whoever reads another copy of it.
    fn input(&mut self) -> Result<OwnedFd> {
        let failed = |errno| Error::errno("memory for a request", errno);
        if let Request::Bytes(bytes) = self {
            let file = memfd_create("request", MFdFlags::MFD_CLOEXEC).map(File::from).map_err(failed)?;
            (&file).write_all(bytes).map_err(|error| failed(errno_of(&error)))?;
            *self = Request::File(file);
        }
        let Request::File(file) = self else { return Err(failed(Errno::EINVAL)) };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let again = open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Bits::empty()).or_else(|_| {
            lseek(&*file, 0, Whence::SeekSet)?;
            file.try_clone().map(OwnedFd::from).map_err(|error| errno_of(&error))
        });
        again.map_err(failed)
    }
}

/// How calls are made.
#[derive(Clone, Copy, Debug)]
pub struct CallOptions<'a> {
    /// How long each may take, from the sending to the end of the command.
    pub wait: Timeout,
    /// How often one is tried again when a server dies in the middle. Then the answer is
    /// not streamed, but held back until it is whole.
    pub retry: u32,
    /// Where the command's standard output goes.
    pub stdout: BorrowedFd<'a>,
    /// Where its standard error goes.
    pub stderr: BorrowedFd<'a>,
}

impl CallOptions<'_> {
    fn timeout(&self) -> Option<Duration> {
        match self.wait {
            Timeout::Now => Some(Duration::ZERO),
            Timeout::After(timeout) => Some(timeout),
            Timeout::Never => None,
        }
    }
}

/// Calls to a queue that is open for sending. Their answers come in the order of the
/// requests.
#[derive(Debug)]
pub struct Caller<'a> {
    queue: &'a mut Queue,
    options: CallOptions<'a>,
    listener: Listener,
    /// Of the call that was sent last.
    envelope: Envelope,
    peers: Vec<Option<Peer>>,
    calls: VecDeque<Call>,
    /// How many may be on their way.
    window: usize,
    /// Output of calls that have ended, not yet written.
    written: Vec<u8>,
    buffer: Vec<u8>,
    looked: Instant,
}

/// A call on its way.
#[derive(Debug)]
struct Call {
    number: u32,
    request: Request,
    sent: Instant,
    deadline: Deadline,
    /// How often it may be tried again.
    left: u32,
    /// The place of the server that works on it.
    server: Option<usize>,
    status: Option<u8>,
    /// Standard output and error, and what has come of them.
    streams: [Stream; 2],
}

#[derive(Debug, Default)]
struct Stream {
    from: Option<OwnedFd>,
    held: Vec<u8>,
}

impl<'a> Caller<'a> {
    /// Become a caller.
    ///
    /// # Errors
    /// [`ErrorKind::NoRoom`].
    pub fn new(queue: &'a mut Queue, options: CallOptions<'a>) -> Result<Self> {
        let envelope = Envelope::new()?;
        let listener = Listener::new(&envelope).map_err(|errno| Error::errno("a socket", errno))?;
        let (peers, calls, written, buffer) = Default::default();
        let looked = Instant::now();
        Ok(Caller { queue, options, listener, envelope, peers, calls, window: 1, written, buffer, looked })
    }

    /// Whether calls are on their way.
    pub fn is_waiting(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Whether another call may be sent before the first has ended: only while answers
    /// come at once.
    pub fn has_room(&self) -> bool {
        self.calls.len() < self.window
    }

    /// Send a request. While the queue is full, answers are heeded.
    ///
    /// # Errors
    /// Those of [`Queue::send`] and of [`Caller::answer`].
    pub fn send(&mut self, request: Request) -> Result<()> {
        let timeout = self.options.timeout();
        let bytes = match &request {
            Request::Bytes(bytes) if envelope::SIZE + bytes.len() <= self.queue.largest().min(STEP) => Some(&bytes[..]),
            _ => None,
        };
        self.envelope = self.envelope.next(timeout, bytes.map(|bytes| bytes.len() as u32));
        let message = [&self.envelope.encode(), bytes.unwrap_or_default()].concat();
        let number = i64::from(self.queue.id().is_some());
        let call = Call {
            number: self.envelope.call,
            request,
            sent: Instant::now(),
            deadline: Deadline::after(timeout),
            left: self.options.retry,
            server: None,
            status: None,
            streams: Default::default(),
        };
        self.calls.push_back(call);
        loop {
            // Alone it waits in the kernel; with others their servers wait for us.
            let alone = self.calls.len() == 1;
            let wait = if alone { timeout.map_or(Timeout::Never, Timeout::After) } else { Timeout::Now };
            match self.queue.send(&message, number, &mut Wait::new(wait)) {
                Err(error) if error.kind == ErrorKind::Busy && !alone => {
                    // The first is waited for, and what it says is kept.
                    self.step(self.calls.len() - 1)?;
                }
                sent => return sent,
            }
        }
    }

    /// Wait for the answer of the call that was sent first, and write it. Returns the
    /// status of its command, as a shell reports it; None if there is no call.
    ///
    /// # Errors
    /// - [`ErrorKind::TimedOut`]: no server has taken the call, or the command runs on and
    ///   is ended;
    /// - [`ErrorKind::PeerDied`]: the server died in the middle, and the request may have
    ///   been done;
    /// - [`ErrorKind::Gone`] if the queue is removed before a server has taken the call;
    /// - [`ErrorKind::NoRoom`].
    pub fn answer(&mut self) -> Result<Option<u8>> {
        loop {
            let Some(first) = self.calls.front() else { return Ok(None) };
            if let Some(status) = first.status {
                self.window = if first.sent.elapsed() < FAST { (self.window * 2).min(MOST) } else { 1 };
                self.end_first()?;
                // Written together with those that have ended, too.
                if self.calls.front().is_none_or(|next| next.status.is_none()) {
                    self.flush()?;
                }
                return Ok(Some(status));
            }
            self.step(self.calls.len())?;
        }
    }

    /// Take the first call, which has ended.
    fn end_first(&mut self) -> Result<()> {
        let Some(call) = self.calls.pop_front() else { return Ok(()) };
        let [out, err] = call.streams;
        self.written.extend(out.held);
        if !err.held.is_empty() || self.written.len() > STEP {
            self.flush()?;
        }
        write(self.options.stderr, &err.held, ERROR)
    }

    fn flush(&mut self) -> Result<()> {
        let written = std::mem::take(&mut self.written);
        write(self.options.stdout, &written, OUTPUT)
    }

    /// Wait until somebody says something, and heed it. The first `most` calls were sent.
    fn step(&mut self, most: usize) -> Result<()> {
        let failed = |errno| Error::errno("a socket", errno);
        let Some(first) = self.calls.front() else { return Ok(()) };
        let deadline = first.deadline;
        let mut fds = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        let peers: Vec<usize> = (0..self.peers.len()).filter(|&at| self.peers[at].is_some()).collect();
        fds.extend(self.peers.iter().flatten().map(|peer| PollFd::new(peer.as_fd(), PollFlags::POLLIN)));
        // The others wait with what they write, or are held back.
        let read = if self.options.retry == 0 { 1 } else { most };
        let streams =
            self.calls.iter().take(read).flat_map(|call| &call.streams).filter_map(|stream| stream.from.as_ref());
        fds.extend(streams.map(|from| PollFd::new(from.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, poll_timeout(deadline.at_most(LOOK))) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any() != Some(false)).collect();
        drop(fds);
        for at in 0..self.calls.len().min(read) {
            self.pass(at, false)?;
        }
        for (place, at) in peers.into_iter().enumerate() {
            if ready[1 + place] {
                self.heed(at)?;
            }
        }
        if ready[0]
            && let Some(peer) = self.listener.accept().map_err(failed)?
        {
            match self.peers.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(peer),
                None => self.peers.push(Some(peer)),
            }
        }
        self.check(&deadline)
    }

    /// Heed all that a server says.
    fn heed(&mut self, at: usize) -> Result<()> {
        let Some(mut peer) = self.peers[at].take() else { return Ok(()) };
        let mut open = peer.hear(&self.envelope.secret);
        loop {
            match peer.next() {
                Ok(Some((frame, body))) => {
                    let Some(place) = self.calls.iter().position(|call| call.number == frame.call) else { continue };
                    match frame.what {
                        What::Take => {
                            let wanted = frame.value == 1;
                            self.begin(place, at)?;
                            open &= !wanted || self.hand_over(place, &peer)?;
                        }
                        What::Out if self.calls[place].server == Some(at) => {
                            self.calls[place].streams[0].held.extend_from_slice(body);
                        }
                        What::End if self.calls[place].server == Some(at) => {
                            // What the command has written before its end is in the pipes.
                            self.pass(place, true)?;
                            self.calls[place].status = Some(u8::try_from(frame.value).unwrap_or(u8::MAX));
                        }
                        What::Out | What::End => {}
                    }
                }
                Ok(None) => break,
                Err(()) => open = false,
            }
            if !open {
                break;
            }
        }
        if open {
            self.peers[at] = Some(peer);
            return Ok(());
        }
        // Its calls may have been done.
        for place in 0..self.calls.len() {
            if self.calls[place].server == Some(at) && self.calls[place].status.is_none() {
                self.died(place)?;
            }
        }
        Ok(())
    }

    /// A server begins with a call.
    fn begin(&mut self, place: usize, server: usize) -> Result<()> {
        if self.calls[place].server.is_some() && self.calls[place].status.is_none() {
            self.died(place)?;
        }
        self.calls[place].server = Some(server);
        Ok(())
    }

    /// The server of a call has died.
    fn died(&mut self, place: usize) -> Result<()> {
        let call = &mut self.calls[place];
        if call.left == 0 {
            let problem = "the server died in the middle, and the request may have been done";
            return Err(Error::new(ErrorKind::PeerDied, self.queue.address(), problem));
        }
        call.left -= 1;
        call.server = None;
        call.streams = Default::default();
        Ok(())
    }

    /// Give a server the request and two pipes. False if it is gone.
    fn hand_over(&mut self, place: usize, peer: &Peer) -> Result<bool> {
        let failed = |errno| Error::errno("a pipe for the answer", errno);
        let (out, out_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let (err, err_end) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        enlarge_pipe(&out);
        let call = &mut self.calls[place];
        let input = call.request.input()?;
        if !peer.hand_over([input.as_fd(), out_end.as_fd(), err_end.as_fd()]) {
            // It has not begun.
            call.server = None;
            return Ok(false);
        }
        // The command alone has the other ends now.
        for (stream, from) in call.streams.iter_mut().zip([out, err]) {
            fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
            stream.from = Some(from);
        }
        Ok(true)
    }

    /// Pass on what a command has written: a block of each, or all.
    fn pass(&mut self, place: usize, all: bool) -> Result<()> {
        let streamed = place == 0 && self.options.retry == 0;
        if streamed {
            self.flush()?;
        }
        let to = [(self.options.stdout, OUTPUT), (self.options.stderr, ERROR)];
        for (stream, (to, label)) in self.calls[place].streams.iter_mut().zip(to) {
            if streamed {
                write(to, &std::mem::take(&mut stream.held), label)?;
            }
            while let Some(from) = &stream.from {
                self.buffer.resize(STEP, 0);
                match read(from, &mut self.buffer) {
                    Ok(0) => stream.from = None,
                    Ok(n) if streamed => write(to, &self.buffer[..n], label)?,
                    Ok(n) => stream.held.extend_from_slice(&self.buffer[..n]),
                    Err(Errno::EINTR) => continue,
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => return Err(Error::errno("a pipe for the answer", errno)),
                }
                if !all {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Check that the first call can still be answered.
    fn check(&mut self, deadline: &Deadline) -> Result<()> {
        let Some(first) = self.calls.front().filter(|call| call.status.is_none()) else { return Ok(()) };
        let taken = first.server.is_some();
        if deadline.passed() {
            let problem = match taken {
                true => "the command has not ended, and the timeout has passed",
                false => "no server has taken the call, and the timeout has passed",
            };
            return Err(Error::new(ErrorKind::TimedOut, self.queue.address(), problem));
        }
        if !taken && self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.queue.check_linked()?;
        }
        Ok(())
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        // What was answered is written also if a later call fails, which is told.
        let _ = self.flush();
    }
}

fn write(to: BorrowedFd<'_>, bytes: &[u8], label: &str) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    write_all(to, bytes, None).map_err(|unwritten| unwritten.explain(label))
}
