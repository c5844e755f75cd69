//! Who may begin a connection. Counted over all workers of the process.

use std::sync::Arc;

use crate::limits;
use crate::shared::Bounded;

/// What all workers' client connections take together.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    connections: Bounded,
    half_open: Bounded,
}

impl Admission {
    /// A place for one more connection, whose handshake begins.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Permit> {
        if !self.half_open.try_add(limits::HALF_OPEN) {
            return None;
        }
        if !self.connections.try_add(limits::DOWNSTREAM_CONNECTIONS) {
            self.half_open.sub();
            return None;
        }
        Some(Permit {
            admission: Arc::clone(self),
            half_open: true,
        })
    }

    /// Connections whose handshake is not complete, in the whole process.
    pub(crate) fn half_open(&self) -> u32 {
        self.half_open.get()
    }
}

/// A connection's place, given back when it is dropped: once, however it ends.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    half_open: bool,
}

impl Permit {
    /// The handshake is complete, or will never be.
    pub(crate) fn handshake_over(&mut self) {
        if std::mem::take(&mut self.half_open) {
            self.admission.half_open.sub();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.handshake_over();
        self.admission.connections.sub();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_once() {
        let admission = Arc::new(Admission::default());
        let mut first = admission.admit().expect("there is room");
        let second = admission.admit().expect("there is room");
        assert_eq!(admission.half_open(), 2);
        first.handshake_over();
        first.handshake_over();
        assert_eq!(admission.half_open(), 1);
        drop((first, second));
        assert_eq!((admission.half_open(), admission.connections.get()), (0, 0));
    }

    #[test]
    fn handshakes_are_bounded_over_all_workers() {
        let admission = Arc::new(Admission::default());
        let mut held: Vec<Permit> = (0..limits::HALF_OPEN)
            .map(|_| admission.admit().expect("there is room"))
            .collect();
        assert!(admission.admit().is_none());
        held[0].handshake_over();
        assert!(admission.admit().is_some());
    }
}
