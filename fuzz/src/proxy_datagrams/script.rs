//! What the bytes of an input mean. Every input means something.

/// The first byte: how the world is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switches(pub(crate) u8);

impl Switches {
    pub(crate) const CONNECTED: u8 = 1;
    pub(crate) const NO_BACKEND: u8 = 2;
    pub(crate) const TIGHT: u8 = 4;
    pub(crate) const BATCHED: u8 = 8;
    pub(crate) const RELAYED: u8 = 16;
    pub(crate) const SLOW_CLIENT: u8 = 32;
    pub(crate) const SLOW_BACKEND: u8 = 64;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// The client completes its handshake before the first operation.
    pub(crate) fn connected(self) -> bool {
        self.has(Self::CONNECTED)
    }

    /// Nobody answers at the backend's address.
    pub(crate) fn no_backend(self) -> bool {
        self.has(Self::NO_BACKEND)
    }

    /// The smallest bounds that a configuration can set.
    pub(crate) fn tight(self) -> bool {
        self.has(Self::TIGHT)
    }

    /// Several datagrams in a transmit.
    pub(crate) fn batched(self) -> bool {
        self.has(Self::BATCHED)
    }

    /// Datagrams travel after every operation, not only when one says so.
    pub(crate) fn relayed(self) -> bool {
        self.has(Self::RELAYED)
    }

    /// The client reads no bodies.
    pub(crate) fn slow_client(self) -> bool {
        self.has(Self::SLOW_CLIENT)
    }

    /// The backend reads no bodies.
    pub(crate) fn slow_backend(self) -> bool {
        self.has(Self::SLOW_BACKEND)
    }
}

/// Which of the two scripted peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Backend,
}

/// One step of an input.
#[derive(Debug)]
pub(crate) enum Operation<'a> {
    /// A datagram at the listener, from one of two clients; a `stride` makes it
    /// a batch.
    AtListener {
        other: bool,
        stride: Option<usize>,
        data: &'a [u8],
    },
    /// A datagram at a socket toward backends.
    AtBackendSocket { place: u8, data: &'a [u8] },
    /// Frames in a 1-RTT packet of an established peer.
    Frames {
        side: Side,
        place: u8,
        data: &'a [u8],
    },
    /// The peer's next datagram, with some bytes changed. With `astray` it comes
    /// from another address, or at the wrong socket.
    Altered {
        side: Side,
        astray: u8,
        edits: &'a [u8],
    },
    /// Raw bytes on a stream of the peer.
    Stream {
        side: Side,
        stream: u8,
        fin: bool,
        data: &'a [u8],
    },
    /// The peer resets a stream, stops reading it, or both.
    Shutdown {
        side: Side,
        stream: u8,
        how: u8,
        code: u8,
    },
    /// The client asks for something.
    Request { kind: u8 },
    /// Datagrams travel between the three, so many rounds.
    Relay { rounds: u8 },
    /// What is on its way from or to this side is lost.
    Lose { side: Side, from: bool },
    /// Time passes.
    Advance { step: u8 },
    /// Time passes until the next timer is due.
    NextTimer,
    /// The network says that a backend can't be reached.
    Unreachable { place: u8 },
    /// The operator drains.
    Drain { seconds: u8 },
    /// The peer says GOAWAY, or closes.
    Leave { side: Side, close: bool },
    /// The client comes anew, on a connection of its own.
    Return,
}

/// Reads operations off an input.
pub(crate) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Script { rest }
    }

    /// The next byte; an input that ends goes on in zeros until its operation is whole.
    fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                byte
            }
            None => 0,
        }
    }

    /// Two bytes of length, big-endian, and as many bytes of that as there are.
    fn data(&mut self) -> &'a [u8] {
        let len = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
        let (data, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        data
    }
}

/// How many operations there are; the code is taken modulo this.
pub(crate) const CODES: u8 = 25;

impl<'a> Iterator for Script<'a> {
    type Item = Operation<'a>;

    fn next(&mut self) -> Option<Operation<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let code = self.byte() % CODES;
        // Codes come in pairs, client first.
        let side = if code.is_multiple_of(2) {
            Side::Client
        } else {
            Side::Backend
        };
        Some(match code {
            0 | 1 => Operation::AtListener {
                other: code == 1,
                stride: None,
                data: self.data(),
            },
            2 => {
                let stride = usize::from(self.byte()) * 8;
                Operation::AtListener {
                    other: false,
                    stride: Some(stride),
                    data: self.data(),
                }
            }
            3 => Operation::AtBackendSocket {
                place: self.byte(),
                data: self.data(),
            },
            4 | 5 => Operation::Frames {
                side,
                place: self.byte(),
                data: self.data(),
            },
            6 | 7 => Operation::Altered {
                side,
                astray: self.byte(),
                edits: self.data(),
            },
            8 | 9 => {
                let place = self.byte();
                let (stream, fin) = (place & 0x7f, place & 0x80 != 0);
                Operation::Stream {
                    side,
                    stream,
                    fin,
                    data: self.data(),
                }
            }
            10 | 11 => {
                let (stream, how) = (self.byte(), self.byte());
                Operation::Shutdown {
                    side,
                    stream,
                    how,
                    code: self.byte(),
                }
            }
            12 | 13 => Operation::Request { kind: self.byte() },
            14 | 15 => Operation::Relay {
                rounds: self.byte(),
            },
            16 | 17 => Operation::Lose {
                side,
                from: self.byte() & 1 != 0,
            },
            18 => Operation::Advance { step: self.byte() },
            19 => Operation::NextTimer,
            20 => Operation::Unreachable { place: self.byte() },
            21 => Operation::Drain {
                seconds: self.byte(),
            },
            22 | 23 => Operation::Leave {
                side,
                close: self.byte() & 1 != 0,
            },
            24 => Operation::Return,
            CODES.. => unreachable!("a remainder is less than its divisor"),
        })
    }
}
