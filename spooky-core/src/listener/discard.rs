//! Datagrams that version 1 of QUIC says are to be discarded, and that quiche takes.

use crate::h3::varint;

/// RFC 9000 section 15.
const VERSION_1: [u8; 4] = [0, 0, 0, 1];

/// Whether a datagram has to be discarded for what stands in the clear at its front.
/// `from_client`: it came to our listener.
pub(crate) fn must_be_discarded(data: &[u8], from_client: bool) -> bool {
    let Some(&first) = data.first() else {
        return true;
    };
    let is_long = first & 0x80 != 0;
    if is_long && data.get(1..5) != Some(&VERSION_1) {
        return false;
    }
    // Sections 17.2 and 17.3.1, of the bit 0x40: "Packets containing a zero value for this
    // bit are not valid packets in this version and MUST be discarded."
    if first & 0x40 == 0 {
        return true;
    }
    if !is_long || first & 0x30 != 0 {
        return false;
    }
    if from_client {
        // Section 14.1: "A server MUST discard an Initial packet that is carried in a UDP
        // datagram with a payload that is smaller than the smallest allowed maximum
        // datagram size of 1200 bytes." Also of a connection that it already has.
        return data.len() < quiche::MIN_CLIENT_INITIAL_LEN;
    }
    // Section 17.2.2: "Initial packets sent by the server MUST set the Token Length field
    // to 0; clients that receive an Initial packet with a non-zero Token Length field MUST
    // either discard the packet or generate a connection error".
    initial_token(data).is_none_or(|len| len != 0)
}

/// The length of an Initial packet's token.
fn initial_token(data: &[u8]) -> Option<u64> {
    let mut rest = data.get(5..)?;
    for _ in 0..2 {
        let (&len, ids) = rest.split_first()?;
        rest = ids.get(usize::from(len)..)?;
    }
    Some(varint::split(rest)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_without_the_fixed_bit_are_none_of_version_1() {
        for (first, discarded) in [(0x40, false), (0x00, true), (0x80, true), (0xe0, false)] {
            assert_eq!(must_be_discarded(&initial(first, &[0]), true), discarded);
            assert_eq!(must_be_discarded(&initial(first, &[0]), false), discarded);
        }
        let mut other = initial(0x80, &[0]);
        for version in [[0; 4], [0x1a; 4]] {
            other[1..5].copy_from_slice(&version);
            assert!(!must_be_discarded(&other, true), "not ours to judge");
        }
        assert!(must_be_discarded(&[], true));
    }

    #[test]
    fn initial_packets_of_clients_fill_their_datagram() {
        let whole = initial(0xc0, &[2, 7, 7]);
        assert!(!must_be_discarded(&whole, true));
        assert!(must_be_discarded(&whole[..1199], true));
        // Of Handshake packets nothing like that is asked.
        assert!(!must_be_discarded(&initial(0xe0, &[])[..100], true));
    }

    #[test]
    fn initial_packets_of_servers_have_no_token() {
        assert!(!must_be_discarded(&initial(0xc0, &[0])[..100], false));
        assert!(must_be_discarded(&initial(0xc0, &[2, 7, 7]), false));
        assert!(must_be_discarded(&initial(0xc0, &[0])[..14], false), "cut");
    }

    fn initial(first: u8, token: &[u8]) -> Vec<u8> {
        let ids = [&[8][..], &[3; 8], &[0]].concat();
        let mut data = [&[first][..], &VERSION_1, &ids, token].concat();
        data.resize(1200, 5);
        data
    }
}
