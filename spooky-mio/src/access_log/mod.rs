//! One line a request, written by a thread of its own.
//!
//! A worker only puts the record into a bounded queue; formatting and writing
//! are the writer's. A sink that does not take lines (a full pipe, a slow disk)
//! holds up the writer alone: the queue fills, further records are dropped and
//! counted, and requests go on.

pub(crate) mod line;
pub(crate) mod rfc3339;
mod writer;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use spooky_core::config::{AccessFormat, AccessLog as Config, LogTarget};
use spooky_core::observe::Record;

use writer::Writer;

/// Records that may wait for the writer.
const QUEUE: usize = 8192;
/// Waiting records at which the writer is woken. Below, it looks by itself from
/// time to time, so that a worker does not pay a system call for every line.
const WAKE: usize = QUEUE / 4;

/// The access log: takes records, never blocks.
pub struct AccessLog {
    queue: SyncSender<Box<Record>>,
    state: Arc<State>,
    writer: Thread,
    done: Mutex<Receiver<()>>,
    told: AtomicU64,
}

/// What the workers and the writer share.
#[derive(Default)]
struct State {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    closing: AtomicBool,
}

impl AccessLog {
    /// Opens what the configuration names and starts the writer.
    pub fn open(config: &Config) -> io::Result<Self> {
        match config.format {
            AccessFormat::Json => {}
        }
        // Through a descriptor of our own: the locks of the standard streams would
        // let a sink that is stuck hold up whoever writes to the log.
        let file = match &config.path {
            LogTarget::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            LogTarget::Stderr => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            LogTarget::File(path) => {
                let opened = OpenOptions::new().append(true).create(true).open(path);
                opened.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?
            }
        };
        Self::to(file)
    }

    /// Starts a writer to `sink`.
    pub fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, records) = mpsc::sync_channel(QUEUE);
        let (finish, done) = mpsc::sync_channel(1);
        let state = Arc::new(State::default());
        let writer = Writer::new(sink, records, Arc::clone(&state));
        let thread = thread::Builder::new()
            .name("spooky-access".to_owned())
            .spawn(move || {
                writer.run();
                // Nobody waits if the log was dropped without closing it.
                let _ = finish.try_send(());
            })?;
        let writer = thread.thread().clone();
        Ok(AccessLog {
            queue,
            state,
            writer,
            done: Mutex::new(done),
            told: AtomicU64::new(0),
        })
    }

    /// Takes a record, or drops and counts it if too many wait.
    pub fn record(&self, record: Box<Record>) {
        let waiting = self.state.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        if self.queue.try_send(record).is_err() {
            self.state.waiting.fetch_sub(1, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        } else if waiting == WAKE {
            self.writer.unpark();
        }
    }

    /// Lines that were lost so far, because the sink was too slow or refused them.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Logs how many lines were lost since it was called last, if any.
    pub fn complain(&self) {
        let dropped = self.dropped();
        let new = dropped - self.told.swap(dropped, Ordering::Relaxed);
        if new > 0 {
            log::warn!(
                "access log: {new} lines were lost, {dropped} in all: the sink does not keep up"
            );
        }
    }

    /// Waits until everything taken so far is written, for at most `timeout`.
    /// What the sink has not taken then is lost, and counted.
    pub fn close(&self, timeout: Duration) {
        self.state.closing.store(true, Ordering::Release);
        self.writer.unpark();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.recv_timeout(timeout).is_err() {
            let waiting = self.state.waiting.swap(0, Ordering::Relaxed) as u64;
            self.state.dropped.fetch_add(waiting, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
