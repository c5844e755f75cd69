//! One real QUIC connection with HTTP/3 on it, of either role.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use quiche::h3::{self, Header, NameValue};

use super::packet;
use super::settings;

/// Bodies are made of this.
const CHUNK: [u8; 4096] = [b'x'; 4096];

/// Datagrams that may wait for somebody to take them.
const KEPT: usize = 1024;

/// Enough rounds of HTTP/3 events for any input; more would be a loop.
const EVENTS: usize = 10_000;

/// A scripted peer of the proxy.
pub(crate) struct Peer {
    quic: quiche::Connection,
    h3: Option<h3::Connection>,
    /// The address that it believes to have.
    pub(crate) local: SocketAddr,
    /// Who it believes the proxy to be.
    pub(crate) remote: SocketAddr,
    /// Leaves bodies unread.
    slow: bool,
    /// Body bytes still to send, and whether the end follows.
    bodies: BTreeMap<u64, (usize, bool)>,
    /// Heads that came, by stream.
    heads: Vec<(u64, Vec<Header>)>,
    /// Made but not sent.
    pub(crate) pending: VecDeque<Vec<u8>>,
    /// Packet number of the next packet of somebody else's making.
    forged: u32,
}

impl Peer {
    /// A client; `place` tells it from others.
    pub(crate) fn client(local: SocketAddr, place: u8, slow: bool) -> Self {
        let id = [&[0xc1; 15][..], &[place]].concat();
        let scid = quiche::ConnectionId::from_ref(&id);
        let remote = settings::LISTENER;
        let quic = settings::with_peer_config(|config| {
            quiche::connect(Some("fuzz.test"), &scid, local, remote, config)
        });
        Peer::new(quic.expect("the settings are legal"), local, remote, slow)
    }

    pub(crate) fn new(
        quic: quiche::Connection,
        local: SocketAddr,
        remote: SocketAddr,
        slow: bool,
    ) -> Self {
        Peer {
            quic,
            h3: None,
            local,
            remote,
            slow,
            bodies: BTreeMap::new(),
            heads: Vec::new(),
            pending: VecDeque::new(),
            // Four bytes of number are read as what they say, as long as the
            // connection has not gone past it.
            forged: 100_000,
        }
    }

    pub(crate) fn receive(&mut self, data: &mut [u8]) {
        let info = quiche::RecvInfo {
            from: self.remote,
            to: self.local,
        };
        // What it thinks of what the proxy sends is not the question here.
        let _ = self.quic.recv(data, info);
    }

    pub(crate) fn is_established(&self) -> bool {
        self.quic.is_established()
    }

    pub(crate) fn owns(&self, id: &[u8]) -> bool {
        self.quic.source_ids().any(|own| own.as_ref() == id)
    }

