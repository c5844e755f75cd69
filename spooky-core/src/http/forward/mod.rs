//! What a gateway makes of a message on its way: fields for the backend, fields for
//! the client, and its own signature.
//!
//! | what comes | what goes on |
//! | --- | --- |
//! | `:authority`, `host` | one `:authority` |
//! | `x-forwarded-*`, `forwarded`, `x-real-ip` and their like | ours; theirs only from `trusted_proxies` |
//! | `client-cert`, `client-cert-chain` | ours, where it is wanted and there is one |
//! | `proxy-authorization` | nothing |
//! | `via` | with us at its end |
//! | `max-forwards` of TRACE and OPTIONS | one less |
//! | a response without `date` | with it |
//! | all else | as it came, in its order |
//!
//! `early-data` is among all else: RFC 8470 section 5.1: "An intermediary MUST NOT
//! remove this header field if it is present in a request." A client that sends it
//! only harms itself: it may be told 425.

mod names;
mod peers;

use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

use super::date::DateText;
use super::{Fields, LocalReply, RequestHead, ResponseHead, Signature, Trailers, reply};
use crate::config::{self, XForwarded};
use crate::observe::Reason;

pub(super) use names::is_of_a_gateway;
use names::{Ours, Role, role};
use peers::Peers;

/// The name in `proxy-status` when `via` is off.
const NAME: &str = "spooky";

/// Who asks, as far as backends may learn it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) ip: IpAddr,
    /// The certificate that was verified, as the value of a field (RFC 9440).
    pub(crate) certificate: Option<&'a [u8]>,
    /// Its handshake was not complete when its request was sent on.
    pub(crate) early: bool,
}

/// One worker's hand in the messages that pass. It owns the memory that heads are
/// put together in: a head costs no allocation once that has grown.
#[derive(Debug)]
pub(crate) struct Forwarder {
    x_forwarded: XForwarded,
    forwarded: bool,
    trusted: Peers,
    /// Who we are in `via`, if we say it.
    via: Option<Box<str>>,
    proxy_status: bool,
    out: Fields,
    lists: Lists,
    date: DateText,
}

/// Values of lists that we add to, joined.
#[derive(Debug, Default)]
struct Lists {
    via: Vec<u8>,
    forwarded: Vec<u8>,
    client: Vec<u8>,
    proto: Vec<u8>,
    host: Vec<u8>,
}

impl Forwarder {
    pub(crate) fn new(config: &config::Forwarding) -> Self {
        Forwarder {
            x_forwarded: config.x_forwarded,
            forwarded: config.forwarded,
            trusted: Peers::new(&config.trusted_proxies),
            via: config.via.as_deref().map(Into::into),
            proxy_status: config.proxy_status,
            out: Fields::default(),
            lists: Lists::default(),
            date: DateText::default(),
        }
    }

    /// The fields of `head` as a backend gets them, which are valid until the next call.
    pub(crate) fn request(&mut self, head: &RequestHead, client: Client<'_>) -> &Fields {
        let ip = client.ip.to_canonical();
        let trusted = self.trusted.contains(ip);
        self.lists.clear();
        self.out.clear();
        self.out.push(b":method", head.method());
        if let Some(protocol) = head.protocol() {
            self.out.push(b":protocol", protocol);
        }
        self.out.push(b":scheme", b"https");
        self.out.push(b":authority", head.authority());
        // RFC 9110 section 7.7: "A proxy MUST NOT modify the "absolute-path" and "query"
        // parts of the received target URI when forwarding it".
        self.out.push(b":path", head.path());
        for (index, (name, value)) in head.fields().iter().enumerate() {
            let before = self.out.len();
            self.pass(head, trusted, name, value);
            // RFC 9204 section 4.5.4: who passes on what came as a literal that is never
            // indexed "MUST use a literal representation to forward this field line".
            if head.fields().is_never_indexed(index) {
                if self.out.len() > before {
                    self.out.never_index_last();
                } else {
                    self.out.never_index(name);
                }
            }
        }
        // RFC 8470 section 5.1: "An intermediary that forwards a request prior to the
        // completion of the TLS handshake with its client MUST send it with the Early-Data
        // header field set to "1"": a field that is there counts as that, whatever it says.
        if client.early && head.fields().find(b"early-data").is_none() {
            self.out.push(b"early-data", b"1");
        }
        self.add_ours(head, ip);
        if let Some(certificate) = client.certificate {
            self.out.push(b"client-cert", certificate);
        }
        &self.out
    }

