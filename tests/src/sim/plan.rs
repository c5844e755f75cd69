//! A scenario as plain data: what is there, what everyone does, what goes wrong.
//!
//! A scenario and its seed determine a run to the byte. It can be written down
//! as JSON, read again, and made smaller while it still fails.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::network::{Link, PacketFault};

/// Everything about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Decides the network's harm, all entropy, and the balancer's dice.
    pub seed: u64,
    /// Keys added to the balancer's configuration, as YAML.
    pub config: String,
    /// Workers of the balancer; clients are spread by their address, as
    /// SO_REUSEPORT does.
    pub workers: u32,
    /// Datagrams the balancer's sockets take in one call (GSO).
    pub segments: usize,
    /// Between the arrival of a datagram and the balancer's turn; 0 is at once.
    pub turn: Duration,
    /// Chance, in a million, that a socket of the balancer is full when it sends.
    pub blocked: u32,
    /// Names besides its own on the certificates, each about 40 bytes.
    #[serde(default)]
    pub names: u32,
    /// Who asks.
    pub clients: Vec<ClientPlan>,
    /// Who answers.
    pub backends: Vec<BackendPlan>,
    /// Between clients and the balancer.
    pub client_link: Link,
    /// Between the balancer and the backends.
    pub backend_link: Link,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// When clients leave, whatever they still wait for.
    pub until: Duration,
    /// If given, the network does only this harm.
    pub kept: Option<BTreeSet<PacketFault>>,
}

/// One client: a connection, opened anew when it is lost, and its requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientPlan {
    /// When it connects.
    pub start: Duration,
    /// In order of `at`.
    pub requests: Vec<RequestPlan>,
    /// Unread bytes it allows for one response.
    pub window: u64,
    /// Bytes of a body that it reads a millisecond; `None` for all at once.
    pub reads: Option<u64>,
    /// Offers the session it had when it connects again.
    pub resumes: bool,
    /// What is due then goes out in 0-RTT.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub early: bool,
    /// Ends without a word: no CONNECTION_CLOSE.
    pub vanishes: bool,
    /// Its own road to the balancer, if it is not the scenario's.
    #[serde(default)]
    pub link: Option<Link>,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestPlan {
    /// After the client's start, or as soon as it is connected.
    pub at: Duration,
    /// What is asked for.
    pub method: Method,
    /// Bytes of its body.
    pub upload: u64,
    /// It says how long its body is.
    pub announced: bool,
    /// It sends half of its body and then nothing, not even an end.
    #[serde(default)]
    pub stalls: bool,
    /// Bytes of an extra field in its head.
    pub padding: u32,
    /// Its `priority` field, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// After how long it is given up.
    pub cancelled: Option<Duration>,
    /// Bytes of the response's body.
    pub download: u64,
    /// What the backend does with it.
    pub asks: Behaviour,
}

impl RequestPlan {
    /// Bytes of the body of the backend's answer.
    pub fn answer(&self) -> u64 {
        if self.method.has_answer() {
            self.download
        } else {
            0
        }
    }

    /// What the backend does: without a body in the answer there is no middle of it
    /// to stop in, and no length to lie about.
    pub fn behaviour(&self) -> Behaviour {
        let needs_body = matches!(
            self.asks,
            Behaviour::ResetMidway
                | Behaviour::StallMidway
                | Behaviour::TooShort
                | Behaviour::TooLong
                | Behaviour::CloseMidway
                | Behaviour::Trailers
        );
        // A tunnel has no length to lie about, and no trailers.
        let needs_length = matches!(
            self.asks,
            Behaviour::TooShort | Behaviour::TooLong | Behaviour::Trailers
        );
        if needs_body && !self.method.has_answer() {
            Behaviour::Answer
        } else if needs_length && self.method == Method::Connect {
            Behaviour::Early
        } else {
            self.asks
        }
    }

    /// Whether the backend means to answer it whole.
    pub fn is_answered(&self) -> bool {
        matches!(
            self.behaviour(),
            Behaviour::Answer
                | Behaviour::Stream
                | Behaviour::Early
                | Behaviour::Slow(_)
                | Behaviour::Hints
                | Behaviour::Trailers
                | Behaviour::RejectOnce
        )
    }
}

