//! The daemon `spooky`, as a library.
//!
//! One thread a worker, each with its `Proxy`, its sockets and its own epoll:
//! nothing on the road of a request is shared between threads but atomics.
//!
//! * [`Server`] starts the workers and drains them. It is all that a test or an
//!   embedding program needs.
//! * [`access_log`] writes one line a request, and never holds a worker up.
//! * [`traces`] writes secrets and traces of connections, where they are asked for.
//! * [`client`] and [`demo`] are `spooky get` and `spooky demo`, and the client and
//!   backend that the tests and the bench stand on.
//! * [`cli`] is the command line; [`daemon`] runs a configuration with signals
//!   and logs, as the program does.
//!
//! What a turn of a worker does is in `spooky_os::Worker`, and the order of
//! things in `spooky_core::pump`. Here is only how a worker waits.

pub mod access_log;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod demo;
mod event_loop;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod server;
mod signals;
pub mod traces;
mod trim;

pub use server::{Server, WorkerFailed};
pub use spooky_os::{Control, Report, StartError, read_config, setup};
