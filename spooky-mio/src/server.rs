//! Workers on threads.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use spooky_core::Setup;
use spooky_core::io::Event;
use spooky_core::observe::Snapshot;
use spooky_os::{Control, Observe, StartError, Worker, assemble, bind, worker_count};

use crate::event_loop::EventLoop;

/// A running Spooky: its workers, one a thread.
///
/// Dropping it stops the workers at once and waits for them.
pub struct Server {
    control: Control,
    threads: Vec<JoinHandle<()>>,
    ends: Receiver<Result<(), WorkerFailed>>,
    running: usize,
}

/// A worker ended without being asked: a bug, or a system that took its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFailed {
    /// Which one.
    pub worker: usize,
    /// What it said last.
    pub reason: String,
}

impl fmt::Display for WorkerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} failed: {}", self.worker, self.reason)
    }
}

impl std::error::Error for WorkerFailed {}

impl Server {
    /// Binds the sockets and starts as many workers as the configuration says.
    ///
    /// `observe` takes the events of all workers on their threads, so it must be
    /// quick and never block.
    pub fn start(
        setup: Setup,
        observe: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Server, StartError> {
        let workers = worker_count(setup.config().workers);
        let sockets = bind(&setup.config().listen, workers)?;
        let loops = (0..workers)
            .map(|_| EventLoop::new())
            .collect::<io::Result<Vec<_>>>()?;
        let wakes = loops.iter().map(EventLoop::wake).collect();
        let observe: Observe = Arc::new(observe);
        let (workers, control) = assemble(setup, sockets, wakes, &observe)?;
        let (sender, ends) = mpsc::channel();
        let mut server = Server {
            control,
            threads: Vec::new(),
            ends,
            running: workers.len(),
        };
        for (worker, event_loop) in workers.into_iter().zip(loops) {
            let sender = sender.clone();
            let name = format!("spooky-{}", worker.index());
            // If a thread cannot be made, dropping `server` stops the others.
            server
                .threads
                .push(thread::Builder::new().name(name).spawn(move || {
                    // Nobody listens any more if the server was dropped.
                    let _ = sender.send(run(worker, event_loop));
                })?);
        }
        Ok(server)
    }

    /// Where clients reach it, with the port really bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.control.local_addr()
    }

    /// Commands for other threads to give.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The core's state, all workers in one. Waits for their next turn.
    pub fn snapshot(&self) -> Snapshot {
        self.control.report().snapshot
    }

    /// Lets the workers finish what is in flight within `timeout`, and end.
    pub fn drain(&self, timeout: Duration) {
        self.control.drain(timeout);
    }

    /// Lets the workers end at once.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Waits until all workers have ended, or one has failed, or `timeout` has
    /// passed: then `None`.
    pub fn wait(&mut self, timeout: Duration) -> Option<Result<(), WorkerFailed>> {
        let end = Instant::now() + timeout;
        while self.running > 0 {
            match self
                .ends
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Ok(())) => self.running -= 1,
                Ok(Err(failed)) => {
                    self.running -= 1;
                    return Some(Err(failed));
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(Ok(()))
    }

    /// Waits until all workers have ended, after [`Server::drain`] or
    /// [`Server::stop`]. One that fails takes the others down.
    pub fn join(mut self) -> Result<(), WorkerFailed> {
        loop {
            if let Some(result) = self.wait(Duration::from_secs(3600)) {
                return result;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.stop();
        for thread in self.threads.drain(..) {
            // Its panic was caught and told already.
            let _ = thread.join();
        }
    }
}

fn run(worker: Worker, event_loop: EventLoop) -> Result<(), WorkerFailed> {
    let index = worker.index();
    let failed = |reason| WorkerFailed {
        worker: index,
        reason,
    };
    // The worker is gone after a panic; what it shares is atomic.
    match catch_unwind(AssertUnwindSafe(|| event_loop.run(worker))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(panic) => Err(failed(message(panic.as_ref()))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_message() {
        let caught = catch_unwind(|| panic!("worker {} lost its way", 3)).expect_err("it panics");
        assert_eq!(message(caught.as_ref()), "panicked: worker 3 lost its way");
        let caught = catch_unwind(|| panic!("lost")).expect_err("it panics");
        assert_eq!(message(caught.as_ref()), "panicked: lost");
    }
}
