//! A proxy at whose door clients stand: nothing but handshakes, in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use boring::ssl::SslRef;
use boring::x509::X509;
use quiche::h3;
use spooky_core::config::Config;
use spooky_core::io::{Datagram, SocketId, Sockets};
use spooky_core::{Material, Params, Proxy, Setup, Shared};
use spooky_mio::demo::identity::Identity;

/// The keys of a proxy come from it.
const SEED: [u8; 32] = [1; 32];
const ID: usize = 16;

pub(crate) struct Door {
    proxy: Proxy,
    next: u8,
}

/// Who comes.
#[derive(Default)]
pub(crate) struct Visitor<'a> {
    /// The name it asks for.
    pub(crate) name: Option<&'a str>,
    /// The certificate it has.
    pub(crate) identity: Option<&'a Identity>,
    /// The ticket it got before.
    pub(crate) ticket: Option<&'a [u8]>,
}

pub(crate) struct Visit {
    pub(crate) quic: quiche::Connection,
    address: SocketAddr,
}

impl Door {
    /// `tls` is that section; every identity is found in `NAME.pem` and `NAME.key`.
    pub(crate) fn new(tls: &str, identities: &[(&str, &Identity)]) -> Door {
        Door::with(tls, "", identities, SystemTime::now())
    }

    /// As [`Door::new`], with other sections, and the time that the proxy takes it for.
    /// Two of them are as one process before and after a restart.
    pub(crate) fn with(
        tls: &str,
        more: &str,
        identities: &[(&str, &Identity)],
        wall: SystemTime,
    ) -> Door {
        let text = format!(
            "listen: {{ address: '::', port: 443 }}\ntls: {tls}\n{more}\
             backends: [{{ id: a, address: 192.0.2.1:443 }}]\nbackend_tls: {{ verify: off }}\n"
        );
        let config = Config::parse("door.yaml", &text).expect("legal");
        let pairs = identities.iter().flat_map(|(name, identity)| {
            [("pem", &identity.cert), ("key", &identity.key)]
                .map(|(end, text)| (PathBuf::from(format!("{name}.{end}")), text))
        });
        let material = Material {
            files: pairs
                .map(|(path, text)| (path, Ok(text.clone().into_bytes())))
                .collect::<BTreeMap<_, _>>(),
            ..Material::default()
        };
        let setup = Setup::build(config, &material).unwrap_or_else(|found| panic!("{found:?}"));
        let shared = Shared::new(&setup, 1, SEED);
        let params = Params {
            setup: Arc::new(setup),
            shared,
            worker: 0,
            seed: [2; 32],
            wall,
            sockets: Sockets {
                listener: listener(),
                backends: vec![(SocketId(1), SocketAddr::from(([127, 0, 0, 1], 40_000)))],
            },
        };
        Door {
            proxy: Proxy::new(params, Instant::now()),
            next: 0,
        }
    }

    /// Somebody comes, and says all there is to say.
    pub(crate) fn visit(&mut self, visitor: &Visitor<'_>) -> Visit {
        let mut visit = self.approach(visitor);
        self.settle(&mut visit);
        visit
    }

