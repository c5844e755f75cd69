//! A server's Initial packet that carries CONNECTION_CLOSE, written without a connection.
//!
//! quiche would need a connection for it, and TLS's part of a handshake, which is what
//! whoever is refused should not cost.

use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// RFC 9001 section 5.2, for version 1.
const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
/// The AEAD's tag.
const TAG: usize = 16;
/// CONNECTION_CLOSE of the transport (RFC 9000 section 19.19): type, code, the type of the
/// frame at fault (none), the length of the reason (none).
const FRAME: usize = 4;

/// A CONNECTION_CLOSE with `code` to the client whose first datagram came from `scid` to
/// `dcid`.
pub(super) fn close(scid: &[u8], dcid: &[u8], code: u8) -> Option<Vec<u8>> {
    let (scid_len, dcid_len) = (
        u8::try_from(scid.len()).ok()?,
        u8::try_from(dcid.len()).ok()?,
    );
    // Codes from 64 on take two bytes (RFC 9000 section 16), and a server has no need.
    debug_assert!(code < 64);
    let keys = Keys::new(dcid);
    // RFC 9000 section 17.2.2: a long header of type Initial, packet number of one byte,
    // from the id that the client expects to hear from; no token; length; number 0.
    let mut packet = vec![0xc0, 0, 0, 0, 1, scid_len];
    packet.extend_from_slice(scid);
    packet.push(dcid_len);
    packet.extend_from_slice(dcid);
    packet.extend_from_slice(&[0, (1 + FRAME + TAG) as u8, 0]);
    let header = packet.len();
    packet.extend_from_slice(&[0x1c, code, 0, 0]);
    let (head, frame) = packet.split_at_mut(header);
    let tag = keys.seal(head, frame)?;
    packet.extend_from_slice(&tag);
    keys.protect(&mut packet, header - 1)?;
    Some(packet)
}

/// A server's Initial keys (RFC 9001 section 5.2).
struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl Keys {
    fn new(dcid: &[u8]) -> Self {
        let initial = Salt::new(HKDF_SHA256, &SALT).extract(dcid);
        let server: [u8; 32] = expand(&initial, b"tls13 server in");
        let server = Prk::new_less_safe(HKDF_SHA256, &server);
        Keys {
            key: expand(&server, b"tls13 quic key"),
            iv: expand(&server, b"tls13 quic iv"),
            header: expand(&server, b"tls13 quic hp"),
        }
    }

    /// Encrypts `payload` of packet number 0, whose nonce is the IV itself.
    fn seal(&self, header: &[u8], payload: &mut [u8]) -> Option<[u8; TAG]> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &self.key).ok()?);
        let nonce = Nonce::assume_unique_for_key(self.iv);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(header), payload)
            .ok()?;
        tag.as_ref().try_into().ok()
    }

    /// RFC 9001 section 5.4, for a long header and a packet number of one byte.
    fn protect(&self, packet: &mut [u8], number: usize) -> Option<()> {
        let key = HeaderProtectionKey::new(&AES_128, &self.header).ok()?;
        let sample = packet.get(number + 4..number + 4 + 16)?;
        let mask = key.new_mask(sample).ok()?;
        packet[0] ^= mask[0] & 0x0f;
        packet[number] ^= mask[1];
        Some(())
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Prk, label: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    let sizes = [0, N as u8, label.len() as u8];
    secret
        .expand(&[&sizes, label, &[0]], Bytes(N))
        .and_then(|okm| okm.fill(&mut key))
        .expect("the length is within HKDF's bound");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001 appendix A.1.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let keys = Keys::new(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&keys.key), "cf3a5331653c364c88f0f379b6067e37");
        assert_eq!(hex(&keys.iv), "0ac1493ca1905853b0bba03e");
        assert_eq!(hex(&keys.header), "c206b8d9b9f0f37644430b490eeaa314");
    }

    #[test]
    fn a_client_takes_it_for_its_servers_close() {
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a configuration");
        config.set_application_protos(&[b"h3"]).expect("a protocol");
        let scid = quiche::ConnectionId::from_ref(&[9; 16]);
        let mut client = quiche::connect(None, &scid, at(1), at(2), &mut config).expect("a client");
        let mut hello = [0; 1500];
        let (len, _) = client.send(&mut hello).expect("a ClientHello");
        let header = quiche::Header::from_slice(&mut hello[..len], 16).expect("a header");
        let mut close = close(&header.scid, &header.dcid, 0x0b).expect("it fits");
        let info = quiche::RecvInfo {
            from: at(2),
            to: at(1),
        };
        client.recv(&mut close, info).expect("it opens");
        let error = client.peer_error().expect("it was closed");
        assert_eq!((error.is_app, error.error_code), (false, 0x0b));
    }
}
