//! Hostile bytes against a whole [`Proxy`](spooky_core::Proxy), in memory.
//!
//! ```text
//!  bytes ─▶ script ─▶ world ─┬─ client ◀──datagrams──▶ Proxy ◀──datagrams──▶ backend
//!           operations       │  real quiche              │       real quiche
//!                            └─ witness: what must hold ◀┘
//! ```
//!
//! An input is a [`script`]: a byte of switches, then operations. Operations
//! carry raw datagrams, frames that ride in valid 1-RTT packets, bytes for
//! streams, loss, the passing of time, and what a driver may call. The two peers
//! are real, so that an input of a few bytes stands behind two handshakes.
//!
//! All of it happens in the simulator's virtual time and draws from its entropy:
//! quiche and BoringSSL read both from there, so an input plays the same to the
//! byte each time, and an hour passes in an instant.

mod backend;
mod generate;
mod packet;
mod peer;
mod requests;
mod script;
mod seeds;
mod settings;
mod witness;
mod world;

pub use generate::generate;
pub(crate) use seeds::seeds;

use script::Script;
use spooky_tests::sim::world::isolated;
use world::World;

/// Operations of one input: what comes after them is not looked at.
const OPERATIONS: usize = 256;

/// Entropy of every world: inputs differ, worlds do not.
const SEED: u64 = 1;

/// Plays one input, and panics if anything that must hold does not.
pub fn proxy_datagrams(data: &[u8]) {
    run(data);
}

/// What one input led to.
#[derive(Debug, PartialEq, Eq)]
pub struct Played {
    /// What the proxy counted, which tells how far inputs reach.
    pub counts: Vec<(&'static str, u64)>,
    /// A hash over every datagram that the proxy sent: its bytes, ends and time.
    pub digest: u64,
}

/// Plays one input, and tells what happened.
pub fn run(data: &[u8]) -> Played {
    // These live as long as the process, so they come from the real world.
    settings::make_setups();
    let (&switches, rest) = data.split_first().unwrap_or((&0, &[]));
    isolated(SEED, || {
        let mut world = World::new(script::Switches(switches));
        for operation in Script::new(rest).take(OPERATIONS) {
            world.play(operation);
        }
        world.end()
    })
}
