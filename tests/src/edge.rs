//! Where datagrams arrive: the workers of a process, in memory, and clients that only
//! shake hands. A test passes every datagram by itself, to whichever worker it likes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use spooky_core::config::Config;
use spooky_core::io::{Datagram, Event, SocketId, Sockets, Transmit};
use spooky_core::observe::Counters;
use spooky_core::pump::{Io, Pump, Sent};
use spooky_core::{Material, Params, Proxy, Setup, Shared};

/// Longest datagram that a client sends.
const DATAGRAM: usize = 1350;
/// Length of the clients' connection ids.
const ID: usize = 16;

/// A process without sockets.
pub struct Edge {
    setup: Arc<Setup>,
    workers: Vec<Proxy>,
    pump: Pump,
    /// How far the wall clock is ahead.
    ahead: Duration,
    clients: quiche::Config,
}

/// A datagram that a worker sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// A client at an address of its own.
pub struct Client {
    pub quic: quiche::Connection,
    pub address: SocketAddr,
}

impl Edge {
    /// So many workers with these keys, as YAML, in their configuration.
    pub fn new(config: &str, workers: usize) -> Edge {
        let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let (cert, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
        let text = format!(
            "listen: {{ address: \"127.0.0.1\", port: 443 }}\ntls: {{ cert: c.pem, key: k.pem }}\n\
             backend_tls: {{ verify: false }}\n\
             backends: [{{ id: b0, address: \"127.0.0.1:9000\" }}]\n{config}"
        );
        let config =
            Config::parse("edge.yaml", &text).unwrap_or_else(|found| panic!("{found:?}\n{text}"));
        let bytes = [Ok(cert.into_bytes()), Ok(key.into_bytes())];
        let material = Material {
            files: config.files().into_iter().zip(bytes).collect(),
            ..Material::default()
        };
        let mut clients = quiche::Config::with_boring_ssl_ctx_builder(
            quiche::PROTOCOL_VERSION,
            crate::tls::context(None),
        )
        .expect("a configuration");
        clients
            .set_application_protos(quiche::h3::APPLICATION_PROTOCOL)
            .expect("h3");
        clients.set_max_idle_timeout(30_000);
        clients.set_initial_max_data(1 << 20);
        clients.set_initial_max_stream_data_uni(1 << 20);
        clients.set_initial_max_streams_uni(8);
        clients.set_active_connection_id_limit(4);
        let mut edge = Edge {
            setup: Arc::new(Setup::build(config, &material).expect("a legal setup")),
            workers: Vec::new(),
            pump: Pump::new(),
            ahead: Duration::ZERO,
            clients,
        };
        edge.start([1; 32], workers);
        edge
    }

    /// The process ends without a word, and another begins, whose keys come from `secret`.
    pub fn start(&mut self, secret: [u8; 32], workers: usize) {
        let shared = Shared::new(&self.setup, workers, secret);
        let params = |worker| Params {
            setup: self.setup.clone(),
            shared: shared.clone(),
            worker,
            seed: rand::random(),
            wall: SystemTime::now() + self.ahead,
            sockets: Sockets {
                listener: listener(),
                backends: vec![(SocketId(1), SocketAddr::from(([127, 0, 0, 1], 40_000)))],
            },
        };
        let now = Instant::now();
        self.workers = (0..workers)
            .map(|index| Proxy::new(params(index), now))
            .collect();
    }

    /// The same, with the secret that it had.
    pub fn restart(&mut self) {
        self.start([1; 32], self.workers.len());
    }

    /// The wall clock goes on by so much; nothing else does.
    pub fn pass(&mut self, time: Duration) {
        self.ahead += time;
        let now = Instant::now();
        for worker in &mut self.workers {
            worker.handle_clock(SystemTime::now() + self.ahead, now);
        }
    }

    /// What is due is done.
    pub fn timeout(&mut self) {
        for worker in &mut self.workers {
            worker.handle_timeout(Instant::now());
        }
        self.run();
    }

    /// A client that has sent nothing yet.
    pub fn client(&mut self, port: u16) -> Client {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let id: [u8; ID] = rand::random();
        let id = quiche::ConnectionId::from_ref(&id);
        let name = Some("localhost");
        let quic = quiche::connect(name, &id, address, listener(), &mut self.clients);
        Client {
            quic: quic.expect("a client"),
            address,
        }
    }

    /// A datagram arrives at a worker; what all of them send then.
    pub fn give(&mut self, worker: usize, from: SocketAddr, bytes: &[u8]) -> Vec<Reply> {
        let (mut bytes, now) = (bytes.to_vec(), Instant::now());
        let mut misrouted = Vec::new();
        let first = datagram(&mut bytes, from, false);
        self.workers[worker].handle_datagram(first, &mut misrouted, now);
        for hand in misrouted.drain(..) {
            let mut again = Vec::new();
            let handed = datagram(&mut bytes, from, true);
            self.workers[hand.worker].handle_datagram(handed, &mut again, now);
            assert!(again.is_empty(), "what was handed over is not handed on");
        }
        self.run()
    }

    /// Lets all workers send.
    fn run(&mut self) -> Vec<Reply> {
        let mut wires = Wires::default();
        for worker in &mut self.workers {
            self.pump.run(worker, &mut wires, Instant::now());
        }
        wires.0
    }

    /// Moves datagrams between a client and a worker until neither sends any more.
    pub fn settle(&mut self, worker: usize, client: &mut Client) {
        for _ in 0..100 {
            let datagrams = client.datagrams();
            let replies: Vec<Reply> = datagrams
                .iter()
                .flat_map(|bytes| self.give(worker, client.address, bytes))
                .collect();
            if datagrams.is_empty() && replies.is_empty() {
                return;
            }
            replies.into_iter().for_each(|reply| client.receive(reply));
        }
        panic!("they never stop talking");
    }

    /// Sums over all workers.
    pub fn counters(&self) -> Counters {
        let snapshots = self.workers.iter().map(Proxy::snapshot);
        let sum = snapshots.reduce(|mut sum, next| {
            sum.merge(&next);
            sum
        });
        sum.expect("there is a worker").counters
    }
}

impl Client {
    /// Takes what it has to send.
    pub fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut out = [0; DATAGRAM];
        while let Ok((len, _)) = self.quic.send(&mut out) {
            datagrams.push(out[..len].to_vec());
        }
        datagrams
    }

