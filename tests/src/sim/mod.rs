//! Simulation: many clients, many backends, a hostile network and the production
//! [`Proxy`](spooky_core::Proxy), in one thread, in virtual time, from one seed.
//!
//! ```text
//!            seed
//!     ┌───────┼────────────┬──────────────────┐
//!     ▼       ▼            ▼                  ▼
//!  clients ◀─network─▶ balancer ◀─network─▶ backends      real quiche, all of them
//!     │                    │                  │
//!     └──────────▶ ledger ◀┴──────────────────┘           what must hold, each step
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `plan.rs` | a scenario as data |
//! | `story.rs`, `generate.rs` | made by hand, or of dice |
//! | `run.rs`, `scheduler.rs`, `network.rs` | how it is played |
//! | `client.rs`, `backend.rs`, `balancer.rs` | the nodes |
//! | `ledger.rs`, `memory.rs`, `trace.rs` | what is watched |
//! | `failure.rs`, `shrink.rs`, `sweep.rs` | what comes of it |
//! | `interpose.rs`, `world.rs`, `rng.rs` | clock and entropy |
//!
//! ```no_run
//! use std::time::Duration;
//! use spooky_tests::sim::{FaultKind, Link, Story, get};
//!
//! let secs = Duration::from_secs;
//! Story::new()
//!     .clients(20, get(20_000).times(30).every(secs(1)))
//!     .backends(3)
//!     .link(Link::lossy())
//!     .at(secs(5), FaultKind::Crash { backend: 1, refuses: true })
//!     .at(secs(15), FaultKind::Restart { backend: 1 })
//!     .check(10, |told| assert!(told.answered() > 590, "{:?}", told.tally()));
//! ```

mod amplification;
mod backend;
mod balancer;
mod client;
mod failure;
mod generate;
mod interpose;
mod ledger;
pub(crate) mod memory;
mod network;
mod plan;
mod quic;
mod rng;
mod run;
mod scheduler;
mod shrink;
mod story;
pub mod sweep;
mod told;
mod trace;
pub mod world;

pub use failure::Failure;
pub use generate::generate;
pub use ledger::{End, Entry, Ledger, Recorded};
pub use memory::Counting;
pub use network::{Harm, Link, PacketFault};
pub use plan::{
    BackendPlan, Behaviour, ClientPlan, Fault, FaultKind, Method, RequestPlan, Scenario,
};
pub use rng::{Dice, Rng};
pub use run::Report;
pub use shrink::{Shrunk, shrink};
pub use story::{Load, Story, get, post, tunnel};
pub use told::Told;
pub use trace::{Party, TraceHash};
