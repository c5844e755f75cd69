//! A backend: quiche and HTTP/3, and the behaviour each request asks for.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "most behaviours differ from a plain answer in one place only"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::h3::{self, Header, NameValue};

use super::ledger::Ledger;
use super::plan::{BackendPlan, Behaviour};
use super::quic::{self, Endpoint, ID, Identity, Pattern, Settings};
use super::rng::Rng;
use super::scheduler::Cx;

/// A node that answers.
pub(crate) struct Backend {
    index: u32,
    plan: BackendPlan,
    address: SocketAddr,
    config: quiche::Config,
    connections: BTreeMap<u64, Connection>,
    /// Connection id → connection; the client's first choice is one as well.
    ids: BTreeMap<Vec<u8>, u64>,
    accepted: u64,
    dice: Rng,
}

struct Connection {
    end: Endpoint,
    ids: [Vec<u8>; 2],
    served: BTreeMap<u64, Served>,
    count: u32,
    /// The greatest request stream so far.
    newest: Option<u64>,
    /// Requests from this stream on were told to go elsewhere.
    goaway: Option<u64>,
}

/// A request that is being served.
struct Served {
    key: usize,
    asks: Behaviour,
    /// Bytes of its body read, and whether that was all.
    read: u64,
    whole: bool,
    /// Bytes to answer, and how many of them were sent.
    answer: u64,
    sent: u64,
    state: State,
}

enum State {
    /// Waits for the end of the request's body.
    Reading,
    /// Answers then.
    Thinking(Instant),
    /// The head waits for room; informational ones go first.
    Head { hints: u32 },
    /// The body goes out, up to so many bytes.
    Body { until: u64 },
    /// Trailers wait for room.
    Trailers,
    /// Nothing more is sent.
    Done,
}

impl Backend {
    pub(crate) fn new(
        index: u32,
        plan: BackendPlan,
        address: SocketAddr,
        identity: &Identity,
        dice: Rng,
    ) -> Self {
        let settings = Settings {
            window: plan.window,
            streams: plan.streams,
        };
        Backend {
            index,
            config: quic::config(Some(identity), &settings),
            plan,
            address,
            connections: BTreeMap::new(),
            ids: BTreeMap::new(),
            accepted: 0,
            dice,
        }
    }

    /// The process dies.
    pub(crate) fn crash(&mut self, cx: &mut Cx<'_>) {
        self.connections.clear();
        self.ids.clear();
        cx.set_timer(None);
    }

    /// Says on every connection that it is leaving.
    pub(crate) fn goaway(&mut self, cx: &mut Cx<'_>) {
        for connection in self.connections.values_mut() {
            connection.goaway();
            connection.end.flush(cx);
        }
        self.arm(cx);
    }

    pub(crate) fn datagram(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &mut [u8],
    ) {
        let Ok(header) = quiche::Header::from_slice(bytes, ID) else {
            return;
        };
        let known = self.ids.get(header.dcid.as_ref()).copied();
        let Some(id) = known.or_else(|| self.accept(&header, from)) else {
            return;
        };
        let connection = self.connections.get_mut(&id).expect("its ids are known");
        connection.end.receive(bytes, from, to);
        self.work(cx, id);
        self.arm(cx);
    }

    pub(crate) fn timer(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::now();
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            let connection = self.connections.get_mut(&id).expect("it was just listed");
            if connection.next(now).is_some_and(|at| at <= now) || connection.is_due(now) {
                connection.end.fire(now);
                self.work(cx, id);
            }
        }
        self.arm(cx);
    }

    fn accept(&mut self, header: &quiche::Header<'_>, from: SocketAddr) -> Option<u64> {
        if header.ty != quiche::Type::Initial {
            return None;
        }
        let mut id = vec![0; ID];
        self.dice.fill(&mut id);
        let scid = quiche::ConnectionId::from_ref(&id);
        let quic = quiche::accept(&scid, None, self.address, from, &mut self.config).ok()?;
        self.accepted += 1;
        let ids = [id, header.dcid.to_vec()];
        for id in &ids {
            self.ids.insert(id.clone(), self.accepted);
        }
        let connection = Connection {
            end: Endpoint::new(quic),
            ids,
            served: BTreeMap::new(),
            count: 0,
            newest: None,
            goaway: None,
        };
        self.connections.insert(self.accepted, connection);
        Some(self.accepted)
    }

    fn work(&mut self, cx: &mut Cx<'_>, id: u64) {
        let connection = self.connections.get_mut(&id).expect("it exists");
        connection.listen(cx, self.index, &self.plan);
        connection.serve();
        connection.end.flush(cx);
        if connection.end.quic.is_closed() {
            for id in &connection.ids {
                self.ids.remove(id);
            }
            self.connections.remove(&id);
        }
    }

    fn arm(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::now();
        let next = self.connections.values().filter_map(|c| c.next(now)).min();
        cx.set_timer(next);
    }
}

