//! The blocking client: a session, a socket and a clock.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use std::{fmt, io};

use mio::{Events, Poll, Token};
use quiche::RecvInfo;

use super::session::{Event, ExchangeId, H3_NO_ERROR, Session};
use super::transport::Windows;
use super::trust::why_closed;
use super::wire::{Flushed, Inbox, Outbox, Wire};
use super::{Error, Request, Response, Target, Trust, client_config, open};

/// Milliseconds a client that goes waits for room to say so.
const GOODBYES: usize = 100;

/// Limits of a [`Client`].
#[derive(Clone, Debug)]
pub struct Options {
    /// For the handshake with one address.
    pub connect_timeout: Duration,
    /// For a whole answer of [`Client::fetch`].
    pub timeout: Duration,
    /// Flow control and idle timeout.
    pub windows: Windows,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(120),
            windows: Windows::default(),
        }
    }
}

/// One connection to one server, which blocks until it is answered.
pub struct Client {
    quic: quiche::Connection,
    session: Session,
    carrier: Carrier,
    timeout: Duration,
}

/// What moves the datagrams of one connection, and waits for them.
struct Carrier {
    poll: Poll,
    events: Events,
    wire: Wire,
    inbox: Inbox,
    outbox: Outbox,
    peer: SocketAddr,
}

impl Client {
    /// Connects to `target`, at the first of its addresses that answers.
    pub fn connect(target: &Target, trust: &Trust, options: &Options) -> Result<Self, Error> {
        let mut config = client_config(trust, &options.windows)?;
        let mut first_error = None;
        for peer in target.resolve()? {
            match Self::connect_to(target, peer, &mut config, options) {
                Ok(client) => return Ok(client),
                // Another address cannot mend these.
                Err(error @ (Error::Untrusted(_) | Error::Setup(_))) => return Err(error),
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::Resolve(target.host.clone(), "no address".into())))
    }

    fn connect_to(
        target: &Target,
        peer: SocketAddr,
        config: &mut quiche::Config,
        options: &Options,
    ) -> Result<Self, Error> {
        let mut carrier = Carrier::new(peer).map_err(Error::Socket)?;
        let mut quic = open(target, carrier.wire.local_addr(), peer, config)?;
        let deadline = Instant::now() + options.connect_timeout;
        while !quic.is_established() {
            carrier.turn(&mut quic, deadline)?;
            if quic.is_closed() || quic.local_error().is_some() || quic.peer_error().is_some() {
                // The close itself still has to go out.
                let _ = carrier.wire.flush(&mut carrier.outbox, &mut quic);
                return Err(why_closed(&mut quic, peer));
            }
            if Instant::now() >= deadline {
                return Err(Error::NoAnswer(peer, options.connect_timeout));
            }
        }
        let session = Session::begin(&mut quic)?;
        Ok(Self {
            quic,
            session,
            carrier,
            timeout: options.timeout,
        })
    }

    /// The address of the server it is connected to.
    pub fn peer(&self) -> SocketAddr {
        self.carrier.peer
    }

    /// Sends a request, without waiting; its fate comes from [`Client::next_event`].
    ///
    /// Requests beyond what the server allows at once wait their turn.
    pub fn send(&mut self, request: Request) -> ExchangeId {
        self.session.submit(request)
    }

    /// Gives a request up. No event of it comes any more.
    pub fn cancel(&mut self, id: ExchangeId) {
        self.session.cancel(&mut self.quic, id);
    }

    /// Stops reading a response (`true`) or goes on (`false`): what is not read
    /// holds the server back.
    pub fn hold(&mut self, id: ExchangeId, held: bool) {
        self.session.hold(id, held);
    }

    /// Waits for the next thing to happen, until `deadline`.
    ///
    /// `Ok(None)` says that the time is up. When the connection ends, each open
    /// request fails first, and then this does.
    pub fn next_event(&mut self, deadline: Instant) -> Result<Option<(ExchangeId, Event)>, Error> {
        loop {
            if let Some(event) = self.session.next_event() {
                return Ok(Some(event));
            }
            if self.is_closed() {
                if !self.session.is_busy() {
                    return Err(why_closed(&mut self.quic, self.carrier.peer));
                }
                let (quic, peer) = (&mut self.quic, self.carrier.peer);
                self.session.fail_all(|| why_closed(quic, peer));
                continue;
            }
            self.session.drive(&mut self.quic);
            let wait_until = if self.session.is_ready() {
                Instant::now()
            } else {
                deadline
            };
            self.carrier.turn(&mut self.quic, wait_until)?;
            // What just arrived is looked at before the clock is.
            self.session.drive(&mut self.quic);
            if Instant::now() >= deadline {
                return Ok(self.session.next_event());
            }
        }
    }

    /// Asks, and waits for the whole answer.
    pub fn fetch(&mut self, request: Request) -> Result<Response, Error> {
        let mut body = Vec::new();
        let mut response = self.fetch_into(request, |bytes| body.extend_from_slice(bytes))?;
        response.body = body;
        Ok(response)
    }

