//! The one drain loop, the same under every driver and in simulation.
//!
//! A driver feeds inputs (`handle_*`), as many as it has at hand, and then runs
//! the pump. The order of things is decided here and nowhere else.

use std::time::Instant;

use crate::Proxy;
use crate::io::{Event, Transmit};

/// What a driver does for the pump.
pub trait Io {
    /// Sends the datagrams in `bytes`, or says that the socket is full.
    ///
    /// An error of the network is not the core's business: the driver counts it
    /// and answers [`Sent::Yes`], because QUIC repairs what gets lost.
    fn transmit(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent;

    /// How many datagrams one [`Transmit`] may hold (GSO); 1 where it is missing.
    fn max_segments(&self) -> usize;

    /// Takes an event.
    fn event(&mut self, event: Event);
}

/// Whether the socket took a [`Transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is sent, or lost for a reason that waiting does not mend.
    Yes,
    /// The socket's buffer is full: offer it again when it is writable.
    Blocked,
}

/// Drains a [`Proxy`] into an [`Io`], and keeps what a full socket refused.
#[derive(Debug, Default)]
pub struct Pump {
    buf: Vec<u8>,
    held: Option<Transmit>,
}

impl Pump {
    /// A pump with nothing held.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does everything the proxy wants done at `now`.
    ///
    /// With [`Sent::Blocked`] the socket named by [`Pump::held`] is full: run the
    /// pump again when it is writable. Otherwise the proxy wants nothing before
    /// its `poll_timeout`.
    pub fn run(&mut self, proxy: &mut Proxy, io: &mut impl Io, now: Instant) -> Sent {
        let sent = self.transmit_all(proxy, io, now);
        while let Some(event) = proxy.poll_event() {
            io.event(event);
        }
        sent
    }

    /// The transmit that a full socket refused, if there is one.
    pub fn held(&self) -> Option<&Transmit> {
        self.held.as_ref()
    }

    fn transmit_all(&mut self, proxy: &mut Proxy, io: &mut impl Io, now: Instant) -> Sent {
        loop {
            let Some(transmit) = self
                .held
                .take()
                .or_else(|| proxy.poll_transmit(io.max_segments(), &mut self.buf, now))
            else {
                return Sent::Yes;
            };
            if io.transmit(&transmit, &self.buf[..transmit.size]) == Sent::Blocked {
                self.held = Some(transmit);
                return Sent::Blocked;
            }
        }
    }
}
