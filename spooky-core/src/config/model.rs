//! The configuration as a value that cannot be wrong.
//!
//! Whoever holds a [`Config`] holds a legal one: ranges, references and
//! combinations were checked when it was parsed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Network, Positions, SecretSource};
use crate::limits;

/// A whole configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// Worker threads.
    pub workers: Workers,
    /// Where the secret is kept that all keys come from; absent: the driver's randomness,
    /// new at each start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// Earlier secrets, what was made with which is still honoured.
    pub previous_secrets: Vec<SecretSource>,
    /// Which machine this is of those with the same secret.
    pub instance: Instance,
    /// Where clients send to.
    pub listen: Listen,
    /// Who we are to clients.
    pub tls: Tls,
    /// QUIC toward clients; in the one-upstream form toward backends too.
    pub quic: Quic,
    /// Pools of interchangeable backends. Exactly one now, named `default`; its
    /// keys are flattened to the top level when printed.
    #[serde(flatten)]
    pub upstream: Upstream,
    /// What backends learn of clients, and clients of Spooky.
    pub forwarding: Forwarding,
    /// Bounds an operator may set.
    pub limits: Limits,
    /// Extended CONNECT for WebSocket (RFC 9220) is offered and passed on.
    pub websocket: bool,
    /// What is logged, and where.
    pub log: Log,
    /// How long `drain` waits for what is in flight.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub drain_timeout: Duration,
    /// Where each key stood in the text, for errors found later.
    #[serde(skip)]
    pub positions: Positions,
}

/// How many workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One a core.
    Auto,
    /// So many, 1 to 1024.
    Count(u16),
}

impl Serialize for Workers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Workers::Auto => serializer.serialize_str("auto"),
            Workers::Count(count) => serializer.serialize_u16(count),
        }
    }
}

/// Which machine this is of those that share a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instance {
    /// Told apart by randomness of its own, new at each start.
    Auto,
    /// A name or number, printable ASCII without spaces, at most 64 bytes.
    Named(String),
}

impl Instance {
    /// The name; empty where there is none.
    pub fn name(&self) -> &str {
        match self {
            Instance::Auto => "",
            Instance::Named(name) => name,
        }
    }
}

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Instance::Auto => "auto",
            Instance::Named(name) => name,
        })
    }
}

/// The listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// Address to bind; `::` is dual-stack.
    pub address: IpAddr,
    /// UDP port; 0 lets the system choose.
    pub port: u16,
    /// SO_RCVBUF asked for, bytes.
    #[serde(serialize_with = "super::units::serialize_size")]
    pub receive_buffer: u64,
    /// SO_SNDBUF asked for, bytes.
    #[serde(serialize_with = "super::units::serialize_size")]
    pub send_buffer: u64,
}

/// Who we are to clients, and who they have to be. Paths are already resolved
/// against the configuration file's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// The identity for clients that no other fits.
    #[serde(flatten)]
    pub identity: IdentitySource,
    /// More of them, chosen by the name a client asks for.
    pub certificates: Vec<IdentitySource>,
    /// Who clients have to be.
    pub client_auth: ClientAuth,
    /// 0-RTT is accepted.
    pub early_data: bool,
    /// Clients get tickets, with which they resume.
    pub session_tickets: bool,
}

/// Where a certificate chain and its key are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum IdentitySource {
    /// In two files, which may be the same one.
    Pair {
        /// PEM or DER chain, leaf first.
        #[serde(serialize_with = "super::units::serialize_path")]
        cert: PathBuf,
        /// Private key: PKCS#8, PKCS#1 or SEC1, as PEM or DER.
        #[serde(serialize_with = "super::units::serialize_path")]
        key: PathBuf,
    },
    /// In a bundle.
    Bundle {
        /// PKCS#12.
        #[serde(serialize_with = "super::units::serialize_path")]
        pkcs12: PathBuf,
        /// Its password; absent: it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<SecretSource>,
    },
}

/// Whether clients show certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientAuth {
    /// Whether they are asked for one.
    pub mode: ClientAuthMode,
    /// Trusted roots of their certificates, PEM or DER; always there if they are asked.
    #[serde(
        serialize_with = "super::units::serialize_optional_path",
        skip_serializing_if = "Option::is_none"
    )]
    pub ca: Option<PathBuf>,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// They are not.
    None,
    /// They may have none; one that they show has to be good.
    Request,
    /// They have to show a good one.
    Require,
}