impl Connection {
    /// When it wants to be woken.
    fn next(&self, now: Instant) -> Option<Instant> {
        let thinking = self
            .served
            .values()
            .filter_map(|served| match served.state {
                State::Thinking(at) => Some(at),
                State::Reading
                | State::Head { .. }
                | State::Body { .. }
                | State::Trailers
                | State::Done => None,
            });
        thinking.chain(self.end.timeout(now)).min()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.end.quic.timeout_instant().is_some_and(|at| at <= now)
    }

    fn goaway(&mut self) {
        let next = self.newest.map_or(0, |newest| newest + 4);
        if let Some((h3, quic)) = self.end.http()
            && h3.send_goaway(quic, next).is_ok()
        {
            self.goaway = Some(next);
        }
    }

    /// Takes in what HTTP/3 has to tell.
    fn listen(&mut self, cx: &mut Cx<'_>, backend: u32, plan: &BackendPlan) {
        while let Some((stream, event)) = self.end.poll() {
            match event {
                h3::Event::Headers { list, .. } => {
                    self.head(cx, backend, plan, stream, &list);
                }
                h3::Event::Data => self.read(stream),
                h3::Event::Finished => {
                    self.read(stream);
                    self.whole(cx, plan, stream);
                }
                h3::Event::Reset(_) => {
                    self.served.remove(&stream);
                }
                h3::Event::PriorityUpdate | h3::Event::GoAway => {}
            }
        }
    }

    fn head(
        &mut self,
        cx: &mut Cx<'_>,
        backend: u32,
        plan: &BackendPlan,
        stream: u64,
        list: &[Header],
    ) {
        if self.served.contains_key(&stream) {
            return; // trailers
        }
        if self.goaway.is_some_and(|first| stream >= first) {
            self.end.abort(stream, quic::REQUEST_REJECTED);
            return;
        }
        let path = list.iter().find(|field| field.name() == b":path");
        let key = path.and_then(|path| Ledger::parse(path.value()));
        let key = key.expect("the balancer passes paths on");
        let ledger = cx.ledger();
        let arrival = ledger.arrived(key, backend);
        let request = ledger.plan(key);
        let asks = request.behaviour();
        let mut served = Served {
            key,
            asks,
            read: 0,
            whole: false,
            answer: request.answer(),
            sent: 0,
            state: State::Reading,
        };
        self.newest = self.newest.max(Some(stream));
        self.count += 1;
        if asks == Behaviour::Reject || (asks == Behaviour::RejectOnce && arrival == 0) {
            ledger.disowned(key, arrival);
            self.end.abort(stream, quic::REQUEST_REJECTED);
            served.state = State::Done;
        } else if asks == Behaviour::Silent {
            served.state = State::Done;
        } else if asks == Behaviour::Early {
            served.state = State::Thinking(Instant::now() + plan.thinks);
        }
        self.served.insert(stream, served);
        if plan.leaves_after.is_some_and(|most| self.count >= most) && self.goaway.is_none() {
            self.goaway();
        }
    }

    fn read(&mut self, stream: u64) {
        let Some(served) = self.served.get_mut(&stream) else {
            return;
        };
        if served.asks == Behaviour::Silent {
            return;
        }
        let mut buf = [0; 4096];
        let (h3, quic) = self.end.http().expect("HTTP/3 told of it");
        while let Ok(len) = h3.recv_body(quic, stream, &mut buf) {
            if len == 0 {
                break;
            }
            Pattern::check(served.key, served.read, &buf[..len]);
            served.read += len as u64;
        }
    }

    /// The request's body has ended clean.
    fn whole(&mut self, cx: &mut Cx<'_>, plan: &BackendPlan, stream: u64) {
        let Some(served) = self.served.get_mut(&stream) else {
            return;
        };
        if served.asks == Behaviour::Silent || std::mem::replace(&mut served.whole, true) {
            return;
        }
        cx.ledger().uploaded(served.key, served.read);
        if let State::Reading = served.state {
            let extra = if let Behaviour::Slow(millis) = served.asks {
                Duration::from_millis(u64::from(millis))
            } else {
                Duration::ZERO
            };
            served.state = State::Thinking(Instant::now() + plan.thinks + extra);
        }
    }

