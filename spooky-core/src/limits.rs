//! Every bound in the system that is not a key of the configuration, named, in
//! one place, with the reason for its size.

use std::time::Duration;

/// Clients that are refused and told so, in the whole process: at some 10 µs each this is
/// a hundredth of a processor. Others wait until they give up.
pub const REFUSALS_PER_SECOND: u32 = 1000;

/// Addresses whose pace is known at once, for `limits.new_connections_per_ip_per_second`:
/// those that were admitted within a second. Beyond, only what holds for all bounds them.
pub const PACED_ADDRESSES: usize = 65_536;

/// Client connections of the process whose handshake is not complete. At 31 kB each
/// (measured) a flood of first packets is held to 300 MB.
pub const HALF_OPEN: u32 = 10_000;

/// Bytes one stream may write before the next one has its turn.
///
/// One less than 2^14, so that a DATA frame's length always fits two bytes and
/// [`DATA_OVERHEAD`] is exact.
pub const TURN_BYTES: usize = (1 << 14) - 1;

/// Turns of the more urgent, after which the less urgent have one.
pub const URGENT_TURNS: usize = 15;

/// Turns of a response that is served before its equals, after which one of these has one.
pub const ALONE_TURNS: usize = 7;

/// Priorities of requests that have not come yet, kept for a client's connection. A
/// client says it shortly before the request or not at all; each is a few bytes here,
/// and the oldest gives way.
pub const EARLY_PRIORITIES: usize = 32;

/// Type and length of a DATA frame of at most [`TURN_BYTES`] (RFC 9114 section
/// 7.2.1: type 0x00 is one byte; RFC 9000 section 16: a length below 2^14 is at most two).
pub const DATA_OVERHEAD: usize = 3;

/// The initial congestion window in packets. Header blocks go out whole or
/// never, so the window must hold the largest one: 40 × 1200 is 48 000 bytes,
/// more than the greatest `limits.header_bytes`, its framing and what `forwarding`
/// adds to it (a kilobyte or so, see [`AUTHORITY_BYTES`]).
pub const INITIAL_WINDOW_PACKETS: usize = 40;

/// What a SETTINGS frame may hold: some hundred settings, where a dozen exist.
pub const SETTINGS_BYTES: usize = 1024;

/// What a PRIORITY_UPDATE frame may hold: an id, and a field of which all that RFC 9218
/// defines is a few bytes.
pub const PRIORITY_BYTES: usize = 256;

/// Frames in a row that carry nothing (empty DATA frames, and types that we don't know)
/// on a request's stream. Each costs two bytes to send and a look to skip.
pub const IDLE_FRAMES: u16 = 1000;

/// What a connection keeps of the memory in which heads are read and written. Most
/// heads are far below, and those that are not are rare.
pub const SCRATCH_BYTES: usize = 4096;

/// A head that waits for room in the congestion window is given up after this,
/// whatever the window still promises.
pub const HEAD_BLOCKED: Duration = Duration::from_secs(10);

/// A client that was told to leave is not hung up on before this: a few round
/// trips, for the GOAWAY to arrive and for requests that it crossed.
pub const GOODBYE: Duration = Duration::from_millis(200);

/// Entries that a table keeps room for when it is empty. One that held a crowd gives
/// its room back; one that holds a connection now and then need not ask for it anew.
pub const EMPTY_TABLE: usize = 64;

/// Over so long the requests that a client cancels are counted, for
/// `limits.resets_per_connection`.
pub const CANCEL_WINDOW: Duration = Duration::from_secs(30);

/// Streams that we reset on one connection, after which it is given up: a client is told
/// to go (GOAWAY), a backend gets no new request, and beyond twice as many the client's
/// connection is closed.
///
/// quiche 0.30 forgets a stream when it is reset, but not the RESET_STREAM, which it
/// sends again whenever it takes the packet for lost. A peer that acknowledges all but
/// those would make a list of them that grows for as long as the connection lives.
pub const RESETS_TOLD: u64 = 10_000;

/// A reset waits at most so long for what was written before it to be sent.
pub const RESET_BLOCKED: Duration = Duration::from_secs(1);

/// Datagrams a connection sends after it was closed from here. One or two carry the
/// CONNECTION_CLOSE. quiche 0.30 never stops if its handshake is not confirmed, a probe
/// is due in that space, and the peer sent something there to acknowledge: it makes
/// acknowledgements, which are no probe, for ever.
pub const FAREWELLS: u32 = 8;

