//! Datagrams that belong to no connection: is the sender where it says it is, may it
//! begin a connection, what is it told if not (RFC 9000 sections 6, 8.1 and 10.3).
//!
//! A reply costs no state, and leaves none. Each is smaller than its datagram, and all but Retry, which is
//! what a flood is met with, have a rate.

use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::Proxy;
use crate::config::Retry;
use crate::downstream::{Answer, Refusal};
use crate::io::{SocketId, Transmit};
use crate::limits;
use crate::listener::stateless::{self, Code, Stateless};
use crate::listener::{BadToken, Cid, ConnectionRef, Origin, Stranger, classify};

/// What a first datagram's token says of its sender.
enum Sender {
    /// It received our Retry where it is; with the id that it had chosen before.
    Validated(Vec<u8>),
    /// It may be anybody.
    Unknown,
    /// It comes with an id of ours and without a token: late, for a handshake that is over.
    Straggler,
    /// Its token is worth nothing, and it takes no other.
    Refused(BadToken),
}

impl Proxy {
    pub(super) fn receive_stranger(
        &mut self,
        data: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        match classify(data) {
            Stranger::Drop => self.counters.datagrams_dropped += 1,
            Stranger::Negotiate(header) => self.negotiate(&header, from, to, now),
            Stranger::Accept(header) => {
                if self.drain.is_some() {
                    return self.refuse(Refusal::Draining, &header, from, to, now);
                }
                let original = match self.sender(&header, from, now) {
                    Sender::Validated(original) => Some(original),
                    Sender::Unknown if self.wants_validation() => {
                        return self.send_retry(&header, from, to, now);
                    }
                    Sender::Unknown => None,
                    Sender::Straggler => {
                        self.counters.datagrams_dropped += 1;
                        return;
                    }
                    Sender::Refused(bad) => {
                        return self.refuse_token(&header, bad, from, to, now);
                    }
                };
                self.begin_connection(&header, original, data, from, to, now);
            }
        }
    }

    fn begin_connection(
        &mut self,
        header: &quiche::Header<'_>,
        original: Option<Vec<u8>>,
        data: &mut [u8],
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        let permit = match self.shared.admission.admit(from, now) {
            Ok(permit) => permit,
            Err(refusal) => return self.refuse(refusal, header, from, to, now),
        };
        if original.is_some() {
            // Only now: who found no place may try again with it.
            let used = <&Cid>::try_from(&*header.dcid)
                .is_ok_and(|retry_id| !self.shared.used_tokens.take(retry_id, self.time(now)));
            if used {
                return self.refuse_token(header, BadToken::Used, from, to, now);
            }
            self.counters.tokens_accepted += 1;
        }
        match self.accept(header, original.as_deref(), permit, from, to, now) {
            Some(handle) => self.deliver(ConnectionRef::Downstream(handle), data, from, to, now),
            None => self.refuse(Refusal::Broken, header, from, to, now),
        }
    }

    fn sender(&mut self, header: &quiche::Header<'_>, from: SocketAddr, now: Instant) -> Sender {
        let token = header.token.as_deref().unwrap_or_default();
        // A client's first id is random. One of ours was given to it: in a Retry, or in a
        // handshake.
        let knows_us = self.ids.origin(&header.dcid).is_some();
        if token.is_empty() {
            return if knows_us {
                Sender::Straggler
            } else {
                Sender::Unknown
            };
        }
        match self.tokens.open(token, &header.dcid, from, self.time(now)) {
            Ok(original) => Sender::Validated(original.to_vec()),
            // RFC 9000 section 8.1.3: "If the token is invalid, then the server SHOULD
            // proceed as if the client did not have a validated address". So it is with
            // a NEW_TOKEN of somebody else.
            Err(BadToken::Forged) if !knows_us => {
                self.counters.tokens_foreign += 1;
                Sender::Unknown
            }
            Err(bad) => Sender::Refused(bad),
        }
    }

    /// Who is unknown has to show first that it is where it says it is.
    fn wants_validation(&self) -> bool {
        let quic = &self.setup.config().quic;
        match quic.retry {
            Retry::Always => true,
            Retry::Never => false,
            Retry::Auto => self.shared.admission.half_open() >= quic.retry_threshold,
        }
    }

