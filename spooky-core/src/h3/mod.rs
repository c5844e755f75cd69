//! HTTP/3 over quiche's streams (RFC 9114, RFC 9204): frames, field sections, and the
//! streams that are not requests'. It knows nothing of what a proxy wants.
//!
//! | file | what of it |
//! | --- | --- |
//! | `mod.rs` | one connection: whose turn it is |
//! | `outbound.rs` | what is written |
//! | `source.rs` | the bytes of a stream, from quiche or from a test |
//! | `inbound.rs` | what comes on a request's stream |
//! | `frame.rs`, `varint.rs` | the front of a frame, and where frames may stand |
//! | `qpack/` | field sections |
//! | `uni.rs`, `control.rs`, `settings.rs` | the peer's unidirectional streams |
//! | `partial.rs` | requests whose head has begun and is not whole |
//! | `error.rs` | codes, and what ends a connection |
//!
//! Why not `quiche::h3`: there a body that is cut within a frame ends like a whole one,
//! frames may come in any order on streams that we opened, a head that comes in pieces
//! is not to be seen, one that is too large costs the connection, and a stream that
//! ended badly leaves an entry behind for as long as the connection lasts.
//!
//! What it costs, with all that came with it (the checks of `http`, `forwarding`, turns
//! and timeouts): `bench demo`, the daemon with and without, in turns, twelve pairs of a
//! second on two shared cores. A small request 12.8 µs of CPU before and 11.0 after
//! (medians; the ratio within a pair 0.75 to 1.09, in the middle 0.88), a gigabyte in
//! bodies of 10 MiB the same (ratio 1.00).
//!
//! Of our own unidirectional streams there is only the control stream. RFC 9204 section
//! 4.2: an endpoint "MAY avoid creating an encoder stream if it will not be used …" and
//! "MAY avoid creating a decoder stream if its decoder sets the maximum capacity of the
//! dynamic table to zero".

mod control;
pub(crate) mod error;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inbound;
mod outbound;
mod partial;
mod qpack;
mod settings;
mod source;
mod uni;
pub(crate) mod varint;

use std::collections::VecDeque;
use std::time::Instant;

use rustc_hash::FxHashMap;

use control::Notice;
pub(crate) use error::Fault;
pub(crate) use frame::Role;
pub(crate) use inbound::Found;
use inbound::{Inbound, Rules};
pub(crate) use outbound::front_data;
use partial::Partial;
pub(crate) use settings::Settings;
use source::OnStream;
use uni::{Opened, Uni};

use crate::held::Held;
use crate::http::Bounds;

/// What a connection tells the peer of us, and holds it to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    /// Bounds of a field section that the peer sends. It is told the size.
    pub(crate) bounds: Bounds,
    /// We take extended CONNECT (RFC 9220).
    pub(crate) enable_connect_protocol: bool,
    /// Requests that the peer may have open.
    pub(crate) max_streams: u64,
}

/// The code of a reset that took away what was unread of a stream that had already
/// ended: quiche keeps the code to itself. No code on the wire is that great.
pub(crate) const UNTOLD: u64 = u64::MAX;

/// What the peer has to say.
#[derive(Debug)]
pub(crate) enum Said {
    /// Something of a request's stream.
    Stream(u64, Found),
    /// Its SETTINGS have come.
    Settings,
    /// The priority of this request changed, to this value of the field.
    Priority(u64, Vec<u8>),
    /// It leaves; requests from this id on are not served.
    GoAway(u64),
}

/// HTTP/3 on one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    rules: Rules,
    /// Requests' streams until they are forgotten.
    streams: FxHashMap<u64, Inbound>,
    /// The peer's unidirectional streams: few, see [`limits::UNI_STREAMS`].
    uni: Vec<(u64, Uni)>,
    opened: Opened,
    settings: Option<Settings>,
    /// The least id of the peer's GOAWAYs.
    goaway: Option<u64>,
    /// Streams to look at before quiche is asked for the next.
    again: VecDeque<u64>,
    partial: Partial,
    /// Our control stream, and what did not fit there yet.
    control: u64,
    unsent: Vec<u8>,
    /// The id of our last GOAWAY.
    leaving: Option<u64>,
    /// The stream of the next request of ours.
    next_request: u64,
    /// Requests that the peer may have open, at a time.
    max_streams: u64,
    /// One more than the greatest number of a request of the peer, as far as they came.
    begun: u64,
    /// Field sections are read from here and written here.
    scratch: Vec<u8>,
    /// Why we gave the connection up.
    fault: Option<Fault>,
}

