//! What quiche keeps of a peer's frames until they are read.
//!
//! Flow control bounds the bytes that a peer may have unread, not what it costs to keep
//! them: quiche 0.30 makes an allocation and an entry of a table for every STREAM frame,
//! 158 bytes for a frame of one byte (measured), and keeps all of a frame of which one
//! byte is new. So what is kept beyond the bytes themselves has a bound of its own,
//! [`limits::HELD_EXCESS`], and who goes beyond it is sent away.
//!
//! It is an account, not a copy of quiche's tables, and errs on the safe side: bytes
//! that quiche held already are counted again, and what came while a stream was being
//! read is taken off in two portions, once all that came before it was read. Frames
//! that carry [`limits::FRAME_COST`] × 4 new bytes cost nothing here, so that
//! who sends in earnest never comes near the bound.

use rustc_hash::FxHashMap;

use crate::frames::{Frame, Packets};
use crate::h3::{Fault, error};
use crate::limits;

/// The account of one connection.
#[derive(Debug)]
pub(crate) struct Held {
    streams: FxHashMap<u64, Stream>,
    /// The sum over all streams.
    excess: u64,
    /// Of the handshake's bytes. They are never taken off: there are few.
    crypto: u64,
    /// quiche's count of packets that it took.
    packets: usize,
    /// Of packets that quiche put aside until it can read them, and how many.
    aside: u64,
    put_aside: u32,
    /// With so many streams, those that are over are looked for.
    crowd: usize,
}

/// What one stream holds beyond its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// The greatest offset that came.
    end: u64,
    /// What was read.
    read: u64,
    /// What came up to `border`.
    old: u64,
    border: u64,
    /// What came later.
    young: u64,
    /// It is not to be read any more: quiche keeps nothing of it.
    stopped: bool,
}

/// The rule that a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// Too much is held of its streams.
    Streams,
    /// Too much is held of its handshake.
    Handshake,
    /// A packet with reserved bits.
    ReservedBits,
}

impl Breach {
    /// With what code the connection is closed.
    pub(crate) fn fault(self) -> Fault {
        match self {
            // RFC 9114 section 10.5: "An endpoint MAY treat activity that is suspicious
            // as a connection error of type H3_EXCESSIVE_LOAD".
            Breach::Streams => {
                Fault::new(error::EXCESSIVE_LOAD, "frames cost too much to keep unread")
            }
            // RFC 9000 section 7.5: "If an endpoint's buffer is exceeded during the
            // handshake …, it MUST close the connection with a CRYPTO_BUFFER_EXCEEDED
            // error code."
            Breach::Handshake => {
                let text = "handshake frames cost too much to keep";
                Fault::new(CRYPTO_BUFFER_EXCEEDED, text)
            }
            // Section 17.2: "An endpoint MUST treat receipt of a packet that has a
            // non-zero value for these bits after removing both packet and header
            // protection as a connection error of type PROTOCOL_VIOLATION."
            Breach::ReservedBits => Fault::new(PROTOCOL_VIOLATION, "reserved bits are set"),
        }
    }

    /// The code is one of HTTP/3, and not of QUIC.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Breach::Streams)
    }
}

impl Held {
    pub(crate) fn new() -> Self {
        Held {
            streams: FxHashMap::default(),
            excess: 0,
            crypto: 0,
            packets: 0,
            aside: 0,
            put_aside: 0,
            crowd: limits::EMPTY_TABLE,
        }
    }

    /// quiche took `datagram`, and has taken so many packets by now.
    pub(crate) fn receive(
        &mut self,
        quic: &quiche::Connection,
        datagram: &[u8],
        packets: usize,
    ) -> Result<(), Breach> {
        let taken = packets - std::mem::replace(&mut self.packets, packets);
        if taken == 0 {
            return self.put_aside(quic, datagram);
        }
        // Where quiche left some of them out, it is not known which: of those nothing
        // is claimed.
        let all = || Packets::new(datagram);
        if all().take(taken + 1).count() == taken && !all().all(|p| p.has_clear_bits()) {
            return Err(Breach::ReservedBits);
        }
        for packet in all().take(taken) {
            packet.frames(|frame| match frame {
                Frame::Stream { stream, start, len } => self.stream(quic, stream, start, len),
                Frame::Crypto { len } => self.crypto += limits::FRAME_COST + len,
                // quiche drops what it has, and what may still come.
                Frame::Reset { stream } => self.forget(stream),
            });
        }
        self.check(quic)
    }