    /// Asks, and hands the answer's body to `sink` as it comes.
    pub fn fetch_into(
        &mut self,
        request: Request,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Response, Error> {
        let began = Instant::now();
        let id = self.send(request);
        let mut response = Response::default();
        loop {
            let Some((of, event)) = self.next_event(began + self.timeout)? else {
                self.cancel(id);
                return Err(Error::TimedOut(self.timeout));
            };
            if of != id {
                continue;
            }
            if let Event::Body(bytes) = &event {
                sink(bytes);
            } else if let Some(end) = response.take(event, began) {
                return end.map(|()| response);
            }
        }
    }

    /// Asks for all of these at once; answers come in the order of the requests.
    pub fn fetch_all(&mut self, requests: Vec<Request>) -> Vec<Result<Response, Error>> {
        let began = Instant::now();
        let deadline = began + self.timeout;
        let ids: Vec<ExchangeId> = requests.into_iter().map(|r| self.send(r)).collect();
        let mut responses = vec![Response::default(); ids.len()];
        let mut ends: Vec<Option<Result<(), Error>>> = ids.iter().map(|_| None).collect();
        while ends.iter().any(Option::is_none) {
            let Ok(Some((of, event))) = self.next_event(deadline) else {
                break;
            };
            let Some(index) = ids.iter().position(|&id| id == of) else {
                continue;
            };
            if let Event::Body(bytes) = &event {
                responses[index].body.extend_from_slice(bytes);
            } else {
                ends[index] = responses[index].take(event, began);
            }
        }
        for (&id, end) in ids.iter().zip(&ends) {
            if end.is_none() {
                self.cancel(id);
            }
        }
        responses
            .into_iter()
            .zip(ends)
            .map(|(response, end)| {
                end.unwrap_or(Err(Error::TimedOut(self.timeout)))
                    .map(|()| response)
            })
            .collect()
    }

    fn is_closed(&self) -> bool {
        self.quic.is_closed() || self.quic.is_draining() || self.quic.local_error().is_some()
    }
}

impl Drop for Client {
    /// Tells the server, so that it need not wait out the idle timeout.
    fn drop(&mut self) {
        let _ = self.quic.close(true, H3_NO_ERROR, b"");
        // A full socket empties within moments; the last word is worth them.
        for _ in 0..GOODBYES {
            let carrier = &mut self.carrier;
            match carrier.wire.flush(&mut carrier.outbox, &mut self.quic) {
                Ok(Flushed::Blocked) => std::thread::sleep(Duration::from_millis(1)),
                Ok(Flushed::All) | Err(_) => return,
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("peer", &self.carrier.peer)
            .finish_non_exhaustive()
    }
}

impl Response {
    /// Takes an event that is no body; at an end, says how it went.
    fn take(&mut self, event: Event, began: Instant) -> Option<Result<(), Error>> {
        match event {
            Event::Interim { status } => self.interim.push(status),
            Event::Head { status, fields } => {
                self.status = status;
                self.fields = fields;
                self.first_byte = began.elapsed();
            }
            Event::Body(_) => {}
            Event::Trailers(list) => self.trailers = list,
            Event::End => {
                self.total = began.elapsed();
                return Some(Ok(()));
            }
            Event::Failed(why) => return Some(Err(why)),
        }
        None
    }
}

impl Carrier {
    fn new(peer: SocketAddr) -> io::Result<Self> {
        let local = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let mut wire = Wire::bind(local, Some(peer))?;
        let poll = Poll::new()?;
        wire.register(poll.registry(), Token(0))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(8),
            wire,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            peer,
        })
    }

    /// Sends what there is, waits for datagrams or for the time, takes them in.
    fn turn(&mut self, quic: &mut quiche::Connection, deadline: Instant) -> Result<(), Error> {
        self.flush(quic)?;
        let until = quic
            .timeout_instant()
            .map_or(deadline, |at| at.min(deadline));
        let wait = until.saturating_duration_since(Instant::now());
        match self.poll.poll(&mut self.events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Socket(error)),
        }
        let local = self.wire.local_addr();
        loop {
            let got = self.wire.recv(&mut self.inbox, |datagram, from| {
                let info = RecvInfo { from, to: local };
                if let Err(error) = quic.recv(datagram, info) {
                    log::debug!("from {from}: {error}");
                }
            });
            match got {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(self.network(quic, error)),
            }
        }
        if quic
            .timeout_instant()
            .is_some_and(|at| at <= Instant::now())
        {
            quic.on_timeout();
        }
        self.flush(quic)
    }

    fn flush(&mut self, quic: &mut quiche::Connection) -> Result<(), Error> {
        match self.wire.flush(&mut self.outbox, quic) {
            // A full socket says when it has room, and wakes the poll.
            Ok(_) => Ok(()),
            Err(error) => Err(self.network(quic, error)),
        }
    }

    fn network(&self, quic: &quiche::Connection, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::ConnectionRefused && !quic.is_established() {
            return Error::Refused(self.peer);
        }
        Error::Socket(error)
    }
}
