//! Receiving many datagrams with one system call.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::RecvMeta;

use crate::Socket;
use crate::socket::canonical;

/// Messages taken with one system call. Each may be a whole GRO batch.
const MESSAGES: usize = 8;
/// Room of one message: more than any UDP payload, so nothing is ever cut off.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Buffers for one receive, used again and again by all sockets of a worker.
pub struct Batch {
    bytes: Vec<u8>,
    meta: [RecvMeta; MESSAGES],
    filled: usize,
    local: SocketAddr,
}

/// One message of a [`Batch`]: datagrams of equal size from one peer.
#[derive(Debug)]
pub struct Received<'a> {
    /// Who sent it, canonical.
    pub from: SocketAddr,
    /// The local address it was sent to, with the bound port, canonical.
    pub to: SocketAddr,
    /// Bytes a datagram; the last may be shorter. At least 1.
    pub stride: usize,
    /// The bytes, at least 1.
    pub data: &'a mut [u8],
}

impl Batch {
    /// Empty buffers, half a MiB of them.
    pub fn new() -> Self {
        Batch {
            bytes: vec![0; MESSAGES * MESSAGE_BYTES],
            meta: [RecvMeta::default(); MESSAGES],
            filled: 0,
            local: SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    /// Takes what `socket` holds, as much as fits, without waiting.
    ///
    /// True if the batch is full, so that there may be more; false if the socket
    /// was empty afterwards. An empty socket is [`io::ErrorKind::WouldBlock`];
    /// other errors are mostly late news of datagrams sent before
    /// ([`Socket::unreachable`] tells), and the next call may succeed.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<bool> {
        self.filled = 0;
        self.local = socket.local_addr();
        let mut chunks = self.bytes.chunks_exact_mut(MESSAGE_BYTES);
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.filled = socket.receive(&mut slices, &mut self.meta)?;
        Ok(self.filled == MESSAGES)
    }

    /// The messages of the last [`Batch::receive`], without the empty ones.
    pub fn messages(&mut self) -> impl Iterator<Item = Received<'_>> {
        let local = self.local;
        let meta = &self.meta[..self.filled];
        let used = meta.iter().zip(self.bytes.chunks_exact_mut(MESSAGE_BYTES));
        used.filter(|(meta, _)| meta.len > 0)
            .map(move |(meta, bytes)| Received {
                from: canonical(meta.addr),
                to: match meta.dst_ip {
                    Some(ip) => SocketAddr::new(ip.to_canonical(), local.port()),
                    None => local,
                },
                stride: meta.stride.max(1),
                data: &mut bytes[..meta.len],
            })
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
