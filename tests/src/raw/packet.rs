//! QUIC's own packets by hand: any frames, in any order, after an honest handshake.
//!
//! quiche makes the handshake, and its key log has the secrets of what follows (RFC 9001
//! section 5.1). From then on a test seals 1-RTT packets with whatever frames it likes,
//! and opens the answers:
//!
//! ```no_run
//! use spooky_tests::raw::packet;
//! use spooky_tests::rig::{Options, Rig};
//!
//! let mut rig = Rig::new(Options::default());
//! let frames = packet::stream(0, 7, b"behind a gap");
//! let datagram = rig.client.by_hand().seal(&frames);
//! rig.from_address(vec![datagram]);
//! rig.run();
//! assert_eq!(rig.client.by_hand().closed(), None);
//! ```

use std::io;
use std::sync::{Arc, Mutex};

use ring::aead::{self, quic};
use ring::hkdf;

use super::wire::{read_varint, varint};

/// The lines of a TLS key log, as they come.
#[derive(Clone, Debug, Default)]
pub struct KeyLog(Arc<Mutex<Vec<u8>>>);

impl io::Write for KeyLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no test panicked with it")
            .extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl KeyLog {
    fn secret(&self, label: &str) -> Vec<u8> {
        let log = self.0.lock().expect("no test panicked with it");
        let text = String::from_utf8(log.clone()).expect("a key log is text");
        let mut lines = text.lines().map(|line| line.split(' '));
        let hex = lines
            .find_map(|mut words| (words.next() == Some(label)).then(|| words.next_back()))
            .flatten()
            .unwrap_or_else(|| panic!("the handshake is complete, and has its {label}"));
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(byte).collect()
    }
}

/// One end of a connection after its handshake: seals and opens 1-RTT packets.
///
/// It begins with a packet number far above those of the handshake, so quiche, at this
/// end, cannot go on afterwards.
pub struct ByHand {
    sealing: Keys,
    opening: Keys,
    /// The id that the other side chose.
    to: Vec<u8>,
    /// Bytes of our own id.
    id: usize,
    next: u32,
    /// The greatest number that was heard.
    heard: u64,
    /// The payloads that came, oldest first.
    pub payloads: Vec<Vec<u8>>,
}

/// RFC 9001 sections 5.1 and 5.4.
struct Keys {
    packet: aead::LessSafeKey,
    iv: [u8; 12],
    header: quic::HeaderProtectionKey,
}

const TAG: usize = 16;

impl ByHand {
    pub(crate) fn new(connection: &mut quiche::Connection, log: &KeyLog) -> ByHand {
        let (client, server) = (
            log.secret("CLIENT_TRAFFIC_SECRET_0"),
            log.secret("SERVER_TRAFFIC_SECRET_0"),
        );
        let tls: &mut boring::ssl::SslRef = connection.as_mut();
        let suite = tls.current_cipher().expect("a cipher suite").name();
        let (ours, theirs) = if connection.is_server() {
            (server, client)
        } else {
            (client, server)
        };
        ByHand {
            sealing: Keys::new(suite, &ours),
            opening: Keys::new(suite, &theirs),
            to: connection.destination_id().to_vec(),
            id: connection.source_id().len(),
            next: 1 << 20,
            heard: connection.stats().recv as u64,
            payloads: Vec::new(),
        }
    }

    /// A datagram of one packet with these frames.
    pub fn seal(&mut self, frames: &[u8]) -> Vec<u8> {
        self.seal_with(0, frames)
    }

    /// The same with bits set in the first byte, before it is protected.
    pub fn seal_with(&mut self, bits: u8, frames: &[u8]) -> Vec<u8> {
        let number = self.next;
        self.next += 1;
        // RFC 9000 section 17.3.1: a packet number of four bytes.
        let mut packet = vec![0x43 | bits];
        packet.extend(&self.to);
        let at = packet.len();
        packet.extend(number.to_be_bytes());
        let mut payload = frames.to_vec();
        let header = aead::Aad::from(packet.clone());
        self.sealing
            .packet
            .seal_in_place_append_tag(self.sealing.nonce(number.into()), header, &mut payload)
            .expect("a packet is short");
        packet.extend(payload);
        // RFC 9001 section 5.4.2: the sample begins as if the number had four bytes.
        let mask = self.sealing.mask(&packet[at + 4..at + 20]);
        packet[0] ^= mask[0] & 0x1f;
        for (byte, mask) in packet[at..at + 4].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet
    }

