//! Entrances to what is private, for the fuzz workspace alone: behind the feature
//! `fuzzing`, which a test keeps out of every program of this workspace.
//!
//! Each does nothing but call on. What must hold is said over there.

pub mod framing;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::config::{Forwarding, units};
use crate::http::{
    self, Bounds, Client, Fields, Forwarder, Glimpse, HeadError, LocalReply, RequestHead,
    ResponseHead, Signature,
};
use crate::listener::{
    self, BadToken, Ids, ResetTokens, Routes, Stranger, Tokens, UsedTokens, stateless,
};
use crate::observe::Reason;
use crate::secrets::Secrets;

/// A head that was taken.
#[derive(Debug)]
pub struct Taken {
    /// The fields: of a response and of trailers as they are sent on.
    pub fields: Fields,
    /// What `content-length` says.
    pub content_length: Option<u64>,
    /// The status of a response.
    pub status: Option<u16>,
    /// The head of a request.
    pub request: Option<RequestHead>,
}

/// Why a head was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Larger than the limit.
    TooLarge,
    /// More fields than the limit.
    TooMany,
    /// Breaks a rule; the text says which.
    Malformed(&'static str),
    /// CONNECT.
    Connect,
}

impl From<HeadError> for Refused {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::TooLarge(_) => Refused::TooLarge,
            HeadError::TooMany(_) => Refused::TooMany,
            HeadError::Malformed(why) => Refused::Malformed(why),
            HeadError::Connect => Refused::Connect,
        }
    }
}

/// Reads a client's head of at most `bytes` and `count` fields.
///
/// # Errors
/// Why it is not taken.
pub fn request(fields: Fields, bytes: u64, count: usize) -> Result<Taken, Refused> {
    let head = RequestHead::parse(fields, bounds(bytes, count)).map_err(|r| r.error)?;
    Ok(Taken {
        fields: head.fields().clone(),
        content_length: head.content_length(),
        status: None,
        request: Some(head),
    })
}

/// Reads a client's head of any size: it, or what can be told of it.
pub fn head(fields: Fields) -> (Option<RequestHead>, Option<Glimpse>) {
    match RequestHead::parse(fields, bounds(u64::MAX, usize::MAX)) {
        Ok(head) => (Some(head), None),
        Err(refused) => (None, Some(refused.glimpse)),
    }
}

/// The fields of a client's head as a backend gets them.
pub fn forward(head: &RequestHead, client: IpAddr, config: &Forwarding) -> Fields {
    let client = Client {
        ip: client,
        certificate: None,
        early: false,
    };
    Forwarder::new(config).request(head, client).clone()
}

/// Reads a backend's head, and makes it the client's.
///
/// # Errors
/// Why it is not taken.
pub fn response(
    fields: Fields,
    bytes: u64,
    count: usize,
    config: &Forwarding,
    wall: SystemTime,
) -> Result<Taken, Refused> {
    let mut head = ResponseHead::parse(fields, bounds(bytes, count))?;
    // Of a GET, whose response may have a body.
    let content_length = head.body_length(false);
    let mut forwarder = Forwarder::new(config);
    if head.is_informational() {
        forwarder.informational(&mut head);
    } else {
        forwarder.response(&mut head, wall);
    }
    Ok(Taken {
        status: Some(head.status),
        fields: head.fields,
        content_length,
        request: None,
    })
}

/// Reads a trailer section of a response, and makes it the client's.
///
/// # Errors
/// Why it is not taken.
pub fn trailers(
    fields: Fields,
    bytes: u64,
    count: usize,
    config: &Forwarding,
) -> Result<Taken, Refused> {
    let trailers = http::parse_trailers(fields, bounds(bytes, count))?;
    let fields = Forwarder::new(config).response_trailers(trailers);
    Ok(Taken {
        fields: fields.unwrap_or_default(),
        content_length: None,
        status: None,
        request: None,
    })
}

fn bounds(bytes: u64, fields: usize) -> Bounds {
    Bounds { bytes, fields }
}

/// The `proxy-status` field of a reply that Spooky makes itself.
pub fn proxy_status(reason: Reason, detail: &str) -> Vec<u8> {
    let signature = Signature {
        date: b"",
        name: Some("spooky"),
    };
    let reply = LocalReply::new(reason, Some(detail), false, signature);
    let field = reply.fields.find(b"proxy-status");
    field.map_or_else(Vec::new, <[u8]>::to_vec)
}

/// What one machine makes of its secrets: ids of connections, and tokens of resets.
#[derive(Debug)]
pub struct Issuer {
    ids: Ids,
    reset_tokens: ResetTokens,
}

/// Where an id of ours comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuedBy {
    /// The worker in it.
    pub worker: u16,
    /// Which secret it was made under: 0 is the current one.
    pub secret: usize,
}

