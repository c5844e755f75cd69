//! What Spooky's drivers ask of the operating system.
//!
//! `spooky-core` decides and touches nothing; a driver moves the bytes. This
//! crate holds what every driver on real sockets needs, so that a driver is left
//! with one thing of its own: how it waits. It is written for Linux.
//!
//! ```text
//!  configuration file ──▶ setup ──▶ Setup
//!        listen:       ──▶ bind  ──▶ sockets of each worker
//!                                       │
//!                     assemble ◀────────┘
//!                        │
//!        ┌───────────────┴───────────────┐
//!        ▼                               ▼
//!     Worker, one a thread or task     Control, for whoever started them
//!     wait; `ready`; `turn`; repeat    drain, stop, report
//! ```
//!
//! A [`Worker`] is a `Proxy` with its sockets and its letterbox. A driver tells
//! it which sockets are ready ([`Worker::ready`]), lets it work
//! ([`Worker::turn`]), and waits for sockets, letters or
//! [`Worker::deadline`], whichever is first.

mod assemble;
mod batch;
mod counters;
mod icmp;
mod listen;
mod mail;
mod material;
mod socket;
mod worker;

pub use assemble::{StartError, assemble};
pub use batch::{Batch, Received};
pub use counters::IoCounters;
pub use listen::{BindError, bind, worker_count};
pub use mail::{Control, Report, Wake};
pub use material::{read_config, read_material, setup};
pub use socket::{Buffers, Socket};
pub use worker::{Observe, Worker};