/// No timer of QUIC needs to be met sooner than this (kGranularity, RFC 9002 section 6.1.2).
pub const TIMER_GRANULARITY: Duration = Duration::from_millis(1);

/// What a stream's window grows to at most, however large the connection's is: 1.3 Gbit/s
/// over a round trip of 100 ms.
pub const STREAM_WINDOW_GROWN: u64 = 16 << 20;

/// Bytes that a client's connection may hold unread, unless windows that never grew
/// allow for more. Only a crowd of uploads that were fast and then stalled, all at
/// once, comes near: thirty-two of them with the defaults.
pub const UNREAD: u64 = 64 << 20;

/// What quiche keeps of a STREAM frame besides its bytes, at most: an allocation, and its
/// share of a table that may be half empty. Measured: 158 bytes for frames in order.
pub const FRAME_COST: u64 = 200;

/// What quiche may keep for a connection beyond the bytes that flow control counts.
/// Frames of one byte reach it after some 80,000 that nobody could read yet; a peer that
/// leaves its windows full of frames of 600 bytes or more never does. Holes that are
/// filled later can nearly double what is kept of them, so that it stays below 32 MiB.
pub const HELD_EXCESS: u64 = 16 << 20;

/// The same for the bytes of a connection's handshake, in all its life: ten certificates
/// that come ten times.
pub const HELD_HANDSHAKE: u64 = 512 << 10;

/// UDP payload that we take: anything a peer may send over Ethernet and loopback.
pub const RECEIVE_BYTES: usize = 65_527;

/// Room each segment needs when a transmit is put together: more than the greatest
/// `quic.max_datagram_size`.
pub const SEGMENT_BUFFER: usize = 1500;

/// A datagram that the pacer lets go so little later is let go now. Drivers wait in
/// milliseconds.
pub const PACING_SLACK: Duration = Duration::from_millis(1);

/// UDP payload that every path of QUIC carries (RFC 9000 section 14).
pub const LEAST_DATAGRAM: usize = 1200;

/// Probe timeouts in a row without progress, after which datagrams larger than
/// [`LEAST_DATAGRAM`] are taken to vanish.
pub const VAIN_TIMEOUTS: u32 = 2;

/// Flights of 0-RTT that are remembered, so that none has its requests forwarded twice.
/// 32 bytes each are 4 MiB, taken only where early data is forwarded; it is enough for a
/// thousand a second, and what finds no place waits for its handshake.
pub const FLIGHTS: usize = 1 << 17;

/// For so long a flight can be accepted that was accepted once: BoringSSL takes early
/// data if the age of the ticket, as the client tells it, is at most 60 s off, in either
/// direction and in whole seconds (kMaxTicketAgeSkewSeconds, RFC 8446 section 8.3). The
/// rest is for workers that do not read the clock at the same moment.
pub const FLIGHT_MEMORY: Duration = Duration::from_secs(130);

/// A wall clock that is set back by more was set, and not merely corrected as it ran.
pub const CLOCK_STEP: Duration = Duration::from_millis(500);

/// Informational (1xx) responses passed on for one request.
pub const INFORMATIONAL: u32 = 16;

/// Events waiting for the driver. Beyond it they are counted and dropped.
pub const EVENTS: usize = 16_384;

/// Bytes of secrets and traces (`log.tls_keys`, `log.qlog`) waiting for the driver, which
/// takes them every turn. Beyond it they are counted and dropped.
pub const TAPPED_BYTES: usize = 4 << 20;

/// Bytes of one event among them, and so of one record of a trace. Most are below a
/// kilobyte; a datagram full of the smallest frames makes one of a megabyte.
pub const TAPPED_PIECE: usize = 64 << 10;

/// What such an event costs beyond its bytes.
pub const TAPPED_OVERHEAD: usize = 128;

/// Bytes of one connection's trace, after which it ends: some 20 000 packets.
pub const QLOG_TRACE_BYTES: u64 = 16 << 20;

/// Bytes that the traces in `log.qlog.dir` occupy together; the oldest give way.
pub const QLOG_FOLDER_BYTES: u64 = 1 << 30;

/// Files that they are: connections can be short and many.
pub const QLOG_FILES: usize = 10_000;

