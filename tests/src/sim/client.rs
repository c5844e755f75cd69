//! A client: quiche and HTTP/3, and the requests of its plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use quiche::h3::{self, Header, NameValue};

use super::ledger::End;
use super::plan::{ClientPlan, Method, RequestPlan};
use super::quic::{self, Endpoint, ID, NAME, Pattern, Settings};
use super::rng::Rng;
use super::scheduler::Cx;

/// Connections a client makes, one after the other.
const CONNECTIONS: u32 = 5;
/// Before it connects again.
const RECONNECT: Duration = Duration::from_millis(200);
/// Before it tries again to send a request for which there was no room.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// How often a slow reader reads.
const READ_EVERY: Duration = Duration::from_millis(10);

/// A node that asks.
pub(crate) struct Client {
    index: u32,
    plan: ClientPlan,
    address: SocketAddr,
    /// Its port changes when it migrates.
    ports: u16,
    server: SocketAddr,
    config: quiche::Config,
    end: Option<Endpoint>,
    started: Instant,
    /// The next request of the plan.
    next: usize,
    active: BTreeMap<u64, Active>,
    session: Option<Vec<u8>>,
    connections: u32,
    connect_at: Option<Instant>,
    read_at: Option<Instant>,
    ask_at: Option<Instant>,
    left: bool,
    dice: Rng,
    /// It resumed a session.
    pub(crate) resumed: bool,
}

/// A request in flight.
struct Active {
    key: usize,
    plan: RequestPlan,
    uploaded: u64,
    upload_over: bool,
    status: Option<(u16, bool)>,
    received: u64,
    /// There may be bytes to read.
    readable: bool,
    /// The response of a tunnel has ended; the upload goes on.
    half: bool,
    cancel_at: Option<Instant>,
}

impl Client {
    pub(crate) fn new(
        index: u32,
        plan: ClientPlan,
        address: SocketAddr,
        server: SocketAddr,
        dice: Rng,
    ) -> Self {
        let settings = Settings {
            window: plan.window,
            streams: 0,
        };
        let mut config = quic::config(None, &settings);
        if plan.early {
            config.enable_early_data();
        }
        Client {
            index,
            config,
            plan,
            address,
            ports: 0,
            server,
            end: None,
            started: Instant::now(),
            next: 0,
            active: BTreeMap::new(),
            session: None,
            connections: 0,
            connect_at: None,
            read_at: None,
            ask_at: None,
            left: false,
            dice,
            resumed: false,
        }
    }

