//! What the end-to-end tests stand on: a whole [`Stack`] on loopback sockets.
//!
//! Backends are those of `spooky demo`, the client is that of `spooky get`; both
//! stand on quiche directly and share nothing with the proxy's core. Between
//! Spooky and either of them a [`Relay`] can lose datagrams or move a peer to
//! another port.
//!
//! ```no_run
//! use spooky_tests::Stack;
//!
//! let stack = Stack::new().backends(2).config("connections: {max: 1}").start();
//! let mut client = stack.client();
//! let answer = stack.ask(&mut client, "/bytes/16");
//! assert_eq!((answer.status(), answer.bytes), (200, 16));
//! stack.records(1); // one request, one record
//! ```

#[cfg(feature = "sockets")]
mod answer;
#[cfg(feature = "sockets")]
mod crowd;
#[cfg(feature = "sockets")]
mod daemon;
#[cfg(feature = "sockets")]
mod flood;
#[cfg(feature = "sockets")]
mod relay;
#[cfg(feature = "sockets")]
mod running;
#[cfg(feature = "sockets")]
mod stack;

#[cfg(feature = "sockets")]
pub use answer::{Answer, ask, ask_all, pump};
#[cfg(feature = "sockets")]
pub use crowd::Crowd;
#[cfg(feature = "sockets")]
pub use daemon::Daemon;
#[cfg(feature = "sockets")]
pub use flood::{Account, Flood};
#[cfg(feature = "sockets")]
pub use relay::Relay;
#[cfg(feature = "sockets")]
pub use running::Running;
#[cfg(feature = "sockets")]
pub use stack::{Driver, Stack};

use std::time::{Duration, Instant};

/// Waits until `done`, and fails with `what` if that takes longer than `within`.
pub fn wait_until(what: &str, within: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !done() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Seconds, written short.
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Milliseconds, written short.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub mod edge;
pub mod raw;
pub mod rig;
pub mod sim;
pub mod stranger;
pub mod tls;
