//! How a worker waits: epoll, through mio.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use spooky_os::{Wake, Worker};

/// More than a worker has sockets, so that one wait tells of all of them.
const EVENTS: usize = 64;
/// Somebody put a letter into the worker's box.
const LETTERS: Token = Token(usize::MAX);

/// What a worker waits with.
pub(crate) struct EventLoop {
    poll: Poll,
    waker: Arc<Waker>,
}

impl EventLoop {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), LETTERS)?);
        Ok(EventLoop { poll, waker })
    }

    /// Ends the waiting from any thread.
    pub(crate) fn wake(&self) -> Wake {
        let waker = Arc::clone(&self.waker);
        Arc::new(move || {
            if let Err(error) = waker.wake() {
                log::error!("cannot wake a worker: {error}");
            }
        })
    }

    /// Runs `worker` until it has drained or was stopped.
    pub(crate) fn run(mut self, mut worker: Worker) -> io::Result<()> {
        let fds: Vec<RawFd> = worker.sockets().map(AsRawFd::as_raw_fd).collect();
        for (index, fd) in fds.iter().enumerate() {
            self.poll
                .registry()
                .register(&mut SourceFd(fd), Token(index), Interest::READABLE)?;
        }
        let mut events = Events::with_capacity(EVENTS);
        let mut full: Option<usize> = None;
        loop {
            worker.turn();
            if worker.ended() {
                return Ok(());
            }
            self.watch_full(&fds, &mut full, worker.blocked())?;
            self.wait(&mut events, worker.deadline())?;
            for event in &events {
                // The waker's token is no socket's, and only ends the waiting.
                let Token(socket) = event.token();
                if event.is_readable() {
                    worker.ready(socket);
                }
                if event.is_error() {
                    worker.failed(socket);
                }
            }
        }
    }

    /// Asks to hear of a socket's writability only while it is full: otherwise
    /// every datagram sent would end the waiting.
    fn watch_full(
        &self,
        fds: &[RawFd],
        was: &mut Option<usize>,
        is: Option<usize>,
    ) -> io::Result<()> {
        if *was == is {
            return Ok(());
        }
        if let Some(socket) = *was {
            self.poll.registry().reregister(
                &mut SourceFd(&fds[socket]),
                Token(socket),
                Interest::READABLE,
            )?;
        }
        if let Some(socket) = is {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .reregister(&mut SourceFd(&fds[socket]), Token(socket), both)?;
        }
        *was = is;
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, deadline: Instant) -> io::Result<()> {
        // A time that has passed becomes zero; mio rounds up to milliseconds, so a
        // timer never makes the loop spin.
        let timeout: Duration = deadline.saturating_duration_since(Instant::now());
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            result => result,
        }
    }
}
