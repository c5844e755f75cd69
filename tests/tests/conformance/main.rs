//! What the RFCs ask of a gateway, byte by byte.
//!
//! Each table row puts bytes on a stream and says what must come of them: at the
//! client, at the backend, and of the connection. The bytes are made by
//! `spooky_tests::raw`, which shares nothing with the proxy. Every row runs whole,
//! with its FIN in a packet of its own, and byte by byte: the verdict is the same.

mod asking;
mod connect;
mod control;
mod forwarding;
mod frames;
mod qpack;
mod requests;
mod responses;
mod row;
mod shapes;
mod sizes;
mod streams;
mod telling;
mod trailers;
