//! What a client weighs: bytes that the allocators gave, quiche's and BoringSSL's among
//! them. The figures are in docs/quic.md; here they are held to.

use std::net::SocketAddr;

use quiche::h3::{self, Header};
use spooky_core::io::{Datagram, SocketId};
use spooky_tests::rig::{Options, Rig};
use spooky_tests::sim::Counting;
use spooky_tests::stranger::{Strangers, flight};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: u32 = 200;

fn listener() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 443))
}

fn address(n: u32) -> SocketAddr {
    SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 4433))
}

struct Client {
    quic: quiche::Connection,
    h3: Option<h3::Connection>,
    at: SocketAddr,
}

/// A proxy, and clients of its own beside the rig's.
struct House {
    rig: Rig,
    clients: Vec<Client>,
}

impl House {
    fn new(strangers: &mut Strangers) -> House {
        let mut rig = Rig::new(Options::default());
        rig.settle();
        let client = |n| Client {
            quic: strangers.client(address(n), listener()),
            h3: None,
            at: address(n),
        };
        let clients = (1..=CLIENTS).map(client).collect();
        House { rig, clients }
    }

    /// What each client has to send goes to the proxy, and its answers come back.
    fn exchange(&mut self) -> usize {
        let now = self.rig.now();
        let mut moved = 0;
        for client in &mut self.clients {
            for mut data in flight(&mut client.quic) {
                moved += 1;
                let datagram = Datagram {
                    socket: SocketId::LISTENER,
                    from: client.at,
                    to: listener(),
                    stride: data.len(),
                    handed_over: false,
                    data: &mut data,
                };
                self.rig
                    .charged(|proxy| proxy.handle_datagram(datagram, &mut Vec::new(), now));
            }
        }
        moved + self.answers()
    }

    fn answers(&mut self) -> usize {
        let (now, mut moved, mut buf) = (self.rig.now(), 0, vec![0; 1500]);
        let rig = &mut self.rig;
        while let Some(transmit) = rig.charged(|proxy| proxy.poll_transmit(1, &mut buf, now)) {
            let client = self.clients.iter_mut().find(|c| c.at == transmit.to);
            // Others are the rig's own.
            let Some(client) = client else { continue };
            moved += 1;
            let info = quiche::RecvInfo {
                from: listener(),
                to: client.at,
            };
            let _ = client.quic.recv(&mut buf[..transmit.size], info);
        }
        moved
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            let moved = self.exchange();
            for client in &mut self.clients {
                if client.h3.is_none() && client.quic.is_established() {
                    let config = h3::Config::new().expect("quiche's own defaults are legal");
                    client.h3 = h3::Connection::with_transport(&mut client.quic, &config).ok();
                }
            }
            if moved == 0 {
                return;
            }
        }
    }

    /// Bytes for each client, more than `before`.
    fn each(&self, before: i64) -> i64 {
        (self.rig.held() - before) / i64::from(CLIENTS)
    }
}

#[test]
fn a_client_weighs_what_the_documentation_says() {
    let mut house = House::new(&mut Strangers::new());
    let before = house.rig.held();
    let hellos: Vec<_> = house
        .clients
        .iter_mut()
        .map(|c| flight(&mut c.quic))
        .collect();
    let now = house.rig.now();
    for (n, hello) in (1..).zip(hellos) {
        for mut data in hello {
            let datagram = Datagram {
                socket: SocketId::LISTENER,
                from: address(n),
                to: listener(),
                stride: data.len(),
                handed_over: false,
                data: &mut data,
            };
            house
                .rig
                .charged(|proxy| proxy.handle_datagram(datagram, &mut Vec::new(), now));
        }
    }
    house.answers();
    let half_open = house.each(before);
    house.settle();
    assert!(house.clients.iter().all(|c| c.h3.is_some()));
    let idle = house.each(before);
    for client in &mut house.clients {
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/"),
        ];
        let head: Vec<Header> = fields
            .iter()
            .map(|(n, v)| Header::new(n.as_bytes(), v.as_bytes()))
            .collect();
        let h3 = client.h3.as_mut().expect("it runs");
        for _ in 0..10 {
            h3.send_request(&mut client.quic, &head, false)
                .expect("there is room");
        }
    }
    house.settle();
    let stream = (house.each(before) - idle) / 10;
    eprintln!("half-open {half_open}, idle {idle}, an open stream {stream}");
    assert!(half_open < 45_000, "{half_open}");
    assert!(idle < 50_000, "{idle}");
    assert!(stream < 5_000, "{stream}");
}

/// quiche alone, with HTTP/3 of its own and the same clients.
#[test]
fn most_of_a_client_is_the_librarys() {
    let mut strangers = Strangers::new();
    let mut rig = Rig::new(Options::default());
    let mut config = server_config();
    let before = rig.held();
    let mut servers = Vec::new();
    for n in 1..=CLIENTS {
        let mut client = strangers.client(address(n), listener());
        let id = [n as u8; 16];
        let scid = quiche::ConnectionId::from_ref(&id);
        let mut server = rig.charged(|_| {
            let accepted = quiche::accept(&scid, None, listener(), address(n), &mut config);
            Box::new(accepted.expect("a server"))
        });
        let (mut ours, mut theirs) = (None, None);
        for _ in 0..5 {
            for mut data in flight(&mut client) {
                let info = quiche::RecvInfo {
                    from: address(n),
                    to: listener(),
                };
                let _ = rig.charged(|_| server.recv(&mut data, info));
            }
            if server.is_established() && ours.is_none() {
                ours = rig.charged(|_| begin_http(&mut server));
            }
            rig.charged(|_| ours.as_mut().map(|h3| h3.poll(&mut server).is_ok()));
            let mut buf = [0; 1500];
            while let Ok((len, _)) = rig.charged(|_| server.send(&mut buf)) {
                let info = quiche::RecvInfo {
                    from: listener(),
                    to: address(n),
                };
                let _ = client.recv(&mut buf[..len], info);
            }
            if client.is_established() && theirs.is_none() {
                theirs = begin_http(&mut client);
            }
        }
        assert!(ours.is_some() && theirs.is_some());
        servers.push((server, ours));
    }
    let idle = (rig.held() - before) / i64::from(CLIENTS);
    eprintln!("quiche alone: idle {idle}");
    assert!((15_000..45_000).contains(&idle), "{idle}");
}

fn begin_http(quic: &mut quiche::Connection) -> Option<Box<h3::Connection>> {
    let config = h3::Config::new().expect("quiche's own defaults are legal");
    h3::Connection::with_transport(quic, &config)
        .ok()
        .map(Box::new)
}

fn server_config() -> quiche::Config {
    let identity =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (identity.cert.pem(), identity.signing_key.serialize_pem());
    let tls = spooky_tests::tls::context(Some((cert.as_bytes(), key.as_bytes())));
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls)
        .expect("a configuration");
    config
        .set_application_protos(h3::APPLICATION_PROTOCOL)
        .expect("h3");
    config.set_max_idle_timeout(30_000);
    config.set_initial_max_data(64 << 20);
    config.set_initial_max_stream_data_bidi_remote(256 << 10);
    config.set_initial_max_stream_data_uni(16 << 10);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(8);
    config
}
