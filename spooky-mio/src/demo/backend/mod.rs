//! An HTTP/3 server of our own: for demonstrations, for tests, for the bench.
//!
//! It stands on quiche directly and shares nothing with the proxy's core.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | which backend answered; every answer has it in `x-backend` |
//! | `GET /head` | the request's head as it arrived, a line a field |
//! | `GET /bytes/N` | N bytes of the [pattern](super::pattern) |
//! | `GET /slow/MS` | an answer after MS milliseconds |
//! | `GET /status/CODE` | that status |
//! | `GET /headers/N` | a head of about N bytes |
//! | `POST /echo` | the request's body as it comes, then its trailers |
//! | `POST /count` | `{"bytes":…,"sha256":"…","trailers":…}` when the body has ended |
//! | `GET /trailers` | a body with trailers |
//! | `GET /hints` | a 103, then a 200 |
//! | `GET /reset/N` | N bytes of twice as many, then RESET_STREAM |
//! | `GET /close/N` | N bytes of twice as many, then CONNECTION_CLOSE |
//! | `GET /short/N` | a `content-length` of N, half of the bytes, a clean end |
//! | `GET /long/N` | a `content-length` of half of N, N bytes, a clean end |
//! | `GET /cut/N` | N bytes without a `content-length`, then RESET_STREAM |
//! | `GET /broken` | a head whose `:status` is none |
//! | `/stall` | nothing, ever; nor is the body read |
//! | `GET /goaway` | an answer, and GOAWAY: later requests of the connection are rejected |
//!
//! `HEAD` gets the head alone. Bodies are never held: what is read waits for
//! room to be written, and what is not read stops the sender.

pub(crate) mod answer;
mod connection;
mod engine;
mod exchange;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::thread::JoinHandle;

use boring::pkey::PKey;
use boring::ssl::{SslContextBuilder, SslMethod};
use boring::x509::X509;
use mio::{Poll, Waker};
use quiche::h3;

use super::identity::Identity;
use crate::client::transport::{Windows, apply};
use crate::client::wire::Wire;
use engine::{Engine, SOCKET, WAKER};

/// The length of our connection ids; a short header does not say it.
const CID_LEN: usize = 16;

/// RFC 9114 section 8.1.
const H3_NO_ERROR: u64 = 0x100;
const H3_REQUEST_REJECTED: u64 = 0x10b;
const H3_REQUEST_CANCELLED: u64 = 0x10c;
const H3_MESSAGE_ERROR: u64 = 0x10e;

/// How a [`Backend`] is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name in the answers.
    pub id: String,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Flow control and stream limits.
    pub windows: Windows,
}

impl Options {
    /// A backend called `id` on a free port of 127.0.0.1.
    pub fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            windows: Windows::default(),
        }
    }
}

/// What went on at a [`Backend`] so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections whose handshake was completed.
    pub connections: u64,
    /// Requests whose head arrived.
    pub requests: u64,
    /// Requests that were read to a clean end.
    pub ended: u64,
    /// Requests rejected, because GOAWAY went before them.
    pub rejected: u64,
    /// Requests the client gave up: RESET_STREAM or STOP_SENDING.
    pub cancelled: u64,
    /// The code of the last of these.
    pub last_cancel_code: u64,
}

/// A running backend. It stops when dropped, and tells its clients so.
pub struct Backend {
    address: SocketAddr,
    control: Arc<Control>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Starts a backend in a thread of its own.
    pub fn start(identity: &Identity, options: Options) -> io::Result<Self> {
        let mut wire = Wire::bind(options.listen, None)?;
        let poll = Poll::new()?;
        wire.register(poll.registry(), SOCKET)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let address = wire.local_addr();
        let control = Arc::new(Control::default());
        let quic_config = server_config(identity, &options.windows).map_err(io::Error::other)?;
        let mut h3_config = h3::Config::new().map_err(io::Error::other)?;
        // More would close the connection, and large heads are what tests try.
        h3_config.set_max_field_section_size(1 << 20);
        let name = format!("backend-{}", options.id);
        let engine = Engine::new(
            options.id,
            poll,
            wire,
            quic_config,
            h3_config,
            Arc::clone(&control),
        );
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || engine.run())?;
        Ok(Self {
            address,
            control,
            waker,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What went on so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.control.counters;
        Counts {
            connections: counters.connections.load(Relaxed),
            requests: counters.requests.load(Relaxed),
            ended: counters.ended.load(Relaxed),
            rejected: counters.rejected.load(Relaxed),
            cancelled: counters.cancelled.load(Relaxed),
            last_cancel_code: counters.last_cancel_code.load(Relaxed),
        }
    }

    /// Stops without a word to anybody, as a machine that lost its power.
    pub fn vanish(mut self) {
        self.end(Order::Vanish);
    }

    fn end(&mut self, order: Order) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.control.order.store(order as u8, Release);
        if let Err(error) = self.waker.wake() {
            // Joining would never end.
            log::error!("cannot wake the backend at {}: {error}", self.address);
            return;
        }
        let _ = thread.join();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end(Order::Close);
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What the owner of a backend says to its thread, and what it answers.
#[derive(Default)]
struct Control {
    order: AtomicU8,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    requests: AtomicU64,
    ended: AtomicU64,
    rejected: AtomicU64,
    cancelled: AtomicU64,
    last_cancel_code: AtomicU64,
}

#[derive(Clone, Copy)]
enum Order {
    Serve = 0,
    Close = 1,
    Vanish = 2,
}

impl Control {
    fn order(&self) -> Order {
        match self.order.load(Acquire) {
            0 => Order::Serve,
            1 => Order::Close,
            _ => Order::Vanish,
        }
    }
}

fn server_config(
    identity: &Identity,
    windows: &Windows,
) -> Result<quiche::Config, Box<dyn std::error::Error + Send + Sync>> {
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    let mut chain = X509::stack_from_pem(identity.cert.as_bytes())?.into_iter();
    let leaf = chain.next().ok_or("the identity has no certificate")?;
    tls.set_certificate(&leaf)?;
    for certificate in chain {
        tls.add_extra_chain_cert(certificate)?;
    }
    let key = PKey::private_key_from_pem(identity.key.as_bytes())?;
    tls.set_private_key(&key)?;
    // `Config::new` would load the system's authorities: a megabyte for nothing.
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls)?;
    apply(&mut config, windows)?;
    Ok(config)
}
