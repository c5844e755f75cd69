//! What a key that is left out means.

use std::time::Duration;

use super::model::{
    BackendTls, ClientAuth, ClientAuthMode, CongestionControl, Connections, EarlyData, Forwarding,
    LbType, Limits, LoadBalancing, Log, Quic, Retry, Sample, Timeouts, XForwarded,
};

/// The name of the upstream whose keys stand at the top level.
pub(super) const UPSTREAM: &str = "default";
/// A backend's share.
pub(super) const WEIGHT: u32 = 100;
/// Socket buffers asked for: a few milliseconds of a fast link.
pub(super) const SOCKET_BUFFER: u64 = 4 << 20;
/// Clients may resume.
pub(super) const SESSION_TICKETS: bool = true;
/// 0-RTT is accepted.
pub(super) const EARLY_DATA: bool = true;
/// What comes in it waits for the handshake.
pub(super) const EARLY_REQUESTS: EarlyData = EarlyData::Hold;
/// WebSocket passes to backends that offer it.
pub(super) const WEBSOCKET: bool = true;
/// One connection of a thousand is traced.
pub(super) const QLOG_SAMPLE: Sample = match Sample::from_per_million(1000) {
    Some(sample) => sample,
    None => unreachable!(),
};
/// How long a drain waits.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

impl Default for ClientAuth {
    /// Nobody is asked.
    fn default() -> Self {
        ClientAuth {
            mode: ClientAuthMode::None,
            ca: None,
        }
    }
}

impl Default for Quic {
    fn default() -> Self {
        Quic {
            idle_timeout: Duration::from_secs(30),
            retry: Retry::Auto,
            retry_threshold: 1000,
            max_streams: 100,
            stream_window: 256 << 10,
            // So that streams may grow to 2 MiB: half of that each round trip, which is
            // 160 Mbit/s over one of 50 ms.
            connection_window: 400 << 20,
            congestion_control: CongestionControl::Cubic,
            active_migration: true,
            path_mtu_discovery: true,
            max_datagram_size: 1350,
        }
    }
}

impl Default for BackendTls {
    /// Verified, against the system's roots, by the backend's address.
    fn default() -> Self {
        BackendTls {
            verify: true,
            ca: None,
            server_name: None,
        }
    }
}

impl Default for LoadBalancing {
    fn default() -> Self {
        LoadBalancing {
            lb_type: LbType::Random,
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Connections {
            max: 64,
            max_requests: 1024,
            max_pending: 1024,
            queue_timeout: Duration::from_secs(1),
            min_idle: 0,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(5),
            response_header: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            request: Duration::ZERO,
        }
    }
}

impl Default for Forwarding {
    /// Backends learn who asked, from us alone.
    fn default() -> Self {
        Forwarding {
            trusted_proxies: Vec::new(),
            x_forwarded: XForwarded::Replace,
            forwarded: false,
            via: Some("spooky".to_owned()),
            proxy_status: true,
            client_cert: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 100_000,
            connections_per_ip: 0,
            new_connections_per_second: 0,
            new_connections_per_ip_per_second: 0,
            requests_per_connection: 0,
            handshake_timeout: Duration::from_secs(10),
            request_header_timeout: Duration::from_secs(10),
            header_bytes: 32 << 10,
            headers: 100,
            body_bytes: 0,
            resets_per_connection: 1000,
        }
    }
}

impl Default for Log {
    /// Information and worse; no access log.
    fn default() -> Self {
        Log {
            level: log::LevelFilter::Info,
            access: None,
            qlog: None,
            tls_keys: None,
        }
    }
}