    fn send_retry(
        &mut self,
        header: &quiche::Header<'_>,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        self.counters.datagrams_dropped += 1;
        // It names this worker, so whichever the answer comes to brings it back here.
        let retry_id = self.issue_id();
        let token = self
            .tokens
            .issue(&header.dcid, &retry_id, from, self.time(now));
        if let Some(bytes) = stateless::retry(header, &retry_id, &token) {
            self.counters.retries_sent += 1;
            self.reply(bytes, from, to);
        }
    }

    /// RFC 9000 section 8.1.2: "it knows the client will not accept another Retry
    /// token. […] the server SHOULD immediately close the connection with an
    /// INVALID_TOKEN error."
    fn refuse_token(
        &mut self,
        header: &quiche::Header<'_>,
        bad: BadToken,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        self.counters.datagrams_dropped += 1;
        let counter = match bad {
            BadToken::Forged => &mut self.counters.tokens_forged,
            BadToken::Elsewhere => &mut self.counters.tokens_elsewhere,
            BadToken::Expired => &mut self.counters.tokens_expired,
            BadToken::Used => &mut self.counters.tokens_used_again,
        };
        *counter += 1;
        if !self.shared.admission.answers(Answer::Refusal, now) {
            self.counters.token_refusals_suppressed += 1;
        } else if let Some(bytes) = stateless::refusal(header, Code::InvalidToken) {
            self.reply(bytes, from, to);
        }
    }

    fn negotiate(
        &mut self,
        header: &quiche::Header<'_>,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        self.counters.datagrams_dropped += 1;
        // RFC 9000 section 6.1: "A server MAY limit the number of Version Negotiation
        // packets it sends."
        if !self.shared.admission.answers(Answer::Versions, now) {
            self.counters.version_negotiations_suppressed += 1;
        } else if let Some(bytes) = stateless::negotiation(header) {
            self.counters.version_negotiations_sent += 1;
            self.reply(bytes, from, to);
        }
    }

    /// Tells the sender of a short packet that its connection is no more. Only for ids
    /// of ours: of others it has no token that it would know us by.
    pub(super) fn reset_stranger(
        &mut self,
        id: Cid,
        origin: Origin,
        trigger: usize,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        self.counters.datagrams_dropped += 1;
        if self.routes.was_retired(&id) {
            return;
        }
        let token = self.reset_tokens.of(&id, origin);
        let Some(bytes) = stateless::reset(trigger, token, &mut self.rng) else {
            return;
        };
        // RFC 9000 section 10.3.3: "An endpoint can remember the number of Stateless Resets
        // that it has sent and stop generating new Stateless Resets once a limit is reached."
        if self.shared.admission.answers(Answer::Reset, now) {
            self.counters.stateless_resets_sent += 1;
            self.reply(bytes, from, to);
        } else {
            self.counters.stateless_resets_suppressed += 1;
        }
    }

    /// Sends what belongs to no connection back to where its cause came from.
    pub(super) fn reply(&mut self, bytes: Vec<u8>, client: SocketAddr, local: SocketAddr) {
        if self.stateless.len() < limits::STATELESS {
            self.stateless.push_back(Stateless {
                from: local,
                to: client,
                bytes,
            });
        } else {
            self.counters.stateless_dropped += 1;
        }
    }

    pub(super) fn next_stateless(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let Stateless { from, to, bytes } = self.stateless.pop_front()?;
        if self.stateless.is_empty() && self.stateless.capacity() > limits::EMPTY_TABLE {
            // A flood that is over leaves no memory behind.
            self.stateless.shrink_to(0);
        }
        if buf.len() < bytes.len() {
            buf.resize(bytes.len(), 0);
        }
        buf[..bytes.len()].copy_from_slice(&bytes);
        self.counters.datagrams_sent += 1;
        Some(Transmit {
            socket: SocketId::LISTENER,
            from,
            to,
            size: bytes.len(),
            segment_size: None,
        })
    }

    /// Wall time since 1970. Tokens leave the process, and are read by others.
    fn time(&self, now: Instant) -> Duration {
        let wall = self.wall(now);
        wall.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
