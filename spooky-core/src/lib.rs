//! The heart of Spooky, an HTTP/3 load balancer: a state machine without I/O.
//!
//! No socket, no clock, no thread and no file is touched here. Datagrams and the
//! time go in; datagrams and events come out. A *driver* moves them: the daemon
//! `spooky` on mio, `spooky-tokio` in programs that live on tokio, a loop of
//! your own in anything else.
//!
//! ```text
//!             datagrams, time                                 drain
//!                    │                                          │
//!                    ▼                                          ▼
//!  ┌──────────────────────────────── Proxy ────────────────────────────────┐
//!  │ listener ─▶ downstream ─▶ exchange ─────────▶ upstream ─▶ backend     │
//!  │ datagram    connection    one request          which       the        │
//!  │ → conn      → requests    in flight            backend     connection │
//!  └───────────────────────────────────────────────────────────────────────┘
//!                    │                                          │
//!                    ▼                                          ▼
//!            datagrams to send                               events
//! ```
//!
//! The modules are these stages. `session` is one QUIC connection with HTTP/3 on
//! it, of either side; `proxy` is the one place that knows all stages.
//!
//! # A whole run loop
//!
//! One worker on one thread; `examples/blocking.rs` is this with the sockets.
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use std::time::{Duration, Instant};
//!
//! use spooky_core::io::{Datagram, SocketId};
//! use spooky_core::pump::{Io, Pump};
//! use spooky_core::{Params, Proxy};
//!
//! /// What came from a socket: which one, from whom, to which of our addresses, what.
//! type Received = (SocketId, SocketAddr, SocketAddr, Vec<u8>);
//!
//! /// Your sockets. `Io` sends datagrams and takes events.
//! trait Sockets: Io {
//!     /// Waits for one datagram, for so long.
//!     fn wait(&mut self, at_most: Duration) -> Option<Received>;
//! }
//!
//! fn run(params: Params, mut sockets: impl Sockets) {
//!     let mut proxy = Proxy::new(params, Instant::now());
//!     let mut pump = Pump::new();
//!     loop {
//!         let now = Instant::now();
//!         let due = proxy.poll_timeout().map_or(Duration::from_secs(1), |t| t.saturating_duration_since(now));
//!         if let Some((socket, from, to, mut data)) = sockets.wait(due) {
//!             let stride = data.len();
//!             let datagram = Datagram { socket, from, to, stride, handed_over: false, data: &mut data };
//!             proxy.handle_datagram(datagram, &mut Vec::new(), Instant::now());
//!         }
//!         let now = Instant::now();
//!         proxy.handle_timeout(now);
//!         pump.run(&mut proxy, &mut sockets, now);
//!     }
//! }
//! ```
//!
//! # The contract
//!
//! * **Inputs** are `handle_*`, as many as are at hand; then the pump is run,
//!   which works them off and takes every output. **Commands** are plain verbs.
//! * **Time**: `now` is a fresh reading of the operating system's clock, does not
//!   go back, and is never ahead of it: quiche, under the core, reads that clock
//!   itself, and BoringSSL's randomness too. A simulation interposes both.
//! * **Peers** cannot make it panic: hostile bytes become counters, resets and
//!   closed connections. Panics are bugs of this crate; debug builds look for
//!   them after every call ([`Proxy::check_invariants`]).
//! * **Requests** end exactly once, each in one [`io::Event::Exchange`].
//! * **Memory** a request is bounded, whatever the sizes: its heads (at most
//!   `limits.header_bytes` each way), what its stream's window holds unread in each
//!   direction, and what the congestion window holds unacknowledged. Bodies are
//!   never collected.
//!
//! Byte streams to backends (HTTP/1.1, HTTP/2), name resolution and reload are
//! not part of the face yet; `Action` and `reload` come with them.

#![warn(missing_docs)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "unit tests make their own time")
)]

pub mod config;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod io;
pub mod observe;
#[doc(hidden)]
pub mod planted;
pub mod pump;

mod acks;
mod assembly;
mod backend;
mod black_holes;
mod downstream;
mod exchange;
mod frames;
mod h3;
mod heads;
mod held;
mod http;
pub mod limits;
mod listener;
mod liveness;
mod material;
mod moves;
mod names;
mod paths;
mod proxy;
mod resets;
mod secrets;
mod session;
mod setup;
mod shared;
mod timers;
mod tls;
mod turns;
mod upstream;

pub use http::{Fields, Glimpse, RequestHead};
pub use material::Material;
pub use proxy::{Params, Proxy};
pub use setup::Setup;
pub use shared::{Clients, Shared};

const _: () = {
    /// Workers are threads: a `Proxy` is made on one and may run on another.
    const fn is_send<T: Send>() {}
    is_send::<Proxy>();
};
