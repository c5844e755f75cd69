//! One connection of the generator: always as many requests open as planned.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::RecvInfo;
use quiche::h3::{self, Header, NameValue};
use rustc_hash::FxHashMap;
use spooky_mio::client::wire::{Flushed, Inbox, Outbox, Wire};

use super::{Tally, Window};

/// After this a connection that failed is made anew.
pub(super) const RECONNECT: Duration = Duration::from_millis(100);
/// A handshake that takes longer has failed.
const HANDSHAKE: Duration = Duration::from_secs(5);

pub(super) struct Peer {
    pub(super) wire: Wire,
    pub(super) outbox: Outbox,
    /// The time the worker's queue holds for it.
    pub(super) armed: Option<Instant>,
    quic: quiche::Connection,
    h3: Option<h3::Connection>,
    open: FxHashMap<u64, Asked>,
    began: Instant,
    /// Its handshake was counted.
    shook: bool,
    /// … and that was told.
    told: bool,
}

/// A request on its way.
struct Asked {
    at: Instant,
    status: u16,
    announced: Option<u64>,
    received: u64,
}

/// What a turn needs of the worker.
pub(super) struct Bench<'a> {
    pub(super) head: &'a [Header],
    pub(super) h3_config: &'a h3::Config,
    pub(super) streams: usize,
    pub(super) only_handshakes: bool,
    pub(super) window: Window,
    pub(super) tally: &'a mut Tally,
    pub(super) inbox: &'a mut Inbox,
    pub(super) scratch: &'a mut [u8],
}

impl Bench<'_> {
    fn counts(&self, now: Instant) -> bool {
        (self.window.from..self.window.to).contains(&now)
    }

    fn error(&mut self, kind: String, now: Instant) {
        if self.counts(now) {
            self.tally.error(kind);
        }
    }
}

impl Peer {
    pub(super) fn new(wire: Wire, quic: quiche::Connection, now: Instant) -> Self {
        Self {
            wire,
            outbox: Outbox::new(),
            armed: None,
            quic,
            h3: None,
            open: FxHashMap::default(),
            began: now,
            shook: false,
            told: false,
        }
    }

    /// When it wants a turn though nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let handshake = self.h3.is_none().then_some(self.began + HANDSHAKE);
        match (self.quic.timeout_instant(), handshake) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Takes in what arrived, asks again, sends. False when the connection is over.
    pub(super) fn turn(&mut self, bench: &mut Bench<'_>) -> bool {
        match self.exchange(bench) {
            Ok(()) => {}
            Err(error) => return self.over(&format!("socket: {error}"), bench),
        }
        if self.is_done(bench.only_handshakes) {
            return false;
        }
        let now = Instant::now();
        if self.h3.is_none() && now >= self.began + HANDSHAKE {
            return self.over("no handshake in 5s", bench);
        }
        if self.quic.is_closed() || self.quic.is_draining() {
            let why = self.why_closed();
            return self.over(&why, bench);
        }
        true
    }

    /// It was there for its handshake, which is over.
    pub(super) fn is_done(&self, only_handshakes: bool) -> bool {
        only_handshakes && self.shook
    }

    /// Its handshake was counted: true once.
    pub(super) fn has_shaken(&mut self) -> bool {
        self.shook && !std::mem::replace(&mut self.told, true)
    }

