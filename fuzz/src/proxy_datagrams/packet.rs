//! 1-RTT packets whose frames somebody else chose.
//!
//! With quiche's `fuzzing` feature a packet is its header, its frames in clear,
//! and 16 bytes of anything (crypto/mod.rs of quiche).

/// Bytes after the frames.
const TAG: usize = 16;

/// Is this datagram a single packet with a short header?
pub(crate) fn is_short(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 == 0)
}

/// Lets `frames` ride at the end of a 1-RTT packet. Its sender knows nothing of
/// them, but its packet numbers stay right, so that both sides go on.
pub(crate) fn append(datagram: &mut Vec<u8>, frames: &[u8]) {
    let end = datagram.len().saturating_sub(TAG);
    datagram.splice(end..end, frames.iter().copied());
}

/// A 1-RTT packet of its own, for a sender that sends no more.
///
/// RFC 9000 section 17.3.1: 0x40 is the fixed bit, and the two lowest bits are
/// the packet number's length less one.
pub(crate) fn build(destination: &[u8], number: u32, frames: &[u8]) -> Vec<u8> {
    let number = number.to_be_bytes();
    [&[0x43], destination, &number, frames, &[0xaa; TAG]].concat()
}
