//! QUIC settings of these peers: client, demo backend, load generator.

use std::time::Duration;

use quiche::h3;

/// What fits an Ethernet with room for tunnels; loopback takes it as well.
const DATAGRAM: usize = 1350;
/// A header block goes out whole or never, so the initial window must hold it.
const INITIAL_WINDOW_PACKETS: usize = 40;
/// A peer's control, QPACK and grease streams.
const UNI_STREAMS: u64 = 16;
const UNI_WINDOW: u64 = 64 << 10;

/// Flow control, stream limit and idle timeout of a connection.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Unread bytes a stream may hold.
    pub stream: u64,
    /// Unread bytes a connection may hold; more than `2 × streams × stream`, or
    /// streams that nobody reads freeze the others.
    pub connection: u64,
    /// Requests a peer may have open.
    pub streams: u64,
    /// Silence after which a connection is given up.
    pub idle: Duration,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            stream: 256 << 10,
            connection: 64 << 20,
            streams: 100,
            idle: Duration::from_secs(30),
        }
    }
}

/// Puts `windows` and what all these peers share into `config`.
pub fn apply(config: &mut quiche::Config, windows: &Windows) -> quiche::Result<()> {
    config.set_application_protos(h3::APPLICATION_PROTOCOL)?;
    config.set_max_idle_timeout(windows.idle.as_millis() as u64);
    config.set_max_recv_udp_payload_size(65_527);
    config.set_max_send_udp_payload_size(DATAGRAM);
    config.set_initial_congestion_window_packets(INITIAL_WINDOW_PACKETS);
    config.set_initial_max_data(windows.connection);
    config.set_initial_max_stream_data_bidi_local(windows.stream);
    config.set_initial_max_stream_data_bidi_remote(windows.stream);
    config.set_initial_max_stream_data_uni(UNI_WINDOW);
    config.set_initial_max_streams_bidi(windows.streams);
    config.set_initial_max_streams_uni(UNI_STREAMS);
    // quiche doubles windows on its own; not past what was asked for.
    config.set_max_stream_window(windows.stream);
    config.set_max_connection_window(windows.connection);
    Ok(())
}
