//! A small HTTP/3 client: `spooky get`, and what demos and tests ask with.
//!
//! ```no_run
//! use spooky_mio::client::{Client, Options, Request, Target, Trust};
//!
//! # fn main() -> Result<(), spooky_mio::client::Error> {
//! let target: Target = "https://127.0.0.1:4433/bytes/16".parse()?;
//! let mut client = Client::connect(&target, &Trust::Nobody, &Options::default())?;
//! let response = client.fetch(Request::get(&target))?;
//! assert_eq!((response.status, response.body.len()), (200, 16));
//! # Ok(())
//! # }
//! ```
//!
//! It blocks, on one thread, over one connection with as many requests at once
//! as the server allows. It stands on quiche directly and shares nothing with
//! the proxy's core, so that the two can test each other.

mod connect;
mod error;
pub(crate) mod get;
mod message;
mod session;
mod target;
pub mod transport;
mod trust;
pub mod wire;

pub use connect::{Client, Options};
pub use error::Error;
pub use get::{GetArgs, run};
pub use message::{Payload, Request, Response};
pub use session::{Event, ExchangeId};
pub use target::Target;
pub use trust::{Trust, client_config, open};