    fn check(&mut self, quic: &quiche::Connection) -> Result<(), Breach> {
        if self.crypto > limits::HELD_HANDSHAKE {
            return Err(Breach::Handshake);
        }
        if self.excess + self.aside > limits::HELD_EXCESS {
            // Rarely, and then it mostly is the last time.
            self.sweep(quic);
            if self.excess + self.aside > limits::HELD_EXCESS {
                return Err(Breach::Streams);
            }
        }
        Ok(())
    }

    /// Nothing of the datagram was taken yet. Of early data that overtook the handshake
    /// quiche keeps up to ten packets, to look at them later by itself: the worst is
    /// assumed of those.
    fn put_aside(&mut self, quic: &quiche::Connection, datagram: &[u8]) -> Result<(), Breach> {
        let early = datagram.first().is_some_and(|first| first >> 4 == 0b1101);
        if !early || quic.is_established() || self.put_aside == PUT_ASIDE {
            return Ok(());
        }
        self.put_aside += 1;
        self.aside += datagram.len() as u64 / LEAST_FRAME * limits::FRAME_COST;
        self.check(quic)
    }

    fn stream(&mut self, quic: &quiche::Connection, id: u64, start: u64, len: u64) {
        let stream = match self.streams.get_mut(&id) {
            Some(stream) => stream,
            // What comes again after its stream is over leaves nothing.
            None if quic.stream_finished(id) => return,
            None => {
                self.make_room(quic);
                self.streams.entry(id).or_default()
            }
        };
        let end = start + len;
        if stream.stopped || len == 0 || end <= stream.read {
            return;
        }
        let new = end.saturating_sub(start.max(stream.end));
        stream.end = stream.end.max(end);
        let cost = limits::FRAME_COST.saturating_sub(new / 4) + (len - new);
        stream.young += cost;
        self.excess += cost;
    }

    /// So many bytes of a stream were read, or dropped unread; with `fin` they were the
    /// last.
    pub(crate) fn read(&mut self, id: u64, bytes: usize, fin: bool) {
        if fin {
            self.forget(id);
            return;
        }
        let stream = self.streams.entry(id).or_default();
        stream.read += bytes as u64;
        if stream.read >= stream.end {
            self.excess -= stream.old + stream.young;
            (stream.old, stream.young) = (0, 0);
        } else if stream.read >= stream.border {
            self.excess -= stream.old;
            (stream.old, stream.young) = (stream.young, 0);
            stream.border = stream.end;
        }
    }

    /// We want no more of a stream: quiche drops what it has and what comes.
    pub(crate) fn stop(&mut self, quic: &quiche::Connection, id: u64) {
        self.forget(id);
        if !quic.stream_finished(id) {
            self.make_room(quic);
            self.streams.entry(id).or_default().stopped = true;
        }
    }

    /// quiche holds nothing of the stream.
    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(stream) = self.streams.remove(&id) {
            self.excess -= stream.old + stream.young;
        }
    }

    fn make_room(&mut self, quic: &quiche::Connection) {
        if self.streams.len() >= self.crowd {
            self.sweep(quic);
            self.crowd = limits::EMPTY_TABLE.max(2 * self.streams.len());
        }
    }

    /// Looks for streams that ended without a word to us.
    fn sweep(&mut self, quic: &quiche::Connection) {
        let excess = &mut self.excess;
        self.streams.retain(|&id, stream| {
            let over = quic.stream_finished(id);
            if over {
                *excess -= stream.old + stream.young;
            }
            !over
        });
    }
}

/// RFC 9000 section 20.1.
const PROTOCOL_VIOLATION: u64 = 0x0a;
const CRYPTO_BUFFER_EXCEEDED: u64 = 0x0d;

/// quiche's MAX_UNDECRYPTABLE_PACKETS.
const PUT_ASIDE: u32 = 10;

/// A STREAM frame that is held has a type, an id, an offset or a length, and a byte.
const LEAST_FRAME: u64 = 4;