impl Issuer {
    /// Of a machine with this name.
    pub fn new(current: &[u8], previous: &[Vec<u8>], instance: &str) -> Self {
        let secrets = Secrets::new(current, previous);
        Issuer {
            ids: Ids::new(&secrets.keys("connection ids")),
            reset_tokens: ResetTokens::new(&secrets.keys("stateless resets"), instance),
        }
    }

    /// A connection id of `worker` with the random bytes of `seed`, and its reset token.
    pub fn issue(&self, worker: u16, seed: u64) -> ([u8; 16], u128) {
        let id = self.ids.issue(worker, &mut StdRng::seed_from_u64(seed));
        (id, self.reset_tokens.of_new(&id))
    }

    /// Where an id comes from, if it is one of ours, and the token that went with it.
    pub fn find(&self, id: &[u8]) -> Option<(IssuedBy, u128)> {
        let origin = self.ids.origin(id)?;
        let found = IssuedBy {
            worker: origin.worker,
            secret: origin.key,
        };
        let id = id.try_into().expect("an id of ours is as long as ids are");
        Some((found, self.reset_tokens.of(id, origin)))
    }
}

/// Whether each of these ids was known for a retired one when it was given up.
pub fn retired_before(ids: &[[u8; 16]]) -> Vec<bool> {
    let mut routes = Routes::default();
    let mut retire = |id: &[u8; 16]| {
        let before = routes.was_retired(id);
        routes.retire(id);
        before
    };
    ids.iter().map(&mut retire).collect()
}

/// The destination connection id of a datagram.
pub fn destination_id(datagram: &[u8]) -> Option<&[u8]> {
    listener::destination_id(datagram)
}

/// What becomes of a datagram with an id that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It starts a connection.
    Accepted,
    /// It is answered with our versions.
    Negotiated,
    /// Nothing.
    Dropped,
}

/// Looks at a datagram with an id that nobody knows.
pub fn classify(datagram: &mut [u8]) -> Fate {
    match listener::classify(datagram) {
        Stranger::Accept(_) => Fate::Accepted,
        Stranger::Negotiate(_) => Fate::Negotiated,
        Stranger::Drop => Fate::Dropped,
    }
}

/// Why a Retry token is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// Not ours, altered, or of another Retry.
    Forged,
    /// From another address.
    Elsewhere,
    /// Too old.
    Expired,
}

/// The token of a Retry that is sent `at` a time since 1970, made with the first of `keys`.
pub fn issue_token(
    keys: &[[u8; 32]],
    original: &[u8],
    retry_id: &[u8; 16],
    client: SocketAddr,
    at: Duration,
) -> Vec<u8> {
    Tokens::new(keys).issue(original, retry_id, client, at)
}

/// The original id of a token that comes with `dcid` from `client`.
///
/// # Errors
/// What is wrong with it.
pub fn open_token(
    keys: &[[u8; 32]],
    token: &[u8],
    dcid: &[u8],
    client: SocketAddr,
    at: Duration,
) -> Result<Vec<u8>, TokenFault> {
    let tokens = Tokens::new(keys);
    let opened = tokens.open(token, dcid, client, at);
    opened.map(<[u8]>::to_vec).map_err(|fault| match fault {
        BadToken::Forged => TokenFault::Forged,
        BadToken::Elsewhere => TokenFault::Elsewhere,
        BadToken::Expired => TokenFault::Expired,
        BadToken::Used => unreachable!("the register was not asked"),
    })
}

/// Which of these Retry ids, each used at a time, were used for the first time.
pub fn first_uses(uses: &[([u8; 16], Duration)]) -> Vec<bool> {
    let used = UsedTokens::default();
    uses.iter().map(|(id, at)| used.take(id, *at)).collect()
}

/// A stateless reset in answer to a datagram of `trigger` bytes for an id of ours, and the
/// token that was given with that id.
pub fn stateless_reset(
    key: [u8; 32],
    id: &[u8; 16],
    trigger: usize,
    seed: u64,
) -> (Option<Vec<u8>>, [u8; 16]) {
    let token = ResetTokens::new(&[key], "").of_new(id);
    let mut rng = StdRng::seed_from_u64(seed);
    let reset = stateless::reset(trigger, token, &mut rng);
    (reset, token.to_be_bytes())
}

/// A duration of a configuration.
pub fn parse_duration(text: &str) -> Option<Duration> {
    units::parse_duration(text)
}

/// A size of a configuration.
pub fn parse_size(text: &str) -> Option<u64> {
    units::parse_size(text)
}

/// A number of a configuration.
pub fn parse_number(text: &str) -> Option<u64> {
    units::parse_number(text)
}

/// A duration as `check --effective` prints it.
pub fn format_duration(duration: Duration) -> String {
    units::format_duration(duration)
}

/// A size as `check --effective` prints it.
pub fn format_size(bytes: u64) -> String {
    units::format_size(bytes)
}
