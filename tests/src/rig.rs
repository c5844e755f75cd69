//! A proxy between a client and backends of plain quiche, in memory.
//!
//! No sockets, no threads: datagrams lie in queues, and a test moves them when it
//! likes. [`Rig::settle`] moves them until nothing is left to move; its parts
//! ([`Rig::from_client`], [`Rig::from_backends`], [`Rig::run`]) make an order of
//! arrival. The clock is the real one, because quiche reads it by itself:
//! [`Rig::pass`] sleeps.

mod again;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::h3::{self, Header, NameValue};
use spooky_core::Proxy;
use spooky_core::io::{Datagram, Event, SocketId, Transmit};
use spooky_core::observe::{QlogPiece, Record};
use spooky_core::pump::{Io, Pump, Sent};

use again::Plan;

use crate::raw::packet::{ByHand, KeyLog};
use crate::raw::{Raw, Received};
use crate::sim::memory::{self, charged};

/// Longest datagram that a peer sends.
const DATAGRAM: usize = 1350;
/// Length of the peers' connection ids, like the proxy's.
const ID: usize = 16;

/// What a test may change before anything runs.
pub struct Options {
    /// Keys added to the proxy's configuration, as YAML.
    pub config: &'static str,
    /// How many backends there are.
    pub backends: usize,
    /// What the client's control stream begins with; its HTTP/3 is then the test's
    /// own, and it has [`Peer::raw`] in place of [`Peer::h3`].
    pub raw_client: Option<&'static [u8]>,
    /// The same for all backends.
    pub raw_backend: Option<&'static [u8]>,
    /// Changes the client's QUIC settings.
    pub client: fn(&mut quiche::Config),
    /// Changes the backends' QUIC settings.
    pub backend: fn(&mut quiche::Config),
    /// Whether backends offer extended CONNECT (RFC 9220); `None` to begin no HTTP/3,
    /// so that no SETTINGS come, until [`Peer::begin_http`].
    pub tunnels: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: "",
            backends: 1,
            raw_client: None,
            raw_backend: None,
            client: |_| {},
            backend: |_| {},
            tunnels: Some(false),
        }
    }
}

/// The proxy, and all that it talks to.
pub struct Rig {
    pub proxy: Proxy,
    pub client: Peer,
    /// Connections that the proxy made, in order, with the index of their backend.
    pub connections: Vec<(usize, Peer)>,
    /// Requests that ended.
    pub records: Vec<Record>,
    /// Lines of `log.tls_keys`.
    pub keys: Vec<u8>,
    /// What came for `log.qlog`.
    pub pieces: Vec<QlogPiece>,
    pub drained: bool,
    /// Backends hear nothing.
    pub deaf: bool,
    /// The client hears nothing, and what was for it is kept.
    deaf_client: bool,
    unheard: Vec<Vec<u8>>,
    tunnels: Option<bool>,
    pump: Pump,
    server: quiche::Config,
    plan: Plan,
    raw_backend: Option<&'static [u8]>,
    next_id: u8,
    /// How far the proxy's own clock is ahead.
    ahead: Duration,
}

impl Rig {
    /// A rig with an established client.
    pub fn new(options: Options) -> Rig {
        let mut rig = Rig::unconnected(options);
        rig.settle();
        assert!(rig.client.quic.is_established(), "the client is connected");
        rig
    }

    /// A rig whose client has sent nothing yet.
    pub fn unconnected(options: Options) -> Rig {
        let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let plan = Plan {
            backends: options.backends,
            cert: identity.cert.pem(),
            key: identity.signing_key.serialize_pem(),
        };
        let mut server = peer_config(Some((&plan.cert, &plan.key)));
        (options.backend)(&mut server);
        let mut client_config = peer_config(None);
        (options.client)(&mut client_config);
        let id = quiche::ConnectionId::from_vec(vec![0xc1; ID]);
        let quic = quiche::connect(
            Some("localhost"),
            &id,
            client_address(),
            listener(),
            &mut client_config,
        )
        .expect("a client");
        let mut client = Peer::new(quic, client_address(), listener(), &[0xc1; ID], &[]);
        client.raw = options.raw_client.map(Raw::new);
        Rig {
            proxy: charged(|| plan.proxy(options.config, [1; 32])),
            plan,
            client,
            connections: Vec::new(),
            records: Vec::new(),
            keys: Vec::new(),
            pieces: Vec::new(),
            drained: false,
            deaf: false,
            deaf_client: false,
            unheard: Vec::new(),
            tunnels: options.tunnels,
            pump: Pump::new(),
            server,
            raw_backend: options.raw_backend,
            next_id: 0,
            ahead: Duration::ZERO,
        }
    }

