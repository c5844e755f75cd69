//! Stories: what happens to a whole house of clients, backends and a balancer, in
//! virtual time. The simulator checks what must hold of any run; a story says what
//! must hold of this one.
//!
//! `SPOOKY_SIM_SEEDS=100` plays each with a hundred seeds; docs/simulation.md tells
//! the rest.

mod address_validation;
mod admission;
mod amplification;
mod cancelled;
mod crash;
mod drain;
mod early_data;
mod far_clients;
mod full_sockets;
mod goaway;
mod limits;
mod partition;
mod paths;
mod patience;
mod priorities;
mod queue;
mod rejected;
mod rough_network;
mod silent;
mod slow_reader;
mod travel;
mod tunnels;

use std::time::Duration;

use spooky_tests::sim::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
