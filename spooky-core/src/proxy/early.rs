//! Requests that come in 0-RTT.
//!
//! Whoever sees a client's first flight can send it again, and it decrypts again. What
//! the copy cannot do is to complete the handshake. So a request whose head came before
//! the handshake was complete waits for it, unless all of this holds:
//!
//! * the upstream's `early_data` is `forward`, so its backends know `Early-Data: 1` and
//!   answer 425 where they would rather not (RFC 8470 section 6.1);
//! * its method is safe;
//! * the flight is new: its binder is not in the register that all workers share, its
//!   ticket was made by this very process (another one may have seen the flight, and
//!   its register is not ours), and this process is old enough that no flight is fresh
//!   which it has not seen.
//!
//! Where requests are forwarded, every flight is taken down, whatever came of it: its
//! early data may have been lost and come again after the handshake, and then a copy of
//! the flight must not be taken for new. If a flight was there before, and its client
//! does complete the handshake, then the copy, an attacker's, was first, and a backend
//! may have its requests already: the connection is closed, and the client, told that
//! nothing was done here, decides for itself.
//!
//! A safe request in a flight that is not surely new is answered with 425 when the
//! handshake is complete. The client sends it again, if it likes (RFC 8470 section 5.2).

use std::time::Instant;

use super::Proxy;
use crate::config::EarlyData;
use crate::downstream::Novelty;
use crate::exchange::State;
use crate::http::RequestHead;
use crate::io::Handle;
use crate::observe::{Early, Reason};
use crate::session::code;

impl Proxy {
    /// Sends a request on its way, unless it has to wait for the handshake.
    pub(super) fn dispatch(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        let downstream = exchange.downstream;
        let safe = exchange.head.as_ref().is_some_and(RequestHead::is_safe);
        let conn = self.downstreams.get(downstream);
        let novelty = conn.and_then(|conn| conn.novelty);
        if conn.is_none_or(|conn| conn.session.is_established()) {
            match novelty {
                Some(Novelty::Copy) => self.refuse_copied(id, now),
                Some(Novelty::New | Novelty::Unknown) | None => self.choose(id, None, now),
            }
            return;
        }
        let goes = safe && self.forwards_early() && novelty == Some(Novelty::New);
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if goes {
            exchange.early = Some(Early::Forwarded);
            self.counters.requests_early_forwarded += 1;
            self.choose(id, None, now);
        } else {
            exchange.early = Some(Early::Held);
            exchange.state = State::Held;
            self.counters.requests_early_held += 1;
        }
    }

    /// The client has proved that it is no replay: what waited for that goes on, in the
    /// order of its streams. Looks at all that is open, once in a connection's life.
    pub(super) fn release_held(&mut self, downstream: Handle, now: Instant) {
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        let (open, copied) = (conn.session.open(), conn.novelty == Some(Novelty::Copy));
        if copied {
            let why = b"what this connection began with came before";
            conn.session.close(code::REQUEST_REJECTED, why);
        }
        for (_, id) in open {
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            if exchange.state != State::Held {
                continue;
            }
            exchange.state = State::New;
            let safe = exchange.head.as_ref().is_some_and(RequestHead::is_safe);
            if copied {
                self.refuse_copied(id, now);
            } else if safe && self.forwards_early() {
                self.fail(id, Reason::TooEarly, None, now);
            } else {
                self.choose(id, None, now);
            }
        }
    }

    fn forwards_early(&self) -> bool {
        match self.setup.config().upstream.early_data {
            EarlyData::Forward => true,
            EarlyData::Hold => false,
        }
    }

    /// Takes down the flight that a client's connection began with, once its ClientHello
    /// was found good, where that matters.
    pub(super) fn note_flight(&mut self, downstream: Handle, now: Instant) {
        if !self.forwards_early() {
            return;
        }
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        if conn.novelty.is_some() {
            return;
        }
        let Some(flight) = conn.session.flight().filter(|flight| flight.ours) else {
            return;
        };
        let novelty = match self.shared.flights.enter(flight.binder, now) {
            Novelty::New if !self.steadiness.holds(now) => Novelty::Unknown,
            novelty @ (Novelty::New | Novelty::Copy | Novelty::Unknown) => novelty,
        };
        conn.novelty = Some(novelty);
        self.counters.early_flights_copied += u64::from(novelty == Novelty::Copy);
    }

    fn refuse_copied(&mut self, id: Handle, now: Instant) {
        if let Some(exchange) = self.exchanges.get_mut(id) {
            exchange.reason = Some(Reason::TooEarly);
        }
        self.reset_client(id, code::REQUEST_REJECTED, now);
    }
}