    /// One field of a client: on its way, into a list, or nowhere.
    fn pass(&mut self, head: &RequestHead, trusted: bool, name: &[u8], value: &[u8]) {
        let (out, lists) = (&mut self.out, &mut self.lists);
        let list = match role(name) {
            // RFC 9114 section 4.2.1: cookies are joined "before being passed into a context
            // other than HTTP/2 or HTTP/3", and backends are HTTP/3.
            Role::Plain => return out.push(name, value),
            Role::Pseudo | Role::Host | Role::Never => return,
            Role::MaxForwards => return push_less(out, name, value, head.max_forwards()),
            Role::Via if self.via.is_none() => return out.push(name, value),
            Role::Via => &mut lists.via,
            // Whom we don't trust says nothing of where a request came from. RFC 7239
            // section 8.1: the field "cannot be relied upon to be correct".
            Role::Forwarded | Role::Claim | Role::Ours(_) if !trusted => return,
            Role::Claim => return out.push(name, value),
            Role::Forwarded if !self.forwarded => return out.push(name, value),
            Role::Forwarded => &mut lists.forwarded,
            Role::Ours(field) => match self.x_forwarded {
                XForwarded::Off => return out.push(name, value),
                XForwarded::Replace => return,
                XForwarded::Append => lists.of(field),
            },
        };
        join(list, value);
    }

    /// What we have to say of the client, behind what others said.
    fn add_ours(&mut self, head: &RequestHead, client: IpAddr) {
        let (out, lists) = (&mut self.out, &mut self.lists);
        let written = "memory takes what is written";
        // RFC 9110 section 7.6.3: "An HTTP-to-HTTP gateway MUST send an appropriate Via
        // header field in each inbound request message and MAY send a Via header field
        // in forwarded response messages": which we don't, clients have no use for it.
        if let Some(name) = &self.via {
            join(&mut lists.via, b"3 ");
            lists.via.extend_from_slice(name.as_bytes());
            out.push(b"via", &lists.via);
        }
        match self.x_forwarded {
            XForwarded::Off => {}
            XForwarded::Replace | XForwarded::Append => {
                separate(&mut lists.client);
                write!(lists.client, "{client}").expect(written);
                out.push(b"x-forwarded-for", &lists.client);
                join(&mut lists.proto, b"https");
                out.push(b"x-forwarded-proto", &lists.proto);
                join(&mut lists.host, head.authority());
                out.push(b"x-forwarded-host", &lists.host);
            }
        }
        if self.forwarded {
            let list = &mut lists.forwarded;
            separate(list);
            // RFC 7239 section 6: "an IPv6 address is always enclosed in square
            // brackets", and what has brackets or a colon is quoted.
            match client {
                IpAddr::V4(ip) => write!(list, "for={ip}"),
                IpAddr::V6(ip) => write!(list, "for=\"[{ip}]\""),
            }
            .expect(written);
            list.extend_from_slice(b";host=");
            push_word(list, head.authority());
            list.extend_from_slice(b";proto=https");
            out.push(b"forwarded", list);
        }
    }

