//! What was on its way to an address that the client has left.
//!
//! quiche 0.30 books every packet on the path it was sent on, and takes one for lost only
//! when a later packet *of the same path* is acknowledged. On a path that the client has
//! left there are no later ones: each probe timeout sends the data of its two oldest
//! packets again, always of the same two, and nothing else is ever sent again. The
//! middle of a response is missing then, or the credit for an upload (quiche's issues
//! 2452 and 2454), and the connection stands still.
//!
//! So one more packet is made for the path that was left, a PING, and sent to where it
//! is heard. Its acknowledgement is what quiche waits for: all that went before it is
//! lost, and goes out again on the path in use. RFC 9002 section 6.1 comes to the same: it
//! takes a packet for lost when a later one of its packet number space is acknowledged,
//! whatever their paths.
//!
//! * It waits until the new address is validated, so that nothing unasked for goes to an
//!   address that somebody else may have written into a datagram.
//! * A path that is still being validated is left alone: quiche would put its
//!   PATH_CHALLENGE into the packet, and an answer from elsewhere would vouch for an
//!   address that nobody answers at.
//! * RFC 9000 section 9.5: "an endpoint MUST NOT reuse a connection ID when sending to
//!   more than one destination address", unless the peer changed addresses without
//!   knowing, as behind a NAT. A client that moved by its own will with an id of its own
//!   gets the PING at the old address first, where it mostly still listens. Only if it
//!   stays unanswered there, twice, it goes to the new one: the last resort before a
//!   connection that never goes on.

use std::net::SocketAddr;

use quiche::PathEvent;

use crate::limits;

/// One path: our address and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

impl Route {
    fn of(path: &quiche::PathStats) -> Self {
        Route {
            from: path.local_addr,
            to: path.peer_addr,
        }
    }
}

/// The paths of one connection that were in use and are not any more. At most
/// [`limits::CLIENT_PATHS`], as quiche keeps no more.
#[derive(Debug)]
pub(crate) struct Moves {
    active: Route,
    validated: bool,
    /// Some path is being validated.
    validating: bool,
    left: Vec<Left>,
    /// Paths on which nobody answered at least once, as far as they are still known.
    failed: Vec<Route>,
    /// A datagram for a path that came back to life, until it is sent.
    revival: Option<(Vec<u8>, Route)>,
    /// Times the peer went on at another address, which was validated.
    pub(crate) count: u64,
}

#[derive(Debug)]
struct Left {
    route: Route,
    /// The peer may not know that it moved: it still uses the same id of ours.
    unaware: bool,
    /// Probe timeouts of that path, as far as they were looked at.
    timeouts: usize,
    /// PINGs asked for.
    tries: u32,
    /// A PING is to be sent.
    due: bool,
}

impl Moves {
    pub(crate) fn new(active: Route) -> Self {
        Moves {
            active,
            validated: true,
            validating: false,
            left: Vec::new(),
            failed: Vec::new(),
            revival: None,
            count: 0,
        }
    }

    /// Where the peer is, as far as its packets told.
    pub(crate) fn active(&self) -> Route {
        self.active
    }

    /// Some path is being validated.
    pub(crate) fn is_validating(&self) -> bool {
        self.validating
    }

    /// There is more than one path, of which quiche's `send` may prefer one that has a
    /// challenge to send and no budget to do so.
    pub(crate) fn is_spread(&self) -> bool {
        !self.left.is_empty()
    }

    /// Takes quiche's path events, all of them, and notes where the peer is now. True
    /// if there may be something to send because of it.
    ///
    /// To be called after every datagram: quiche keeps each event until it is taken, and
    /// a peer that alternates between two ports would fill the memory.
    pub(crate) fn look(&mut self, quic: &mut quiche::Connection, elsewhere: bool) -> bool {
        let (mut news, mut unaware) = (elsewhere, false);
        while let Some(event) = quic.path_event_next() {
            news = true;
            unaware |= matches!(event, PathEvent::ReusedSourceConnectionId(..));
            if let PathEvent::FailedValidation(from, to) = event
                && !self.failed.contains(&Route { from, to })
            {
                self.failed.push(Route { from, to });
            }
        }
        if news {
            self.follow(quic, unaware);
        }
        news
    }

    fn follow(&mut self, quic: &quiche::Connection, unaware: bool) {
        let Some(now) = quic.path_stats().find(|path| path.active) else {
            return;
        };
        let route = Route::of(&now);
        let known = |route: &Route| quic.path_stats().any(|path| Route::of(&path) == *route);
        self.failed.retain(known);
        self.validating = quic
            .path_stats()
            .any(|path| State::of(&path) == State::Unsettled);
        let validated = State::of(&now) == State::Validated;
        if route != self.active {
            self.left.retain(|left| left.route != route);
            self.left.retain(|left| known(&left.route));
            let mut before = quic.path_stats();
            let before = before.find(|path| Route::of(path) == self.active);
            self.left.push(Left {
                route: self.active,
                unaware,
                timeouts: before.map_or(0, |path| path.total_pto_count),
                tries: 0,
                due: true,
            });
            self.active = route;
            self.validated = false;
        }
        self.count += u64::from(validated && !self.validated);
        self.validated = validated;
    }

