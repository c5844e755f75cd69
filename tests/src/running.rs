//! A [`Stack`](crate::Stack) that runs, and what can be asked of it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spooky_core::Setup;
use spooky_core::io::Event;
use spooky_core::observe::{Record, Snapshot};
use spooky_mio::client::{Client, Options, Request, Target, Trust};
use spooky_mio::demo::backend::Backend;
use tokio::runtime::Runtime;

use crate::stack::{Built, start_backend};
use crate::{Answer, Driver, Relay, ask, secs, wait_until};

/// The bound on everything that should simply work.
const PATIENCE: Duration = secs(30);

/// A running Spooky and its surroundings. They stop when dropped.
pub struct Running {
    front: Front,
    built: Built,
}

impl Running {
    pub(crate) fn new(built: Built, front: Front) -> Self {
        Self { front, built }
    }

    /// Where Spooky listens.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// `path` at Spooky.
    pub fn target(&self, path: &str) -> Target {
        self.target_at(self.address(), path)
    }

    /// `path` at Spooky, reached through `address`.
    pub fn target_at(&self, address: SocketAddr, path: &str) -> Target {
        let url = format!("https://{address}{path}");
        url.parse().expect("an address and a path make a URL")
    }

    /// A GET of `path`.
    pub fn get(&self, path: &str) -> Request {
        Request::get(&self.target(path))
    }

    /// A new connection to Spooky.
    pub fn client(&self) -> Client {
        self.client_at(self.address())
    }

    /// A new connection to Spooky through `address`.
    pub fn client_at(&self, address: SocketAddr) -> Client {
        self.client_with(address, &Options::default())
    }

    /// A new connection to Spooky through `address`, with these limits.
    pub fn client_with(&self, address: SocketAddr, options: &Options) -> Client {
        let trust = Trust::Authorities(self.built.ca.clone().into_bytes());
        let target = self.target_at(address, "/");
        Client::connect(&target, &trust, options).expect("Spooky takes connections")
    }

    /// So many new connections to Spooky.
    pub fn clients(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.client()).collect()
    }

    /// Asks for `path`, and waits for the end of the answer.
    pub fn ask(&self, client: &mut Client, path: &str) -> Answer {
        ask(client, self.get(path), PATIENCE)
    }

    /// Backend `index`, from 0.
    pub fn backend(&self, index: usize) -> &Backend {
        let backend = self.built.backends[index].as_ref();
        backend.expect("it did not vanish")
    }

    /// The relay before backend `index`.
    pub fn relay(&self, index: usize) -> &Relay {
        &self.built.relays[index]
    }

    /// Backend `index` stops without a word, as a machine that lost its power.
    pub fn vanish(&mut self, index: usize) {
        let backend = self.built.backends[index].take();
        backend.expect("it did not vanish before").vanish();
    }

    /// Backend `index` starts again, at `address`.
    pub fn restart(&mut self, index: usize, address: SocketAddr) {
        let mut options = self.built.stack.options(index + 1);
        options.listen = address;
        self.built.backends[index] = Some(start_backend(&self.built.identity, options));
    }

    /// Spooky's own view.
    pub fn snapshot(&self) -> Snapshot {
        self.front.snapshot()
    }

    /// Lets Spooky finish what is in flight.
    pub fn drain(&self, timeout: Duration) {
        match &self.front.server {
            Server::Mio(server) => server.drain(timeout),
            Server::Tokio { handle, .. } => handle.drain(timeout),
        }
    }

    /// How many workers said that they are drained.
    pub fn drained(&self) -> usize {
        self.front.seen.drained.load(Ordering::Acquire)
    }

    /// The records so far, in order of their ends.
    pub fn records_so_far(&self) -> Vec<Arc<Record>> {
        let records = self.front.seen.records.lock();
        records.expect("no worker panicked").clone()
    }

    /// The records of `count` requests, in order of their ends: waits until there
    /// are so many and nothing is in flight, and fails if there are ever more.
    pub fn records(&self, count: usize) -> Vec<Arc<Record>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let snapshot = self.snapshot();
            let records = self.records_so_far();
            assert!(records.len() <= count, "{count} requests, {records:#?}");
            if records.len() == count && snapshot.exchanges == 0 {
                let ids: HashSet<u64> = records.iter().map(|record| record.id).collect();
                assert_eq!(ids.len(), count, "a request ended twice: {records:#?}");
                assert_eq!(snapshot.counters.requests, count as u64);
                return records;
            }
            let open = snapshot.exchanges;
            assert!(
                Instant::now() < end,
                "{} of {count} records, {open} in flight: {records:#?}",
                records.len()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The first record, while other requests may still be in flight.
    pub fn first_record(&self) -> Arc<Record> {
        wait_until("a request ends", PATIENCE, || {
            !self.records_so_far().is_empty()
        });
        self.records_so_far().remove(0)
    }

    /// The record of the only request so far.
    pub fn record(&self) -> Arc<Record> {
        self.records(1).remove(0)
    }
}

