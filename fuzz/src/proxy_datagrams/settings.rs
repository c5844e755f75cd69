//! Addresses, configurations and TLS of the world, the same in every run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use spooky_core::config::Config;
use spooky_core::io::SocketId;
use spooky_core::{Material, Setup};

pub(crate) const LISTENER: SocketAddr = address(203, 1, 443);
pub(crate) const CLIENT: SocketAddr = address(198, 1, 50_000);
/// Where the client may turn up too, and where a second one may be.
pub(crate) const OTHER_CLIENT: SocketAddr = address(198, 2, 50_001);
/// A client of good will, who comes when all is over.
pub(crate) const NEIGHBOUR: SocketAddr = address(198, 3, 50_002);
/// The backend that answers.
pub(crate) const BACKEND: SocketAddr = address(192, 1, 443);
/// The backend that never does.
pub(crate) const SILENT_BACKEND: SocketAddr = address(192, 2, 443);

/// The sockets toward backends, as bound, and as the backends see them.
pub(crate) const BACKEND_SOCKETS: [(SocketId, SocketAddr, SocketAddr); 2] = [
    (SocketId(1), wildcard(40_001), address(203, 1, 40_001)),
    (SocketId(2), wildcard(40_002), address(203, 1, 40_002)),
];

const fn address(net: u8, host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(net, 0, 2, host)), port)
}

const fn wildcard(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

const CERTIFICATE: &[u8] = include_bytes!("../../fixtures/cert.pem");
const KEY: &[u8] = include_bytes!("../../fixtures/key.pem");

const ROOMY: &str = "
listen: { address: 203.0.2.1, port: 443 }
tls: { cert: cert.pem, key: key.pem }
backend_tls: { ca: cert.pem, server_name: fuzz.test }
backends:
  - { id: answers, address: \"192.0.2.1:443\", weight: 90 }
  - { id: silent, address: \"192.0.2.2:443\", weight: 10 }
";

/// Every bound within reach of a few operations.
const TIGHT: &str = "
quic: { retry: always, max_streams: 4, stream_window: 2KiB, connection_window: 17KiB }
connections: { max: 2, max_requests: 3, max_pending: 2, min_idle: 1 }
timeouts: { idle: 2s, request: 20s }
limits: { header_bytes: 4KiB, body_bytes: 3000, resets_per_connection: 1 }
";

static SETUPS: LazyLock<[Arc<Setup>; 2]> =
    LazyLock::new(|| [setup(ROOMY), setup(&format!("{ROOMY}{TIGHT}"))]);

/// Builds the configurations of the proxy, once a process.
pub(crate) fn make_setups() {
    LazyLock::force(&SETUPS);
}

/// A configuration of the proxy.
pub(crate) fn proxy_setup(tight: bool) -> Arc<Setup> {
    Arc::clone(&SETUPS[usize::from(tight)])
}

fn setup(text: &str) -> Arc<Setup> {
    let config = Config::parse("fuzz.yaml", text).expect("the configuration is legal");
    let files = BTreeMap::from([
        (PathBuf::from("cert.pem"), Ok(CERTIFICATE.to_vec())),
        (PathBuf::from("key.pem"), Ok(KEY.to_vec())),
    ]);
    let material = Material {
        files,
        ..Material::default()
    };
    Arc::new(Setup::build(config, &material).expect("the fixtures are good"))
}

/// Runs `with` on the peers' configuration. It belongs to one world, because TLS
/// keeps its ticket keys there.
pub(crate) fn with_peer_config<T>(with: impl FnOnce(&mut quiche::Config) -> T) -> T {
    thread_local! {
        static CONFIG: RefCell<quiche::Config> = RefCell::new(peer_config());
    }
    CONFIG.with(|config| with(&mut config.borrow_mut()))
}

fn peer_config() -> quiche::Config {
    let legal = "the peers' settings are legal";
    let builder = spooky_tests::tls::context(Some((CERTIFICATE, KEY)));
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)
        .expect(legal);
    config
        .set_application_protos(quiche::h3::APPLICATION_PROTOCOL)
        .expect(legal);
    config.set_initial_max_streams_bidi(16);
    config.set_initial_max_streams_uni(8);
    config.set_initial_max_data(1 << 20);
    config.set_initial_max_stream_data_bidi_local(64 << 10);
    config.set_initial_max_stream_data_bidi_remote(64 << 10);
    config.set_initial_max_stream_data_uni(16 << 10);
    config.set_active_connection_id_limit(4);
    config
}
