//! Mistakes on purpose, one at a time, to show that the simulator finds such.
//!
//! Only the tests of the simulator turn the feature `planted` on. Where it is off
//! [`is`] is a constant, and nothing of this is left in the program.

/// A mistake that somebody could have made, each in one place of `proxy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A request whose backend's connection was lost is asked again, although its
    /// head went out there and the backend may have acted on it.
    AsksTwice = 1,
    /// A request that leaves the queue before its turn keeps its place there.
    KeepsPlace = 2,
    /// A response that is cut off ends clean for its client.
    EndsClean = 3,
    /// A request that its client gives up while it waits leaves no record.
    LosesRecord = 4,
}

/// Whether this mistake is made.
#[cfg(not(feature = "planted"))]
pub const fn is(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use switch::{is, plant};

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Bug;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Whether this mistake is made.
    pub fn is(bug: Bug) -> bool {
        PLANTED.load(Relaxed) == bug as u8
    }

    /// Makes this mistake from now on in the whole process, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Relaxed);
    }
}