    /// When quiche wants to be woken: a probe, an idle timeout.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.quic.timeout_instant()
    }

    /// Lets a timer fire that is due.
    pub(crate) fn fire(&mut self, now: Instant) {
        if self.timeout().is_some_and(|at| at <= now) {
            self.quic.on_timeout();
            self.work();
        }
    }

    /// Looks at what came, writes what it may, and leaves its datagrams in `pending`.
    pub(crate) fn work(&mut self) {
        if self.h3.is_none() && self.quic.is_established() {
            let config = h3::Config::new().expect("quiche's defaults are legal");
            self.h3 = h3::Connection::with_transport(&mut self.quic, &config).ok();
        }
        self.poll();
        self.write_bodies();
        let mut out = [0; 1500];
        while self.pending.len() < KEPT
            && let Ok((len, _)) = self.quic.send(&mut out)
        {
            self.pending.push_back(out[..len].to_vec());
        }
    }

    fn poll(&mut self) {
        let Some(h3) = self.h3.as_mut() else { return };
        for _ in 0..EVENTS {
            let Ok((stream, event)) = h3.poll(&mut self.quic) else {
                return;
            };
            match event {
                h3::Event::Headers { list, .. } => self.heads.push((stream, list)),
                h3::Event::Data if !self.slow => {
                    let mut body = [0; 4096];
                    while h3.recv_body(&mut self.quic, stream, &mut body).is_ok() {}
                }
                h3::Event::Data
                | h3::Event::Finished
                | h3::Event::Reset(_)
                | h3::Event::PriorityUpdate
                | h3::Event::GoAway => {}
            }
        }
    }

    fn write_bodies(&mut self) {
        let Some(h3) = self.h3.as_mut() else { return };
        let quic = &mut self.quic;
        self.bodies.retain(|&stream, (left, fin)| {
            loop {
                let len = (*left).min(CHUNK.len());
                let last = len == *left && *fin;
                match h3.send_body(quic, stream, &CHUNK[..len], last) {
                    Ok(sent) => *left -= sent,
                    Err(h3::Error::Done) => return true,
                    Err(_) => return false,
                }
                if *left == 0 {
                    return false;
                }
            }
        });
    }

    /// The heads that came since this was last asked, with their `:path`s.
    pub(crate) fn take_heads(&mut self) -> Vec<(u64, Vec<u8>)> {
        let path = |list: &[Header]| {
            let path = list.iter().find(|field| field.name() == b":path");
            path.map_or_else(Vec::new, |field| field.value().to_vec())
        };
        self.heads
            .drain(..)
            .map(|(stream, list)| (stream, path(&list)))
            .collect()
    }

    /// Sends a request's head, and `body` bytes after it as they find room.
    pub(crate) fn request(&mut self, fields: &[Header], body: usize, fin: bool) {
        let Some(h3) = self.h3.as_mut() else { return };
        let ends = fin && body == 0;
        if let Ok(stream) = h3.send_request(&mut self.quic, fields, ends)
            && !ends
            && body > 0
        {
            self.bodies.insert(stream, (body, fin));
        }
    }

    /// Sends a response's head; `first` if none went before.
    pub(crate) fn respond(&mut self, stream: u64, fields: &[Header], first: bool, fin: bool) {
        let Some(h3) = self.h3.as_mut() else { return };
        let _ = if first {
            h3.send_response(&mut self.quic, stream, fields, fin)
        } else {
            h3.send_additional_headers(&mut self.quic, stream, fields, false, fin)
        };
    }

    pub(crate) fn send_body(&mut self, stream: u64, bytes: usize, fin: bool) {
        self.bodies.insert(stream, (bytes, fin));
        self.write_bodies();
    }

    pub(crate) fn send_trailers(&mut self, stream: u64) {
        let Some(h3) = self.h3.as_mut() else { return };
        let trailers = [Header::new(b"checksum", b"0")];
        let _ = h3.send_additional_headers(&mut self.quic, stream, &trailers, true, true);
    }

    /// Writes past HTTP/3, onto the bare stream.
    pub(crate) fn write(&mut self, stream: u64, data: &[u8], fin: bool) {
        let _ = self.quic.stream_send(stream, data, fin);
    }

    pub(crate) fn shutdown(&mut self, stream: u64, write: bool, read: bool, code: u64) {
        if write {
            let _ = self
                .quic
                .stream_shutdown(stream, quiche::Shutdown::Write, code);
        }
        if read {
            let _ = self
                .quic
                .stream_shutdown(stream, quiche::Shutdown::Read, code);
        }
    }

    pub(crate) fn goaway(&mut self, id: u64) {
        let Some(h3) = self.h3.as_mut() else { return };
        let _ = h3.send_goaway(&mut self.quic, id);
    }

    pub(crate) fn close(&mut self) {
        let _ = self.quic.close(true, 0x100, b"");
    }

    /// Puts a datagram with `frames` in `pending`, after what it had to send anyway.
    pub(crate) fn forge(&mut self, frames: &[u8]) {
        let _ = self.quic.send_ack_eliciting();
        let before = self.pending.len();
        self.work();
        let grew = self.pending.len() > before;
        match self.pending.back_mut() {
            Some(last) if grew && packet::is_short(last) => packet::append(last, frames),
            Some(_) | None => {
                let destination = self.quic.destination_id().to_vec();
                self.forged += 1;
                self.pending
                    .push_back(packet::build(&destination, self.forged, frames));
            }
        }
    }
}
