//! What clients and backends of a simulation have in common: quiche, plain.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::PKey;
use boring::x509::extension::SubjectAlternativeName;
use boring::x509::{X509, X509NameBuilder};
use quiche::{Shutdown, h3};

use super::scheduler::Cx;

/// The name of everyone in the simulated world.
pub(crate) const NAME: &str = "localhost";
/// Length of connection ids.
pub(crate) const ID: usize = 16;
/// Datagrams an endpoint sends after it closed its connection: quiche 0.30, closed
/// before its handshake is confirmed, may go on for ever.
const FAREWELLS: u32 = 4;
/// HTTP/3 error codes, RFC 9114 section 8.1.
pub(crate) const NO_ERROR: u64 = 0x100;
pub(crate) const INTERNAL_ERROR: u64 = 0x102;
pub(crate) const REQUEST_REJECTED: u64 = 0x10b;
pub(crate) const REQUEST_CANCELLED: u64 = 0x10c;

/// A certificate for [`NAME`] and its key, as PEM.
pub(crate) struct Identity {
    pub(crate) cert: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Identity {
    /// Made of the simulation's entropy, valid in its time, with so many names more.
    pub(crate) fn new(names: u32) -> Identity {
        Self::build(names).expect("BoringSSL makes certificates")
    }

    fn build(more: u32) -> Result<Identity, boring::error::ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_text("CN", NAME)?;
        let name = name.build();
        let mut serial = BigNum::new()?;
        serial.rand(64, MsbOption::MAYBE_ZERO, false)?;
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        builder.set_pubkey(&key)?;
        builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
        builder.set_not_after(Asn1Time::days_from_now(30)?.as_ref())?;
        let mut names = SubjectAlternativeName::new();
        names.dns(NAME);
        for n in 0..more {
            names.dns(&format!("service-{n:06}.internal.example.net"));
        }
        let names = names.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(&names)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Identity {
            cert: builder.build().to_pem()?,
            key: key.private_key_to_pem_pkcs8()?,
        })
    }
}

/// How a peer's QUIC is set.
pub(crate) struct Settings {
    /// Unread bytes of a stream.
    pub(crate) window: u64,
    /// Request streams the other side may open at once.
    pub(crate) streams: u64,
}

/// A configuration of quiche: a server's if it has an identity.
pub(crate) fn config(identity: Option<&Identity>, settings: &Settings) -> quiche::Config {
    let identity = identity.map(|identity| (&identity.cert[..], &identity.key[..]));
    let mut builder = crate::tls::context(identity);
    // Others cost more, and are BoringSSL's to test.
    builder.set_curves_list("X25519").expect("it is known");
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)
        .expect("a configuration");
    config
        .set_application_protos(h3::APPLICATION_PROTOCOL)
        .expect("h3");
    config.set_max_idle_timeout(30_000);
    config.set_initial_max_data(16 << 20);
    config.set_initial_max_stream_data_bidi_local(settings.window);
    config.set_initial_max_stream_data_bidi_remote(settings.window);
    config.set_max_stream_window(settings.window);
    config.set_initial_max_stream_data_uni(64 << 10);
    config.set_initial_max_streams_bidi(settings.streams);
    config.set_initial_max_streams_uni(8);
    config.set_max_recv_udp_payload_size(1500);
    config.set_max_send_udp_payload_size(1350);
    config.set_active_connection_id_limit(4);
    config.grease(false);
    config
}

/// Whether a stream may write a DATA frame. quiche, told to write where there is no
/// room, says STREAM_DATA_BLOCKED, and on a path that loses packets says it again and
/// again, as fast as its window allows.
pub(crate) fn has_room(quic: &mut quiche::Connection, stream: u64) -> bool {
    // An error is a stream that is over: writing will tell.
    !matches!(quic.stream_capacity(stream), Ok(0..16))
}

/// One end of a connection, with HTTP/3 on it.
pub(crate) struct Endpoint {
    pub(crate) quic: quiche::Connection,
    h3: Option<h3::Connection>,
    /// Datagrams sent since it was closed from here.
    farewells: u32,
    /// Streams to be reset, with their codes, once all is sent: quiche 0.30, told to
    /// reset a stream with unsent bytes, ends it clean as well.
    resets: Vec<(u64, u64)>,
    /// What was sent before anything was heard, and to whom.
    pub(crate) first: Vec<(SocketAddr, Vec<u8>)>,
    heard: bool,
}

impl Endpoint {
    pub(crate) fn new(quic: quiche::Connection) -> Self {
        Endpoint {
            quic,
            h3: None,
            farewells: 0,
            resets: Vec::new(),
            first: Vec::new(),
            heard: false,
        }
    }

    pub(crate) fn receive(&mut self, bytes: &mut [u8], from: SocketAddr, to: SocketAddr) {
        self.heard = true;
        // An error closes the connection, which is looked for afterwards.
        let _ = self.quic.recv(bytes, quiche::RecvInfo { from, to });
    }