    /// Moves datagrams until there are none, wherever they come from.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            let moved = self.from_client() + self.from_backends() + self.run();
            if moved == 0 {
                return;
            }
        }
        panic!("they never stop talking");
    }

    /// Settles for so long, with all timers that become due.
    pub fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.settle();
            std::thread::sleep(Duration::from_millis(1));
            self.proxy.handle_timeout(self.now());
            self.client.quic.on_timeout();
            for (_, peer) in &mut self.connections {
                peer.quic.on_timeout();
            }
        }
        self.settle();
    }

    /// Lets so much time go by for the proxy's own deadlines at once. quiche, on
    /// either side, sees nothing of it.
    pub fn skip(&mut self, time: Duration) {
        self.ahead += time;
        self.proxy.handle_timeout(self.now());
        self.settle();
    }

    /// The proxy's present.
    pub fn now(&self) -> Instant {
        Instant::now() + self.ahead
    }

    /// Gives the proxy what the client has to send, and how many datagrams that was.
    pub fn from_client(&mut self) -> usize {
        let datagrams = self.client.datagrams();
        self.from_address(datagrams)
    }

    /// Gives the proxy datagrams from the client's address.
    pub fn from_address(&mut self, datagrams: Vec<Vec<u8>>) -> usize {
        self.give(SocketId::LISTENER, client_address(), listener(), datagrams)
    }

    /// Gives the proxy what all backends have to send.
    pub fn from_backends(&mut self) -> usize {
        let mut count = 0;
        for index in 0..self.connections.len() {
            let datagrams = self.connections[index].1.datagrams();
            count += self.from_backend(index, datagrams);
        }
        count
    }

    /// Gives the proxy datagrams of the backend at the other end of a connection.
    pub fn from_backend(&mut self, connection: usize, datagrams: Vec<Vec<u8>>) -> usize {
        let from = backend_address(self.connections[connection].0);
        self.give(SocketId(1), from, backend_socket(), datagrams)
    }

    /// Lets the proxy work, and gives the others what it sends.
    pub fn run(&mut self) -> usize {
        let now = self.now();
        let mut wires = Wires::default();
        charged(|| self.pump.run(&mut self.proxy, &mut wires, now));
        let count = wires.datagrams.len();
        for (to, data) in wires.datagrams {
            if to == client_address() && self.deaf_client {
                self.unheard.push(data);
            } else if to == client_address() {
                self.client.receive(data);
            } else if !self.deaf {
                self.deliver_to_backend(to, data);
            }
        }
        for event in wires.events {
            match event {
                Event::Exchange(record) => self.records.push(*record),
                Event::KeyLog(lines) => self.keys.extend_from_slice(lines.as_bytes()),
                Event::Qlog(piece) => self.pieces.push(*piece),
                Event::Drained => self.drained = true,
            }
        }
        count
    }

    /// Does something with the proxy, and counts what it takes; see [`Rig::held`].
    pub fn charged<T>(&mut self, f: impl FnOnce(&mut Proxy) -> T) -> T {
        charged(|| f(&mut self.proxy))
    }

    /// Bytes that the proxies of this thread hold, and what they gave out that still
    /// lives, as [`Rig::records`]; in a binary whose allocator is
    /// [`Counting`](crate::sim::Counting).
    pub fn held(&self) -> i64 {
        memory::live()
    }

    /// Sends a request without a body from the client.
    pub fn get(&mut self, path: &str) -> u64 {
        self.request("GET", path, &[], true)
    }

    /// Sends a request's head from the client; `fin` if that is all.
    pub fn request(&mut self, method: &str, path: &str, extra: &[(&str, &str)], fin: bool) -> u64 {
        let plain = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
        ];
        let fields: Vec<Header> = plain
            .iter()
            .chain(extra)
            .map(|(n, v)| Header::new(n.as_bytes(), v.as_bytes()))
            .collect();
        let (h3, quic) = self.client.http();
        h3.send_request(quic, &fields, fin)
            .expect("the client may send a request")
    }

    /// The stream of the newest request on a backend's connection.
    pub fn asked(&mut self, connection: usize) -> u64 {
        let peer = &mut self.connections[connection].1;
        peer.newest_head().expect("a request has come")
    }

    /// Asks for a WebSocket (RFC 9220).
    pub fn open_tunnel(&mut self) -> u64 {
        self.request("CONNECT", "/chat", &[(":protocol", "websocket")], false)
    }

    /// Answers on a backend's connection with a head.
    pub fn answer(&mut self, connection: usize, stream: u64, extra: &[(&str, &str)], fin: bool) {
        let fields: Vec<Header> = [(":status", "200")]
            .iter()
            .chain(extra)
            .map(|(n, v)| Header::new(n.as_bytes(), v.as_bytes()))
            .collect();
        let (h3, quic) = self.connections[connection].1.http();
        h3.send_response(quic, stream, &fields, fin)
            .expect("the backend may answer");
    }

    /// A field of the newest head on a stream of the client.
    pub fn field(&self, stream: u64, name: &str) -> Option<String> {
        let mut events = self
            .client
            .events
            .iter()
            .rev()
            .filter(|(s, _)| *s == stream);
        events.find_map(|(_, event)| {
            let h3::Event::Headers { list, .. } = event else {
                return None;
            };
            let field = list.iter().find(|f| f.name() == name.as_bytes())?;
            Some(String::from_utf8_lossy(field.value()).into_owned())
        })
    }

    /// Sends an informational response on a backend's connection.
    pub fn inform(&mut self, connection: usize, stream: u64, status: &str) {
        let fields = [Header::new(b":status", status.as_bytes())];
        let (h3, quic) = self.connections[connection].1.http();
        h3.send_response(quic, stream, &fields, false)
            .expect("the backend may answer");
    }

    fn give(
        &mut self,
        socket: SocketId,
        from: SocketAddr,
        to: SocketAddr,
        datagrams: Vec<Vec<u8>>,
    ) -> usize {
        let (count, now) = (datagrams.len(), self.now());
        for mut data in datagrams {
            let stride = data.len();
            let datagram = Datagram {
                socket,
                from,
                to,
                stride,
                handed_over: false,
                data: &mut data,
            };
            charged(|| {
                self.proxy.handle_datagram(datagram, &mut Vec::new(), now);
            });
        }
        count
    }

    fn deliver_to_backend(&mut self, to: SocketAddr, mut data: Vec<u8>) {
        let header = quiche::Header::from_slice(&mut data, ID).expect("the proxy sends QUIC");
        let dcid = header.dcid.to_vec();
        if let Some((_, peer)) = self.connections.iter_mut().find(|(_, peer)| peer.is(&dcid)) {
            peer.receive(data);
            return;
        }
        if header.ty != quiche::Type::Initial {
            return;
        }
        self.next_id += 1;
        let id = [self.next_id; ID];
        let scid = quiche::ConnectionId::from_ref(&id);
        let quic =
            quiche::accept(&scid, None, to, backend_socket(), &mut self.server).expect("a backend");
        let mut peer = Peer::new(quic, to, backend_socket(), &id, &dcid);
        peer.tunnels = self.tunnels;
        peer.raw = self.raw_backend.map(Raw::new);
        peer.receive(data);
        let backend = (0..)
            .find(|&index| backend_address(index) == to)
            .expect("one of ours");
        self.connections.push((backend, peer));
    }
}

