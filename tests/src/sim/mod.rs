//! Simulation: many clients, many backends, a hostile network and the production
//! `Proxy`, in one thread, in virtual time, from one seed.
mod backend;
mod balancer;
mod client;
mod failure;
mod interpose;
mod ledger;
mod memory;
mod network;
mod plan;
mod quic;
mod rng;
mod run;
mod scheduler;
mod trace;
pub mod world;

pub use failure::Failure;
pub use ledger::{End, Entry, Ledger, Recorded};
pub use memory::Counting;
pub use network::{Harm, Link, PacketFault};
pub use plan::{
    BackendPlan, Behaviour, ClientPlan, Fault, FaultKind, Method, RequestPlan, Scenario,
};
pub use rng::Rng;
pub use run::Report;
pub use trace::{Party, TraceHash};
