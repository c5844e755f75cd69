//! Who we are to clients, and whom we trust as a backend.

mod clients;
mod context;
mod early;
mod encoding;
mod identities;
mod identity;
#[cfg(test)]
mod tests;
mod ticketer;
mod tickets;
mod trust;

pub(crate) use clients::{CERTIFICATE_EXPIRED, Clients, client_cert, is_expired};
use context::session_context;
pub(crate) use early::{Flight, flight};
pub(crate) use identities::Identities;
use identity::Identity;
pub(crate) use identity::{IdentityError, out_of_date};
pub(crate) use tickets::Tickets;
pub(crate) use trust::Trust;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use boring::ssl::{SslContext, SslContextBuilder, SslMethod, SslOptions, SslRef, SslVerifyMode};
use quiche::CongestionControlAlgorithm;

use crate::config::{Config, CongestionControl, EarlyData, Quic};
use crate::limits;

/// What building a TLS context can fail with: BoringSSL's own error, or quiche's.
pub(crate) type TlsError = Box<dyn std::error::Error + Send + Sync>;

/// The QUIC configuration toward clients.
///
/// Everyone we may be has a TLS context of their own, made in the same way: a
/// handshake begins with the first's and goes on with that of the name it asks for.
/// Tickets stay with the first, whose keys open them under every name.
pub(crate) fn server_config(
    identities: &Identities,
    clients: &Clients,
    config: &Config,
    tickets: &Arc<Tickets>,
) -> Result<quiche::Config, TlsError> {
    let (first, others) = identities.split();
    let context = session_context(config, clients)?;
    let forwards = config.upstream.early_data == EarlyData::Forward;
    let builder = |identity: &Identity| -> Result<SslContextBuilder, TlsError> {
        // Not `quiche::Config::new`: it loads the system's CA bundle, 1 MB and 5 ms.
        let mut builder = SslContextBuilder::new(SslMethod::tls())?;
        identity.install(&mut builder)?;
        clients.install(&mut builder)?;
        builder.set_session_id_context(&context)?;
        if config.tls.session_tickets {
            ticketer::install(&mut builder, Arc::clone(tickets), forwards);
        } else {
            // None is given out, and none is looked at.
            builder.set_options(SslOptions::NO_TICKET);
        }
        Ok(builder)
    };
    let others = others
        .iter()
        .map(|identity| tls_context(toward_clients(builder(identity)?, config)?))
        .collect::<Result<_, _>>()?;
    let mut builder = builder(first)?;
    let noting = forwards.then(|| Arc::clone(tickets));
    identities.choose(&mut builder, others, noting);
    toward_clients(builder, config)
}

/// All that quiche is told, of whichever identity: some of it (ALPN, early data, the
/// log of keys) it keeps in the TLS context.
fn toward_clients(builder: SslContextBuilder, config: &Config) -> Result<quiche::Config, TlsError> {
    let (tls, quic) = (&config.tls, &config.quic);
    let mut config =
        quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)?;
    apply(&mut config, quic)?;
    // Not toward backends: a slow client could then hold as much of each response.
    config.set_max_stream_window(quic.grown_stream_window());
    config.set_active_connection_id_limit(limits::CLIENT_PATHS);
    // quiche only asks clients for it; `Proxy` sees to it.
    config.set_disable_active_migration(!quic.active_migration);
    if tls.early_data {
        config.enable_early_data();
    }
    Ok(config)
}

/// The TLS context of `config`, as quiche has made it. It shows it on a connection
/// alone, so one is made that goes nowhere.
fn tls_context(mut config: quiche::Config) -> Result<SslContext, TlsError> {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let id = quiche::ConnectionId::from_ref(&[0; 16]);
    let mut connection = quiche::accept(&id, None, nowhere, nowhere, &mut config)?;
    let ssl: &mut SslRef = connection.as_mut();
    Ok(ssl.ssl_context().to_owned())
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
    // quiche doubles windows by itself, up to these.
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
