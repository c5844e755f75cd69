//! Every bound a configuration is held to.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes of a configuration's text. Ten thousand backends take about one.
pub(super) const TEXT_BYTES: usize = 4 << 20;
/// Scalars, lists and sections in a text.
pub(super) const NODES: usize = 200_000;
/// Sections and lists within each other. The deepest key stands at 4; the rest
/// is for what comes, and for a good message about what does not.
pub(super) const DEPTH: usize = 32;
/// Errors that are reported at once; nobody reads more.
pub(super) const DIAGNOSTICS: usize = 100;

/// Bytes of an environment variable's name.
pub(super) const VARIABLE_BYTES: usize = 128;

/// Secrets that are still honoured. Each costs a look at what strangers send.
pub(super) const PREVIOUS_SECRETS: usize = 8;
/// Bytes of a machine's name.
pub(super) const INSTANCE_BYTES: usize = 64;

/// Worker threads. The worker's number has to fit a connection id.
pub(super) const WORKERS: RangeInclusive<u16> = 1..=1024;
/// Socket buffers, bytes. The kernel halves and doubles these in an `int`.
pub(super) const SOCKET_BUFFER: RangeInclusive<u64> = KIB * 4..=GIB;

/// Certificates besides the first. Each costs every worker some kilobytes.
pub(super) const CERTIFICATES: usize = 1000;

/// Silence before a QUIC connection is given up.
pub(super) const QUIC_IDLE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(600);
/// Half-open handshakes of the process; more there never are.
pub(super) const RETRY_THRESHOLD: RangeInclusive<u32> = 1..=crate::limits::HALF_OPEN;
/// Concurrent request streams a connection.
pub(super) const STREAMS: RangeInclusive<u64> = 1..=10_000;
/// Unread bytes of a stream.
pub(super) const STREAM_WINDOW: RangeInclusive<u64> = KIB..=GIB;
/// Unread bytes of a connection; the upper end holds the most streams with the
/// largest windows.
pub(super) const CONNECTION_WINDOW: RangeInclusive<u64> = KIB * 2..=GIB * 32 * 1024;

/// UDP payload of a datagram. The lower end is QUIC's (RFC 9000 section 14), the upper
/// what IPv4 over Ethernet carries: 1500 less 28 bytes of headers.
pub(super) const DATAGRAM: RangeInclusive<u16> = 1200..=1472;

/// Bytes of a backend's id.
pub(super) const ID_BYTES: usize = 64;
/// A backend's share.
pub(super) const WEIGHT: RangeInclusive<u32> = 0..=1_000_000;

/// Connections to one backend.
pub(super) const CONNECTIONS: RangeInclusive<u32> = 1..=65_536;
/// Connections to one backend that are kept open; `max` bounds them further.
pub(super) const IDLE_CONNECTIONS: RangeInclusive<u32> = 0..=65_536;
/// Requests in flight to one backend.
pub(super) const REQUESTS: RangeInclusive<u32> = 1..=1_000_000;
/// Requests that wait for a place.
pub(super) const PENDING: RangeInclusive<u32> = 0..=1_000_000;

/// Clients' connections. Ten million take some 340 GB.
pub(super) const CLIENTS: RangeInclusive<u32> = 1..=10_000_000;
/// Connections of one address, or no bound.
pub(super) const CLIENTS_PER_IP: RangeInclusive<u32> = 0..=10_000_000;
/// Connections that begin within a second, or no bound. A process makes a few thousand
/// a second with each of its processors.
pub(super) const NEW_CONNECTIONS: RangeInclusive<u32> = 0..=1_000_000;
/// Requests on a client's connection, or no bound.
pub(super) const REQUESTS_PER_CONNECTION: RangeInclusive<u32> = 0..=1_000_000_000;

/// A duration that has to pass before something happens. More than a day is a
/// slip of the pen.
pub(super) const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
/// A duration that may be none.
pub(super) const WAIT_OR_NONE: RangeInclusive<Duration> = Duration::ZERO..=DAY;

/// Bytes of a field section. quiche sends a head whole or never, so it has to
/// fit the initial congestion window.
pub(super) const HEADER_BYTES: RangeInclusive<u64> = KIB..=KIB * 40;
/// Bytes of a request's body, or none. The upper end is more than anybody waits for.
pub(super) const BODY_BYTES: RangeInclusive<u64> = 0..=GIB * 1024 * 1024;
/// Requests that a client may cancel on one connection within
/// [`CANCEL_WINDOW`](crate::limits::CANCEL_WINDOW).
pub(super) const RESETS: RangeInclusive<u32> = 1..=1_000_000;

/// Fields of a section. More than the upper end never fit into the most bytes, as each
/// counts 32; fewer than the lower would refuse nearly everything.
pub(super) const HEADERS: RangeInclusive<u16> = 10..=1280;

/// Peers that are trusted. Each request asks once, whatever their number.
pub(super) const TRUSTED_PROXIES: usize = 1024;
/// Bytes of the pseudonym, which every request carries.
pub(super) const VIA_BYTES: usize = 64;

const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