/// One end of a connection that is not the proxy.
pub struct Peer {
    pub quic: quiche::Connection,
    pub h3: Option<h3::Connection>,
    /// What came, where the test itself speaks HTTP/3.
    pub raw: Option<Raw>,
    /// What HTTP/3 told, oldest first.
    pub events: VecDeque<(u64, h3::Event)>,
    keys: KeyLog,
    /// Packets are made by the test, and quiche neither sends nor hears any.
    by_hand: Option<ByHand>,
    tunnels: Option<bool>,
    local: SocketAddr,
    remote: SocketAddr,
    ids: [Vec<u8>; 2],
}

impl Peer {
    fn new(
        mut quic: quiche::Connection,
        local: SocketAddr,
        remote: SocketAddr,
        id: &[u8],
        other_id: &[u8],
    ) -> Peer {
        let keys = KeyLog::default();
        quic.set_keylog(Box::new(keys.clone()));
        Peer {
            keys,
            by_hand: None,
            quic,
            h3: None,
            raw: None,
            events: VecDeque::new(),
            tunnels: Some(false),
            local,
            remote,
            ids: [id.to_vec(), other_id.to_vec()],
        }
    }

    /// From here on its packets are made by hand: quiche sends and hears nothing any
    /// more. What must still be told by it, such as acknowledgements, settle before.
    pub fn by_hand(&mut self) -> &mut ByHand {
        if self.by_hand.is_none() {
            self.by_hand = Some(ByHand::new(&mut self.quic, &self.keys));
        }
        self.by_hand.as_mut().expect("it was just made")
    }

