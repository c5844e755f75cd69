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
//! Time: `now` begins two hours ago and moves by operations alone, so that it is
//! never ahead of the clock that quiche reads by itself. Timers of the core fire
//! in an instant; quiche's own (probes, idle) do not fire here.

mod backend;
mod generate;
mod mutate;
mod packet;
mod peer;
mod requests;
mod script;
mod seeds;
mod settings;
mod witness;
mod world;

pub use generate::generate;
pub use mutate::{Dice, mutate};
pub use seeds::seeds;

use script::Script;
use spooky_core::observe::Counters;
use world::World;

/// Operations of one input: what comes after them is not looked at.
const OPERATIONS: usize = 256;

/// Plays one input, and panics if anything that must hold does not.
///
/// Returns what the proxy counted meanwhile, which tells how far inputs reach.
pub fn run(data: &[u8]) -> Counters {
    let Some((&switches, rest)) = data.split_first() else {
        return Counters::default();
    };
    let mut world = World::new(script::Switches(switches));
    for operation in Script::new(rest).take(OPERATIONS) {
        world.play(operation);
    }
    world.end()
}