/// QUIC transport settings of one side.
///
/// `connection_window > 2 × max_streams × stream_window` always holds: quiche
/// gives no more connection credit once unread bytes reach half the window, so
/// stalled streams would freeze the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quic {
    /// Silence after which a connection is given up.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub idle_timeout: Duration,
    /// Which clients show their address before they have a connection.
    pub retry: Retry,
    /// Half-open handshakes of the process from which on [`Retry::Auto`] asks them to,
    /// 1 to 10 000.
    pub retry_threshold: u32,
    /// Concurrent request streams a connection, 1 to 10 000.
    pub max_streams: u64,
    /// Unread bytes a stream may hold. A client's grows while it is read as fast as it
    /// comes, up to [`Quic::grown_stream_window`].
    #[serde(serialize_with = "super::units::serialize_size")]
    pub stream_window: u64,
    /// Unread bytes a connection may hold.
    #[serde(serialize_with = "super::units::serialize_size")]
    pub connection_window: u64,
    /// How the rate of sending is found.
    pub congestion_control: CongestionControl,
    /// Clients may go on from another IP address. A new port alone is always let pass:
    /// NATs change it, and no client knows.
    pub active_migration: bool,
    /// Datagrams begin at 1200 bytes, and grow as probes of more arrive.
    pub path_mtu_discovery: bool,
    /// UDP payload that is sent at most, 1200 to 1472 bytes. Without path MTU discovery
    /// it is what is sent.
    pub max_datagram_size: u16,
}

/// How the rate of sending is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CongestionControl {
    /// CUBIC (RFC 9438): loss says when it is too much.
    Cubic,
    /// BBRv2: the path's rate and round trip are measured, and sending is paced.
    Bbr2,
    /// NewReno (RFC 9002 section 7).
    Reno,
}

impl Quic {
    /// What a client's stream may hold unread once it was read as fast as it came: so
    /// much that all of them together leave the connection as much credit again.
    pub fn grown_stream_window(&self) -> u64 {
        let share = (self.connection_window - 1) / (2 * self.max_streams);
        share
            .min(limits::STREAM_WINDOW_GROWN)
            .max(self.stream_window)
    }

    /// What a client's connection may hold unread.
    pub(crate) fn most_unread(&self) -> u64 {
        limits::UNREAD.max(2 * self.max_streams * self.stream_window)
    }
}

/// When a client's first datagram is answered with Retry (RFC 9000 section 8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// While many handshakes are half-open.
    Auto,
    /// Of every client.
    Always,
    /// Of none.
    Never,
}

/// A pool of interchangeable backends and how it is used.
#[derive(Clone, Debug, Serialize)]
pub struct Upstream {
    /// `default` in the one-upstream form.
    #[serde(skip)]
    pub name: String,
    /// What becomes of requests that come in 0-RTT.
    pub early_data: EarlyData,
    /// How backends are verified.
    pub backend_tls: BackendTls,
    /// How one is chosen.
    pub load_balancing: LoadBalancing,
    /// The backends, at least one, ids unique.
    pub backends: Vec<Backend>,
    /// Bounds on connections to one backend.
    pub connections: Connections,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// QUIC toward these backends. In the one-upstream form a copy of the
    /// listener's, so it is not printed twice.
    #[serde(skip)]
    pub quic: Quic,
}

/// What becomes of requests that come in 0-RTT, before the client has proved that it is
/// not a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EarlyData {
    /// They wait for the handshake.
    Hold,
    /// Those with a safe method go on at once, with `Early-Data: 1` (RFC 8470).
    Forward,
}

/// How backends are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendTls {
    /// False accepts any certificate.
    pub verify: bool,
    /// PEM file of trusted roots; absent: the system's.
    #[serde(
        serialize_with = "super::units::serialize_optional_path",
        skip_serializing_if = "Option::is_none"
    )]
    pub ca: Option<PathBuf>,
    /// Name for SNI and verification; absent: the address itself, without SNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// How a backend is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadBalancing {
    /// The policy.
    pub lb_type: LbType,
}

/// A balancing policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LbType {
    /// Random, by weight.
    Random,
}

/// One address in an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Unique in the upstream, printable ASCII without spaces, at most 64 bytes.
    pub id: String,
    /// IP address and port.
    pub address: SocketAddr,
    /// Share of the requests, 0 to 1 000 000; 0 gets none. Not all are 0.
    pub weight: u32,
}

/// Bounds on connections to one backend, per process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Connections, at least 1.
    pub max: u32,
    /// Requests in flight, at least 1.
    pub max_requests: u32,
    /// Requests waiting for a place.
    pub max_pending: u32,
    /// How long one waits, then 503.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub queue_timeout: Duration,
    /// Connections kept open without need, at most `max`.
    pub min_idle: u32,
    /// A connection without requests is closed after this.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub idle_timeout: Duration,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// A backend's QUIC handshake.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub connect: Duration,
    /// From the request's end or last progress to the response's head.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub response_header: Duration,
    /// Without a byte of a body either way, once a response has begun or while the
    /// client has more to send.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub idle: Duration,
    /// From the request's head to the end of the response; zero is none.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub request: Duration,
}

