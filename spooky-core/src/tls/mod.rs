//! Who we are to clients, and whom we trust as a backend.

mod identity;
mod trust;

pub(crate) use identity::{Identity, IdentityError};
pub(crate) use trust::Trust;

use boring::ssl::{SslContextBuilder, SslMethod, SslVerifyMode};
use quiche::CongestionControlAlgorithm;

use crate::config::{CongestionControl, Quic};
use crate::limits;

/// What building a TLS context can fail with: BoringSSL's own error, or quiche's.
pub(crate) type TlsError = Box<dyn std::error::Error + Send + Sync>;

/// The QUIC configuration toward clients.
pub(crate) fn server_config(identity: &Identity, quic: &Quic) -> Result<quiche::Config, TlsError> {
    // Not `quiche::Config::new`: it loads the system's CA bundle, 1 MB and 5 ms.
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    identity.install(&mut builder)?;
    let mut config =
        quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)?;
    apply(&mut config, quic)?;
    config.set_active_connection_id_limit(limits::CLIENT_PATHS);
    // quiche only asks clients for it; `Proxy` sees to it.
    config.set_disable_active_migration(!quic.active_migration);
    Ok(config)
}

/// The QUIC configuration toward backends.
pub(crate) fn client_config(trust: &Trust, quic: &Quic) -> Result<quiche::Config, TlsError> {
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    match trust.store()? {
        Some(store) => {
            builder.set_verify_cert_store(store)?;
            builder.set_verify(SslVerifyMode::PEER);
        }
        None => builder.set_verify(SslVerifyMode::NONE),
    }
    let mut config =
        quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)?;
    apply(&mut config, quic)?;
    config.set_active_connection_id_limit(limits::BACKEND_PATHS);
    // Backends open no request streams toward us.
    config.set_initial_max_streams_bidi(0);
    Ok(config)
}

fn apply(config: &mut quiche::Config, quic: &Quic) -> Result<(), quiche::Error> {
    config.set_application_protos(quiche::h3::APPLICATION_PROTOCOL)?;
    config.set_max_idle_timeout(u64::try_from(quic.idle_timeout.as_millis()).unwrap_or(u64::MAX));
    config.set_initial_max_streams_bidi(quic.max_streams);
    config.set_initial_max_streams_uni(limits::UNI_STREAMS);
    config.set_initial_max_data(quic.connection_window);
    config.set_initial_max_stream_data_bidi_local(quic.stream_window);
    config.set_initial_max_stream_data_bidi_remote(quic.stream_window);
    config.set_initial_max_stream_data_uni(limits::UNI_WINDOW);
    // quiche doubles windows by itself, up to these: what was configured is what
    // a stalled stream may hold.
    config.set_max_connection_window(quic.connection_window);
    config.set_max_stream_window(quic.stream_window);
    config.set_initial_congestion_window_packets(limits::INITIAL_WINDOW_PACKETS);
    config.set_max_recv_udp_payload_size(limits::RECEIVE_BYTES);
    config.set_max_send_udp_payload_size(quic.max_datagram_size.into());
    config.discover_pmtu(quic.path_mtu_discovery);
    config.set_cc_algorithm(match quic.congestion_control {
        CongestionControl::Cubic => CongestionControlAlgorithm::CUBIC,
        CongestionControl::Bbr2 => CongestionControlAlgorithm::Bbr2Gcongestion,
        CongestionControl::Reno => CongestionControlAlgorithm::Reno,
    });
    // Greasing costs 3.7 kB a connection (measured).
    config.grease(false);
    Ok(())
}
