//! How a request ended: the one record every exchange leaves behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::http::{Glimpse, RequestHead};

/// One finished exchange. The access log, tests and `explain` read the same.
#[derive(Debug)]
pub struct Record {
    /// Unique in the process: the worker's index in the upper 16 bits, a count below.
    pub id: u64,
    /// When the request's head had arrived, wall clock.
    pub started: SystemTime,
    /// The client's address at the end.
    pub client: SocketAddr,
    /// The request's head as it came; `None` if it was refused.
    pub request: Option<RequestHead>,
    /// What could be told of a head that was refused.
    pub refused: Option<Glimpse>,
    /// Id of the backend asked last.
    pub backend: Option<Arc<str>>,
    /// Backends asked.
    pub attempts: u32,
    /// Status sent to the client; `None` if no response head was sent.
    pub status: Option<u16>,
    /// The client's connection began with a ticket.
    pub resumed: bool,
    /// What was done with it if it came in 0-RTT, before the handshake was complete.
    pub early: Option<Early>,
    /// Body bytes received from the client.
    pub request_bytes: u64,
    /// Body bytes passed to the client's connection.
    pub response_bytes: u64,
    /// From the request's head to the final response head, if one was sent.
    pub time_to_head: Option<Duration>,
    /// From the request's head to the end.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it did not simply work.
    pub reason: Option<Reason>,
    /// What only this case knows (a TLS error's text, a stream error code); short.
    pub detail: Option<Box<str>>,
}

impl Record {
    /// The request's method, if one was sound.
    pub fn method(&self) -> Option<&[u8]> {
        let refused = || self.refused.as_ref().and_then(Glimpse::method);
        let head = self.request.as_ref();
        head.map_or_else(refused, |head| Some(head.method()))
    }

    /// Path and query, if they were sound.
    pub fn path(&self) -> Option<&[u8]> {
        let refused = || self.refused.as_ref().and_then(Glimpse::path);
        let head = self.request.as_ref();
        head.map_or_else(refused, |head| Some(head.path()))
    }

    /// The authority, if it was sound.
    pub fn authority(&self) -> Option<&[u8]> {
        let refused = || self.refused.as_ref().and_then(Glimpse::authority);
        let head = self.request.as_ref();
        head.map_or_else(refused, |head| Some(head.authority()))
    }
}

/// What became of a request in 0-RTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Early {
    /// It waited for the handshake.
    Held,
    /// It went on at once, with `Early-Data: 1`.
    Forwarded,
}

impl Early {
    /// The word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Early::Held => "held",
            Early::Forwarded => "forwarded",
        }
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The backend's response went to the client, whole.
    Complete,
    /// Spooky answered itself, whole.
    LocalReply,
    /// The client's stream was reset, because the response could not be completed.
    Reset,
    /// The client gave up: reset, stopped reading, or its connection is gone.
    Cancelled,
}

impl Outcome {
    /// The word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::LocalReply => "local_reply",
            Outcome::Reset => "reset",
            Outcome::Cancelled => "cancelled",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $error:literal;)*) => {
        /// Why an exchange did not simply work.
        ///
        /// Each has the word used in logs, the status of the local reply it leads
        /// to, and the error type of RFC 9209 section 2.3 for `Proxy-Status`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// The word in logs.
            pub fn as_str(self) -> &'static str { match self { $(Reason::$name => $word,)* } }
            /// Status of the local reply.
            pub fn status(self) -> u16 { match self { $(Reason::$name => $status,)* } }
            /// Proxy error type, RFC 9209 section 2.3; `None` where nothing failed.
            pub fn proxy_error(self) -> Option<&'static str> {
                let error = match self { $(Reason::$name => $error,)* };
                (!error.is_empty()).then_some(error)
            }
            #[cfg(test)]
            const ALL: &[Reason] = &[$(Reason::$name),*];
        }
    };
}

