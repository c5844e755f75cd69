//! Secrets (`log.tls_keys`) and traces (`log.qlog`) of connections, written to files by
//! a thread of its own.
//!
//! As with the access log, a worker only puts things into a bounded queue, and a disk
//! that is slow holds up the writer alone.

mod folder;
mod keys;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use spooky_core::config::{Config, Diagnostic, Log};
use spooky_core::observe::{KeyLines, QlogPiece};

use folder::Folder;
use keys::KeyFile;

/// What may wait for the writer: with pieces of at most 64 KiB, 16 MiB.
const QUEUE: usize = 256;
/// How often the writer looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);
/// How often failures to write are logged.
const COMPLAINTS: Duration = Duration::from_secs(1);

/// The writer's end in the hands of the workers: takes things, never blocks.
pub struct Traces {
    queue: SyncSender<Item>,
    state: Arc<State>,
    done: Mutex<Receiver<()>>,
    told: AtomicU64,
}

enum Item {
    Keys(KeyLines),
    Qlog(Box<QlogPiece>),
}

#[derive(Default)]
struct State {
    dropped: AtomicU64,
    closing: AtomicBool,
}

impl Traces {
    /// Opens what the configuration names, if it names anything, and starts the writer.
    ///
    /// # Errors
    /// A sentence that says which file or folder cannot be used, and why.
    pub fn open(log: &Log) -> Result<Option<Traces>, String> {
        let keys = log.tls_keys.as_deref().map(KeyFile::open).transpose();
        let keys = keys.map_err(|error| format!("log.tls_keys: {error}"))?;
        let folder = log.qlog.as_ref().map(|qlog| Folder::open(&qlog.dir));
        let folder = folder.transpose();
        let folder = folder.map_err(|error| format!("log.qlog.dir: {error}"))?;
        if keys.is_none() && folder.is_none() {
            return Ok(None);
        }
        let started = Traces::start(keys, folder);
        started.map(Some).map_err(|error| {
            format!("cannot start the writer of log.tls_keys and log.qlog: {error}")
        })
    }

    fn start(keys: Option<KeyFile>, folder: Option<Folder>) -> io::Result<Traces> {
        let (queue, items) = mpsc::sync_channel(QUEUE);
        let (finish, done) = mpsc::sync_channel(1);
        let state = Arc::new(State::default());
        let writer = Writer {
            keys,
            folder,
            items,
            state: Arc::clone(&state),
            complained: None,
        };
        thread::Builder::new()
            .name("spooky-traces".to_owned())
            .spawn(move || {
                writer.run();
                // Nobody waits if it was dropped without closing it.
                let _ = finish.try_send(());
            })?;
        Ok(Traces {
            queue,
            state,
            done: Mutex::new(done),
            told: AtomicU64::new(0),
        })
    }

    /// Takes secrets, or drops and counts them if too much waits.
    pub fn keys(&self, lines: KeyLines) {
        self.put(Item::Keys(lines));
    }

    /// Takes a piece of a trace, likewise.
    pub fn qlog(&self, piece: Box<QlogPiece>) {
        self.put(Item::Qlog(piece));
    }

    fn put(&self, item: Item) {
        if self.queue.try_send(item).is_err() {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was lost so far, because the disk was too slow or refused it.
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Logs how much was lost since it was called last, if anything.
    pub fn complain(&self) {
        let dropped = self.dropped();
        let new = dropped - self.told.swap(dropped, Ordering::Relaxed);
        if new > 0 {
            log::warn!("log.tls_keys and log.qlog: {new} pieces were lost, {dropped} in all");
        }
    }

    /// Waits until everything taken so far is written, for at most `timeout`.
    pub fn close(&self, timeout: Duration) {
        self.state.closing.store(true, Ordering::Release);
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.recv_timeout(timeout).is_err() {
            log::warn!("log.tls_keys and log.qlog: the last pieces were not written in time");
        }
    }
}

/// What the files and folders would be refused for, without making any: for a check.
pub fn objections(config: &Config) -> Vec<Diagnostic> {
    let mut objections = Vec::new();
    if let Some(Err(error)) = config.log.tls_keys.as_deref().map(KeyFile::inspect) {
        objections.push(config.diagnostic("log.tls_keys", error));
    }
    if let Some(Err(error)) = config.log.qlog.as_ref().map(|q| Folder::inspect(&q.dir)) {
        objections.push(config.diagnostic("log.qlog.dir", error));
    }
    objections
}

struct Writer {
    keys: Option<KeyFile>,
    folder: Option<Folder>,
    items: Receiver<Item>,
    state: Arc<State>,
    complained: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        loop {
            // Read before the queue is: what was taken before the closing is written.
            let closing = self.state.closing.load(Ordering::Acquire);
            match self.items.recv_timeout(LOOK) {
                Ok(item) => self.write(item),
                Err(RecvTimeoutError::Timeout) if !closing => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, item: Item) {
        let written = match (item, &mut self.keys, &mut self.folder) {
            (Item::Keys(lines), Some(file), _) => file.append(lines.as_bytes()),
            (Item::Qlog(piece), _, Some(folder)) => folder.append(&piece),
            // The core has none for a log that is off.
            (Item::Keys(_), None, _) | (Item::Qlog(_), _, None) => Ok(()),
        };
        let Err(error) = written else { return };
        self.state.dropped.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if self.complained.is_none_or(|at| now - at >= COMPLAINTS) {
            self.complained = Some(now);
            log::error!("cannot write what log.tls_keys or log.qlog ask for: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A folder that goes with the test.
    pub(super) struct Scratch(pub(super) PathBuf);

    impl Scratch {
        pub(super) fn new(name: &str) -> Self {
            let name = format!("spooky-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("made");
            Scratch(path)
        }

        pub(super) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // A leftover in the system's own folder for such things.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const LEAST: &str = "\
listen: { address: 0.0.0.0, port: 443 }
tls: { cert: cert.pem, key: key.pem }
backends: [{ id: web1, address: 192.168.1.10:443 }]
";

    #[test]
    fn nothing_is_opened_or_said_for_logs_that_are_off() {
        let config = config("");
        assert!(Traces::open(&config.log).expect("fine").is_none());
        assert_eq!(objections(&config), []);
    }

    #[test]
    fn what_cannot_be_opened_is_told_with_its_key() {
        let missing = "log: { tls_keys: /nonexistent/keys.log, qlog: { dir: /nonexistent } }\n";
        let config = config(missing);
        let error = Traces::open(&config.log).err().expect("refused");
        assert!(
            error.starts_with("log.tls_keys: /nonexistent/keys.log: "),
            "{error}"
        );
        let told: Vec<String> = objections(&config)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[1].contains("log.qlog.dir: /nonexistent: No such file"),
            "{told:?}"
        );
    }

    #[test]
    fn what_the_disk_refuses_is_counted_and_the_writer_ends() {
        let full = KeyFile::of(fs::File::create("/dev/full").expect("Linux has it"));
        let traces = Traces::start(Some(full), None).expect("started");
        for _ in 0..3 {
            traces.keys(KeyLines::from(b"x\n".to_vec()));
        }
        traces.close(Duration::from_secs(10));
        assert_eq!(traces.dropped(), 3);
    }

    fn config(more: &str) -> Config {
        Config::parse("spooky.yaml", &format!("{LEAST}{more}")).expect("legal")
    }
}