    /// Hears it, if it is for this client.
    pub fn receive(&mut self, mut reply: Reply) {
        if reply.to == self.address {
            let (from, to) = (listener(), self.address);
            // An error closes the connection, which is looked for afterwards.
            let _ = self
                .quic
                .recv(&mut reply.bytes, quiche::RecvInfo { from, to });
        }
    }

    /// The transport's code with which the other side closed.
    pub fn close_code(&self) -> Option<u64> {
        let error = self.quic.peer_error().filter(|error| !error.is_app);
        error.map(|error| error.error_code)
    }
}

#[derive(Default)]
struct Wires(Vec<Reply>);

impl Io for Wires {
    fn transmit(&mut self, transmit: &Transmit, bytes: &[u8]) -> Sent {
        let segment = transmit.segment_size.unwrap_or(bytes.len());
        let reply = |part: &[u8]| Reply {
            to: transmit.to,
            bytes: part.to_vec(),
        };
        self.0.extend(bytes.chunks(segment).map(reply));
        Sent::Yes
    }

    fn max_segments(&self) -> usize {
        8
    }

    fn event(&mut self, _: Event) {}
}

fn datagram(data: &mut [u8], from: SocketAddr, handed_over: bool) -> Datagram<'_> {
    Datagram {
        socket: SocketId::LISTENER,
        from,
        to: listener(),
        stride: data.len().max(1),
        handed_over,
        data,
    }
}

fn listener() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 443))
}