    /// Both layers.
    pub fn http(&mut self) -> (&mut h3::Connection, &mut quiche::Connection) {
        (self.h3.as_mut().expect("HTTP/3 runs"), &mut self.quic)
    }

    /// Reads body bytes, at most `most`.
    pub fn read(&mut self, stream: u64, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let (h3, quic) = self.http();
        let mut len = 0;
        while let Ok(read) = h3.recv_body(quic, stream, &mut bytes[len..]) {
            len += read;
        }
        bytes.truncate(len);
        self.poll();
        bytes
    }

    /// Writes a part of a body and returns how much was taken.
    pub fn write(&mut self, stream: u64, bytes: &[u8], fin: bool) -> usize {
        let (h3, quic) = self.http();
        h3.send_body(quic, stream, bytes, fin).unwrap_or(0)
    }

    /// Puts bytes on a stream as they are, and says how many it took: none where the
    /// stream or the connection is over.
    pub fn put(&mut self, stream: u64, bytes: &[u8], fin: bool) -> usize {
        if let Some(raw) = self.raw.as_mut() {
            raw.wrote(stream);
        }
        self.quic.stream_send(stream, bytes, fin).unwrap_or(0)
    }

    /// What came on a stream, where the test itself speaks HTTP/3.
    pub fn on(&self, stream: u64) -> Received {
        self.raw.as_ref().expect("a raw peer").on(stream)
    }

    /// The code with which the other side wants no more of a stream, where the test
    /// itself speaks HTTP/3.
    pub fn stop_code(&self, stream: u64) -> Option<u64> {
        self.raw.as_ref().expect("a raw peer").stop(stream)
    }

    /// The code of HTTP/3 with which the other side closed the connection.
    pub fn close_code(&self) -> Option<u64> {
        let error = self.quic.peer_error().filter(|error| error.is_app);
        error.map(|error| error.error_code)
    }

    /// Whether the stream ended clean.
    pub fn is_finished(&self, stream: u64) -> bool {
        self.events
            .iter()
            .any(|(s, e)| *s == stream && matches!(e, h3::Event::Finished))
    }

    /// The code with which the other side reset the stream.
    pub fn reset_code(&self, stream: u64) -> Option<u64> {
        let mut events = self.events.iter().filter(|(s, _)| *s == stream);
        events.find_map(|(_, event)| {
            let h3::Event::Reset(code) = event else {
                return None;
            };
            Some(*code)
        })
    }

    /// `:status` of the last head on a stream.
    pub fn status(&self, stream: u64) -> Option<String> {
        let mut events = self.events.iter().rev().filter(|(s, _)| *s == stream);
        events.find_map(|(_, event)| {
            let h3::Event::Headers { list, .. } = event else {
                return None;
            };
            let field = list.iter().find(|f| f.name() == b":status")?;
            Some(String::from_utf8_lossy(field.value()).into_owned())
        })
    }

