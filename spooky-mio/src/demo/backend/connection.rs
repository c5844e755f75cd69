//! One client connection of the backend: quiche, its h3, and the exchanges.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use quiche::h3::{self, NameValue};

use super::answer::Answer;
use super::exchange::{Exchange, Link, Next, abandon};
use super::{Counters, H3_REQUEST_CANCELLED, H3_REQUEST_REJECTED};

pub(super) struct Connection {
    pub(super) quic: quiche::Connection,
    /// Every id the routing table knows this connection by.
    pub(super) cids: Vec<quiche::ConnectionId<'static>>,
    /// The time the engine's timer queue holds for it.
    pub(super) armed: Option<Instant>,
    /// It stands on the engine's dirty list.
    pub(super) dirty: bool,
    h3: Option<h3::Connection>,
    exchanges: BTreeMap<u64, Exchange>,
    /// Streams whose exchange may be able to go on.
    turns: VecDeque<u64>,
    /// When exchanges that wait for the time go on.
    waiting: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Streams left early, whose entries in h3 we must drop by hand.
    left: Vec<u64>,
    /// GOAWAY was sent: requests from this stream on are rejected.
    leaving: Option<u64>,
}

/// What all connections of a backend share.
pub(super) struct Site<'a> {
    pub(super) id: &'a str,
    pub(super) h3_config: &'a h3::Config,
    pub(super) counters: &'a Counters,
    pub(super) scratch: &'a mut [u8],
}

impl Connection {
    pub(super) fn new(quic: quiche::Connection) -> Self {
        Self {
            quic,
            cids: Vec::new(),
            armed: None,
            dirty: false,
            h3: None,
            exchanges: BTreeMap::new(),
            turns: VecDeque::new(),
            waiting: BinaryHeap::new(),
            left: Vec::new(),
            leaving: None,
        }
    }

    /// When it wants to be driven again though nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let answer = self.waiting.peek().map(|Reverse((at, _))| *at);
        match (self.quic.timeout_instant(), answer) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Does all that can be done now; what is to be sent stays in `quic`.
    pub(super) fn drive(&mut self, site: &mut Site<'_>, now: Instant) {
        let Some(mut h3) = self.h3.take().or_else(|| self.begin(site)) else {
            return;
        };
        self.find_stopped(site);
        self.wake(now);
        // `Finished` comes only from a poll after the last byte was read, so we
        // poll until turns and events have both run dry.
        loop {
            let events = self.poll(&mut h3, site, now);
            if self.turns.is_empty() && !events {
                break;
            }
            self.take_turns(&mut h3, site, now);
        }
        self.forget(&mut h3);
        self.h3 = Some(h3);
    }

    fn begin(&mut self, site: &Site<'_>) -> Option<h3::Connection> {
        if !self.quic.is_established() {
            return None;
        }
        site.counters.connections.fetch_add(1, Relaxed);
        h3::Connection::with_transport(&mut self.quic, site.h3_config).ok()
    }

