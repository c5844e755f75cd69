//! When to send, if there may be nothing but an acknowledgement to say.
//!
//! quiche acknowledges with whatever it sends next, and has no timer of its own
//! for it. Sending after every datagram would make one of two datagrams, and one
//! of two system calls, a bare acknowledgement: a request is acknowledged, and a
//! moment later answered. So a connection to which nothing was written waits a
//! little for something that the acknowledgement can travel with.
//!
//! What it costs: the peer learns up to [`limits::ACK_HOLD`] later that its
//! datagram arrived, which is within the 25 ms that we announce as
//! max_ack_delay, and which QUIC takes out of its round-trip estimates (RFC 9000
//! section 13.2.5). It never holds back anything else: not during a handshake,
//! not while a body moves, and not around a loss, where acknowledgements set off
//! retransmissions.

use std::time::{Duration, Instant};

use crate::limits;

/// What happened on a connection since it last sent.
#[derive(Debug)]
pub(crate) struct Acks {
    /// Something was written, reset or closed.
    dirty: bool,
    datagrams: u32,
    /// Body bytes read: the peer may need new flow control credit.
    read: usize,
    until: Option<Instant>,
    lost: usize,
    lossy_until: Option<Instant>,
}

impl Acks {
    pub(crate) fn new() -> Self {
        Acks {
            dirty: true,
            datagrams: 0,
            read: 0,
            until: None,
            lost: 0,
            lossy_until: None,
        }
    }

    pub(crate) fn received(&mut self) {
        self.datagrams += 1;
    }

    /// There is more to say than an acknowledgement.
    pub(crate) fn wrote(&mut self) {
        self.dirty = true;
    }

    pub(crate) fn read(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// All was sent.
    pub(crate) fn flushed(&mut self) {
        self.dirty = false;
        self.datagrams = 0;
        self.read = 0;
        self.until = None;
    }

    /// `None` to send now, or until when it can wait. `lost` is quiche's count of
    /// packets lost so far.
    pub(crate) fn hold(&mut self, lost: usize, now: Instant) -> Option<Instant> {
        if std::mem::replace(&mut self.lost, lost) != lost {
            self.lossy_until = Some(now + LOSSY);
        }
        let lossy = self.lossy_until.is_some_and(|until| now < until);
        let urgent = self.dirty
            || lossy
            || self.datagrams >= limits::ACK_DATAGRAMS
            || self.read >= limits::TURN_BYTES / 2
            || self.until.is_some_and(|until| until <= now);
        if urgent {
            return None;
        }
        Some(*self.until.get_or_insert(now + limits::ACK_HOLD))
    }
}

/// For so long after a loss nothing is held back: recovery runs on acknowledgements.
const LOSSY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_datagram_is_acknowledged_a_little_later() {
        let now = Instant::now();
        let mut acks = flushed();
        acks.received();
        assert_eq!(acks.hold(0, now), Some(now + limits::ACK_HOLD));
        let later = now + limits::ACK_HOLD / 2;
        assert_eq!(
            acks.hold(0, later),
            Some(now + limits::ACK_HOLD),
            "not put off again"
        );
        assert_eq!(acks.hold(0, now + limits::ACK_HOLD), None);
    }

    #[test]
    fn whatever_else_there_is_to_say_goes_out_at_once() {
        let now = Instant::now();
        let mut wrote = flushed();
        wrote.wrote();
        assert_eq!(wrote.hold(0, now), None);
        let mut read = flushed();
        read.read(limits::TURN_BYTES);
        assert_eq!(read.hold(0, now), None);
        let mut many = flushed();
        (0..limits::ACK_DATAGRAMS).for_each(|_| many.received());
        assert_eq!(many.hold(0, now), None);
        let mut lossy = flushed();
        assert_eq!(lossy.hold(1, now), None);
        lossy.flushed();
        assert_eq!(lossy.hold(1, now + LOSSY / 2), None);
        assert!(lossy.hold(1, now + LOSSY).is_some());
    }

    fn flushed() -> Acks {
        let mut acks = Acks::new();
        acks.flushed();
        acks
    }
}
