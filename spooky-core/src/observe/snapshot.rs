//! What a worker looks like at one moment; snapshots of workers add up.

use std::sync::Arc;

/// The state of a worker, or of several merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Client connections alive.
    pub downstream_connections: u64,
    /// Connections to backends, also those that have ended and wait for what may
    /// still arrive (RFC 9000 section 10.2).
    pub backend_connections: u64,
    /// Requests in flight.
    pub exchanges: u64,
    /// A row a backend, in configuration order.
    pub backends: Vec<BackendSnapshot>,
    /// Counts since the start.
    pub counters: Counters,
}

/// One backend in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSnapshot {
    /// Its id.
    pub id: Arc<str>,
    /// Connections to it, also those that are being made.
    pub connections: u64,
    /// Requests in flight on them.
    pub requests: u64,
    /// Requests waiting for a place.
    pub pending: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start of the worker, or sums over workers.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            fn add(&mut self, other: &Counters) { $(self.$name += other.$name;)* }
            /// Every counter with its name, in declaration order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Datagrams taken in.
    datagrams_received,
    /// Datagrams given out.
    datagrams_sent,
    /// Datagrams that belong to no connection and start none.
    datagrams_dropped,
    /// Datagrams returned for another worker.
    datagrams_misrouted,
    /// Replies without a connection that found their queue full.
    stateless_dropped,
    /// Clients asked to show their address: Retry packets sent.
    retries_sent,
    /// Connections begun with a Retry token.
    tokens_accepted,
    /// Retry tokens refused: altered, or under a key that is none of ours.
    tokens_forged,
    /// Retry tokens refused: brought back from another address.
    tokens_elsewhere,
    /// Retry tokens refused: too old.
    tokens_expired,
    /// Retry tokens refused: a connection had begun with them.
    tokens_used_again,
    /// Tokens that are not of a Retry of ours, and were taken for none.
    tokens_foreign,
    /// Refused tokens that were not answered, because of the rate.
    token_refusals_suppressed,
    /// Version negotiation packets sent.
    version_negotiations_sent,
    /// Version negotiation packets not sent, because of the rate.
    version_negotiations_suppressed,
    /// Stateless resets sent.
    stateless_resets_sent,
    /// Stateless resets not sent, because of the rate.
    stateless_resets_suppressed,
    /// Client connections accepted.
    connections_accepted,
    /// First datagrams of client connections that were refused. A client that is not
    /// answered, or needs two datagrams to ask, counts more than once.
    connections_refused,
    /// … because of `limits.connections`.
    connections_refused_limit,
    /// … because of the bound on unfinished handshakes.
    connections_refused_half_open,
    /// … because of `limits.connections_per_ip`.
    connections_refused_per_ip,
    /// … because of `limits.new_connections_per_second`.
    connections_refused_rate,
    /// … because of `limits.new_connections_per_ip_per_second`.
    connections_refused_rate_per_ip,
    /// … because the process is on its way out.
    connections_refused_draining,
    /// Client connections that failed before the handshake was complete.
    handshakes_failed,
    /// Handshakes of clients that were resumed with a ticket.
    handshakes_resumed,
    /// Client connections closed because of `limits.resets_per_connection`.
    connections_reset_floods,
    /// Times a client's connection went on at another address, which was validated.
    client_moves,
    /// Datagrams from another address than their connection's that were dropped because
    /// of `quic.active_migration`.
    client_moves_refused,
    /// Connections back to the smallest datagrams because the larger ones stopped arriving.
    black_holes,
    /// Connections of either side closed because of what the peer's frames cost to keep,
    /// or because its packets broke a rule that is not looked after elsewhere.
    connections_broken_rules,
    /// Connections to backends begun.
    backend_connections_opened,
    /// Connections to backends that failed before the handshake was complete.
    backend_connections_failed,
    /// Requests begun.
    requests,
    /// Requests that came in 0-RTT and waited for the handshake.
    requests_early_held,
    /// Requests that came in 0-RTT and were forwarded at once.
    requests_early_forwarded,
    /// Flights of 0-RTT of which a copy had been forwarded before.
    early_flights_copied,
    /// Requests the backend answered whole.
    requests_complete,
    /// Requests Spooky answered itself.
    requests_local_reply,
    /// Requests whose response was cut off by a reset.
    requests_reset,
    /// Requests the client gave up.
    requests_cancelled,
    /// Requests tried at another backend or connection.
    requests_retried,
    /// Connections of either side that are traced (`log.qlog`).
    connections_traced,
    /// Events that found the ring full, and lines of `log.tls_keys` and records of
    /// `log.qlog` that found too much waiting.
    events_dropped,
}

impl Snapshot {
    /// Adds another worker's snapshot of the same configuration.
    pub fn merge(&mut self, other: &Snapshot) {
        self.downstream_connections += other.downstream_connections;
        self.backend_connections += other.backend_connections;
        self.exchanges += other.exchanges;
        self.counters.add(&other.counters);
        for row in &other.backends {
            match self.backends.iter_mut().find(|b| b.id == row.id) {
                Some(b) => {
                    b.connections += row.connections;
                    b.requests += row.requests;
                    b.pending += row.pending;
                }
                None => self.backends.push(row.clone()),
            }
        }
    }
}