/// A Spooky in this process.
pub(crate) struct Front {
    server: Server,
    seen: Arc<Seen>,
}

enum Server {
    Mio(spooky_mio::Server),
    Tokio {
        runtime: Runtime,
        handle: spooky_tokio::Handle,
        // Taken when it is joined.
        server: Option<spooky_tokio::Server>,
    },
}

/// What the workers told.
#[derive(Default)]
struct Seen {
    records: Mutex<Vec<Arc<Record>>>,
    drained: AtomicUsize,
}

impl Seen {
    fn take(&self, event: Event) {
        match event {
            Event::Exchange(record) => {
                let mut records = self.records.lock().expect("no worker panicked");
                records.push(Arc::from(record));
            }
            Event::KeyLog(_) | Event::Qlog(_) => panic!("nobody asked for secrets or traces"),
            Event::Drained => {
                self.drained.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

impl Front {
    pub(crate) fn start(driver: Driver, setup: Setup) -> Self {
        let seen = Arc::new(Seen::default());
        let observer = Arc::clone(&seen);
        let observe = move |event| observer.take(event);
        let server = match driver {
            Driver::Mio => {
                let server = spooky_mio::Server::start(setup, observe);
                Server::Mio(server.unwrap_or_else(|error| panic!("{error}")))
            }
            Driver::Tokio => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .expect("a runtime");
                let server = runtime.block_on(async {
                    spooky_tokio::Server::start(setup, observe)
                        .unwrap_or_else(|error| panic!("{error}"))
                });
                Server::Tokio {
                    handle: server.handle(),
                    runtime,
                    server: Some(server),
                }
            }
        };
        Self { server, seen }
    }

    fn address(&self) -> SocketAddr {
        match &self.server {
            Server::Mio(server) => server.local_addr(),
            Server::Tokio { handle, .. } => handle.local_addr(),
        }
    }

    fn snapshot(&self) -> Snapshot {
        match &self.server {
            Server::Mio(server) => server.snapshot(),
            Server::Tokio {
                runtime, handle, ..
            } => runtime.block_on(handle.snapshot()),
        }
    }

    /// Stops, and tells what a worker that failed said.
    fn stop(&mut self) -> Result<(), String> {
        match &mut self.server {
            Server::Mio(server) => {
                server.stop();
                match server.wait(PATIENCE) {
                    Some(ended) => ended.map_err(|failed| failed.to_string()),
                    None => Err("it does not stop".into()),
                }
            }
            Server::Tokio {
                runtime,
                handle,
                server,
            } => {
                handle.stop();
                let Some(server) = server.take() else {
                    return Ok(());
                };
                let joined = async { tokio::time::timeout(PATIENCE, server.join()).await };
                match runtime.block_on(joined) {
                    Ok(ended) => ended.map_err(|failed| failed.to_string()),
                    Err(_) => Err("it does not stop".into()),
                }
            }
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let ended = self.stop();
        // A second panic would hide the first.
        if let (Err(why), false) = (ended, std::thread::panicking()) {
            panic!("Spooky did not end well: {why}");
        }
    }
}
