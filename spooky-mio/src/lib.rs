//! The daemon `spooky`: the production event loop around `spooky-core`.

pub mod client;
pub mod demo;