impl Connection {
    /// Begins HTTP/3: opens our control stream and says what we can do.
    ///
    /// # Errors
    /// If the peer grants no stream for that.
    pub(crate) fn new(quic: &mut quiche::Connection, config: Config) -> quiche::Result<Self> {
        let role = if quic.is_server() {
            Role::Server
        } else {
            Role::Client
        };
        // RFC 9000 section 2.1: the first unidirectional stream of either side.
        let control = match role {
            Role::Client => 2,
            Role::Server => 3,
        };
        // Before anything else, so that a full pipe does not hold up a GOAWAY.
        quic.stream_priority(control, 0, true)?;
        let mut connection = Connection {
            rules: Rules {
                role,
                bounds: config.bounds,
            },
            streams: FxHashMap::default(),
            uni: Vec::new(),
            opened: Opened::default(),
            settings: None,
            goaway: None,
            again: VecDeque::new(),
            partial: Partial::default(),
            control,
            unsent: settings::opening(config.bounds.bytes, config.enable_connect_protocol),
            leaving: None,
            next_request: 0,
            max_streams: config.max_streams,
            begun: 0,
            scratch: Vec::new(),
            fault: None,
        };
        connection.flush(quic);
        Ok(connection)
    }

    /// What the peer said of itself, once it has.
    pub(crate) fn settings(&self) -> Option<Settings> {
        self.settings
    }

    /// Why this connection was given up, if the peer broke a rule of HTTP/3.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The next thing that the peer said. `heard` is when the last of it arrived.
    ///
    /// A breach of the rules closes the connection; nothing more is told then.
    pub(crate) fn poll(
        &mut self,
        quic: &mut quiche::Connection,
        held: &mut Held,
        heard: Instant,
    ) -> Option<Said> {
        if self.fault.is_some() {
            return None;
        }
        self.flush_waiting(quic);
        loop {
            let stream = match self.again.front() {
                Some(&stream) => stream,
                None => self.next_readable(quic)?,
            };
            let said = if stream & 2 == 0 {
                self.poll_request(OnStream { quic, stream, held }, heard)
            } else {
                self.poll_uni(OnStream { quic, stream, held })
            };
            match said {
                Ok(Some(said)) => return Some(said),
                Ok(None) => {
                    self.again.pop_front();
                }
                Err(fault) => {
                    self.give_up(quic, fault);
                    return None;
                }
            }
        }
    }

    /// The next stream on which something came. quiche tells of it once, where its
    /// `readable()` lists all that nobody has read, each time it is asked.
    fn next_readable(&mut self, quic: &mut quiche::Connection) -> Option<u64> {
        let stream = quic.stream_readable_next()?;
        self.again.push_back(stream);
        if stream & 2 == 0 && self.rules.role == Role::Server {
            self.streams.entry(stream).or_insert_with(Inbound::new);
            self.begun = self.begun.max(stream / 4 + 1);
        }
        Some(stream)
    }

    fn poll_request(
        &mut self,
        mut source: OnStream<'_>,
        heard: Instant,
    ) -> Result<Option<Said>, Fault> {
        let stream = source.stream;
        let rules = self.rules;
        let Some(inbound) = self.streams.get_mut(&stream) else {
            return match rules.role {
                // It was forgotten since it came here.
                Role::Server => Ok(None),
                // RFC 9114 section 6.1: "Clients MUST treat receipt of a server-initiated
                // bidirectional stream as a connection error of type
                // H3_STREAM_CREATION_ERROR".
                Role::Client if stream & 1 == 1 => {
                    let text = "a request's stream from a server";
                    Err(Fault::new(error::STREAM_CREATION_ERROR, text))
                }
                Role::Client if stream >= self.next_request => {
                    let text = "an answer before the request";
                    Err(Fault::new(error::GENERAL_PROTOCOL_ERROR, text))
                }
                Role::Client => Ok(None),
            };
        };
        let found = inbound.next(&mut source, rules, &mut self.scratch)?;
        if rules.role == Role::Server {
            self.partial.note(stream, inbound.awaits_head(), heard);
        }
        Ok(found.map(|found| Said::Stream(stream, found)))
    }

