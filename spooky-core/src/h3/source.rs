//! The bytes of a stream, wherever they come from.

use super::UNTOLD;
use crate::held::Held;

/// Where the bytes of a stream come from.
pub(crate) trait Source {
    /// Reads bytes: how many, and whether those were the last.
    fn read(&mut self, buf: &mut [u8]) -> Result<(usize, bool), Reset>;
    /// Reads so many at most, and throws them away.
    fn skip(&mut self, most: usize) -> Result<(usize, bool), Reset>;
    /// There is something to read now: bytes, an end or a reset. Of who has not met the
    /// end yet.
    fn has_more(&self) -> bool;
}

/// The peer reset the stream, with its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reset(pub(crate) u64);

/// quiche's end of a stream.
pub(crate) struct OnStream<'a> {
    pub(crate) quic: &'a mut quiche::Connection,
    pub(crate) stream: u64,
    /// Is told what was read.
    pub(crate) held: &'a mut Held,
}

impl OnStream<'_> {
    /// quiche has no bytes where we have not seen an end yet. If it says that the stream
    /// is over all the same, a reset came after the end, and took away what was unread.
    fn read(&mut self, result: quiche::Result<(usize, bool)>) -> Result<(usize, bool), Reset> {
        match result {
            Ok((len, fin)) => {
                self.held.read(self.stream, len, fin);
                Ok((len, fin))
            }
            Err(quiche::Error::StreamReset(code)) => Err(Reset(code)),
            Err(quiche::Error::Done) if !self.quic.stream_finished(self.stream) => Ok((0, false)),
            Err(_) => Err(Reset(UNTOLD)),
        }
    }
}

impl Source for OnStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<(usize, bool), Reset> {
        let result = self.quic.stream_recv(self.stream, buf);
        OnStream::read(self, result)
    }

    fn skip(&mut self, most: usize) -> Result<(usize, bool), Reset> {
        let result = self.quic.stream_discard(self.stream, most);
        OnStream::read(self, result)
    }

    fn has_more(&self) -> bool {
        // Over without having been read to its end: a reset took away what there was.
        self.quic.stream_readable(self.stream) || self.quic.stream_finished(self.stream)
    }
}

/// Bytes as a test gives them.
#[cfg(any(test, feature = "fuzzing"))]
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: std::collections::VecDeque<u8>,
    ended: bool,
    reset: Option<u64>,
}

#[cfg(any(test, feature = "fuzzing"))]
impl Lines {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Lines {
            bytes: bytes.iter().copied().collect(),
            ended: false,
            reset: None,
        }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Nothing follows.
    pub(crate) fn ends(&mut self) {
        self.ended = true;
    }

    /// As in quiche, a reset takes away what was not read.
    #[cfg(test)]
    pub(crate) fn resets(&mut self, code: u64) {
        self.bytes.clear();
        self.reset = Some(code);
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Source for Lines {
    fn read(&mut self, buf: &mut [u8]) -> Result<(usize, bool), Reset> {
        if let Some(code) = self.reset {
            return Err(Reset(code));
        }
        let read = buf.len().min(self.bytes.len());
        for (place, byte) in buf.iter_mut().zip(self.bytes.drain(..read)) {
            *place = byte;
        }
        Ok((read, self.ended && self.bytes.is_empty()))
    }

    fn skip(&mut self, most: usize) -> Result<(usize, bool), Reset> {
        if let Some(code) = self.reset {
            return Err(Reset(code));
        }
        let read = most.min(self.bytes.len());
        self.bytes.drain(..read);
        Ok((read, self.ended && self.bytes.is_empty()))
    }

    fn has_more(&self) -> bool {
        self.ended || self.reset.is_some() || !self.bytes.is_empty()
    }
}