    /// The address it sends from, before any NAT.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn start(&mut self, cx: &mut Cx<'_>) {
        self.started = Instant::now();
        self.connect(cx);
        self.work(cx);
    }

    pub(crate) fn datagram(
        &mut self,
        cx: &mut Cx<'_>,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &mut [u8],
    ) {
        if let Some(end) = &mut self.end {
            end.receive(bytes, from, to);
            self.work(cx);
        }
    }

    pub(crate) fn timer(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::now();
        if self.connect_at.is_some_and(|at| at <= now) {
            self.connect_at = None;
            self.connect(cx);
        }
        if let Some(end) = &mut self.end {
            end.fire(now);
        }
        self.work(cx);
    }

    /// Moves to another port, if the other side gave it an id to do so with.
    pub(crate) fn migrate(&mut self, cx: &mut Cx<'_>) {
        self.issue_ids();
        let Some(end) = &mut self.end else { return };
        if !end.quic.is_established() || end.quic.available_dcids() == 0 {
            return;
        }
        self.ports += 1;
        let mut address = self.address;
        address.set_port(self.address.port() + self.ports);
        if end.quic.migrate_source(address).is_ok() {
            self.address = address;
            cx.wires.bind(address, cx.who);
            cx.note(format!("migrates to {address}"));
        }
        self.work(cx);
    }

    /// Gives the other side spare ids, without which quiche does not move.
    fn issue_ids(&mut self) {
        let Some(end) = &mut self.end else { return };
        while end.quic.is_established() && end.quic.scids_left() > 0 {
            let (mut id, mut token) = ([0; ID], [0; 16]);
            self.dice.fill(&mut id);
            self.dice.fill(&mut token);
            let scid = quiche::ConnectionId::from_ref(&id);
            let issued = end.quic.new_scid(&scid, u128::from_be_bytes(token), false);
            issued.expect("there is room for it");
        }
    }

    /// How its last connection began, before it heard anything.
    pub(crate) fn first_flight(&self) -> &[(SocketAddr, Vec<u8>)] {
        self.end.as_ref().map_or(&[], |end| &end.first)
    }

    /// Ends, whatever it still waits for.
    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>) {
        self.left = true;
        self.connect_at = None;
        if let Some(end) = &mut self.end {
            if self.plan.vanishes {
                self.end = None;
            } else {
                // `Done`: it is closed already.
                let _ = end.quic.close(true, quic::NO_ERROR, b"bye");
            }
        }
        self.lose_requests(cx);
        self.work(cx);
    }

    fn connect(&mut self, cx: &mut Cx<'_>) {
        self.connections += 1;
        let mut id = [0; ID];
        self.dice.fill(&mut id);
        let scid = quiche::ConnectionId::from_ref(&id);
        let connected = quiche::connect(
            Some(NAME),
            &scid,
            self.address,
            self.server,
            &mut self.config,
        );
        let mut quic = connected.expect("the configuration is legal");
        if let Some(session) = self.session.as_ref().filter(|_| self.plan.resumes) {
            quic.set_session(session).expect("it came from quiche");
        }
        let mut end = Endpoint::new(quic);
        if self.plan.early {
            // quiche takes early data when the ClientHello has left.
            end.flush(cx);
        }
        self.end = Some(end);
        cx.note(format!("connects for the {}. time", self.connections));
    }

    fn work(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::now();
        // Browsers have none to spare; these are every second client.
        if self.index.is_multiple_of(2) {
            self.issue_ids();
        }
        self.listen(cx);
        self.ask(cx, now);
        self.cancel(cx, now);
        self.upload();
        if let Some(end) = &mut self.end {
            end.flush(cx);
            if end.is_over() && !self.left {
                self.lose_requests(cx);
            }
        }
        self.reconnect(now);
        self.arm(cx, now);
    }

    /// Sends the requests that are due.
    fn ask(&mut self, cx: &mut Cx<'_>, now: Instant) {
        let Some(end) = self.end.as_mut().filter(|_| !self.left) else {
            return;
        };
        while let Some(plan) = self.plan.requests.get(self.next) {
            if self.started + plan.at > now {
                return;
            }
            let key = cx.ledger().key(self.index, self.next);
            let resumed = end.quic.is_resumed();
            let Some((h3, quic)) = end.http() else { return };
            self.resumed |= resumed;
            let empty = plan.upload == 0;
            if self.ask_at.is_some_and(|at| at > now) {
                return;
            }
            // No stream, or no room for the head: in a while. At once and again would be
            // a storm, because quiche says each time that it is blocked.
            let Ok(stream) = h3.send_request(quic, &head(key, plan), empty) else {
                self.ask_at = Some(now + ASK_AGAIN);
                return;
            };
            cx.ledger().sent(key);
            let active = Active {
                key,
                plan: plan.clone(),
                uploaded: 0,
                upload_over: empty,
                status: None,
                received: 0,
                readable: false,
                half: false,
                cancel_at: plan.cancelled.map(|after| now + after),
            };
            self.active.insert(stream, active);
            self.next += 1;
        }
    }

    /// A reset that takes back what was not read yet is told by quiche::h3 as a clean
    /// end: the stream itself knows better.
    fn notice_resets(&mut self, cx: &mut Cx<'_>) {
        let Some((_, quic)) = self.end.as_mut().and_then(Endpoint::http) else {
            return;
        };
        self.active.retain(|&stream, active| {
            let Err(quiche::Error::StreamReset(code)) = quic.stream_recv(stream, &mut []) else {
                return true;
            };
            if !active.half {
                cx.ledger().ended(active.key, End::Reset(code));
            }
            false
        });
    }

    /// Takes in what HTTP/3 has to tell.
    fn listen(&mut self, cx: &mut Cx<'_>) {
        let now = Instant::now();
        self.notice_resets(cx);
        self.read(cx, now);
        while let Some((stream, event)) = self.end.as_mut().and_then(Endpoint::poll) {
            let Some((h3, quic)) = self.end.as_mut().and_then(Endpoint::http) else {
                break;
            };
            let Some(active) = self.active.get_mut(&stream) else {
                // Given up by us; what comes is thrown away.
                let mut rest = [0; 4096];
                while h3.recv_body(quic, stream, &mut rest).is_ok_and(|n| n > 0) {}
                continue;
            };
            match event {
                h3::Event::Headers { list, .. } => active.head(&list),
                h3::Event::Data => active.readable = true,
                h3::Event::Finished => {
                    let end = active.end();
                    cx.ledger().ended(active.key, end);
                    active.half = active.is_tunnel() && !active.upload_over;
                    if !active.half {
                        self.active.remove(&stream);
                    }
                }
                h3::Event::Reset(code) => {
                    if !active.half {
                        cx.ledger().ended(active.key, End::Reset(code));
                    }
                    self.active.remove(&stream);
                }
                h3::Event::PriorityUpdate | h3::Event::GoAway => {}
            }
            self.read(cx, now);
        }
        if let Some(end) = &self.end
            && let Some(session) = end.quic.session()
        {
            self.session = Some(session.to_vec());
        }
    }

    /// Reads bodies: all there is, or as much as a slow reader may now.
    fn read(&mut self, cx: &mut Cx<'_>, now: Instant) {
        let budget = match self.plan.reads {
            None => u64::MAX,
            Some(_) if self.read_at.is_some_and(|at| at > now) => return,
            Some(rate) => rate * READ_EVERY.as_millis() as u64,
        };
        let Some((h3, quic)) = self.end.as_mut().and_then(Endpoint::http) else {
            return;
        };
        let (mut left, mut buf) = (budget, [0; 4096]);
        let streams: BTreeSet<u64> = self.active.keys().copied().collect();
        for stream in streams {
            let active = self.active.get_mut(&stream).expect("it was just listed");
            while active.readable && left > 0 {
                let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                match h3.recv_body(quic, stream, &mut buf[..most]) {
                    Ok(len) => {
                        Pattern::check_unless_local(active, &buf[..len]);
                        active.received += len as u64;
                        left -= (len as u64).min(left);
                    }
                    Err(h3::Error::TransportError(quiche::Error::StreamReset(code))) => {
                        cx.ledger().ended(active.key, End::Reset(code));
                        self.active.remove(&stream);
                        break;
                    }
                    Err(_) => active.readable = false,
                }
            }
        }
        if self.plan.reads.is_some() && left < budget {
            self.read_at = Some(now + READ_EVERY);
        }
    }

    /// Gives up the requests whose time has come.
    fn cancel(&mut self, cx: &mut Cx<'_>, now: Instant) {
        let Some(end) = &mut self.end else { return };
        let due = |active: &Active| active.cancel_at.is_some_and(|at| at <= now);
        self.active.retain(|&stream, active| {
            if !due(active) {
                return true;
            }
            end.abort(stream, quic::REQUEST_CANCELLED);
            if !active.half {
                cx.ledger().ended(active.key, End::Cancelled);
            }
            false
        });
    }

    fn upload(&mut self) {
        let Some((h3, quic)) = self.end.as_mut().and_then(Endpoint::http) else {
            return;
        };
        for (&stream, active) in &mut self.active {
            while !active.upload_over {
                let held_back = if active.plan.stalls {
                    active.plan.upload.div_ceil(2)
                } else {
                    0
                };
                let left = active.plan.upload - active.uploaded - held_back;
                if left == 0 && held_back > 0 {
                    break;
                }
                let bytes = Pattern::piece(active.key, active.uploaded, left);
                let fin = bytes.len() as u64 == left && held_back == 0;
                if !quic::has_room(quic, stream) {
                    break;
                }
                match h3.send_body(quic, stream, bytes, fin) {
                    Ok(len) => {
                        active.uploaded += len as u64;
                        active.upload_over = active.uploaded == active.plan.upload;
                    }
                    Err(h3::Error::Done | h3::Error::StreamBlocked) => break,
                    // The other side stopped reading.
                    Err(_) => active.upload_over = true,
                }
            }
        }
        self.active
            .retain(|_, active| !(active.half && active.upload_over));
    }

    fn lose_requests(&mut self, cx: &mut Cx<'_>) {
        for (_, active) in std::mem::take(&mut self.active) {
            if !active.half {
                cx.ledger().ended(active.key, End::Gone);
            }
        }
    }

    /// After a connection is lost: another one, if there is more to ask.
    fn reconnect(&mut self, now: Instant) {
        let over = self.end.as_ref().is_some_and(Endpoint::is_over);
        let more = self.next < self.plan.requests.len() && self.connections < CONNECTIONS;
        if over && more && !self.left && self.connect_at.is_none() {
            let soon = now + RECONNECT;
            // Early data is for what is to be said at once.
            let due = self.started + self.plan.requests[self.next].at;
            self.connect_at = Some(if self.plan.early { soon.max(due) } else { soon });
        }
    }

    fn arm(&mut self, cx: &mut Cx<'_>, now: Instant) {
        let request = self.plan.requests.get(self.next);
        let established = self.end.as_ref().is_some_and(|e| e.quic.is_established());
        let request = request
            .map(|plan| self.started + plan.at)
            .map(|at| self.ask_at.map_or(at, |again| at.max(again)))
            .filter(|at| established && *at > now && !self.left);
        let cancel = self.active.values().filter_map(|a| a.cancel_at).min();
        let reading = self.active.values().any(|a| a.readable);
        let read = self
            .read_at
            .filter(|_| reading && self.plan.reads.is_some());
        let quic = self.end.as_ref().and_then(|end| end.timeout(now));
        let wakes = [request, cancel, read, quic, self.connect_at];
        cx.set_timer(wakes.into_iter().flatten().min());
    }
}

