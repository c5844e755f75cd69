//! Stage 6: which backend, and is there a place at it.

mod balancer;
mod queue;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;

pub(crate) use balancer::Random;
pub(crate) use queue::Queue;

use crate::config;
use crate::io::Handle;
use crate::limits;

/// A worker's view of an upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) backends: Vec<Backend>,
    balancer: Random,
}

/// A worker's view of a backend.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) id: Arc<str>,
    pub(crate) address: SocketAddr,
    /// This worker's connections to it, oldest first, also those being made.
    pub(crate) connections: Vec<Handle>,
    /// Requests that wait for a place.
    pub(crate) queue: Queue,
    pub(crate) backoff: Backoff,
}

/// Leaves a backend alone that failed to connect.
///
/// Without it, each request during an outage would wait for a handshake that
/// fails; with it, one a second does, then one in two, up to one in thirty,
/// while the other backends carry the load. It costs a recovered backend up to
/// thirty seconds of idleness. It never applies when no other backend is left:
/// a doubtful backend is better than none.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) fn fail(&mut self, now: Instant) {
        // Handshakes begun together fail together: that is one failure.
        if self.is_active(now) {
            return;
        }
        let doubled = limits::BACKOFF_FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + doubled.min(limits::BACKOFF_MOST));
    }

    pub(crate) fn succeed(&mut self) {
        *self = Backoff::default();
    }

    pub(crate) fn is_active(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Upstream {
    pub(crate) fn new(config: &config::Upstream) -> Self {
        let backend = |b: &config::Backend| Backend {
            id: b.id.as_str().into(),
            address: b.address,
            connections: Vec::new(),
            queue: Queue::default(),
            backoff: Backoff::default(),
        };
        Upstream {
            backends: config.backends.iter().map(backend).collect(),
            balancer: Random::new(config.backends.iter().map(|b| b.weight)),
        }
    }

    /// Chooses a backend: one that is not left alone and not `except`, else any.
    pub(crate) fn pick(
        &self,
        except: Option<usize>,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Option<usize> {
        let good = |i: usize| Some(i) != except && !self.backends[i].backoff.is_active(now);
        self.balancer
            .pick(rng, good)
            .or_else(|| self.balancer.pick(rng, |_| true))
    }

    /// A backend other than `except` that is worth asking.
    pub(crate) fn pick_other(
        &self,
        except: usize,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Option<usize> {
        self.balancer.pick(rng, |i| {
            i != except && !self.backends[i].backoff.is_active(now)
        })
    }
}

impl Backend {
    pub(crate) fn remove_connection(&mut self, connection: Handle) {
        self.connections.retain(|&c| c != connection);
    }
}

/// How a `min_idle` of the process is shared out: worker `worker` of `workers`
/// keeps so many.
pub(crate) fn share(total: u32, worker: usize, workers: usize) -> usize {
    let (total, workers) = (total as usize, workers.max(1));
    total / workers + usize::from(worker < total % workers)
}

/// How often a worker looks after connections that should be there without need.
pub(crate) const TEND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_backend_is_left_alone_for_longer_each_time() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            backoff.fail(now);
            backoff.fail(now);
            let begun = now;
            while backoff.is_active(now) {
                now += Duration::from_millis(500);
            }
            waits.push((now - begun).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.succeed();
        backoff.fail(now);
        assert!(!backoff.is_active(now + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_kept_open_adds_up_over_workers() {
        for (total, workers) in [(0, 3), (1, 3), (7, 3), (8, 4)] {
            let sum: usize = (0..workers).map(|w| share(total, w, workers)).sum();
            assert_eq!(sum, total as usize);
        }
    }
}
