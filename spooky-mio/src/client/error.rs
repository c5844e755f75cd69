//! What can go wrong between asking and being answered, in words.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why there is no complete answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The URL, and what is wrong with it.
    BadUrl(String, String),
    /// The host, and why it has no address.
    Resolve(String, String),
    /// The operating system refused a socket.
    Socket(io::Error),
    /// TLS or QUIC could not be set up.
    Setup(String),
    /// The machine answered that nothing listens there.
    Refused(SocketAddr),
    /// No answer to the handshake in this time.
    NoAnswer(SocketAddr, Duration),
    /// The certificate does not hold, for this reason.
    Untrusted(String),
    /// The handshake failed with this TLS alert; sent by the server, or by us.
    Handshake {
        /// Its number, of RFC 8446 section 6.
        alert: u8,
        /// Who sent it.
        by_server: bool,
    },
    /// The connection was closed.
    Closed {
        /// Who closed it.
        by_server: bool,
        /// Whether the code is HTTP/3's, or QUIC's.
        application: bool,
        /// Why, as a number.
        code: u64,
        /// Why, in words, if any.
        reason: String,
    },
    /// The connection was silent for too long.
    Idle,
    /// No complete answer within the time given.
    TimedOut(Duration),
    /// The server reset the stream with this code.
    Reset(u64),
    /// Fewer bytes of body came than `content-length` said.
    Truncated {
        /// What came.
        got: u64,
        /// What should have come.
        announced: u64,
    },
    /// The stream ended without a final response head.
    NoHead,
    /// The server goes away and did not take the request.
    GoingAway,
    /// The response is not HTTP/3 as it should be.
    Malformed(String),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl(url, why) => write!(f, "{url:?} cannot be asked for: {why}"),
            Self::Resolve(host, why) => write!(f, "{host} has no address: {why}"),
            Self::Socket(error) => write!(f, "the UDP socket failed: {error}"),
            Self::Setup(why) => write!(f, "cannot set up TLS and QUIC: {why}"),
            Self::Refused(to) => write!(
                f,
                "nothing listens at UDP {to}: check the port, and that the server runs"
            ),
            Self::NoAnswer(to, time) => write!(
                f,
                "no answer from UDP {to} in {time:?}: check that a QUIC server runs there and \
                 that no firewall drops UDP"
            ),
            Self::Untrusted(why) => write!(
                f,
                "the server's certificate is not trusted ({why}): give the authority that \
                 signed it with --ca FILE, or do without the check with --insecure"
            ),
            Self::Handshake { alert, by_server } => {
                let who = if *by_server {
                    "the server"
                } else {
                    "this side"
                };
                let what = alert_meaning(*alert);
                write!(
                    f,
                    "the TLS handshake failed: {who} sent alert {alert} ({what})"
                )
            }
            Self::Closed {
                by_server,
                application,
                code,
                reason,
            } => {
                let who = if *by_server {
                    "the server"
                } else {
                    "this side"
                };
                let name = if *application { h3_code(*code) } else { "QUIC" };
                write!(f, "{who} closed the connection: {name} {code:#x}")?;
                if reason.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({reason})")
                }
            }
            Self::Idle => write!(f, "the connection was silent for too long and is given up"),
            Self::TimedOut(time) => write!(f, "no complete answer in {time:?}"),
            Self::Reset(code) => {
                write!(
                    f,
                    "the server reset the stream: {} {code:#x}",
                    h3_code(*code)
                )
            }
            Self::Truncated { got, announced } => write!(
                f,
                "the body is cut short: {got} of the {announced} bytes content-length promised"
            ),
            Self::NoHead => write!(f, "the stream ended before a response head"),
            Self::GoingAway => write!(f, "the server is going away and took no new request"),
            Self::Malformed(what) => write!(f, "the response is malformed: {what}"),
        }
    }
}

/// RFC 8446 section 6, those that a person can do something about.
fn alert_meaning(alert: u8) -> &'static str {
    match alert {
        40 => "handshake_failure: no identity for this name, or nothing in common",
        42 => "bad_certificate",
        45 => "certificate_expired",
        48 => "unknown_ca",
        70 => "protocol_version",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol: it speaks QUIC, but not HTTP/3",
        _ => "see RFC 8446 section 6",
    }
}

/// RFC 9114 section 8.1.
fn h3_code(code: u64) -> &'static str {
    match code {
        0x100 => "H3_NO_ERROR",
        0x101 => "H3_GENERAL_PROTOCOL_ERROR",
        0x102 => "H3_INTERNAL_ERROR",
        0x103 => "H3_STREAM_CREATION_ERROR",
        0x104 => "H3_CLOSED_CRITICAL_STREAM",
        0x105 => "H3_FRAME_UNEXPECTED",
        0x106 => "H3_FRAME_ERROR",
        0x107 => "H3_EXCESSIVE_LOAD",
        0x108 => "H3_ID_ERROR",
        0x109 => "H3_SETTINGS_ERROR",
        0x10a => "H3_MISSING_SETTINGS",
        0x10b => "H3_REQUEST_REJECTED",
        0x10c => "H3_REQUEST_CANCELLED",
        0x10d => "H3_REQUEST_INCOMPLETE",
        0x10e => "H3_MESSAGE_ERROR",
        0x10f => "H3_CONNECT_ERROR",
        0x110 => "H3_VERSION_FALLBACK",
        _ => "code",
    }
}