    fn exchange(&mut self, bench: &mut Bench<'_>) -> io::Result<()> {
        let local = self.wire.local_addr();
        loop {
            let quic = &mut self.quic;
            let more = self.wire.recv(bench.inbox, |datagram, from| {
                let info = RecvInfo { from, to: local };
                if let Err(error) = quic.recv(datagram, info) {
                    log::debug!("{error}");
                }
            })?;
            if !more {
                break;
            }
        }
        let now = Instant::now();
        if self.quic.timeout_instant().is_some_and(|at| at <= now) {
            self.quic.on_timeout();
        }
        self.shake(bench, now);
        self.work(bench, now);
        self.flush()?;
        if self.is_done(bench.only_handshakes) {
            // Not before: quiche drops the end of the handshake for a close that is due.
            // `Done`: the server was quicker.
            let _ = self.quic.close(true, 0x100, b"");
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.wire.flush(&mut self.outbox, &mut self.quic)? {
            // A full socket wakes the poll when it has room.
            Flushed::All | Flushed::Blocked => Ok(()),
        }
    }

    /// Counts the handshake, if that is what is counted.
    fn shake(&mut self, bench: &mut Bench<'_>, now: Instant) {
        if self.shook || bench.streams > 0 || !self.quic.is_established() {
            return;
        }
        self.shook = true;
        if bench.counts(now) {
            bench.tally.answer(now - self.began);
        }
    }

    fn work(&mut self, bench: &mut Bench<'_>, now: Instant) {
        let begun = self.h3.take().or_else(|| {
            let ready = self.quic.is_established() && !bench.only_handshakes;
            ready.then(|| h3::Connection::with_transport(&mut self.quic, bench.h3_config).ok())?
        });
        let Some(mut h3) = begun else {
            return;
        };
        while let Ok((stream, event)) = h3.poll(&mut self.quic) {
            self.take(&mut h3, stream, event, bench, now);
        }
        while self.open.len() < bench.streams {
            // A limit or a full window: credit comes with the next datagrams.
            let Ok(stream) = h3.send_request(&mut self.quic, bench.head, true) else {
                break;
            };
            let asked = Asked {
                at: now,
                status: 0,
                announced: None,
                received: 0,
            };
            self.open.insert(stream, asked);
        }
        self.h3 = Some(h3);
    }

    fn take(
        &mut self,
        h3: &mut h3::Connection,
        stream: u64,
        event: h3::Event,
        bench: &mut Bench<'_>,
        now: Instant,
    ) {
        match event {
            h3::Event::Headers { list, .. } => {
                if let Some(asked) = self.open.get_mut(&stream) {
                    asked.head(&list);
                }
            }
            h3::Event::Data => {
                let mut total = 0;
                loop {
                    match h3.recv_body(&mut self.quic, stream, bench.scratch) {
                        Ok(len) => total += len as u64,
                        // Then no event says so.
                        Err(h3::Error::TransportError(quiche::Error::StreamReset(code))) => {
                            self.reset(stream, code, bench, now);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                if bench.counts(now) {
                    bench.tally.bytes += total;
                }
                if let Some(asked) = self.open.get_mut(&stream) {
                    asked.received += total;
                }
            }
            h3::Event::Finished => {
                if let Some(asked) = self.open.remove(&stream) {
                    asked.finish(bench, now);
                }
            }
            h3::Event::Reset(code) => self.reset(stream, code, bench, now),
            h3::Event::GoAway => bench.error("goaway".to_owned(), now),
            h3::Event::PriorityUpdate => {}
        }
    }

    fn reset(&mut self, stream: u64, code: u64, bench: &mut Bench<'_>, now: Instant) {
        if self.open.remove(&stream).is_some() {
            bench.error(format!("reset {code:#x}"), now);
        }
    }

    fn over(&mut self, why: &str, bench: &mut Bench<'_>) -> bool {
        let now = Instant::now();
        if self.h3.is_none() {
            bench.error(format!("connect: {why}"), now);
        }
        for _ in 0..self.open.len() {
            bench.error(format!("connection lost: {why}"), now);
        }
        false
    }

    fn why_closed(&self) -> String {
        if self.quic.is_timed_out() {
            return "idle timeout".to_owned();
        }
        let told = |who: &str, error: &quiche::ConnectionError| {
            let reason = String::from_utf8_lossy(&error.reason);
            format!("closed by {who} with {:#x} {reason}", error.error_code)
        };
        match (self.quic.peer_error(), self.quic.local_error()) {
            (Some(error), _) => told("the server", error),
            (None, Some(error)) => told("this side", error),
            (None, None) => "closed".to_owned(),
        }
    }

    /// Says goodbye, so that the server need not wait out the idle timeout.
    pub(super) fn close(&mut self) {
        let _ = self.quic.close(true, 0x100, b"");
        let _ = self.wire.flush(&mut self.outbox, &mut self.quic);
    }
}

impl Asked {
    fn head(&mut self, list: &[Header]) {
        let number = |name: &[u8]| {
            list.iter()
                .find(|header| header.name() == name)
                .and_then(|header| std::str::from_utf8(header.value()).ok())
                .and_then(|text| text.parse::<u64>().ok())
        };
        if let Some(status) = number(b":status") {
            self.status = u16::try_from(status).unwrap_or(0);
            self.announced = number(b"content-length");
        }
    }

    fn finish(self, bench: &mut Bench<'_>, now: Instant) {
        let whole = self
            .announced
            .is_none_or(|announced| announced == self.received);
        match self.status {
            200..=399 if whole && bench.counts(now) => bench.tally.answer(now - self.at),
            200..=399 if whole => {}
            200..=399 => bench.error("body cut short".to_owned(), now),
            0 => bench.error("no head".to_owned(), now),
            status => bench.error(format!("status {status}"), now),
        }
    }
}

/// A socket for a connection to `peer`.
pub(super) fn wire_to(peer: SocketAddr) -> io::Result<Wire> {
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    };
    Wire::bind(any, Some(peer))
}