    /// After quiche's timers fired: a path whose probe timeout was among them has
    /// something in flight still.
    pub(crate) fn timed_out(&mut self, quic: &quiche::Connection) {
        if self.left.is_empty() {
            return;
        }
        for path in quic.path_stats() {
            let route = Route::of(&path);
            let left = self.left.iter_mut().find(|left| left.route == route);
            if let Some(left) = left.filter(|left| left.timeouts != path.total_pto_count) {
                left.timeouts = path.total_pto_count;
                left.due = true;
            }
        }
    }

    /// Makes the next PING into `out`, if one is due: how long it is, and where it goes.
    /// To be called when `send` has nothing more.
    pub(crate) fn ping(
        &mut self,
        quic: &mut quiche::Connection,
        out: &mut [u8],
    ) -> Option<(usize, Route)> {
        if !self.validated {
            return None;
        }
        let active = self.active;
        // Too small for a path MTU probe, which quiche would put into any packet.
        let out = &mut out[..limits::PING_BYTES];
        for left in self.left.iter_mut().filter(|left| left.due) {
            let Route { from, to } = left.route;
            let state = State::find(quic, left.route);
            match state {
                Some(State::Unsettled) => continue,
                Some(State::Failed) => allow(quic, left.route),
                Some(State::Validated) | None => {}
            }
            left.due = false;
            // An error is a connection that is over, or a path that is no more.
            let _ = quic.send_ack_eliciting_on_path(from, to);
            // `Done`: that path's window is full. Its probe timeout opens it.
            let Ok((len, _)) = quic.send_on_path(out, Some(from), Some(to)) else {
                continue;
            };
            left.tries += 1;
            let there = !left.unaware
                && left.tries <= limits::PINGS_TO_THE_OLD_ADDRESS
                && state == Some(State::Validated);
            return Some((len, if there { left.route } else { active }));
        }
        None
    }

    /// The path of a datagram that is about to be taken in is one that failed: after it
    /// was, [`Moves::revive`] has to be called before anything else is done.
    pub(crate) fn has_failed(&self, quic: &quiche::Connection, route: Route) -> bool {
        self.failed.contains(&route) && State::find(quic, route) == Some(State::Failed)
    }

    /// A datagram arrived on a path that had failed.
    ///
    /// quiche 0.30 makes it the path in use, as a path that counts for none until a
    /// challenge was sent on it, and closes the connection with the next datagram that
    /// finds no path in use. So the challenge is made at once. Where that path's window
    /// has no room for one, quiche is made to look for another path, as it does whenever
    /// its timers are looked at, and the next datagram is another chance.
    pub(crate) fn revive(&mut self, quic: &mut quiche::Connection, route: Route) {
        let mut out = vec![0; limits::LEAST_DATAGRAM];
        if let Ok((len, _)) = quic.send_on_path(&mut out, Some(route.from), Some(route.to)) {
            out.truncate(len);
            self.revival = Some((out, route));
        }
        if State::find(quic, route) == Some(State::Failed) {
            quic.on_timeout();
        }
    }

    /// The datagram that brings a path back to life, if there is one.
    pub(crate) fn revival(&mut self) -> Option<(Vec<u8>, Route)> {
        self.revival.take()
    }
}

/// How far a path's validation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Validated,
    Failed,
    /// A challenge is out for it, or will be.
    Unsettled,
}

impl State {
    fn of(path: &quiche::PathStats) -> Self {
        // quiche tells the state, and keeps the name of its type to itself.
        match format!("{:?}", path.validation_state).as_str() {
            "Validated" => State::Validated,
            "Failed" => State::Failed,
            _ => State::Unsettled,
        }
    }

    fn find(quic: &quiche::Connection, route: Route) -> Option<Self> {
        let mut paths = quic.path_stats();
        let path = paths.find(|path| Route::of(path) == route);
        path.map(|path| State::of(&path))
    }
}

/// Lets quiche make one PING more for a path on which nobody answered, and whose three
/// times what it received are used up.
///
/// quiche counts what arrives before it looks whether it is anything. The PING is not
/// sent there, but to an address that is validated.
fn allow(quic: &mut quiche::Connection, path: Route) {
    let mut nothing = [0x40; limits::PING_BYTES.div_ceil(3)];
    let there = quiche::RecvInfo {
        from: path.to,
        to: path.from,
    };
    // Of a packet that nobody encrypted nothing comes.
    let _ = quic.recv(&mut nothing, there);
}
