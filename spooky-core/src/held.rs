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
    /// Bytes that are not read yet, and those before them that have not come. Of a
    /// backend's connection flow control takes care.
    unread: u64,
    most_unread: u64,
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

/// What quiche says of a connection.
pub(crate) trait Transport {
    /// Nothing is held of this stream, and nothing will be.
    fn is_over(&self, stream: u64) -> bool;
    fn is_established(&self) -> bool;
    fn is_server(&self) -> bool;
}

impl Transport for quiche::Connection {
    fn is_over(&self, stream: u64) -> bool {
        self.stream_finished(stream)
    }

    fn is_established(&self) -> bool {
        quiche::Connection::is_established(self)
    }

    fn is_server(&self) -> bool {
        quiche::Connection::is_server(self)
    }
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

impl Stream {
    fn unread(&self) -> u64 {
        self.end.saturating_sub(self.read)
    }
}

/// The rule that a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// Too much is held of its streams.
    Streams,
    /// Too many of its bytes lie unread.
    Unread,
    /// Too much is held of its handshake.
    Handshake,
    /// It says that it is held back on a stream on which it may not send at all.
    WrongStream,
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
            Breach::Unread => Fault::new(error::EXCESSIVE_LOAD, "too many bytes lie unread"),
            // RFC 9000 section 7.5, of a handshake: "If an endpoint does not expand its
            // buffer, it MUST close the connection with a CRYPTO_BUFFER_EXCEEDED error
            // code."
            Breach::Handshake => {
                let text = "handshake frames cost too much to keep";
                Fault::new(CRYPTO_BUFFER_EXCEEDED, text)
            }
            // Section 19.13: "An endpoint that receives a STREAM_DATA_BLOCKED frame for a
            // send-only stream MUST terminate the connection with error
            // STREAM_STATE_ERROR."
            Breach::WrongStream => {
                let text = "STREAM_DATA_BLOCKED on a stream of our own";
                Fault::new(STREAM_STATE_ERROR, text)
            }
            // Section 17.2: "An endpoint MUST treat receipt of a packet that has a
            // non-zero value for these bits after removing both packet and header
            // protection as a connection error of type PROTOCOL_VIOLATION."
            Breach::ReservedBits => Fault::new(PROTOCOL_VIOLATION, "reserved bits are set"),
        }
    }

    /// The code is one of HTTP/3, and not of QUIC.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Breach::Streams | Breach::Unread)
    }
}

impl Held {
    pub(crate) fn new() -> Self {
        Held {
            streams: FxHashMap::default(),
            excess: 0,
            unread: 0,
            most_unread: u64::MAX,
            crypto: 0,
            packets: 0,
            aside: 0,
            put_aside: 0,
            crowd: limits::EMPTY_TABLE,
        }
    }

    /// So many bytes may lie unread, whatever flow control says.
    pub(crate) fn bound_unread(&mut self, bytes: u64) {
        self.most_unread = bytes;
    }

    /// quiche took `datagram`, and has taken so many packets by now.
    pub(crate) fn receive(
        &mut self,
        quic: &impl Transport,
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
        // Section 2.1: unidirectional streams, and who opened them.
        let (own, mut wrong) = (if quic.is_server() { 3 } else { 2 }, false);
        for packet in all().take(taken) {
            packet.frames(|frame| match frame {
                Frame::Stream { stream, start, len } => self.stream(quic, stream, start, len),
                Frame::Crypto { len } => self.crypto += limits::FRAME_COST + len,
                // quiche drops what it has, and what may still come.
                Frame::Reset { stream } => self.forget(stream),
                Frame::Blocked { stream } => wrong |= stream & 3 == own,
            });
        }
        if wrong {
            return Err(Breach::WrongStream);
        }
        self.check(quic)
    }

