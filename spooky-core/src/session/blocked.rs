//! Heads that found no room: whether another try may help, or none ever will.

use super::Session;
use crate::h3;
use crate::heads;
use crate::io::Handle;

impl Session {
    /// Notes that the head of `id` found too little room on `stream`.
    pub(crate) fn note_blocked(&mut self, id: Handle, stream: u64) {
        let room = self.capacity(stream).ok();
        self.heads.note_blocked(id, room);
    }

    /// The same where the head opens its stream.
    pub(crate) fn note_blocked_request(&mut self, id: Handle) {
        self.note_blocked(id, self.next_request());
    }

    /// The head of `id` found too little room on `stream`, and there is no more
    /// now, but there may be.
    ///
    /// Trying in vain is not free: where the peer's flow control is what lacks,
    /// quiche says DATA_BLOCKED each time, and the acknowledgement of that would
    /// lead to the next try, for as long as the peer grants nothing.
    pub(crate) fn is_still_blocked(&mut self, id: Handle, stream: u64) -> bool {
        let Some(before) = self.heads.blocked(id) else {
            return false;
        };
        self.capacity(stream).is_ok_and(|room| room <= before) && !self.is_response_hopeless(stream)
    }

    /// The same where the head opens its stream.
    pub(crate) fn is_request_still_blocked(&mut self, id: Handle) -> bool {
        self.is_still_blocked(id, self.next_request())
    }

    /// After a request's head was refused for want of room: true if no
    /// acknowledgement will ever make more.
    pub(crate) fn is_request_hopeless(&mut self) -> bool {
        let limit = self
            .quic
            .peer_transport_params()
            .map(|p| p.initial_max_stream_data_bidi_remote);
        let stream = self.next_request();
        heads::is_hopeless(&mut self.quic, stream, limit)
    }

    /// The same for a response's head on `stream`.
    pub(crate) fn is_response_hopeless(&mut self, stream: u64) -> bool {
        let limit = self
            .quic
            .peer_transport_params()
            .map(|p| p.initial_max_stream_data_bidi_local);
        heads::is_hopeless(&mut self.quic, stream, limit)
    }

    fn next_request(&self) -> u64 {
        self.h3.as_ref().map_or(0, h3::Connection::next_request)
    }
}
