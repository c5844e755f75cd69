//! Heads that wait for room in a connection.
//!
//! A head goes out whole or never, and bodies would eat every bit of window as it
//! opens. So while a head waits here, no body is written.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use crate::io::Handle;

/// Exchanges whose head waits for room, in order.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    line: VecDeque<Handle>,
    /// Whose head was tried last and did not fit, and the room there was.
    blocked: Option<(Handle, usize)>,
}

impl Heads {
    /// The head of `id` was tried and did not fit in so much room, if that is known.
    pub(crate) fn note_blocked(&mut self, id: Handle, room: Option<usize>) {
        self.blocked = room.map(|room| (id, room));
    }

    /// The room in which the head of `id` did not fit, if it was the last that was tried.
    pub(crate) fn blocked(&self, id: Handle) -> Option<usize> {
        self.blocked
            .filter(|(waits, _)| *waits == id)
            .map(|(_, room)| room)
    }

    /// Another head takes the place of one that waits: it may fit.
    pub(crate) fn forget_blocked(&mut self) {
        self.blocked = None;
    }
}

impl Deref for Heads {
    type Target = VecDeque<Handle>;

    fn deref(&self) -> &VecDeque<Handle> {
        &self.line
    }
}

impl DerefMut for Heads {
    fn deref_mut(&mut self) -> &mut VecDeque<Handle> {
        &mut self.line
    }
}

/// No acknowledgement will ever make more room on `stream`, whose peer grants it
/// `stream_window` at first.
///
/// quiche offers the congestion window less what is in flight, or what is left
/// of the stream's window if that is less. When the offer is either window
/// whole and was still too small, waiting does not help: nothing is in flight,
/// or the peer has nothing to read that would make it grant more. And waiting
/// would hold up everybody else on the connection.
pub(crate) fn is_hopeless(
    quic: &mut quiche::Connection,
    stream: u64,
    stream_window: Option<u64>,
) -> bool {
    let Ok(offer) = quic.stream_capacity(stream) else {
        return false;
    };
    // A window of 0 is a peer that grants credit stream by stream.
    let whole_stream = stream_window.is_some_and(|window| window > 0 && offer as u64 >= window);
    let congestion = quic.path_stats().find(|p| p.active).map(|p| p.cwnd);
    whole_stream || congestion.is_some_and(|window| offer >= window)
}
