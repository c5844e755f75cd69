//! A datagram finds its connection, or another worker's; accepting one.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Owner, Proxy};
use crate::downstream::{Budget, Cancels, Connection, EarlyPriorities, Permit, Phase};
use crate::io::{Datagram, Handle, Misrouted, SocketId};
use crate::listener::{Cid, ConnectionRef, destination_id, is_long, must_be_discarded};
use crate::observe::Peer;
use crate::session::Session;

impl Proxy {
    pub(super) fn receive(
        &mut self,
        datagram: Datagram<'_>,
        misrouted: &mut Vec<Misrouted>,
        now: Instant,
    ) {
        let Datagram {
            socket,
            from,
            to,
            stride,
            handed_over,
            data,
        } = datagram;
        let stride = stride.max(1);
        let mut start = 0;
        for part in data.chunks_mut(stride) {
            let range = start..start + part.len();
            start = range.end;
            self.counters.datagrams_received += 1;
            let from_client = socket == SocketId::LISTENER;
            let legal = !must_be_discarded(part, from_client);
            let Some(id) = destination_id(part).filter(|_| legal) else {
                self.counters.datagrams_dropped += 1;
                continue;
            };
            if let Some(connection) = self.routes.find(id) {
                // RFC 9000 section 9: a client may move, a server's address stays.
                // A peer that knows our other sockets must not draw a connection
                // over to one that is not its own.
                if self.socket_of(connection) != Some(socket) {
                    self.counters.datagrams_dropped += 1;
                } else if self.may_not_move(connection, from) {
                    self.counters.client_moves_refused += 1;
                } else {
                    self.deliver(connection, part, from, to, now);
                }
                continue;
            }
            let origin = self.ids.origin(id);
            match origin.map(|origin| usize::from(origin.worker)) {
                Some(worker)
                    if worker != self.worker && worker < self.shared.workers() && !handed_over =>
                {
                    self.counters.datagrams_misrouted += 1;
                    misrouted.push(Misrouted { worker, range });
                    continue;
                }
                Some(_) | None => {}
            }
            match (Cid::try_from(id), origin) {
                _ if socket != SocketId::LISTENER => self.counters.datagrams_dropped += 1,
                _ if is_long(part) => self.receive_stranger(part, from, to, now),
                (Ok(id), Some(origin)) => {
                    self.reset_stranger(id, origin, part.len(), from, to, now);
                }
                (Ok(_) | Err(_), _) => self.counters.datagrams_dropped += 1,
            }
        }
    }

    fn socket_of(&self, connection: ConnectionRef) -> Option<SocketId> {
        match connection {
            ConnectionRef::Downstream(h) => self.downstreams.get(h).map(|c| c.session.socket),
            ConnectionRef::Backend(h) => self.backends.get(h).map(|c| c.session.socket),
        }
    }

    /// `quic.active_migration` is off, and the client was elsewhere so far.
    ///
    /// quiche only tells clients so, and follows one that moves all the same. RFC 9000
    /// section 9: "the endpoint MUST either drop the incoming packets on that path without
    /// generating a Stateless Reset or proceed with path validation". Another port alone
    /// is a NAT's doing, of which clients know nothing.
    fn may_not_move(&self, connection: ConnectionRef, from: SocketAddr) -> bool {
        let ConnectionRef::Downstream(handle) = connection else {
            return false;
        };
        !self.setup.config().quic.active_migration
            && self
                .downstreams
                .get(handle)
                .is_some_and(|conn| conn.client.ip() != from.ip())
    }

    pub(super) fn deliver(
        &mut self,
        connection: ConnectionRef,
        data: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        match connection {
            ConnectionRef::Downstream(handle) => {
                let Some(conn) = self.downstreams.get_mut(handle) else {
                    return;
                };
                conn.session.receive(data, from, to, now);
                if from != conn.client {
                    // It moved, or this is a straggler from where it was.
                    conn.client = conn.session.peer();
                }
                let told = conn.session.paths_told();
                self.counters.client_moves += told.moves;
                self.counters.black_holes += told.black_holes;
                let mut moved = false;
                while let Some(retired) = conn.session.next_retired_id() {
                    self.routes.retire(&retired);
                    moved = true;
                }
                if moved {
                    self.issue_spare_ids(handle);
                }
            }
            ConnectionRef::Backend(handle) => {
                let Some(conn) = self.backends.get_mut(handle) else {
                    return;
                };
                // Our sockets toward backends are bound to wildcards: quiche knows
                // them by what they were bound to.
                let local = conn.session.local();
                conn.session.receive(data, from, local, now);
            }
        }
        self.want_drive(connection);
    }

    /// Begins a connection. If the client's address is validated, `original` is the id
    /// that it began with before our Retry.
    pub(super) fn accept(
        &mut self,
        header: &quiche::Header<'_>,
        original: Option<&[u8]>,
        permit: Permit,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) -> Option<Handle> {
        let id = self.issue_id();
        let config = &mut self.server.quic;
        config.set_stateless_reset_token(Some(self.reset_tokens.of_new(&id)));
        let scid = quiche::ConnectionId::from_ref(&id);
        let quic = match original.map(quiche::ConnectionId::from_ref) {
            Some(original) => {
                let ids = quiche::RetryConnectionIds {
                    original_destination_cid: &original,
                    retry_source_cid: &header.dcid,
                };
                quiche::accept_with_retry(&scid, ids, to, from, config)
            }
            None => quiche::accept(&scid, None, to, from, config),
        };
        let mut quic = quic.ok()?;
        self.attach_tap(&mut quic, Peer::Client, now);
        let timer = self.timers.create(Owner::Drain, now);
        let mut session = Session::new(
            quic,
            SocketId::LISTENER,
            to,
            timer,
            &self.setup.config().quic,
            now,
        );
        if original.is_none() {
            session.budget = Budget::unvalidated(from);
        }
        session.bound_unread(self.setup.config().quic.most_unread());
        let chosen = header.dcid.to_vec();
        let phase = Phase::Handshake {
            deadline: now + self.setup.config().limits.handshake_timeout,
        };
        let handle = self.downstreams.insert(Connection {
            session,
            client: from,
            chosen: chosen.clone(),
            phase,
            permit,
            next_stream: 0,
            novelty: None,
            goaway: None,
            lingers: None,
            early: EarlyPriorities::default(),
            cancels: Cancels::default(),
            certificate: None,
        });
        let connection = ConnectionRef::Downstream(handle);
        self.timers.set_owner(timer, Owner::Connection(connection));
        self.routes.insert(id, connection);
        self.routes.insert_chosen(chosen, handle);
        self.counters.connections_accepted += 1;
        Some(handle)
    }

    pub(super) fn issue_id(&mut self) -> Cid {
        let worker = u16::try_from(self.worker).expect("workers are at most 1024");
        self.ids.issue(worker, &mut self.rng)
    }

    /// Gives a client as many ids as it takes, so that it can move (RFC 9000
    /// section 5.1.1).
    pub(super) fn issue_spare_ids(&mut self, handle: Handle) {
        loop {
            let id = self.issue_id();
            let token = self.reset_tokens.of_new(&id);
            let Some(conn) = self.downstreams.get_mut(handle) else {
                return;
            };
            let quic = conn.session.quic_mut();
            if quic.scids_left() == 0
                || quic
                    .new_scid(&quiche::ConnectionId::from_ref(&id), token, false)
                    .is_err()
            {
                return;
            }
            self.routes.insert(id, ConnectionRef::Downstream(handle));
        }
    }
}
