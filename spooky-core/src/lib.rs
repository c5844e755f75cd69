//! The core.
#![warn(missing_docs)]

pub mod config;
pub mod io;
pub mod observe;
pub mod pump;

mod backend;
mod downstream;
mod exchange;
mod http;
mod limits;
mod listener;
mod proxy;
mod session;
mod setup;
mod shared;
mod timers;
mod tls;
mod upstream;

pub use http::RequestHead;
pub use proxy::{Params, Proxy};
pub use setup::{Material, Setup};
pub use shared::Shared;