    /// Both layers, once the handshake is done, or before it for a client with early data.
    pub(crate) fn http(&mut self) -> Option<(&mut h3::Connection, &mut quiche::Connection)> {
        let early = !self.quic.is_server() && self.quic.is_in_early_data();
        let may = self.quic.is_established() || early;
        if self.h3.is_none() && may && !self.is_over() {
            let mut config = h3::Config::new().expect("quiche's own defaults are legal");
            config.enable_extended_connect(self.quic.is_server());
            self.h3 = h3::Connection::with_transport(&mut self.quic, &config).ok();
        }
        let h3 = self.h3.as_mut()?;
        Some((h3, &mut self.quic))
    }

    /// The next event of HTTP/3.
    pub(crate) fn poll(&mut self) -> Option<(u64, h3::Event)> {
        let (h3, quic) = self.http()?;
        let (stream, event) = h3.poll(quic).ok()?;
        // quiche says `Finished` of a stream that was reset before all was read.
        if matches!(event, h3::Event::Finished)
            && let Err(quiche::Error::StreamReset(code)) = quic.stream_recv(stream, &mut [0])
        {
            return Some((stream, h3::Event::Reset(code)));
        }
        Some((stream, event))
    }

    /// It carries nothing any more.
    pub(crate) fn is_over(&self) -> bool {
        self.quic.is_closed() || self.quic.is_draining() || self.quic.local_error().is_some()
    }

    /// Ends both directions of a stream, as far as they are open.
    pub(crate) fn abort(&mut self, stream: u64, code: u64) {
        // `Done`: that direction is over.
        let _ = self.quic.stream_shutdown(stream, Shutdown::Read, code);
        self.resets.push((stream, code));
    }

    /// Puts everything it has to send on the wire, each at its time.
    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>) {
        self.send(cx);
        // Two PINGs that leave show that nothing is unsent.
        if !self.resets.is_empty() && self.ping(cx) && self.ping(cx) {
            for (stream, code) in std::mem::take(&mut self.resets) {
                let _ = self.quic.stream_shutdown(stream, Shutdown::Write, code);
            }
            self.send(cx);
        }
    }

    /// True if there is room for a PING.
    fn ping(&mut self, cx: &mut Cx<'_>) -> bool {
        let asked = !self.is_over() && self.quic.send_ack_eliciting().is_ok();
        asked && self.send(cx) > 0
    }

    /// Returns how many datagrams left.
    fn send(&mut self, cx: &mut Cx<'_>) -> u32 {
        let (mut out, mut count) = ([0; 1500], 0);
        while self.farewells < FAREWELLS
            && let Ok((len, info)) = self.quic.send(&mut out)
        {
            cx.send(info.from, info.to, &out[..len], info.at);
            if !self.heard && !self.quic.is_server() {
                self.first.push((info.to, out[..len].to_vec()));
            }
            self.farewells += u32::from(self.quic.local_error().is_some());
            count += 1;
        }
        count
    }

    pub(crate) fn fire(&mut self, now: Instant) {
        if self.quic.timeout_instant().is_some_and(|at| at <= now) {
            self.quic.on_timeout();
        }
    }

    /// When it wants to be woken; not at once, even if quiche leaves a timer due.
    pub(crate) fn timeout(&self, now: Instant) -> Option<Instant> {
        let at = self.quic.timeout_instant()?;
        Some(if at <= now {
            now + Duration::from_millis(1)
        } else {
            at
        })
    }
}

/// Bytes of the body of a request, or of its response.
///
/// Byte `offset` of body `key` is `(key + offset) mod 251`: any cut, shift or
/// mix-up of two bodies shows.
pub(crate) struct Pattern;

const PERIOD: usize = 251;
const PIECE: usize = 16 << 10;

static BYTES: [u8; PIECE + PERIOD] = {
    let mut bytes = [0; PIECE + PERIOD];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at % PERIOD) as u8;
        at += 1;
    }
    bytes
};

impl Pattern {
    /// The piece of body `key` that begins at `offset`: `len` bytes, at most 16 KiB.
    pub(crate) fn piece(key: usize, offset: u64, len: u64) -> &'static [u8] {
        let begin = (key % PERIOD + (offset % PERIOD as u64) as usize) % PERIOD;
        &BYTES[begin..begin + (len as usize).min(PIECE)]
    }

    /// Asserts that `bytes` stand at `offset` of body `key`.
    pub(crate) fn check(key: usize, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        for part in bytes.chunks(PIECE) {
            let wanted = Pattern::piece(key, at, part.len() as u64);
            assert!(
                part == wanted,
                "a body of request {key} is not intact between bytes {at} and {}",
                at + part.len() as u64
            );
            at += part.len() as u64;
        }
    }
}
