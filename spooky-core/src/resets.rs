//! Resets of streams, held back until what was written before them has left.
//!
//! quiche 0.30 drops what is unsent when a stream is reset, and then, if the stream
//! still had bytes to send, sends its end as well: an empty STREAM frame with FIN.
//! Where that overtakes the RESET_STREAM, or the datagram with the RESET_STREAM is
//! lost, a body that was cut looks whole to the peer. So a reset waits until nothing
//! is unsent, which is so when quiche stops sending although it has room. It does not
//! say why it stopped; it is asked for two PINGs, one after the other, and if both
//! leave there was room for bytes of a stream before.

use std::time::Instant;

use crate::limits;

/// Resets that wait, of one connection.
#[derive(Debug, Default)]
pub(crate) struct Resets {
    /// Streams and codes.
    due: Vec<(u64, u64)>,
    /// Until when they wait, at most.
    by: Option<Instant>,
    /// A PING was asked for and has not left yet.
    asked: bool,
    /// PINGs that left since there was last something to send.
    pings: u8,
}

/// What to do when quiche has nothing more to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing waits, or there is no room.
    Nothing,
    /// Ask for a PING, and send.
    Ping,
    /// Reset these streams with these codes.
    Tell(Vec<(u64, u64)>),
}

impl Resets {
    /// A stream is to be reset with a code.
    pub(crate) fn push(&mut self, stream: u64, code: u64) {
        self.due.push((stream, code));
    }

    /// A reset of `stream` waits.
    pub(crate) fn contains(&self, stream: u64) -> bool {
        self.due.iter().any(|&(due, _)| due == stream)
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// When [`Resets::next`] is to be asked, whatever happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.by
    }

    /// Something happened that may have given quiche more to send.
    pub(crate) fn room_is_unknown(&mut self) {
        self.asked = false;
        self.pings = 0;
    }

    /// Datagrams have left.
    pub(crate) fn sent(&mut self) {
        if std::mem::take(&mut self.asked) {
            self.pings += 1;
        }
    }

    /// quiche has nothing more to send. Without room the resets wait for a while and
    /// are told all the same: a stream that stays open is worth less than its end.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if self.is_empty() {
            return Next::Nothing;
        }
        let by = *self.by.get_or_insert(now + limits::RESET_BLOCKED);
        if self.pings >= 2 || now >= by {
            return Next::Tell(std::mem::take(self).due);
        }
        if std::mem::replace(&mut self.asked, true) {
            return Next::Nothing; // the PING found no room
        }
        Next::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_told_once_two_pings_have_left() {
        let (mut resets, now) = (Resets::default(), Instant::now());
        assert_eq!(resets.next(now), Next::Nothing);
        resets.push(4, 0x10c);
        for _ in 0..2 {
            assert_eq!(resets.next(now), Next::Ping);
            resets.sent();
        }
        assert_eq!(resets.next(now), Next::Tell(vec![(4, 0x10c)]));
        assert_eq!((resets.next(now), resets.deadline()), (Next::Nothing, None));
    }

    #[test]
    fn a_reset_waits_while_there_is_no_room_but_not_for_ever() {
        let (mut resets, now) = (Resets::default(), Instant::now());
        resets.push(4, 0x10c);
        assert_eq!(resets.next(now), Next::Ping);
        assert_eq!(resets.next(now), Next::Nothing, "the PING did not leave");
        let by = resets.deadline().expect("it does not wait for ever");
        assert_eq!(by, now + limits::RESET_BLOCKED);
        assert_eq!(resets.next(by), Next::Tell(vec![(4, 0x10c)]));
    }

    #[test]
    fn what_happens_between_the_pings_makes_them_void() {
        let (mut resets, now) = (Resets::default(), Instant::now());
        resets.push(4, 0x10c);
        assert_eq!(resets.next(now), Next::Ping);
        resets.sent();
        resets.room_is_unknown();
        for _ in 0..2 {
            assert_eq!(resets.next(now), Next::Ping);
            resets.sent();
        }
        assert!(matches!(resets.next(now), Next::Tell(_)));
    }
}
