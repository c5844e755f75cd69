//! Load on an HTTP/3 server, and what it costs that server.
//!
//! * [`load`] asks over many connections and streams at once, and counts.
//! * [`cpu`] reads what a process spent meanwhile.
//! * [`memory`] reads what it holds.
//! * [`latency`] times what one client after the other waits for.
//! * [`demo`] sets a daemon between two backends and measures it alone.
//!
//! The generator is closed-loop: each stream asks again when it was answered. So
//! latencies are those of a busy server, not of one at a given rate, and a
//! server that stalls is asked less meanwhile.

pub mod cpu;
pub mod demo;
pub mod latency;
pub mod load;
pub mod memory;
pub mod pin;
pub mod report;
pub mod time;