/// The methods that matter to a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// Safe and idempotent.
    Get,
    /// Without a body in the answer.
    Head,
    /// Idempotent.
    Put,
    /// Neither.
    Post,
    /// Extended CONNECT: a tunnel, whose ways end by themselves.
    Connect,
}

impl Method {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Connect => "CONNECT",
        }
    }

    /// Whether it may be done twice (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        match self {
            Method::Get | Method::Head | Method::Put => true,
            Method::Post | Method::Connect => false,
        }
    }

    /// Whether the response has a body.
    pub fn has_answer(self) -> bool {
        match self {
            Method::Get | Method::Put | Method::Post | Method::Connect => true,
            Method::Head => false,
        }
    }
}

/// What a backend does with a request that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behaviour {
    /// Reads the whole request, then answers, with a content-length.
    Answer,
    /// The same without a content-length.
    Stream,
    /// Answers as soon as the head is there; the request's body is read meanwhile.
    Early,
    /// Answers after so many milliseconds.
    Slow(u32),
    /// Never answers, and reads nothing.
    Silent,
    /// Sends two informational responses first.
    Hints,
    /// Ends with trailers.
    Trailers,
    /// Resets the stream after half of the body.
    ResetMidway,
    /// Stops, for ever, after half of the body.
    StallMidway,
    /// Announces one byte more than it sends, and ends clean.
    TooShort,
    /// Sends one byte more than it announced.
    TooLong,
    /// Rejects it unprocessed: H3_REQUEST_REJECTED.
    Reject,
    /// The same where it comes first; the backend that it comes to next answers.
    RejectOnce,
    /// Answers with a head that breaks the rules.
    Malformed,
    /// Closes the connection after half of the body.
    CloseMidway,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendPlan {
    /// Weight in the balancer's choice.
    pub weight: u32,
    /// Time before each answer.
    pub thinks: Duration,
    /// Requests at once on a connection.
    pub streams: u64,
    /// Unread bytes it allows for one request.
    pub window: u64,
    /// It sends GOAWAY after so many requests on a connection.
    pub leaves_after: Option<u32>,
    /// It is not there from the start.
    pub absent: bool,
    /// Its own road to the balancer, if it is not the scenario's.
    #[serde(default)]
    pub link: Option<Link>,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When.
    pub at: Duration,
    /// What.
    pub what: FaultKind,
}

/// What may go wrong besides datagrams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FaultKind {
    /// The backend's process dies; if its host lives, the host says so (ICMP).
    Crash {
        /// Its index.
        backend: u32,
        /// Whether the host answers that nobody listens.
        refuses: bool,
    },
    /// A backend that is down comes up again, knowing nothing.
    Restart {
        /// Its index.
        backend: u32,
    },
    /// The backend says GOAWAY on all its connections.
    Goaway {
        /// Its index.
        backend: u32,
    },
    /// Nobody hears the backend, nor it anybody, until it is healed.
    CutOffBackend {
        /// Its index.
        backend: u32,
    },
    /// … and for a client.
    CutOffClient {
        /// Its index.
        client: u32,
    },
    /// All are reachable again.
    Heal,
    /// The NAT before a client gives it another address.
    Rebind {
        /// Its index.
        client: u32,
    },
    /// The client moves to another address by itself (RFC 9000 section 9).
    Migrate {
        /// Its index.
        client: u32,
    },
    /// Somebody who saw how the client's last connection began sends the same again, from
    /// an address of his own.
    Replay {
        /// Its index.
        client: u32,
    },
    /// Somebody tells the balancer, falsely or not, that the backend is unreachable.
    Unreachable {
        /// Its index.
        backend: u32,
    },
    /// The links change.
    Links {
        /// Toward clients.
        clients: Link,
        /// Toward backends.
        backends: Link,
    },
    /// The balancer's process dies without a word; another begins at once, with the same
    /// secret, knowing nothing.
    RestartBalancer,
    /// The balancer is told to drain.
    Drain {
        /// How long requests may take to finish.
        within: Duration,
    },
}
