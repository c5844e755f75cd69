//! Spooky for programs that live on tokio.
//!
//! The same `Proxy` as in the daemon, driven by the same pump over the same
//! sockets; only the waiting is tokio's. A worker is a task. Workers share
//! nothing but atomics, so they spread over the runtime's threads as they like.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let config = spooky_tokio::read_config("spooky.yaml".as_ref()).map_err(|all| all[0].to_string())?;
//! let setup = spooky_tokio::setup(config).map_err(|all| all[0].to_string())?;
//! let server = spooky_tokio::Server::start(setup, |_event| {})?;
//! let handle = server.handle();
//! println!("listening on {}", handle.local_addr());
//! tokio::time::sleep(Duration::from_secs(60)).await; // serving
//! handle.drain(Duration::from_secs(30));
//! server.join().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The runtime needs its I/O and time drivers (`enable_all`). Reading files is
//! blocking, and done before [`Server::start`], which itself does not wait.

mod event_loop;
mod server;

pub use server::{Handle, Server, WorkerFailed};
pub use spooky_os::{Report, StartError, read_config, setup};
