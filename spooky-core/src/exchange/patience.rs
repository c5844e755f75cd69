//! How long an exchange may take and stand still, and who keeps it waiting.
//!
//! An exchange has one timer. Whatever moves only notes the time, in `progress`; the
//! timer fires early, sees that nothing is due, and is armed again. So a body costs
//! no timer, however many packets it has. The timer is armed no later than what is
//! due: where that comes closer, as when the client's turn to send becomes the
//! backend's turn to answer, [`Proxy::rearm`](crate::proxy::Proxy) is called.

use std::time::Instant;

use super::{Exchange, Flow, Head, State};
use crate::config::Timeouts;
use crate::io::earliest;

/// What an exchange that is with a backend waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// More of the request, from the client; nothing else can happen.
    Request,
    /// The response's head, from the backend.
    Head,
    /// That the client takes what there is of the response.
    ClientRoom,
    /// That the backend takes what there is of the request. The response has begun,
    /// and there is no more of it now.
    BackendRoom,
    /// More of the response; all of the request is with the backend.
    Response,
    /// More of the request or of the response, which has begun.
    Either,
}

impl Awaits {
    /// What the record says if it does not happen.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Awaits::Request => "the client sends nothing",
            Awaits::Head | Awaits::Response => "the backend sends nothing",
            Awaits::ClientRoom => "the client reads nothing",
            Awaits::BackendRoom => "the backend reads nothing",
            Awaits::Either => "neither side sends anything",
        }
    }

    /// Nobody but the backend keeps the exchange waiting.
    pub(crate) fn is_backends_turn(self) -> bool {
        match self {
            Awaits::Head | Awaits::BackendRoom | Awaits::Response => true,
            Awaits::Request | Awaits::ClientRoom | Awaits::Either => false,
        }
    }
}

impl Exchange {
    /// Whom an open exchange waits for, if nothing moves.
    pub(crate) fn awaits(&self) -> Awaits {
        let begun = matches!(self.response_head, Head::Sent);
        let sends = self.request.awaits_source();
        if begun && self.response.has_work() {
            Awaits::ClientRoom
        } else if begun && sends {
            Awaits::Either
        } else if begun && self.request.has_work() {
            Awaits::BackendRoom
        } else if begun {
            Awaits::Response
        } else if sends && !self.awaits_continue() && !self.asks_tunnel() {
            // (Who asks for a tunnel says nothing before it is there.)
            Awaits::Request
        } else {
            Awaits::Head
        }
    }

    /// RFC 9110 section 10.1.1: a client that sent `Expect: 100-continue` may wait for
    /// a response before it sends its body. So it is the backend's turn.
    fn awaits_continue(&self) -> bool {
        let expects = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
        let head = self.head.as_ref();
        self.request.moved == 0
            && self.informational == 0
            && head.is_some_and(|head| head.fields().find(b"expect").is_some_and(expects))
    }

    /// When something is to be done about it, if nothing happens before.
    pub(crate) fn due(&self, timeouts: &Timeouts) -> Option<Instant> {
        let here = match self.state {
            State::Open { .. } if !self.response_head.is_held() => {
                let patience = match self.awaits() {
                    Awaits::Head => timeouts.response_header,
                    Awaits::Request
                    | Awaits::ClientRoom
                    | Awaits::BackendRoom
                    | Awaits::Response
                    | Awaits::Either => timeouts.idle,
                };
                Some(self.progress + patience)
            }
            State::New
            | State::Held
            | State::Queued { .. }
            | State::Connecting { .. }
            | State::Sending { .. }
            | State::Open { .. }
            | State::Replying => self.deadline,
        };
        earliest(here, self.ends_by.filter(|_| !self.is_replying()))
    }

    /// It has taken as long as a request may. Who is told already that it failed
    /// need not be told again.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.ends_by.is_some_and(|by| by <= now) && !self.is_replying()
    }

    fn is_replying(&self) -> bool {
        self.state == State::Replying
    }
}

impl Flow {
    /// The source has sent all that it did, and not the end.
    fn awaits_source(&self) -> bool {
        !self.readable && !self.ended && !self.finished && !self.stopped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Limits;
    use crate::http::{Bounds, Fields, RequestHead};
    use crate::io::{Handle, Table};
    use crate::timers::Timers;

    const TIMEOUTS: Timeouts = Timeouts {
        connect: Duration::from_secs(1),
        response_header: Duration::from_secs(30),
        idle: Duration::from_secs(60),
        request: Duration::ZERO,
    };

    #[test]
    fn it_is_the_clients_time_until_its_request_has_ended() {
        let (mut exchange, now) = open(&[]);
        assert_eq!(exchange.awaits(), Awaits::Request);
        assert_eq!(exchange.due(&TIMEOUTS), Some(now + TIMEOUTS.idle));
        exchange.request.readable = true;
        assert_eq!(exchange.awaits(), Awaits::Head, "the backend does not read");
        exchange.request.readable = false;
        exchange.request.ended = true;
        assert_eq!(exchange.awaits(), Awaits::Head);
        assert_eq!(
            exchange.due(&TIMEOUTS),
            Some(now + TIMEOUTS.response_header)
        );
    }

    #[test]
    fn a_client_that_expects_to_be_told_to_go_on_waits_for_the_backend() {
        let (mut exchange, _) = open(&[("expect", "100-Continue")]);
        assert_eq!(exchange.awaits(), Awaits::Head);
        exchange.informational = 1;
        assert_eq!(exchange.awaits(), Awaits::Request);
    }

    #[test]
    fn once_the_response_began_each_side_may_be_the_slow_one() {
        let (mut exchange, now) = open(&[]);
        exchange.response_head = Head::Sent;
        assert_eq!(exchange.awaits(), Awaits::Either);
        exchange.request.readable = true;
        assert_eq!(exchange.awaits(), Awaits::BackendRoom);
        exchange.response.readable = true;
        assert_eq!(exchange.awaits(), Awaits::ClientRoom);
        exchange.response.readable = false;
        exchange.request.finished = true;
        assert_eq!(exchange.awaits(), Awaits::Response);
        // Trailers that wait for room.
        exchange.response.ended = true;
        assert_eq!(exchange.awaits(), Awaits::ClientRoom);
        assert_eq!(exchange.due(&TIMEOUTS), Some(now + TIMEOUTS.idle));
    }

    #[test]
    fn the_whole_has_a_bound_until_it_has_failed() {
        let (mut exchange, now) = open(&[]);
        let by = now + Duration::from_secs(1);
        exchange.ends_by = Some(by);
        assert_eq!(exchange.due(&TIMEOUTS), Some(by));
        assert!(exchange.is_late(by) && !exchange.is_late(now));
        exchange.state = State::Replying;
        assert_eq!(exchange.due(&TIMEOUTS), None);
        assert!(!exchange.is_late(by));
    }

    /// An exchange that is with a backend, whose request has not ended.
    fn open(extra: &[(&str, &str)]) -> (Exchange, Instant) {
        let now = Instant::now();
        let handle: Handle = Table::new().insert(());
        let timer = Timers::new().create((), now);
        let client = ([127, 0, 0, 1], 5).into();
        let mut exchange = Exchange::new(1, handle, 0, client, timer, now);
        let plain = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/"),
        ];
        let fields = plain.iter().chain(extra);
        let list: Fields = fields.map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        exchange.head = RequestHead::parse(list, Bounds::from(&Limits::default())).ok();
        assert!(exchange.head.is_some());
        exchange.state = State::Open {
            connection: handle,
            stream: 0,
        };
        (exchange, now)
    }
}
