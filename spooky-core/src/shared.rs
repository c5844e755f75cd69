//! What the workers of a process count together, and the keys they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::EarlyData;
use crate::downstream::{Admission, Flights};
use crate::listener::UsedTokens;
use crate::secrets::Secrets;
use crate::setup::Setup;
use crate::tls::Tickets;

/// One for all workers of a process.
#[derive(Debug)]
pub struct Shared {
    workers: usize,
    /// What all keys come from.
    pub(crate) secrets: Secrets,
    /// What sessions resume with.
    pub(crate) tickets: Arc<Tickets>,
    /// What was forwarded of early data.
    pub(crate) flights: Flights,
    /// Clients' connections, also half-open ones.
    pub(crate) admission: Arc<Admission>,
    /// Retry tokens that connections began with.
    pub(crate) used_tokens: UsedTokens,
    /// In the order of the configuration.
    pub(crate) backends: Vec<Load>,
}

/// What a backend carries, over all workers.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) connections: Bounded,
    pub(crate) requests: Bounded,
    pub(crate) pending: Bounded,
}

/// A count that is never raised past a bound.
#[derive(Debug, Default)]
pub(crate) struct Bounded(AtomicU32);

impl Bounded {
    /// Counts one more, unless there are `most` already.
    pub(crate) fn try_add(&self, most: u32) -> bool {
        let add = |n: u32| (n < most).then_some(n + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    pub(crate) fn sub(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "nothing is given back that was not taken");
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many clients there are, all workers together. Asking costs nothing and waits for
/// nobody.
#[derive(Clone, Debug, Default)]
pub struct Clients(Arc<Admission>);

impl Clients {
    /// Connections of clients, those that are being made among them.
    pub fn count(&self) -> u32 {
        self.0.connections()
    }
}

impl Shared {
    /// The shared part for `workers` workers running `setup`.
    ///
    /// `seed` is 32 bytes of the operating system's randomness, others at each start: keys
    /// come from it where the configuration names no secret, and it tells this process
    /// from others with the same one.
    pub fn new(setup: &Setup, workers: usize, seed: [u8; 32]) -> Arc<Shared> {
        let backends = setup
            .config()
            .upstream
            .backends
            .iter()
            .map(|_| Load::default())
            .collect();
        let drawn = Secrets::new(&seed, &[]);
        let secrets = setup.secrets().cloned().unwrap_or_else(|| drawn.clone());
        let instance = setup.config().instance.name();
        let tickets = Tickets::new(secrets.clone(), instance, drawn.key("boot"));
        let forwards = setup.config().upstream.early_data == EarlyData::Forward;
        Arc::new(Shared {
            workers: workers.max(1),
            secrets,
            tickets: Arc::new(tickets),
            flights: Flights::new(forwards),
            admission: Arc::new(Admission::new(&setup.config().limits)),
            used_tokens: UsedTokens::default(),
            backends,
        })
    }

    /// For whoever wants to know how many clients there are.
    pub fn clients(&self) -> Clients {
        Clients(Arc::clone(&self.admission))
    }

    /// How many workers share this.
    pub fn workers(&self) -> usize {
        self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_count_stops_at_its_bound() {
        let count = Bounded::default();
        assert!(count.try_add(2) && count.try_add(2));
        assert!(!count.try_add(2));
        count.sub();
        assert!(count.try_add(2));
        assert_eq!(count.get(), 2);
    }
}