impl Active {
    fn head(&mut self, list: &[Header]) {
        let value = |name: &[u8]| list.iter().find(|f| f.name() == name).map(|f| f.value());
        let Some(status) = value(b":status") else {
            return; // trailers
        };
        let status = std::str::from_utf8(status)
            .ok()
            .and_then(|s| s.parse().ok());
        let status = status.expect("the balancer sends legal heads");
        if status >= 200 {
            self.status = Some((status, value(b"proxy-status").is_some()));
        }
    }

    /// The backend accepted the tunnel.
    fn is_tunnel(&self) -> bool {
        self.plan.method == Method::Connect && self.status == Some((200, false))
    }

    fn end(&self) -> End {
        let (status, local) = self.status.expect("a response begins with a head");
        End::Answered {
            status,
            local,
            bytes: self.received,
        }
    }
}

impl Pattern {
    /// Bodies that the balancer makes itself are text for people.
    fn check_unless_local(active: &Active, bytes: &[u8]) {
        if active.status.is_some_and(|(_, local)| !local) {
            Pattern::check(active.key, active.received, bytes);
        }
    }
}

fn head(key: usize, plan: &RequestPlan) -> Vec<Header> {
    let path = format!("/{key}");
    let mut fields = vec![
        Header::new(b":method", plan.method.as_str().as_bytes()),
        Header::new(b":scheme", b"https"),
        Header::new(b":authority", NAME.as_bytes()),
        Header::new(b":path", path.as_bytes()),
    ];
    if plan.method == Method::Connect {
        fields.push(Header::new(b":protocol", b"websocket"));
    }
    if plan.announced && plan.upload > 0 && plan.method != Method::Connect {
        let len = plan.upload.to_string();
        fields.push(Header::new(b"content-length", len.as_bytes()));
    }
    if let Some(priority) = &plan.priority {
        fields.push(Header::new(b"priority", priority.as_bytes()));
    }
    if plan.padding > 0 {
        let padding = vec![b'p'; plan.padding as usize];
        fields.push(Header::new(b"x-padding", &padding));
    }
    fields
}
