//! Streams that are ended before their time, and forgotten when quiche is done with them.

use std::time::Instant;

use super::Session;
use crate::h3;
use crate::resets::Next;

/// Streams we are done with, until quiche is, and whether the peer has to end its half of
/// them yet.
///
/// quiche 0.30 notices that a stream is over when it is read, or when something that
/// was sent on it is acknowledged. One that we ended, whose last acknowledgement came
/// before the peer heeded our STOP_SENDING, it would keep for ever, and the peer's
/// credit with it. So the end is said again when the peer's has come: the
/// acknowledgement of that leads quiche there. (Not behind a reset, which it could
/// overtake.)
#[derive(Debug, Default)]
pub(super) struct Buried(Vec<(u64, bool)>);

impl Buried {
    fn push(&mut self, stream: u64, ends_last: bool) {
        self.0.push((stream, ends_last));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets those that are closed by now. True if something was written.
    fn sweep(&mut self, quic: &mut quiche::Connection, h3: &mut h3::Connection) -> bool {
        let mut said = false;
        self.0.retain_mut(|(stream, ends_last)| {
            let stream = *stream;
            // Not `stream_closed`: that is true as soon as the last byte is
            // buffered, and a connection closed then would lose it. A stream
            // that quiche no longer has was acknowledged to its end. Asking also
            // collects a stream that the peer stopped, which nothing else would.
            let open =
                quic.stream_capacity(stream) != Err(quiche::Error::InvalidStreamState(stream));
            if !open {
                h3.forget(stream);
            } else if *ends_last && quic.stream_finished(stream) {
                *ends_last = false;
                said |= quic.stream_send(stream, b"", true).is_ok();
            }
            open
        });
        said
    }
}

impl Session {
    /// Ends both directions of `stream` with `code`, as far as they are open.
    pub(crate) fn abort(&mut self, stream: u64, code: u64) {
        self.reset(stream, code);
        self.stop(stream, code);
    }

    /// Ends our direction of `stream` with `code`, if it is open, as soon as all that
    /// was written before has left; see [`Resets`].
    pub(crate) fn reset(&mut self, stream: u64, code: u64) {
        self.wrote();
        self.resets_due.push(stream, code);
    }

    /// Everything that could be sent was sent: tells the resets that wait for that.
    /// True if there is something to send again.
    pub(crate) fn tell_resets(&mut self, now: Instant) -> bool {
        // Asked after every flush: what is nearly always so comes first.
        if self.resets_due.is_empty() || self.is_over() || self.paced.is_some() {
            return false;
        }
        match self.resets_due.next(now) {
            Next::Nothing => false,
            Next::Ping => self.quic.send_ack_eliciting().is_ok(),
            Next::Tell(resets) => {
                for (stream, code) in resets {
                    self.shutdown(stream, quiche::Shutdown::Write, code);
                }
                true
            }
        }
    }

    /// Asks the peer to send no more on `stream`, and drops what comes.
    pub(crate) fn stop(&mut self, stream: u64, code: u64) {
        if let Some(h3) = self.h3.as_mut() {
            h3.ignore(stream);
        }
        self.shutdown(stream, quiche::Shutdown::Read, code);
        self.held.stop(&*self.quic, stream);
    }

    /// Nothing is said about streams once the connection is over. Nor may quiche
    /// be asked: after a RESET_STREAM whose final size breaks flow control, its
    /// count of that stream's bytes is negative, and shutting it down subtracts.
    fn shutdown(&mut self, stream: u64, direction: quiche::Shutdown, code: u64) {
        if !self.is_over() {
            self.wrote();
            let _ = self.quic.stream_shutdown(stream, direction, code);
        }
    }

    /// We are done with `stream`; it is forgotten when quiche is, too.
    pub(crate) fn bury(&mut self, stream: u64) {
        self.exchanges.remove(&stream);
        if let Some(h3) = self.h3.as_mut() {
            h3.ignore(stream);
        }
        let ends_last = !self.quic.stream_finished(stream) && !self.resets_due.contains(stream);
        self.buried.push(stream, ends_last);
    }

    /// Forgets the buried streams that are closed by now.
    pub(crate) fn sweep(&mut self) {
        let Some(h3) = self.h3.as_mut() else { return };
        if self.buried.sweep(&mut self.quic, h3) {
            self.wrote();
        }
    }

    /// The peer stopped reading some stream since this was last asked.
    ///
    /// quiche marks a stopped stream writable only if it was not so before, so a
    /// stream that waits for its answer with room to spare would hide it.
    pub(crate) fn was_stopped(&mut self) -> bool {
        let stops = self.quic.stats().stopped_stream_count_remote;
        std::mem::replace(&mut self.peer_stops, stops) != stops
    }

    /// Streams that were reset from here, for whatever reason; see
    /// [`limits::RESETS_TOLD`].
    pub(crate) fn resets_told(&self) -> u64 {
        self.quic.stats().reset_stream_count_local
    }

    pub(super) fn note_resets(&mut self, resets: u64) {
        let more = std::mem::replace(&mut self.peer_resets, resets) != resets;
        if let Some(h3) = self.h3.as_mut().filter(|_| more) {
            h3.find_resets(&mut self.quic, &mut self.held);
        }
    }
}