    /// Somebody comes, and has said nothing yet.
    pub(crate) fn approach(&mut self, visitor: &Visitor<'_>) -> Visit {
        self.next += 1;
        let address = SocketAddr::from(([127, 0, 0, 1], 50_000 + u16::from(self.next)));
        let identity = visitor.identity;
        let pem = identity.map(|one| (one.cert.as_bytes(), one.key.as_bytes()));
        let builder = spooky_tests::tls::context(pem);
        let mut config =
            quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)
                .expect("a configuration");
        config
            .set_application_protos(h3::APPLICATION_PROTOCOL)
            .expect("h3");
        config.set_initial_max_data(1 << 20);
        config.set_initial_max_stream_data_uni(1 << 16);
        config.set_initial_max_streams_uni(8);
        let scid = [self.next; ID];
        let scid = quiche::ConnectionId::from_ref(&scid);
        config.enable_early_data();
        let mut quic = quiche::connect(visitor.name, &scid, address, listener(), &mut config)
            .expect("a client");
        if let Some(ticket) = visitor.ticket {
            quic.set_session(ticket).expect("a ticket of quiche's");
        }
        Visit { quic, address }
    }

    /// Requests that were begun.
    pub(crate) fn requests(&self) -> u64 {
        self.proxy.snapshot().counters.requests
    }

    /// Until nobody has anything to say.
    pub(crate) fn settle(&mut self, visit: &mut Visit) {
        for _ in 0..100 {
            let said = visit.says();
            let count = said.len();
            self.hear(visit, said);
            if self.answer(visit) + count == 0 {
                return;
            }
        }
        panic!("they never stop talking");
    }

    /// Gives the proxy what a visitor said.
    pub(crate) fn hear(&mut self, visit: &Visit, datagrams: Vec<Vec<u8>>) {
        for mut data in datagrams {
            let datagram = Datagram {
                socket: SocketId::LISTENER,
                from: visit.address,
                to: listener(),
                stride: data.len(),
                handed_over: false,
                data: &mut data,
            };
            let now = Instant::now();
            self.proxy.handle_datagram(datagram, &mut Vec::new(), now);
        }
    }

    /// Gives a visitor what the proxy has for it, and how many datagrams that was.
    pub(crate) fn answer(&mut self, visit: &mut Visit) -> usize {
        let (mut count, mut buf) = (0, Vec::new());
        let now = Instant::now();
        while let Some(transmit) = self.proxy.poll_transmit(1, &mut buf, now) {
            if transmit.to == visit.address {
                let info = quiche::RecvInfo {
                    from: listener(),
                    to: visit.address,
                };
                // An error closes the connection, which the test looks at.
                let _ = visit.quic.recv(&mut buf[..transmit.size], info);
                count += 1;
            }
        }
        count
    }
}

impl Visit {
    /// All that it has to say at present.
    pub(crate) fn says(&mut self) -> Vec<Vec<u8>> {
        let (mut said, mut out) = (Vec::new(), [0; 1350]);
        while let Ok((len, _)) = self.quic.send(&mut out) {
            said.push(out[..len].to_vec());
        }
        said
    }

    /// Asks for something in early data, and all that goes out with that.
    pub(crate) fn says_early(&mut self) -> Vec<Vec<u8>> {
        let mut said = self.says();
        assert!(self.quic.is_in_early_data(), "the ticket allows it");
        let config = h3::Config::new().expect("quiche's own defaults are legal");
        let mut h3 = h3::Connection::with_transport(&mut self.quic, &config).expect("HTTP/3");
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/"),
        ];
        let fields = fields.map(|(n, v)| h3::Header::new(n.as_bytes(), v.as_bytes()));
        h3.send_request(&mut self.quic, &fields, true)
            .expect("there is credit");
        said.extend(self.says());
        said
    }

    /// The door is open, and it is HTTP/3's.
    pub(crate) fn is_in(&self) -> bool {
        self.quic.is_established()
            && self.quic.peer_error().is_none()
            && self.quic.application_proto() == b"h3"
    }

    /// The alert with which the handshake failed (RFC 9001 section 4.8).
    pub(crate) fn alert(&self) -> Option<u64> {
        let error = self.quic.peer_error().filter(|error| !error.is_app)?;
        error.error_code.checked_sub(0x100)
    }

    /// The first name of the certificate that it met.
    pub(crate) fn met(&self) -> String {
        let leaf = X509::from_der(self.quic.peer_cert().expect("a certificate")).expect("sound");
        let names = leaf.subject_alt_names().expect("it has names");
        let first = names.iter().find_map(|name| name.dnsname());
        first.expect("one is a host's").to_owned()
    }

    pub(crate) fn curve(&mut self) -> Option<&'static str> {
        let ssl: &mut SslRef = self.quic.as_mut();
        ssl.curve_name()
    }
}

fn listener() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 443))
}
