//! Moving a body: one turn of at most 16 KiB from one stream to another.
//!
//! Nothing is kept in between. A turn reads from the source only what the
//! destination takes at once, so what waits, waits in QUIC's windows, and a slow
//! reader holds the sender back through flow control.

use super::Flow;
use crate::limits;
use crate::session::{Session, StreamError};

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Bytes moved, and there may be more.
    Again,
    /// The source has nothing now; it must be polled for what follows.
    SourceDry,
    /// The destination has no room; it says when it has.
    Blocked,
    /// The end was passed on.
    Finished,
    /// The source's peer reset it.
    SourceReset(u64),
    /// The destination's peer wants no more.
    Stopped(u64),
    /// The body is longer or shorter than its content-length. The end was not
    /// passed on: what is malformed never ends clean.
    WrongLength,
    /// The body is longer than is allowed. What is beyond that was not passed on.
    TooLong,
    /// The destination is no more.
    Gone,
}

/// Moves up to `most` bytes, a turn's or what is left of it, of `flow` from `source`
/// to `destination`.
pub(crate) fn take_turn(
    flow: &mut Flow,
    most: usize,
    (source, source_stream): (&mut Session, u64),
    (destination, destination_stream): (&mut Session, u64),
    scratch: &mut [u8],
) -> Turn {
    if !flow.readable {
        return if flow.ended {
            finish(flow, destination, destination_stream)
        } else {
            Turn::SourceDry
        };
    }
    let room = match room(destination, destination_stream) {
        Ok(room) => room,
        Err(turn) => return turn,
    };
    // In front of the payload there is room for the front of its frame.
    let front = limits::DATA_OVERHEAD;
    let want = room.min(most).min(scratch.len() - front);
    let len = match source.receive_body(source_stream, &mut scratch[front..front + want]) {
        Ok(len) => len,
        Err(StreamError::Blocked) => {
            flow.readable = false;
            // An empty DATA frame may come with the end: "readable", and then
            // nothing to read.
            return if flow.ended {
                finish(flow, destination, destination_stream)
            } else {
                Turn::SourceDry
            };
        }
        Err(StreamError::Reset(code)) => return Turn::SourceReset(code),
        Err(
            StreamError::NoCredit
            | StreamError::Stopped(_)
            | StreamError::GoingAway
            | StreamError::TooLarge
            | StreamError::Gone,
        ) => {
            return Turn::SourceReset(0);
        }
    };
    flow.moved += len as u64;
    if len < want {
        flow.readable = false;
    }
    // All was read and the stream has ended: no trailers can follow, and the end
    // travels with the last bytes.
    if source.is_read(source_stream) {
        flow.readable = false;
        flow.ended = true;
    }
    let wrong = flow
        .expected
        .is_some_and(|e| flow.moved > e || (flow.ended && flow.moved < e));
    if wrong {
        return Turn::WrongLength;
    }
    if flow.most.is_some_and(|most| flow.moved > most) {
        return Turn::TooLong;
    }
    let fin = flow.ended && flow.trailers.is_none();
    match destination.send_body(destination_stream, &mut scratch[..front + len], fin) {
        Ok(()) => {}
        // `room` was measured just before, so it can't be too little.
        Err(
            StreamError::Blocked
            | StreamError::NoCredit
            | StreamError::GoingAway
            | StreamError::TooLarge
            | StreamError::Gone,
        ) => {
            return Turn::Gone;
        }
        Err(StreamError::Stopped(code) | StreamError::Reset(code)) => return Turn::Stopped(code),
    }
    if fin {
        flow.finished = true;
        return Turn::Finished;
    }
    if flow.readable || flow.ended {
        Turn::Again
    } else {
        Turn::SourceDry
    }
}

/// Body bytes the destination takes now. With none, it will tell when it does.
fn room(destination: &mut Session, stream: u64) -> Result<usize, Turn> {
    match destination.capacity(stream) {
        Ok(capacity) if capacity > limits::DATA_OVERHEAD => Ok(capacity - limits::DATA_OVERHEAD),
        Ok(_) | Err(StreamError::Blocked) => {
            destination.wait_writable(stream, limits::DATA_OVERHEAD + 1);
            Err(Turn::Blocked)
        }
        Err(StreamError::Stopped(code) | StreamError::Reset(code)) => Err(Turn::Stopped(code)),
        Err(
            StreamError::NoCredit
            | StreamError::GoingAway
            | StreamError::TooLarge
            | StreamError::Gone,
        ) => Err(Turn::Gone),
    }
}

/// Passes on the end of a source that has nothing left: trailers, or a bare end.
fn finish(flow: &mut Flow, destination: &mut Session, stream: u64) -> Turn {
    if flow.expected.is_some_and(|e| flow.moved != e) {
        return Turn::WrongLength;
    }
    let sent = match &flow.trailers {
        Some(trailers) => destination.send_trailers(stream, trailers),
        None => destination.send_end(stream),
    };
    match sent {
        Ok(()) => {
            flow.finished = true;
            Turn::Finished
        }
        // quiche has noted how much room it takes, and will say when it is there.
        Err(StreamError::Blocked) => Turn::Blocked,
        Err(StreamError::Stopped(code) | StreamError::Reset(code)) => Turn::Stopped(code),
        Err(
            StreamError::NoCredit
            | StreamError::GoingAway
            | StreamError::TooLarge
            | StreamError::Gone,
        ) => Turn::Gone,
    }
}
