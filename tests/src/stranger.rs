//! Clients that nobody knows yet: one datagram or two of each.

use std::net::SocketAddr;

/// Length of their connection ids.
pub const ID: usize = 16;

/// Makes one client after the other.
pub struct Strangers {
    config: quiche::Config,
    made: u64,
}

impl Default for Strangers {
    fn default() -> Self {
        Strangers::new()
    }
}

impl Strangers {
    /// Clients as BoringSSL makes them: with ML-KEM a ClientHello takes two datagrams.
    pub fn new() -> Self {
        Strangers::with_curves(None)
    }

    /// Clients whose ClientHello fits one datagram.
    pub fn small() -> Self {
        Strangers::with_curves(Some("X25519"))
    }

    fn with_curves(curves: Option<&str>) -> Self {
        let mut builder = crate::tls::context(None);
        if let Some(curves) = curves {
            builder.set_curves_list(curves).expect("they are known");
        }
        let mut config =
            quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)
                .expect("a configuration");
        config
            .set_application_protos(quiche::h3::APPLICATION_PROTOCOL)
            .expect("h3");
        config.set_max_idle_timeout(30_000);
        config.set_initial_max_data(1 << 20);
        config.set_initial_max_stream_data_uni(1 << 16);
        config.set_initial_max_stream_data_bidi_local(1 << 16);
        config.set_initial_max_streams_uni(8);
        Strangers { config, made: 0 }
    }

    /// The next client, from one address to another.
    pub fn client(&mut self, from: SocketAddr, to: SocketAddr) -> quiche::Connection {
        self.made += 1;
        let mut id = [0x5a; ID];
        id[..8].copy_from_slice(&self.made.to_be_bytes());
        let scid = quiche::ConnectionId::from_ref(&id);
        quiche::connect(Some("localhost"), &scid, from, to, &mut self.config).expect("a client")
    }

    /// What the next client sends first.
    pub fn first_flight(&mut self, from: SocketAddr, to: SocketAddr) -> Vec<Vec<u8>> {
        flight(&mut self.client(from, to))
    }
}

/// All that a client has to send.
pub fn flight(client: &mut quiche::Connection) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut out = [0; 1350];
    while let Ok((len, _)) = client.send(&mut out) {
        datagrams.push(out[..len].to_vec());
    }
    datagrams
}