reasons! {
    /// The client reset its stream or stopped reading the response.
    ClientCancelled = "client_cancelled", 499, "http_request_error";
    /// The client's connection is gone.
    ClientGone = "client_gone", 499, "http_request_error";
    /// The request came in 0-RTT, and its client never completed the handshake: it was
    /// gone, or it was a replay.
    HandshakeIncomplete = "handshake_incomplete", 499, "http_request_error";
    /// The request came in 0-RTT, and it is not sure that no copy of it was forwarded before.
    TooEarly = "too_early", 425, "http_request_denied";
    /// The request breaks a rule of HTTP.
    BadRequest = "bad_request", 400, "http_request_error";
    /// The request's head or trailers are more than `limits.header_bytes` or `limits.headers`.
    RequestHeadTooLarge = "request_head_too_large", 431, "http_request_denied";
    /// The request's head was not whole within `limits.request_header_timeout`.
    RequestHeaderTimeout = "request_header_timeout", 408, "http_request_error";
    /// The request's body is larger than `limits.body_bytes`.
    BodyTooLarge = "body_too_large", 413, "http_request_denied";
    /// The client cancelled more than `limits.resets_per_connection` requests, and its
    /// connection was closed with all that was on it.
    TooManyResets = "too_many_resets", 429, "http_request_denied";
    /// CONNECT is not available.
    ConnectRefused = "connect_refused", 501, "http_request_denied";
    /// A TRACE request that may be forwarded no more, and whose content is not reflected.
    TraceRefused = "trace_refused", 501, "http_request_denied";
    /// An OPTIONS request that may be forwarded no more: answered here.
    MaxForwards = "max_forwards", 204, "";
    /// Every backend has weight 0 or is otherwise out of question.
    NoBackend = "no_backend", 503, "destination_unavailable";
    /// The backend's host says that nobody listens.
    ConnectionRefused = "connection_refused", 503, "connection_refused";
    /// The backend ended the connection during the handshake.
    ConnectionFailed = "connection_failed", 503, "connection_terminated";
    /// The backend's handshake took longer than `timeouts.connect`.
    ConnectTimeout = "connect_timeout", 504, "connection_timeout";
    /// The backend's certificate was not accepted.
    CertificateRefused = "certificate_refused", 502, "tls_certificate_error";
    /// TLS with the backend failed for another reason than its certificate.
    TlsFailed = "tls_failed", 502, "tls_protocol_error";
    /// `connections.max_pending` requests wait already.
    QueueFull = "queue_full", 503, "connection_limit_reached";
    /// Waited longer than `connections.queue_timeout`.
    QueueTimeout = "queue_timeout", 503, "connection_limit_reached";
    /// No response head within `timeouts.response_header`.
    ResponseHeaderTimeout = "response_header_timeout", 504, "http_response_timeout";
    /// Nothing moved within `timeouts.idle`; the detail says who was waited for. The
    /// status is for a client that does not send the rest of its request.
    IdleTimeout = "idle_timeout", 408, "http_request_error";
    /// Not ended within `timeouts.request`.
    RequestTimeout = "request_timeout", 504, "http_response_timeout";
    /// The backend reset the stream.
    BackendReset = "backend_reset", 502, "http_response_incomplete";
    /// The backend's connection ended.
    BackendGone = "backend_gone", 502, "connection_terminated";
    /// The response breaks a rule of HTTP.
    BadResponse = "bad_response", 502, "http_protocol_error";
    /// The response's head or trailers are more than `limits.header_bytes` or `limits.headers`.
    ResponseHeadTooLarge = "response_head_too_large", 502, "http_response_header_section_size";
    /// The response's body is shorter or longer than its content-length.
    ResponseIncomplete = "response_incomplete", 502, "http_response_incomplete";
    /// The request's body is shorter or longer than its content-length, or its stream
    /// ended before its head was whole.
    RequestIncomplete = "request_incomplete", 400, "http_request_error";
    /// The head does not fit the congestion window, and nothing in flight will widen it;
    /// or the peer said that it takes none of that size.
    HeadUnsendable = "head_unsendable", 502, "connection_terminated";
    /// Spooky is shutting down and the drain deadline passed.
    Draining = "draining", 503, "destination_unavailable";
    /// A bug of ours.
    Internal = "internal", 500, "proxy_internal_error";
}

#[cfg(test)]
mod tests {
    use super::Reason;

    /// RFC 9209 section 2.3: the types of its registry, as far as a proxy of HTTP/3 needs
    /// them.
    const REGISTERED: &[&str] = &[
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_error",
        "http_request_denied",
        "http_response_incomplete",
        "http_response_header_section_size",
        "http_response_header_size",
        "http_response_body_size",
        "http_response_trailer_section_size",
        "http_response_trailer_size",
        "http_response_transfer_coding",
        "http_response_content_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "http_protocol_error",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_configuration_error",
        "proxy_loop_detected",
    ];

    #[test]
    fn every_error_is_of_a_registered_type_and_has_a_status_of_its_kind() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            match reason.proxy_error() {
                Some(error) => {
                    assert!(REGISTERED.contains(&error), "{word}: {error}");
                    assert!((400..600).contains(&reason.status()), "{word}");
                }
                None => assert!((200..300).contains(&reason.status()), "{word}"),
            }
        }
    }

    /// Who reads the access log looks words up there.
    #[test]
    fn the_documentation_names_every_reason() {
        let page = include_str!("../../../docs/operations.md");
        let rows: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        for reason in Reason::ALL {
            let word = format!("`{}`", reason.as_str());
            let named = |row: &&str| row.split(" | ").next().is_some_and(|c| c.contains(&word));
            assert!(rows.iter().any(named), "{word}");
        }
    }
}