    fn check(&mut self, quic: &impl Transport) -> Result<(), Breach> {
        if self.crypto > limits::HELD_HANDSHAKE {
            return Err(Breach::Handshake);
        }
        if self.verdict().is_err() {
            // Rarely, and then it mostly is the last time.
            self.sweep(quic);
        }
        self.verdict()
    }

    fn verdict(&self) -> Result<(), Breach> {
        if self.excess + self.aside > limits::HELD_EXCESS {
            return Err(Breach::Streams);
        }
        if self.unread > self.most_unread {
            return Err(Breach::Unread);
        }
        Ok(())
    }

    /// Nothing of the datagram was taken yet. Of early data that overtook the handshake
    /// quiche keeps up to ten packets, to look at them later by itself: the worst is
    /// assumed of those.
    fn put_aside(&mut self, quic: &impl Transport, datagram: &[u8]) -> Result<(), Breach> {
        let early = datagram.first().is_some_and(|first| first >> 4 == 0b1101);
        if !early || quic.is_established() || self.put_aside == PUT_ASIDE {
            return Ok(());
        }
        self.put_aside += 1;
        self.aside += datagram.len() as u64 / LEAST_FRAME * limits::FRAME_COST;
        self.check(quic)
    }

    fn stream(&mut self, quic: &impl Transport, id: u64, start: u64, len: u64) {
        let stream = match self.streams.get_mut(&id) {
            Some(stream) => stream,
            // What comes again after its stream is over leaves nothing.
            None if quic.is_over(id) => return,
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
        self.unread -= stream.unread();
        stream.end = stream.end.max(end);
        self.unread += stream.unread();
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
        self.unread -= stream.unread();
        stream.read += bytes as u64;
        self.unread += stream.unread();
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
    pub(crate) fn stop(&mut self, quic: &impl Transport, id: u64) {
        self.forget(id);
        if !quic.is_over(id) {
            self.make_room(quic);
            self.streams.entry(id).or_default().stopped = true;
        }
    }

    /// quiche holds nothing of the stream.
    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(stream) = self.streams.remove(&id) {
            self.excess -= stream.old + stream.young;
            self.unread -= stream.unread();
        }
    }

    fn make_room(&mut self, quic: &impl Transport) {
        if self.streams.len() >= self.crowd {
            self.sweep(quic);
            self.crowd = limits::EMPTY_TABLE.max(2 * self.streams.len());
        }
    }

    /// Looks for streams that ended without a word to us.
    fn sweep(&mut self, quic: &impl Transport) {
        let (excess, unread) = (&mut self.excess, &mut self.unread);
        self.streams.retain(|&id, stream| {
            let over = quic.is_over(id);
            if over {
                *excess -= stream.old + stream.young;
                *unread -= stream.unread();
            }
            !over
        });
    }
}

/// RFC 9000 section 20.1.
const STREAM_STATE_ERROR: u64 = 0x05;
const PROTOCOL_VIOLATION: u64 = 0x0a;
const CRYPTO_BUFFER_EXCEEDED: u64 = 0x0d;

/// quiche's MAX_UNDECRYPTABLE_PACKETS.
const PUT_ASIDE: u32 = 10;

/// A STREAM frame that is held has a type, an id, an offset or a length, and a byte.
const LEAST_FRAME: u64 = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::h3::varint;
    use crate::listener::CID_LEN;

    /// A connection with these streams over.
    #[derive(Default)]
    struct Fake {
        over: BTreeSet<u64>,
        early: bool,
    }

    impl Transport for Fake {
        fn is_over(&self, stream: u64) -> bool {
            self.over.contains(&stream)
        }

        fn is_established(&self) -> bool {
            !self.early
        }

        fn is_server(&self) -> bool {
            true
        }
    }

    /// An account, and how many packets it has seen.
    struct Account(Held, usize, Fake);

    impl Account {
        fn new() -> Self {
            Account(Held::new(), 0, Fake::default())
        }

