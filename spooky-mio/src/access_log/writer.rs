//! The thread that formats and writes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use spooky_core::observe::Record;

use super::State;
use super::line;

/// Bytes after which lines are written even if more records wait.
const CHUNK: usize = 64 * 1024;
/// The pause between looks at an empty queue, shortest and longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(80));
/// How often failures of the sink are logged.
const COMPLAINTS: Duration = Duration::from_secs(1);

pub(super) struct Writer<W> {
    sink: W,
    records: Receiver<Box<Record>>,
    state: Arc<State>,
    buffer: Vec<u8>,
    lines: usize,
    /// The sink took half a line, so the next one begins with a line break.
    torn: bool,
    complained: Option<Instant>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(sink: W, records: Receiver<Box<Record>>, state: Arc<State>) -> Self {
        Writer {
            sink,
            records,
            state,
            buffer: Vec::new(),
            lines: 0,
            torn: false,
            complained: None,
        }
    }

    /// Writes until the log is closed, or everybody who could write to it is gone.
    pub(super) fn run(mut self) {
        let mut pause = PAUSES.0;
        loop {
            // Read before the queue is: what was taken before the closing is written.
            let closing = self.state.closing.load(Ordering::Acquire);
            let open = self.fill();
            if self.lines > 0 {
                self.flush();
                pause = PAUSES.0;
            } else if closing || !open {
                return;
            } else {
                thread::park_timeout(pause);
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }

    /// Formats what waits, up to a chunk. False if nothing will ever come again.
    fn fill(&mut self) -> bool {
        while self.buffer.len() < CHUNK {
            match self.records.try_recv() {
                Ok(record) => {
                    line::append(&mut self.buffer, &record);
                    self.lines += 1;
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn flush(&mut self) {
        if self.torn {
            self.buffer.insert(0, b'\n');
        }
        let (written, result) = write_all(&mut self.sink, &self.buffer);
        let whole = self.buffer[..written]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            - usize::from(self.torn && written > 0);
        if written > 0 {
            self.torn = self.buffer[written - 1] != b'\n';
        }
        if let Err(error) = result {
            self.state
                .dropped
                .fetch_add((self.lines - whole) as u64, Ordering::Relaxed);
            self.complain(&error);
        }
        // Counted until they are written, so that `close` can tell what was lost.
        // It may have given up on them meanwhile: then they are counted already.
        let lines = self.lines;
        let less = |waiting: usize| Some(waiting.saturating_sub(lines));
        let _ = self
            .state
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.buffer.clear();
        self.lines = 0;
    }

    fn complain(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.complained.is_none_or(|at| now - at >= COMPLAINTS) {
            self.complained = Some(now);
            log::error!("cannot write the access log: {error}");
        }
    }
}

/// Writes all of it, and tells how far it came.
fn write_all(sink: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares the sink made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSES.0),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, sink.flush())
}