    /// Goes on with every answer, as far as there is room.
    fn serve(&mut self) {
        let streams: Vec<u64> = self.served.keys().copied().collect();
        for stream in streams {
            while self.step(stream) {}
        }
        self.served
            .retain(|_, served| !(served.whole && matches!(served.state, State::Done)));
    }

    /// One step of an answer; false if it can't go on now.
    fn step(&mut self, stream: u64) -> bool {
        let Some(served) = self.served.get_mut(&stream) else {
            return false;
        };
        let Some((h3, quic)) = self.end.http() else {
            return false;
        };
        match served.state {
            State::Reading | State::Done => false,
            State::Thinking(at) if at > Instant::now() => false,
            State::Thinking(_) => {
                let hints = if served.asks == Behaviour::Hints {
                    2
                } else {
                    0
                };
                served.state = State::Head { hints };
                true
            }
            State::Head { hints } => {
                let (fields, fin) = served.head(hints);
                match h3.send_response(quic, stream, &fields, fin) {
                    Ok(()) if hints > 0 => served.state = State::Head { hints: hints - 1 },
                    Ok(()) if fin => served.state = State::Done,
                    Ok(()) => {
                        served.state = State::Body {
                            until: served.until(),
                        };
                    }
                    Err(h3::Error::StreamBlocked | h3::Error::Done) => return false,
                    Err(_) => served.state = State::Done,
                }
                true
            }
            State::Body { until } => {
                let left = until - served.sent;
                let bytes = Pattern::piece(served.key, served.sent, left);
                let last = bytes.len() as u64 == left;
                let fin = last && served.ends_clean();
                if last && left == 0 && !fin {
                    self.after_body(stream);
                    return false;
                }
                if !quic::has_room(quic, stream) {
                    return false;
                }
                match h3.send_body(quic, stream, bytes, fin) {
                    Ok(len) => {
                        served.sent += len as u64;
                        if fin && served.sent == until {
                            served.state = State::Done;
                        }
                        true
                    }
                    Err(h3::Error::Done | h3::Error::StreamBlocked) => false,
                    Err(_) => {
                        served.state = State::Done;
                        true
                    }
                }
            }
            State::Trailers => {
                let trailers = [Header::new(b"checksum", b"ok")];
                match h3.send_additional_headers(quic, stream, &trailers, true, true) {
                    Err(h3::Error::StreamBlocked | h3::Error::Done) => false,
                    Ok(()) | Err(_) => {
                        served.state = State::Done;
                        false
                    }
                }
            }
        }
    }

    /// All of the body that is sent was sent, and that is not the end.
    fn after_body(&mut self, stream: u64) {
        let served = self.served.get_mut(&stream).expect("its body was sent");
        served.state = State::Done;
        if served.asks == Behaviour::Trailers {
            served.state = State::Trailers;
        } else if served.asks == Behaviour::ResetMidway {
            self.end.abort(stream, quic::INTERNAL_ERROR);
        } else if served.asks == Behaviour::CloseMidway {
            // `Done`: it is closed already.
            let _ = self.end.quic.close(true, quic::INTERNAL_ERROR, b"crash");
        }
    }
}

impl Served {
    /// The response's head, and whether that is all.
    fn head(&self, hints: u32) -> (Vec<Header>, bool) {
        if hints > 0 {
            return (vec![Header::new(b":status", b"103")], false);
        }
        let status: &[u8] = if self.asks == Behaviour::Malformed {
            b"0x"
        } else {
            b"200"
        };
        let mut fields = vec![Header::new(b":status", status)];
        let announced = match self.asks {
            Behaviour::Stream | Behaviour::CloseMidway => None,
            Behaviour::TooShort => Some(self.answer + 1),
            _ => Some(self.answer),
        };
        if let Some(len) = announced {
            fields.push(Header::new(b"content-length", len.to_string().as_bytes()));
        }
        (fields, self.until() == 0 && self.ends_clean())
    }

    /// Bytes of the body that are really sent.
    fn until(&self) -> u64 {
        match self.asks {
            Behaviour::ResetMidway | Behaviour::StallMidway | Behaviour::CloseMidway => {
                self.answer / 2
            }
            Behaviour::TooLong => self.answer + 1,
            _ => self.answer,
        }
    }

    /// The last byte of the body is followed by the end of the stream.
    fn ends_clean(&self) -> bool {
        !matches!(
            self.asks,
            Behaviour::Trailers
                | Behaviour::ResetMidway
                | Behaviour::StallMidway
                | Behaviour::CloseMidway
        )
    }
}