    /// How many heads came, trailers included.
    pub fn heads(&self) -> usize {
        self.events
            .iter()
            .filter(|(_, e)| matches!(e, h3::Event::Headers { .. }))
            .count()
    }

    /// Streams on which a head came, in order.
    pub fn streams_with_heads(&self) -> Vec<u64> {
        let heads = self
            .events
            .iter()
            .filter(|(_, e)| matches!(e, h3::Event::Headers { .. }));
        let mut streams: Vec<u64> = heads.map(|(stream, _)| *stream).collect();
        streams.sort_unstable();
        streams.dedup();
        streams
    }

    fn newest_head(&self) -> Option<u64> {
        self.events
            .iter()
            .filter(|(_, e)| matches!(e, h3::Event::Headers { .. }))
            .map(|(s, _)| *s)
            .max()
    }

    fn is(&self, dcid: &[u8]) -> bool {
        self.ids.iter().any(|id| id == dcid)
    }

    fn receive(&mut self, mut data: Vec<u8>) {
        if let Some(by_hand) = self.by_hand.as_mut() {
            by_hand.hear(&mut data);
            return;
        }
        // An error closes the connection; a test that cares looks there.
        let _ = self.quic.recv(
            &mut data,
            quiche::RecvInfo {
                from: self.remote,
                to: self.local,
            },
        );
        if let Some(raw) = self.raw.as_mut() {
            raw.work(&mut self.quic);
            return;
        }
        let ready = self.quic.is_established() && !self.quic.is_draining();
        if self.h3.is_none()
            && ready
            && let Some(tunnels) = self.tunnels
        {
            self.begin_http(tunnels);
        }
        self.poll();
    }

    /// Begins HTTP/3 with SETTINGS that offer extended CONNECT, or not.
    pub fn begin_http(&mut self, tunnels: bool) {
        let mut config = h3::Config::new().expect("quiche's own defaults are legal");
        config.enable_extended_connect(tunnels);
        self.h3 = Some(
            h3::Connection::with_transport(&mut self.quic, &config)
                .expect("the proxy speaks HTTP/3"),
        );
    }

    fn poll(&mut self) {
        let Some(h3) = self.h3.as_mut() else { return };
        while let Ok(event) = h3.poll(&mut self.quic) {
            self.events.push_back(event);
        }
    }

    /// Takes what it has to send.
    pub fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        if self.by_hand.is_some() {
            return datagrams;
        }
        let mut out = [0; DATAGRAM];
        while let Ok((len, _)) = self.quic.send(&mut out) {
            datagrams.push(out[..len].to_vec());
        }
        datagrams
    }
}

#[derive(Default)]
struct Wires {
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<Event>,
}

impl Io for Wires {
    fn transmit(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        let segment = transmit.segment_size.unwrap_or(bytes.len());
        self.datagrams.extend(
            bytes
                .chunks(segment)
                .map(|part| (transmit.to, part.to_vec())),
        );
        Sent::Yes
    }

    fn max_segments(&self) -> usize {
        8
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn listener() -> SocketAddr {
    address(443)
}

fn client_address() -> SocketAddr {
    address(50_000)
}

fn backend_socket() -> SocketAddr {
    address(40_000)
}

/// Where backend `index` listens.
pub fn backend_address(index: usize) -> SocketAddr {
    address(9000 + u16::try_from(index).expect("a few backends"))
}

fn peer_config(identity: Option<(&str, &str)>) -> quiche::Config {
    let identity = identity.map(|(cert, key)| (cert.as_bytes(), key.as_bytes()));
    let builder = crate::tls::context(identity);
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)
        .expect("a configuration");
    config
        .set_application_protos(h3::APPLICATION_PROTOCOL)
        .expect("h3");
    config.set_max_idle_timeout(30_000);
    config.set_initial_max_data(10 << 20);
    config.set_initial_max_stream_data_bidi_local(1 << 20);
    config.set_initial_max_stream_data_bidi_remote(1 << 20);
    config.set_initial_max_stream_data_uni(1 << 20);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(8);
    config.set_initial_congestion_window_packets(100);
    config.set_max_send_udp_payload_size(DATAGRAM);
    config.set_active_connection_id_limit(4);
    config.grease(false);
    config.log_keys();
    config
}
