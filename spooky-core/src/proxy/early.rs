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
//! A request that would have gone on, had its flight been new, is answered with 425 if
//! its client does complete the handshake: a copy of it may have been first, and then a
//! backend has it already. The client sends it again, if it likes (RFC 8470 section 5.2).

use std::time::Instant;

use super::Proxy;
use crate::config::EarlyData;
use crate::downstream::Novelty;
use crate::exchange::State;
use crate::http::RequestHead;
use crate::io::Handle;
use crate::observe::{Early, Reason};

impl Proxy {
    /// Sends a request on its way, unless it has to wait for the handshake.
    pub(super) fn dispatch(&mut self, id: Handle, now: Instant) {
        let Some(exchange) = self.exchanges.get(id) else {
            return;
        };
        let downstream = exchange.downstream;
        let safe = exchange.head.as_ref().is_some_and(RequestHead::is_safe);
        let conn = self.downstreams.get(downstream);
        if conn.is_none_or(|conn| conn.session.is_established()) {
            self.choose(id, None, now);
            return;
        }
        // Flights are looked up, and thereby entered, only for what would go on.
        let goes = safe && self.forwards_early() && self.novelty(downstream, now) == Novelty::New;
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
        let Some(conn) = self.downstreams.get(downstream) else {
            return;
        };
        for (_, id) in conn.session.open() {
            let Some(exchange) = self.exchanges.get_mut(id) else {
                continue;
            };
            if exchange.state != State::Held {
                continue;
            }
            exchange.state = State::New;
            let safe = exchange.head.as_ref().is_some_and(RequestHead::is_safe);
            if safe && self.forwards_early() {
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

    /// What is known of the flight that a client's connection began with.
    fn novelty(&mut self, downstream: Handle, now: Instant) -> Novelty {
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return Novelty::Unknown;
        };
        if let Some(novelty) = conn.novelty {
            return novelty;
        }
        let novelty = match conn.session.flight() {
            Some(flight) if flight.ours && self.steadiness.holds(now) => {
                self.shared.flights.enter(flight.binder, now)
            }
            Some(_) | None => Novelty::Unknown,
        };
        conn.novelty = Some(novelty);
        self.counters.early_flights_copied += u64::from(novelty == Novelty::Copy);
        novelty
    }
}
