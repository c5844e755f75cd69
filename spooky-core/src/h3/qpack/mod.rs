//! Field sections on the wire (RFC 9204), with the static table alone.
//!
//! We announce a dynamic table of no bytes, so a peer that refers to one is wrong,
//! and each section stands for itself: nothing is kept between sections, nobody waits
//! for anybody, and there is nothing that a peer could make grow.

mod decode;
mod encode;
pub(crate) mod huffman;
mod integer;
mod table;

pub(crate) use decode::{Refused, decode};
pub(crate) use encode::{encode, most_bytes};