/// What backends learn of clients, and clients of Spooky.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forwarding {
    /// Peers whose own forwarding fields count.
    pub trusted_proxies: Vec<Network>,
    /// `x-forwarded-for`, `-proto` and `-host`.
    pub x_forwarded: XForwarded,
    /// RFC 7239's field is added.
    pub forwarded: bool,
    /// Our pseudonym in `via` and `proxy-status`; `None` leaves `via` alone.
    #[serde(serialize_with = "super::units::serialize_or_off")]
    pub via: Option<String>,
    /// RFC 9209's field is on responses that Spooky makes or alters.
    pub proxy_status: bool,
    /// RFC 9440's field says which certificate the client showed.
    pub client_cert: bool,
}

/// What becomes of `x-forwarded-for`, `-proto` and `-host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XForwarded {
    /// They say what we know, whatever came.
    Replace,
    /// What we know is added to what a trusted peer said.
    Append,
    /// They are not set.
    Off,
}

/// Bounds an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Connections of clients, in the whole process; 1 to 10 000 000.
    pub connections: u32,
    /// The same for one IPv4 address or one /64 of IPv6; zero is none.
    pub connections_per_ip: u32,
    /// Connections of clients that begin within a second, in the whole process, up to
    /// 1 000 000; a second's worth may come at once. Zero is none.
    pub new_connections_per_second: u32,
    /// The same for one IPv4 address or one /64 of IPv6.
    pub new_connections_per_ip_per_second: u32,
    /// Requests on a client's connection, after which it is asked to make another
    /// (GOAWAY), up to 1 000 000 000; zero is none.
    pub requests_per_connection: u32,
    /// From a client's first datagram to the end of the handshake.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub handshake_timeout: Duration,
    /// From the first byte of a request's stream to the last of its head.
    #[serde(serialize_with = "super::units::serialize_duration")]
    pub request_header_timeout: Duration,
    /// Bytes of a field section, counted as RFC 9114 section 4.2.2 does (name,
    /// value and 32 a field). 1 KiB to 40 KiB: more would not fit the initial
    /// congestion window and never be sent on.
    #[serde(serialize_with = "super::units::serialize_size")]
    pub header_bytes: u64,
    /// Fields of a field section, pseudo-header fields among them; 10 to 1280.
    pub headers: u16,
    /// Bytes of a request's body; zero is none.
    #[serde(serialize_with = "super::units::serialize_size")]
    pub body_bytes: u64,
    /// Requests that a client may cancel before their responses began, on one
    /// connection within 30 s, 1 to 1 000 000.
    pub resets_per_connection: u32,
}

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Least severity that is written.
    #[serde(serialize_with = "super::units::serialize_level")]
    pub level: log::LevelFilter,
    /// One line a request; absent: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessLog>,
    /// Traces of connections; absent: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qlog: Option<Qlog>,
    /// File for the TLS secrets of all connections, in NSS key log format; absent: off.
    #[serde(
        serialize_with = "super::units::serialize_optional_path",
        skip_serializing_if = "Option::is_none"
    )]
    pub tls_keys: Option<PathBuf>,
}

/// Traces of connections, in qlog's format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Qlog {
    /// Folder for one file a connection.
    #[serde(serialize_with = "super::units::serialize_path")]
    pub dir: PathBuf,
    /// How many of the connections are traced.
    pub sample: Sample,
}

/// A share of connections, in steps of a millionth; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(u32);

impl Sample {
    /// In how many steps all of them are counted.
    pub const ALL: u32 = 1_000_000;

    /// So many of a million; `None` if that is none, or more than all.
    pub const fn from_per_million(count: u32) -> Option<Self> {
        if count >= 1 && count <= Self::ALL {
            Some(Sample(count))
        } else {
            None
        }
    }

    /// Connections of a million.
    pub fn per_million(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", f64::from(self.0) / f64::from(Self::ALL))
    }
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / f64::from(Self::ALL))
    }
}

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// Where lines go.
    pub path: LogTarget,
    /// Their shape.
    pub format: AccessFormat,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to. Already resolved against the configuration's folder.
    File(PathBuf),
}

impl Serialize for LogTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LogTarget::Stdout => serializer.serialize_str("stdout"),
            LogTarget::Stderr => serializer.serialize_str("stderr"),
            // A file of such a name must not be read back as the stream.
            LogTarget::File(path) if path.as_os_str() == "stdout" => {
                serializer.serialize_str("./stdout")
            }
            LogTarget::File(path) if path.as_os_str() == "stderr" => {
                serializer.serialize_str("./stderr")
            }
            LogTarget::File(path) => super::units::serialize_path(path, serializer),
        }
    }
}

/// The shape of an access log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
}