    /// Keeps the payload of a datagram's packet, if it is a 1-RTT packet for us.
    pub(crate) fn hear(&mut self, datagram: &mut [u8]) {
        let at = 1 + self.id;
        if datagram.len() < at + 20 || datagram[0] & 0x80 != 0 {
            return;
        }
        let mask = self.opening.mask(&datagram[at + 4..at + 20]);
        datagram[0] ^= mask[0] & 0x1f;
        let len = usize::from(datagram[0] & 3) + 1;
        let mut number = 0;
        for (byte, mask) in datagram[at..at + len].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
            number = number << 8 | u64::from(*byte);
        }
        let number = whole_number(self.heard + 1, number, 8 * len);
        let (header, sealed) = datagram.split_at_mut(at + len);
        let (nonce, header) = (self.opening.nonce(number), aead::Aad::from(&*header));
        if let Ok(payload) = self.opening.packet.open_in_place(nonce, header, sealed) {
            self.heard = self.heard.max(number);
            self.payloads.push(payload.to_vec());
        }
    }

    /// How the other side closed the connection: whether the code is the application's,
    /// and the code.
    ///
    /// It looks for the frame at the front of a payload, or behind an ACK, which is where
    /// quiche puts it.
    pub fn closed(&self) -> Option<(bool, u64)> {
        self.payloads.iter().find_map(|payload| {
            let rest = behind_ack(payload)?;
            let kind = *rest.first()?;
            matches!(kind, 0x1c | 0x1d).then_some(())?;
            Some((kind == 0x1d, read_varint(&rest[1..])?.0))
        })
    }
}

impl Keys {
    fn new(suite: &str, secret: &[u8]) -> Keys {
        let (hash, packet, header) = match suite {
            "TLS_AES_128_GCM_SHA256" => (hkdf::HKDF_SHA256, &aead::AES_128_GCM, &quic::AES_128),
            "TLS_AES_256_GCM_SHA384" => (hkdf::HKDF_SHA384, &aead::AES_256_GCM, &quic::AES_256),
            "TLS_CHACHA20_POLY1305_SHA256" => {
                (hkdf::HKDF_SHA256, &aead::CHACHA20_POLY1305, &quic::CHACHA20)
            }
            other => panic!("no suite of TLS 1.3: {other}"),
        };
        let secret = hkdf::Prk::new_less_safe(hash, secret);
        let key = expand(&secret, "quic key", packet.key_len());
        let iv = expand(&secret, "quic iv", 12);
        let mask = expand(&secret, "quic hp", header.key_len());
        let key = aead::UnboundKey::new(packet, &key).expect("a key of its length");
        Keys {
            packet: aead::LessSafeKey::new(key),
            iv: iv.try_into().expect("twelve bytes"),
            header: quic::HeaderProtectionKey::new(header, &mask).expect("a key of its length"),
        }
    }

    /// RFC 9001 section 5.3.
    fn nonce(&self, number: u64) -> aead::Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        aead::Nonce::assume_unique_for_key(nonce)
    }

    fn mask(&self, sample: &[u8]) -> [u8; 5] {
        self.header.new_mask(sample).expect("16 bytes")
    }
}

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446 section 7.1) without a context.
fn expand(secret: &hkdf::Prk, label: &str, len: usize) -> Vec<u8> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let label = [b"tls13 ", label.as_bytes()].concat();
    let size = u16::try_from(len).expect("a few bytes").to_be_bytes();
    let info: [&[u8]; 4] = [&size, &[label.len() as u8], &label, &[0]];
    let okm = secret.expand(&info, Length(len)).expect("a few bytes");
    let mut out = vec![0; len];
    okm.fill(&mut out).expect("as long as was asked");
    out
}

/// RFC 9000 appendix A.3.
fn whole_number(expected: u64, cut: u64, bits: usize) -> u64 {
    let (window, half) = (1 << bits, 1 << (bits - 1));
    let near = expected & !(window - 1) | cut;
    if near + half <= expected {
        near + window
    } else if near > expected + half && near >= window {
        near - window
    } else {
        near
    }
}

fn behind_ack(payload: &[u8]) -> Option<&[u8]> {
    if *payload.first()? != 2 {
        return Some(payload);
    }
    let (_, rest) = read_varint(&payload[1..])?;
    let (_, rest) = read_varint(rest)?;
    let (ranges, mut rest) = read_varint(rest)?;
    for _ in 0..1 + 2 * ranges {
        rest = read_varint(rest)?.1;
    }
    Some(rest)
}

/// A STREAM frame with bytes of a stream from `start` on.
pub fn stream(id: u64, start: u64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x0e];
    frame.extend(varint(id));
    frame.extend(varint(start));
    frame.extend(varint(bytes.len() as u64));
    frame.extend(bytes);
    frame
}

/// A CRYPTO frame with bytes of the handshake from `start` on.
pub fn crypto(start: u64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x06];
    frame.extend(varint(start));
    frame.extend(varint(bytes.len() as u64));
    frame.extend(bytes);
    frame
}

/// Puts frames into payloads that fit a datagram.
pub fn payloads(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut payloads = vec![Vec::new()];
    for frame in frames {
        let last = payloads.last_mut().expect("there always is one");
        if last.len() + frame.len() > 1350 - 1 - 16 - 4 - TAG {
            payloads.push(frame);
        } else {
            last.extend(frame);
        }
    }
    payloads
}