/// Replies without a connection (Retry, version negotiation, refusals, resets) waiting
/// to be sent: as many as datagrams are read before a worker sends, or nearly. At 150
/// bytes each.
pub const STATELESS: usize = 1024;

/// Version negotiations sent in a second, and at once, by the whole process.
pub const VERSION_NEGOTIATIONS_PER_SECOND: u32 = 100;

/// Stateless resets sent in a second, and at once, by the whole process. After a restart
/// each client needs one, and asks again until it has it.
pub const RESETS_PER_SECOND: u32 = 5000;

/// A Retry token is good for so long: two round trips of the slowest path, and a client's
/// first probes.
pub const RETRY_TOKEN_LIFE: Duration = Duration::from_secs(10);

/// So far clocks of machines with one secret may be apart.
pub const RETRY_TOKEN_SKEW: Duration = Duration::from_secs(2);

/// Used Retry tokens are remembered for at least so long: until they have expired for a
/// clock that is late.
pub const USED_TOKEN_MEMORY: Duration =
    RETRY_TOKEN_LIFE.saturating_add(RETRY_TOKEN_SKEW.saturating_add(RETRY_TOKEN_SKEW));

/// Used Retry tokens that are remembered of one such time, over all workers: four bytes
/// each, twice. A core completes some 5000 handshakes a second (measured).
pub const USED_TOKENS: usize = 1 << 18;

/// Connection ids that clients gave up and that a worker remembers, so that a straggler
/// to one is not answered with a reset of a connection that lives.
pub const RETIRED_IDS: usize = 1024;

/// A backend connection with so many probe timeouts in a row and nothing heard
/// takes no new request.
pub const SILENT_PROBES: u32 = 2;

/// A backend that failed to connect is left alone for so long …
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// … doubled with every failure, up to this.
pub const BACKOFF_MOST: Duration = Duration::from_secs(30);

/// Backends or connections tried for one request, at most.
pub const ATTEMPTS: u32 = 2;

/// While requests wait for a place that another worker may free, look so often.
pub const PENDING_RECHECK: Duration = Duration::from_millis(10);

/// Tries of the balancer's dice before it looks at every backend.
pub const BALANCER_TRIES: usize = 8;

/// Unidirectional streams a peer may open: its control stream, two for QPACK,
/// and a few that we ignore (RFC 9114 section 6.2 asks for at least three).
pub const UNI_STREAMS: u64 = 8;

/// Credit on each of those; RFC 9114 section 6.2 asks for at least 1024 bytes.
pub const UNI_WINDOW: u64 = 16 * 1024;

/// A bare acknowledgement waits at most so long for something to travel with.
/// Less than the max_ack_delay that we announce (25 ms, RFC 9000 section 18.2), by
/// enough for timers that fire late.
pub const ACK_HOLD: Duration = Duration::from_millis(20);

/// … and for at most so many datagrams. RFC 9000 section 13.2.2 recommends two,
/// and allows more where the peer's window does not depend on it, as here, where
/// moving bodies are never held.
pub const ACK_DATAGRAMS: u32 = 10;

/// Addresses that a client's connection may be known by, the first among them.
///
/// quiche bounds them by our limit of connection ids, and cannot free one whose
/// client gave no spare ids (browsers use none): so this is how often a NAT may
/// give such a client another port. Each costs a few kilobytes, and only when used.
pub const CLIENT_PATHS: u64 = 32;

/// The same for a connection to a backend, which moves only if the backend does.
pub const BACKEND_PATHS: u64 = 4;

/// A PING on a path that a client has left: 1 byte of flags, an id of at most 20, 4 of
/// packet number, 16 of tag, and a few for an acknowledgement or an id besides.
pub const PING_BYTES: usize = 100;

/// So many of them go to the address that was left, if the client moved by its own will.
pub const PINGS_TO_THE_OLD_ADDRESS: u32 = 2;

/// An authority: the longest name that DNS has (RFC 3986 section 3.2.2 asks for no
/// more than 255 characters), a colon and a port. It goes on up to three times, in
/// `:authority`, `x-forwarded-host` and `forwarded`, which has to fit beside the rest.
pub const AUTHORITY_BYTES: usize = 255 + 6;

/// A method, path or authority of a refused head is told of up to this size.
pub const GLIMPSE_BYTES: usize = 1024;
