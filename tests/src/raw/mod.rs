//! HTTP/3 by the byte: a writer that can be wrong in every way, and a small reader.
//!
//! It shares nothing with the proxy nor with `quiche::h3`, and follows RFC 9114 and
//! RFC 9204 alone. [`Raw`] puts the bytes on the streams of a connection, and
//! [`packet::ByHand`] whatever frames of QUIC into packets of its own.
//!
//! ```
//! use spooky_tests::raw::{self, kind, qpack};
//!
//! let head = qpack::section(&[(":method", "GET"), ("Bad Name", "x")]);
//! let bytes = raw::lying(kind::HEADERS, 1 << 40, &head); // and cut
//! assert!(raw::frames(&bytes).0.is_empty());
//! ```

pub mod huffman;
mod message;
pub mod packet;
mod peer;
pub mod qpack;
mod table;
mod wire;

pub use message::Message;
pub use peer::{Raw, Received};
pub use table::STATIC;
pub use wire::{code, frame, frames, kind, lying, read_varint, settings, uni, varint, wide_varint};