    /// Gives a turn to everybody whose time has come, or who may write again.
    fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, stream))) = self.waiting.peek().copied() {
            if at > now {
                break;
            }
            self.waiting.pop();
            self.turns.push_back(stream);
        }
        while let Some(stream) = self.quic.stream_writable_next() {
            if self.exchanges.contains_key(&stream) {
                self.turns.push_back(stream);
            }
        }
    }

    /// Finds requests that were given up by STOP_SENDING, which is no event of h3.
    ///
    /// quiche marks such a stream writable, but not if it had room and said so
    /// before, so we ask. Most answers leave at once: few stand here.
    fn find_stopped(&mut self, site: &Site<'_>) {
        let quic = &mut self.quic;
        // Asking may also collect the stream, so each is asked once.
        let stopped: Vec<(u64, u64)> = self
            .exchanges
            .keys()
            .filter_map(|&stream| match quic.stream_capacity(stream) {
                Err(quiche::Error::StreamStopped(code)) => Some((stream, code)),
                Ok(_) | Err(_) => None,
            })
            .collect();
        for (stream, code) in stopped {
            self.cancelled(stream, code, site);
        }
    }

    /// Takes h3's events; true if there were any.
    fn poll(&mut self, h3: &mut h3::Connection, site: &mut Site<'_>, now: Instant) -> bool {
        let mut any = false;
        loop {
            let (stream, event) = match h3.poll(&mut self.quic) {
                Ok(event) => event,
                Err(h3::Error::Done) => return any,
                Err(error) => {
                    log::debug!("{}: h3: {error}", site.id);
                    return any;
                }
            };
            any = true;
            match event {
                h3::Event::Headers { list, .. } => self.headers(stream, list, h3, site, now),
                h3::Event::Data => self.with(stream, Exchange::handle_data),
                // quiche says so of a stream that was reset, too.
                h3::Event::Finished => match self.quic.stream_recv(stream, &mut [0]) {
                    Err(quiche::Error::StreamReset(code)) => self.cancelled(stream, code, site),
                    Ok(_) | Err(_) => self.finished(stream, site),
                },
                h3::Event::Reset(code) => self.cancelled(stream, code, site),
                h3::Event::PriorityUpdate | h3::Event::GoAway => {}
            }
        }
    }

    fn headers(
        &mut self,
        stream: u64,
        list: Vec<h3::Header>,
        h3: &mut h3::Connection,
        site: &Site<'_>,
        now: Instant,
    ) {
        if let Some(exchange) = self.exchanges.get_mut(&stream) {
            exchange.handle_trailers(list);
            return;
        }
        if list.iter().all(|header| header.name() != b":path") {
            self.abandon(stream, super::H3_MESSAGE_ERROR);
            return;
        }
        if self.leaving.is_some_and(|first| stream >= first) {
            // RFC 9114 section 5.2: not processed, so the client may ask elsewhere.
            site.counters.rejected.fetch_add(1, Relaxed);
            self.abandon(stream, H3_REQUEST_REJECTED);
            return;
        }
        site.counters.requests.fetch_add(1, Relaxed);
        let answer = Answer::to(&list, site.id);
        if answer.leaving && h3.send_goaway(&mut self.quic, stream + 4).is_ok() {
            self.leaving = Some(stream + 4);
        }
        self.exchanges
            .insert(stream, Exchange::new(stream, answer, now));
        self.turns.push_back(stream);
    }

    fn finished(&mut self, stream: u64, site: &Site<'_>) {
        if self.exchanges.contains_key(&stream) {
            site.counters.ended.fetch_add(1, Relaxed);
        }
        self.with(stream, Exchange::handle_finished);
    }

    fn with(&mut self, stream: u64, what: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = self.exchanges.get_mut(&stream) {
            what(exchange);
            self.turns.push_back(stream);
        }
    }

    fn take_turns(&mut self, h3: &mut h3::Connection, site: &mut Site<'_>, now: Instant) {
        while let Some(stream) = self.turns.pop_front() {
            let Some(exchange) = self.exchanges.get_mut(&stream) else {
                continue;
            };
            let mut link = Link {
                quic: &mut self.quic,
                h3,
                scratch: site.scratch,
                id: site.id,
            };
            match exchange.step(&mut link, now) {
                Next::Again => self.turns.push_back(stream),
                Next::News => {}
                Next::At(at) => self.waiting.push(Reverse((at, stream))),
                Next::Over => {
                    self.exchanges.remove(&stream);
                    if !self.quic.stream_closed(stream) {
                        self.left.push(stream);
                    }
                }
                Next::Cancelled(code) => self.cancelled(stream, code, site),
                Next::Close(code) => {
                    let _ = self
                        .quic
                        .close(true, code, b"asked for by the demo backend");
                    self.turns.clear();
                }
            }
        }
    }

    fn cancelled(&mut self, stream: u64, code: u64, site: &Site<'_>) {
        if self.exchanges.remove(&stream).is_some() {
            site.counters.cancelled.fetch_add(1, Relaxed);
            site.counters.last_cancel_code.store(code, Relaxed);
        }
        self.abandon(stream, H3_REQUEST_CANCELLED);
    }

    fn abandon(&mut self, stream: u64, code: u64) {
        abandon(&mut self.quic, stream, code);
        self.left.push(stream);
    }

    /// Drops h3's entries of streams that were left early.
    ///
    /// quiche keeps them for the life of the connection otherwise (its issue
    /// 2524): both calls fail, and drop the entry on the way.
    fn forget(&mut self, h3: &mut h3::Connection) {
        let quic = &mut self.quic;
        self.left.retain(|&stream| {
            if !quic.stream_closed(stream) {
                return true;
            }
            if h3.send_body(quic, stream, b"", true) == Err(h3::Error::FrameUnexpected) {
                let _ = h3.send_response(quic, stream, &[(":status", "500")], true);
            }
            false
        });
    }
}
