//! A word to a client that is not let in.
//!
//! RFC 9000 section 5.2.2: "If a server refuses to accept a new connection, it SHOULD
//! send an Initial packet containing a CONNECTION_CLOSE frame with error code
//! CONNECTION_REFUSED." Without it the client would go on asking, each time with a
//! kilobyte or two, until its own patience ends. It takes no connection to say so: the
//! keys of Initial packets come from the id that the client chose (RFC 9001 section 5.2).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// RFC 9001 section 5.2: the salt of QUIC version 1.
const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];

/// Bytes of the packet's number, and of what authenticates it.
const NUMBER: usize = 1;
const TAG: usize = 16;

/// The datagram that refuses the connection which begins with `header`, with a code below
/// 64: some 60 bytes, for the 1200 at least that asked. It asks for no acknowledgement, and so need not be
/// 1200 bytes itself (RFC 9000 section 14.1).
pub(super) fn close(header: &quiche::Header<'_>, code: u8) -> Option<Vec<u8>> {
    // Section 16: greater codes take more bytes.
    debug_assert!(code < 64);
    // Section 19.19: CONNECTION_CLOSE, because of no frame, and no phrase.
    let mut frame = [0x1c, code, 0x00, 0x00];
    let keys = Keys::of_server(&header.dcid)?;
    let mut packet = vec![0xc0];
    packet.extend(header.version.to_be_bytes());
    for id in [&header.scid, &header.dcid] {
        packet.push(u8::try_from(id.len()).ok()?);
        packet.extend_from_slice(id);
    }
    // No token, the length of what follows, and the packet's number: 0.
    packet.extend([0, (NUMBER + frame.len() + TAG) as u8, 0]);
    let begin = packet.len();
    let tag = keys.seal(&packet, &mut frame)?;
    packet.extend(frame);
    packet.extend(tag.as_ref());
    // RFC 9001 section 5.4.2: the sample is taken as if the number had four bytes.
    let sample = begin - NUMBER + 4;
    let mask = keys
        .header
        .new_mask(packet.get(sample..sample + 16)?)
        .ok()?;
    packet[0] ^= mask[0] & 0x0f;
    packet[begin - 1] ^= mask[1];
    Some(packet)
}

/// A server's keys for Initial packets.
struct Keys {
    packet: LessSafeKey,
    iv: [u8; 12],
    header: quic::HeaderProtectionKey,
}

impl Keys {
    fn of_server(dcid: &[u8]) -> Option<Self> {
        let initial = Salt::new(HKDF_SHA256, &SALT).extract(dcid);
        let secret = Prk::new_less_safe(HKDF_SHA256, &expand::<32>(&initial, b"server in")?);
        let key = UnboundKey::new(&AES_128_GCM, &expand::<16>(&secret, b"quic key")?).ok()?;
        let header = expand::<16>(&secret, b"quic hp")?;
        Some(Keys {
            packet: LessSafeKey::new(key),
            iv: expand(&secret, b"quic iv")?,
            header: quic::HeaderProtectionKey::new(&quic::AES_128, &header).ok()?,
        })
    }

    /// Packet number 0 leaves the IV as it is for a nonce. A key is used for one packet.
    fn seal(&self, header: &[u8], frame: &mut [u8]) -> Option<ring::aead::Tag> {
        let nonce = Nonce::assume_unique_for_key(self.iv);
        self.packet
            .seal_in_place_separate_tag(nonce, Aad::from(header), frame)
            .ok()
    }
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Prk, label: &[u8]) -> Option<[u8; N]> {
    let len = (N as u16).to_be_bytes();
    let label_len = [b"tls13 ".len() as u8 + label.len() as u8];
    let info = [&len, &label_len[..], b"tls13 ", label, &[0]];
    let mut out = [0; N];
    secret.expand(&info, Bytes(N)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    }

    /// RFC 9001 appendix A.1.
    #[test]
    fn keys_are_those_of_the_example_in_the_rfc() {
        let keys = Keys::of_server(&hex("8394c8f03e515708")).expect("they are made");
        assert_eq!(keys.iv.to_vec(), hex("0ac1493ca1905853b0bba03e"));
        // Appendix A.3 has the sample of the server's Initial, and its mask.
        let mask = keys
            .header
            .new_mask(&hex("2cd0991cd25b0aac406a5816b6394100"));
        assert_eq!(mask.expect("of a sample").to_vec(), hex("2ec0d8356a"));
    }

    #[test]
    fn a_client_of_quiche_takes_it_and_knows_why() {
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a configuration");
        config.set_application_protos(&[b"h3"]).expect("h3");
        let (here, there) = (
            "192.0.2.1:1".parse().expect("an address"),
            "192.0.2.2:2".parse().expect("an address"),
        );
        let scid = quiche::ConnectionId::from_ref(&[7; 16]);
        let mut client =
            quiche::connect(Some("localhost"), &scid, here, there, &mut config).expect("a client");
        let mut out = [0; 1350];
        let (len, _) = client.send(&mut out).expect("its first datagram");
        let header = quiche::Header::from_slice(&mut out[..len], 16).expect("an Initial");
        let mut refusal = close(&header, 0x2).expect("it is made");
        assert!(refusal.len() < 100, "{} bytes", refusal.len());
        let info = quiche::RecvInfo {
            from: there,
            to: here,
        };
        client.recv(&mut refusal, info).expect("it is sound");
        let error = client.peer_error().expect("it is told");
        assert_eq!((error.is_app, error.error_code), (false, 0x2));
    }
}
