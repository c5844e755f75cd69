//! Error codes of HTTP/3, and what ends a connection.

/// RFC 9114 section 8.1.
pub(crate) const NO_ERROR: u64 = 0x100;
/// Something the peer did that has no code of its own.
pub(crate) const GENERAL_PROTOCOL_ERROR: u64 = 0x101;
/// We could not go on.
pub(crate) const INTERNAL_ERROR: u64 = 0x102;
/// A stream that may not be created.
pub(crate) const STREAM_CREATION_ERROR: u64 = 0x103;
/// A stream that must not be closed was.
pub(crate) const CLOSED_CRITICAL_STREAM: u64 = 0x104;
/// A frame where it must not be.
pub(crate) const FRAME_UNEXPECTED: u64 = 0x105;
/// A frame whose layout or size is wrong.
pub(crate) const FRAME_ERROR: u64 = 0x106;
/// More than there may be of something.
pub(crate) const EXCESSIVE_LOAD: u64 = 0x107;
/// An id that is used wrongly.
pub(crate) const ID_ERROR: u64 = 0x108;
/// Wrong settings.
pub(crate) const SETTINGS_ERROR: u64 = 0x109;
/// No SETTINGS at the front of the control stream.
pub(crate) const MISSING_SETTINGS: u64 = 0x10a;
/// Nothing was done with the request.
pub(crate) const REQUEST_REJECTED: u64 = 0x10b;
/// The request or its response is of no more interest.
pub(crate) const REQUEST_CANCELLED: u64 = 0x10c;
/// The request's stream ended without a whole request.
pub(crate) const REQUEST_INCOMPLETE: u64 = 0x10d;
/// The message is malformed.
pub(crate) const MESSAGE_ERROR: u64 = 0x10e;
/// RFC 9204 section 6.
pub(crate) const QPACK_DECOMPRESSION_FAILED: u64 = 0x200;
/// A wrong instruction on the peer's encoder stream.
pub(crate) const QPACK_ENCODER_STREAM_ERROR: u64 = 0x201;
/// A wrong instruction on the peer's decoder stream.
pub(crate) const QPACK_DECODER_STREAM_ERROR: u64 = 0x202;

/// What the peer did that ends the connection: the code it is closed with, and the
/// rule in words, for the peer's log and for ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: u64,
    pub(crate) text: &'static str,
}

impl Fault {
    pub(crate) const fn new(code: u64, text: &'static str) -> Self {
        Fault { code, text }
    }
}
