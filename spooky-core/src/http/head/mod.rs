//! Heads that cannot be wrong: parsed once where they come in, before anybody
//! acts on them.
//!
//! | file | what of it |
//! | --- | --- |
//! | `section.rs` | the rules of all field sections, in one pass |
//! | `request.rs`, `response.rs`, `trailers.rs` | the rules of each kind |
//! | `authority.rs`, `bytes.rs` | grammar |
//! | `glimpse.rs` | what a record tells of a head that was refused |

mod authority;
mod bytes;
mod glimpse;
mod request;
mod response;
mod section;
mod trailers;

use super::Fields;
use crate::config;

pub(crate) use bytes::is_token;
pub use glimpse::Glimpse;
pub(crate) use request::Refused;
pub use request::RequestHead;
pub(crate) use response::ResponseHead;
pub(crate) use trailers::{Trailers, parse_trailers};

/// Why a head is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// More than so many bytes.
    TooLarge(u64),
    /// More than so many fields.
    TooMany(usize),
    /// Breaks a rule; the text says which.
    Malformed(&'static str),
    /// CONNECT, which this listener does not offer.
    Connect,
}

impl HeadError {
    /// The words for logs and `proxy-status`, where there is more to say than the reason.
    pub(crate) fn detail(self) -> Option<Box<str>> {
        match self {
            HeadError::TooLarge(most) => {
                Some(format!("more than {most} bytes (limits.header_bytes)").into())
            }
            HeadError::TooMany(most) => {
                Some(format!("more than {most} fields (limits.headers)").into())
            }
            HeadError::Malformed(text) => Some(text.into()),
            HeadError::Connect => None,
        }
    }

    /// The same where it was trailers that were not taken.
    pub(crate) fn of_trailers(self) -> Option<Box<str>> {
        match self {
            HeadError::Malformed(text) => Some(format!("malformed trailers: {text}").into()),
            HeadError::TooLarge(_) | HeadError::TooMany(_) | HeadError::Connect => self.detail(),
        }
    }
}

/// How large a field section may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes, as [`Fields::section_bytes`] counts them.
    pub(crate) bytes: u64,
    /// Fields, pseudo-header fields among them.
    pub(crate) fields: usize,
}

impl From<&config::Limits> for Bounds {
    fn from(limits: &config::Limits) -> Self {
        Bounds {
            bytes: limits.header_bytes,
            fields: usize::from(limits.headers),
        }
    }
}

fn malformed<T>(text: &'static str) -> Result<T, HeadError> {
    Err(HeadError::Malformed(text))
}
