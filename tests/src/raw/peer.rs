//! The streams of a connection whose HTTP/3 is a test's own.

use std::collections::BTreeMap;

use super::wire;

/// What came on the streams of one connection, and how they were opened.
#[derive(Debug)]
pub struct Raw {
    /// What our control stream begins with, until it was sent.
    opening: Option<&'static [u8]>,
    received: BTreeMap<u64, Received>,
    /// Streams that were written to, with the code of the stop that came for them.
    stops: BTreeMap<u64, Option<u64>>,
}

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub fin: bool,
    /// The code of the reset that ended it.
    pub reset: Option<u64>,
}

impl Raw {
    /// The bytes that open the control stream, its type first. Without any there is
    /// no such stream.
    pub fn new(opening: &'static [u8]) -> Raw {
        Raw {
            opening: Some(opening).filter(|bytes| !bytes.is_empty()),
            received: BTreeMap::new(),
            stops: BTreeMap::new(),
        }
    }

    /// A control stream as it should be: its type, and empty SETTINGS.
    pub const PLAIN: &'static [u8] = &[wire::uni::CONTROL as u8, wire::kind::SETTINGS as u8, 0];

    /// What came on `stream`.
    pub fn on(&self, stream: u64) -> Received {
        self.received.get(&stream).cloned().unwrap_or_default()
    }

    /// The code with which the other side wants no more of `stream`.
    pub fn stop(&self, stream: u64) -> Option<u64> {
        self.stops.get(&stream).copied().flatten()
    }

    /// Bytes were put on `stream`.
    pub(crate) fn wrote(&mut self, stream: u64) {
        self.stops.entry(stream).or_default();
    }

    /// Bidirectional streams on which something came, in order.
    pub fn requests(&self) -> Vec<u64> {
        let ids = self.received.keys().copied();
        ids.filter(|id| id & 2 == 0).collect()
    }

    /// Unidirectional streams on which something came, in order.
    pub fn others(&self) -> Vec<u64> {
        let ids = self.received.keys().copied();
        ids.filter(|id| id & 2 == 2).collect()
    }

    /// Opens what is to be opened, and reads what there is.
    pub(crate) fn work(&mut self, quic: &mut quiche::Connection) {
        if quic.is_established()
            && !quic.is_draining()
            && let Some(opening) = self.opening.take()
        {
            let stream = if quic.is_server() { 3 } else { 2 };
            let sent = quic.stream_send(stream, opening, false);
            assert_eq!(sent, Ok(opening.len()), "a control stream finds room");
        }
        // quiche resets what was stopped, and soon knows the stream no more.
        for (stream, stop) in &mut self.stops {
            if let Err(quiche::Error::StreamStopped(code)) = quic.stream_capacity(*stream) {
                *stop = Some(code);
            }
        }
        let mut buffer = [0; 4096];
        for stream in quic.readable() {
            let received = self.received.entry(stream).or_default();
            loop {
                match quic.stream_recv(stream, &mut buffer) {
                    Ok((len, fin)) => {
                        received.bytes.extend(&buffer[..len]);
                        received.fin |= fin;
                    }
                    Err(quiche::Error::StreamReset(code)) => received.reset = Some(code),
                    Err(_) => break,
                }
                if received.fin || received.reset.is_some() {
                    break;
                }
            }
        }
    }
}