    /// Makes a backend's final head the client's. `wall` is when it came.
    pub(crate) fn response(&mut self, head: &mut ResponseHead, wall: SystemTime) {
        let altered = drop_length(head);
        // RFC 9110 section 6.6.1: "A recipient with a clock that receives a response
        // message without a Date header field MUST record the time it was received and
        // append a corresponding Date header field to the message's header section if
        // it is cached or forwarded downstream."
        if !head.has_date() {
            head.fields.push(b"date", self.date.at(wall));
        }
        if altered {
            self.sign(&mut head.fields, "content-length dropped");
        }
    }

    /// Makes a backend's informational head the client's. It gets no `date` and no
    /// `proxy-status`: both tell of the response that is still to come.
    pub(crate) fn informational(&mut self, head: &mut ResponseHead) {
        drop_length(head);
    }

    /// The trailers of a response as the client gets them, if there are any left.
    pub(crate) fn response_trailers(&self, trailers: Trailers) -> Option<Fields> {
        let mut fields = trailers.fields;
        if trailers.altered {
            self.sign(&mut fields, "trailer fields dropped");
        }
        (!fields.is_empty()).then_some(fields)
    }

    /// A response of our own.
    pub(crate) fn reply(
        &mut self,
        reason: Reason,
        detail: Option<&str>,
        to_head: bool,
        wall: SystemTime,
    ) -> LocalReply {
        let signature = Signature {
            date: self.date.at(wall),
            name: self
                .proxy_status
                .then(|| self.via.as_deref().unwrap_or(NAME)),
        };
        LocalReply::new(reason, detail, to_head, signature)
    }

    /// RFC 9209 section 2: each intermediary that has something to say of a response
    /// adds a member to the list, behind those of others nearer to the origin. We do
    /// where we took away what the backend said, not where we only add a date.
    fn sign(&self, fields: &mut Fields, details: &str) {
        if self.proxy_status {
            let name = self.via.as_deref().unwrap_or(NAME);
            let member = reply::proxy_status(name, None, details);
            fields.push(b"proxy-status", member.as_bytes());
        }
    }
}

impl Lists {
    fn clear(&mut self) {
        let Lists {
            via,
            forwarded,
            client,
            proto,
            host,
        } = self;
        for list in [via, forwarded, client, proto, host] {
            list.clear();
        }
    }

    fn of(&mut self, field: Ours) -> &mut Vec<u8> {
        match field {
            Ours::For => &mut self.client,
            Ours::Proto => &mut self.proto,
            Ours::Host => &mut self.host,
        }
    }
}

/// Adds what one field says to a list. RFC 9110 section 5.3: fields of one name are
/// one list, joined by commas in their order; section 5.6.1.1: without empty members.
fn join(list: &mut Vec<u8>, said: &[u8]) {
    if !said.is_empty() {
        separate(list);
        list.extend_from_slice(said);
    }
}

fn separate(list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
}

/// RFC 9110 section 7.6.2: "the intermediary MUST generate an updated Max-Forwards
/// field in the forwarded message with [...] the received value decremented by one".
/// Zero does not come here: it is answered. Without a count, it says nothing to us.
fn push_less(out: &mut Fields, name: &[u8], value: &[u8], count: Option<u64>) {
    match count {
        Some(count) => out.push(name, count.saturating_sub(1).to_string().as_bytes()),
        None => out.push(name, value),
    }
}

/// RFC 7239 section 4: a value is a token or quoted. An authority has no quote and
/// no backslash.
fn push_word(list: &mut Vec<u8>, word: &[u8]) {
    if super::head::is_token(word) {
        list.extend_from_slice(word);
    } else {
        list.push(b'"');
        list.extend_from_slice(word);
        list.push(b'"');
    }
}

/// Takes a `content-length` away where none may be; see
/// [`ResponseHead::has_forbidden_length`]. The response itself is sound: to drop
/// the field harms nobody, and to refuse it would.
fn drop_length(head: &mut ResponseHead) -> bool {
    if !head.has_forbidden_length() {
        return false;
    }
    head.fields.retain(|name, _| name != b"content-length");
    true
}

#[cfg(test)]
mod tests;