    fn poll_uni(&mut self, mut source: OnStream<'_>) -> Result<Option<Said>, Fault> {
        let stream = source.stream;
        let index = match self.uni.iter().position(|(id, _)| *id == stream) {
            Some(index) => index,
            None => {
                self.uni.push((stream, Uni::new()));
                self.uni.len() - 1
            }
        };
        let uni = &mut self.uni[index].1;
        let notice = uni.next(&mut source, self.rules.role, &mut self.opened)?;
        if uni.is_over() {
            self.uni.swap_remove(index);
        }
        Ok(match notice {
            None => None,
            Some(Notice::Settings(settings)) => {
                self.settings = Some(settings);
                Some(Said::Settings)
            }
            Some(Notice::GoAway(id)) => {
                self.goaway = Some(id);
                Some(Said::GoAway(id))
            }
            Some(Notice::Priority(stream, value)) => {
                self.check_prioritised(stream)?;
                Some(Said::Priority(stream, value))
            }
        })
    }

    /// RFC 9218 section 7.2: an id "beyond the limit of client-initiated bidirectional
    /// streams" SHOULD be an error of type H3_ID_ERROR.
    ///
    /// quiche does not tell that limit. It begins with `max_streams` and grows by one
    /// with each stream that is over, so it is no greater than what is compared here.
    fn check_prioritised(&self, stream: u64) -> Result<(), Fault> {
        if stream / 4 < self.begun + self.max_streams {
            return Ok(());
        }
        let text = "a PRIORITY_UPDATE frame for a stream beyond the limit";
        Err(Fault::new(error::ID_ERROR, text))
    }

    /// Some streams were reset. quiche tells of that only where it had not told of bytes
    /// before that nobody fetched: those streams are looked at.
    pub(crate) fn find_resets(&mut self, quic: &mut quiche::Connection, held: &mut Held) {
        let unread = self
            .streams
            .iter()
            .filter(|(_, inbound)| inbound.is_unread());
        let mut unread: Vec<u64> = unread.map(|(&stream, _)| stream).collect();
        // A table has no order of its own that could be replayed.
        unread.sort_unstable();
        for stream in unread {
            if let Some(inbound) = self.streams.get_mut(&stream)
                && inbound.meets_reset(&mut OnStream { quic, stream, held })
            {
                self.again.push_back(stream);
            }
        }
    }

    /// Reads body bytes: fewer than `buf` holds means that nothing more is here, and
    /// [`Connection::poll`] says what follows.
    pub(crate) fn read_body(
        &mut self,
        quic: &mut quiche::Connection,
        held: &mut Held,
        stream: u64,
        buf: &mut [u8],
    ) -> usize {
        let Some(inbound) = self.streams.get_mut(&stream) else {
            return 0;
        };
        match inbound.read_body(&mut OnStream { quic, stream, held }, self.rules, buf) {
            Ok(len) => {
                if inbound.has_rest() {
                    self.again.push_back(stream);
                }
                len
            }
            Err(fault) => {
                self.give_up(quic, fault);
                0
            }
        }
    }

    /// The peer ended the stream, in good order, and all of it was read.
    pub(crate) fn is_read(&self, stream: u64) -> bool {
        self.streams.get(&stream).is_some_and(Inbound::is_read)
    }

    /// What comes on `stream` is nobody's business any more.
    pub(crate) fn ignore(&mut self, stream: u64) {
        if let Some(inbound) = self.streams.get_mut(&stream) {
            inbound.ignore();
            self.partial.leave(stream);
        }
    }

    /// quiche has no such stream any more.
    pub(crate) fn forget(&mut self, stream: u64) {
        self.streams.remove(&stream);
    }

    /// The request's stream that has waited longest for the rest of its head, and since
    /// when.
    pub(crate) fn oldest_partial(&self) -> Option<(u64, Instant)> {
        self.partial.oldest()
    }

    /// A request's stream before `id` waits for the rest of its head.
    pub(crate) fn has_partial_below(&self, id: u64) -> bool {
        self.partial.has_below(id)
    }

    fn give_up(&mut self, quic: &mut quiche::Connection, fault: Fault) {
        self.fault = Some(fault);
        // `Done`: it was closed already.
        let _ = quic.close(true, fault.code, fault.text.as_bytes());
    }
}
