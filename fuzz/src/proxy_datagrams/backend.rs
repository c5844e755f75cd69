//! The backend that answers: a small HTTP/3 server, which does what paths say.

use std::net::SocketAddr;
use std::time::Instant;

use quiche::h3::Header;

use super::peer::Peer;
use super::settings;

/// Connections that it takes; the proxy's configuration allows no more.
const CONNECTIONS: usize = 64;

/// Real connections of the proxy, and the answers to its requests.
pub(crate) struct Backend {
    peers: Vec<Peer>,
    slow: bool,
}

impl Backend {
    pub(crate) fn new(slow: bool) -> Self {
        Backend {
            peers: Vec::new(),
            slow,
        }
    }

    /// Takes a datagram that the proxy sent from `from`.
    pub(crate) fn receive(&mut self, data: &mut [u8], from: SocketAddr) {
        let Ok(header) = quiche::Header::from_slice(data, 16) else {
            return;
        };
        if let Some(peer) = self.peers.iter_mut().find(|p| p.owns(&header.dcid)) {
            peer.receive(data);
            return;
        }
        // The second datagram of a first flight still bears the id of the proxy's choice.
        let opening = |p: &&mut Peer| p.remote == from && !p.is_established();
        if let Some(peer) = self.peers.iter_mut().find(opening) {
            peer.receive(data);
            return;
        }
        if header.ty == quiche::Type::Initial && self.peers.len() < CONNECTIONS {
            self.accept(from);
            if let Some(peer) = self.peers.last_mut() {
                peer.receive(data);
            }
        }
    }

    fn accept(&mut self, from: SocketAddr) {
        let mut id = [0xb0; 16];
        id[15] = self.peers.len() as u8;
        let scid = quiche::ConnectionId::from_ref(&id);
        let accepted = settings::with_peer_config(|config| {
            quiche::accept(&scid, None, settings::BACKEND, from, config)
        });
        if let Ok(quic) = accepted {
            self.peers
                .push(Peer::new(quic, settings::BACKEND, from, self.slow));
        }
    }

    /// Answers what came; datagrams are left in the peers' `pending`.
    pub(crate) fn work(&mut self) {
        for peer in &mut self.peers {
            peer.work();
            for (stream, path) in peer.take_heads() {
                answer(peer, stream, &path);
            }
            peer.work();
        }
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.peers.iter().filter_map(Peer::timeout).min()
    }

    pub(crate) fn fire(&mut self, now: Instant) {
        self.peers.iter_mut().for_each(|peer| peer.fire(now));
    }

    /// The next datagram on its way to the proxy, and where it goes.
    pub(crate) fn next(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let with = |p: &mut Peer| p.pending.pop_front().map(|data| (data, p.remote));
        self.peers.iter_mut().find_map(with)
    }

    /// What it had to say goes nowhere.
    pub(crate) fn lose(&mut self) {
        self.work();
        for peer in &mut self.peers {
            peer.pending.clear();
        }
    }

    /// One of its connections.
    pub(crate) fn peer(&mut self, place: u8) -> Option<&mut Peer> {
        let count = self.peers.len();
        self.peers.get_mut(usize::from(place) % count.max(1))
    }
}

fn answer(peer: &mut Peer, stream: u64, path: &[u8]) {
    let ok = [
        Header::new(b":status", b"200"),
        Header::new(b"content-length", b"5"),
    ];
    let open = [Header::new(b":status", b"200")];
    match path {
        b"/big" => {
            peer.respond(stream, &open, true, false);
            peer.send_body(stream, 200_000, true);
        }
        b"/early" => {
            peer.respond(stream, &[Header::new(b":status", b"103")], true, false);
            peer.respond(stream, &ok, false, false);
            peer.send_body(stream, 5, true);
        }
        b"/silent" => {}
        b"/reset" => {
            peer.respond(stream, &open, true, false);
            peer.send_body(stream, 100, false);
            peer.shutdown(stream, true, true, 0x102);
        }
        b"/rejected" => peer.shutdown(stream, true, true, 0x10b),
        b"/short" => {
            peer.respond(stream, &ok, true, false);
            peer.send_body(stream, 3, true);
        }
        b"/trailers" => {
            peer.respond(stream, &ok, true, false);
            peer.send_body(stream, 5, false);
            peer.send_trailers(stream);
        }
        b"/empty" => peer.respond(stream, &[Header::new(b":status", b"204")], true, true),
        b"/broken" => peer.respond(stream, &[Header::new(b":status", b"ok")], true, true),
        b"/goaway" => peer.goaway(stream),
        b"/close" => peer.close(),
        b"/wide" => {
            let wide = Header::new(b"wide", &[b'w'; 9_000]);
            peer.respond(stream, &[Header::new(b":status", b"200"), wide], true, true);
        }
        _ => {
            peer.respond(stream, &ok, true, false);
            peer.send_body(stream, 5, true);
        }
    }
}