        fn frame(&mut self, stream: u64, start: u64, len: usize) -> Result<(), Breach> {
            let mut bytes = vec![0x43];
            bytes.extend([5; CID_LEN]);
            bytes.extend([0; 4]);
            bytes.push(0x0c);
            varint::put(&mut bytes, stream);
            varint::put(&mut bytes, start);
            bytes.resize(bytes.len() + len + 16, 7);
            self.1 += 1;
            self.0.receive(&self.2, &bytes, self.1)
        }
    }

    #[test]
    fn large_frames_cost_nothing_and_small_ones_until_they_are_read() {
        let mut account = Account::new();
        account.frame(0, 0, 1000).unwrap();
        assert_eq!(account.0.excess, 0);
        account.frame(0, 1000, 1).unwrap();
        assert_eq!(account.0.excess, limits::FRAME_COST);
        account.frame(0, 500, 100).unwrap();
        assert_eq!(account.0.excess, 2 * limits::FRAME_COST + 100, "none new");
        account.0.read(0, 1001, false);
        assert_eq!(account.0.excess, 0);
        account.frame(0, 0, 1000).unwrap();
        assert_eq!(account.0.excess, 0, "it was read before");
    }

    #[test]
    fn who_is_read_a_little_late_is_never_beyond_the_bound() {
        let mut account = Account::new();
        for at in 0..200_000 {
            account.frame(0, at, 1).unwrap();
            account.0.read(0, usize::from(at >= 1000), false);
            assert!(account.0.excess <= 2001 * limits::FRAME_COST, "{at}");
        }
    }

    #[test]
    fn what_lies_unread_has_a_bound_where_one_is_given() {
        let mut account = Account::new();
        account.0.bound_unread(1 << 20);
        account.frame(0, (1 << 19) - 1, 1).unwrap();
        account.frame(4, (1 << 19) - 1, 1).unwrap();
        account.frame(4, 7, 100).unwrap();
        assert_eq!(account.frame(8, 0, 1), Err(Breach::Unread));
        for end in [Held::forget, |held: &mut Held, id| held.read(id, 1, false)] {
            end(&mut account.0, 8);
            account.frame(4, 20, 1).unwrap();
        }
        account.0.stop(&account.2, 0);
        account.frame(0, 1 << 19, 1000).unwrap();
        account.frame(8, 1 << 18, 1).unwrap();
    }

    #[test]
    fn streams_that_are_over_leave_nothing() {
        let mut account = Account::new();
        for id in 0..10_000 {
            account.frame(4 * id, 5, 1).unwrap();
            // What came again, later, and what we want no more of.
            account.2.over.insert(4 * id);
            account.0.forget(4 * id);
            account.frame(4 * id, 5, 1).unwrap();
            assert_eq!((account.0.excess, account.0.streams.len()), (0, 0));
        }
        for id in 10_000..20_000 {
            account.frame(4 * id, 5, 1).unwrap();
            if id % 2 == 0 {
                account.0.stop(&account.2, 4 * id);
            }
            account.2.over.insert(4 * id);
            assert!(account.0.streams.len() <= limits::EMPTY_TABLE);
        }
        account.0.sweep(&account.2);
        assert_eq!((account.0.excess, account.0.unread), (0, 0));
    }

    #[test]
    fn early_data_that_waits_is_reckoned_with() {
        let mut account = Account::new();
        account.2.early = true;
        let mut early = vec![0xd0; 60_000];
        let told = |account: &mut Account, early: &[u8]| account.0.receive(&account.2, early, 0);
        assert_eq!(told(&mut account, &early), Ok(()));
        let verdicts: Vec<_> = (0..9).map(|_| told(&mut account, &early)).collect();
        assert_eq!(verdicts.last(), Some(&Err(Breach::Streams)));
        early.truncate(1350);
        let mut account = Account::new();
        account.2.early = true;
        for _ in 0..100_000 {
            assert_eq!(told(&mut account, &early), Ok(()), "ten are kept, not more");
        }
    }
}
