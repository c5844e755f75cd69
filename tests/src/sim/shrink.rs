//! Makes a failing scenario smaller while it still fails in the same place.
//!
//! First whatever it is made of (clients, requests, backends, faults, settings,
//! time), then what the network did to single datagrams. The same place is the
//! same line of code that panicked: a smaller scenario has another hash, other
//! times and other words, and may still be the same mistake.

use std::time::{Duration, Instant};

use super::failure::Failure;
use super::network::{Link, PacketFault};
use super::plan::{Behaviour, FaultKind, Scenario};

/// What shrinking came to.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest scenario found that fails in the same place.
    pub scenario: Scenario,
    /// How it fails.
    pub failure: Failure,
    /// Scenarios tried.
    pub runs: u32,
}

struct Shrinker {
    best: Scenario,
    failure: Failure,
    runs: u32,
    end: Instant,
}

/// Shrinks `scenario`, which failed as `failure` says, for at most `time`.
pub fn shrink(scenario: &Scenario, failure: Failure, time: Duration) -> Shrunk {
    let mut shrinker = Shrinker {
        best: scenario.clone(),
        failure,
        runs: 0,
        end: Instant::now() + time,
    };
    loop {
        let before = shrinker.best.clone();
        shrinker.parts();
        shrinker.settings();
        shrinker.requests();
        if shrinker.best == before || shrinker.is_late() {
            break;
        }
    }
    shrinker.packets();
    Shrunk {
        scenario: shrinker.best,
        failure: shrinker.failure,
        runs: shrinker.runs,
    }
}

impl Shrinker {
    fn is_late(&self) -> bool {
        Instant::now() > self.end
    }

    /// Takes `candidate` if it is another one and fails in the same place.
    fn try_one(&mut self, candidate: Scenario) -> bool {
        if candidate == self.best || self.is_late() {
            return false;
        }
        self.runs += 1;
        match candidate.run() {
            Err(failure) if failure.place == self.failure.place => {
                self.best = candidate;
                self.failure = failure;
                true
            }
            Err(_) | Ok(_) => false,
        }
    }

    fn try_with(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.try_one(candidate)
    }

    /// Whole clients, requests, backends, faults and lines of the configuration.
    fn parts(&mut self) {
        self.list(|s| s.clients.len(), remove_client);
        self.list(
            |s| s.faults.len(),
            |s, index| {
                s.faults.remove(index);
            },
        );
        for client in 0..self.best.clients.len() {
            let remove = |s: &mut Scenario, index: usize| {
                s.clients[client].requests.remove(index);
            };
            self.list(|s| s.clients[client].requests.len(), remove);
        }
        self.list(|s| s.backends.len(), remove_backend);
        self.list(|s| s.config.lines().count(), remove_line);
    }

    /// Tries to remove each element, in halves first while there are many.
    fn list(&mut self, len: impl Fn(&Scenario) -> usize, remove: impl Fn(&mut Scenario, usize)) {
        let mut chunk = len(&self.best).div_ceil(2).max(1);
        loop {
            let mut begin = 0;
            while begin < len(&self.best) {
                let end = (begin + chunk).min(len(&self.best));
                let removed = self.try_with(|s| (begin..end).rev().for_each(|i| remove(s, i)));
                if !removed {
                    begin = end;
                }
            }
            if chunk == 1 {
                return;
            }
            chunk = chunk.div_ceil(2);
        }
    }

    /// Everything that has a plain value.
    fn settings(&mut self) {
        self.try_with(|s| s.workers = 1);
        self.try_with(|s| s.segments = 1);
        self.try_with(|s| s.turn = Duration::ZERO);
        self.try_with(|s| s.blocked = 0);
        self.try_with(|s| s.client_link = Link::clean());
        self.try_with(|s| s.backend_link = Link::rack());
        let plain: [fn(&mut Link); 6] = [
            |l| l.jitter = Duration::ZERO,
            |l| l.loss = 0,
            |l| l.duplicates = 0,
            |l| l.reorders = 0,
            |l| l.corrupts = 0,
            |l| l.bandwidth = None,
        ];
        for change in plain {
            self.try_with(|s| change(&mut s.client_link));
            self.try_with(|s| change(&mut s.backend_link));
        }
        while self.try_with(|s| s.until /= 2) {}
        for index in 0..self.best.clients.len() {
            self.try_with(|s| s.clients[index].start = Duration::ZERO);
            self.try_with(|s| s.clients[index].window = 1 << 20);
            self.try_with(|s| s.clients[index].reads = None);
            self.try_with(|s| s.clients[index].early = false);
            self.try_with(|s| s.clients[index].resumes = false);
            self.try_with(|s| s.clients[index].vanishes = false);
            self.try_with(|s| s.clients[index].link = None);
        }
        for index in 0..self.best.backends.len() {
            self.try_with(|s| s.backends[index].thinks = Duration::ZERO);
            self.try_with(|s| s.backends[index].streams = 100);
            self.try_with(|s| s.backends[index].window = 256_000);
            self.try_with(|s| s.backends[index].leaves_after = None);
            self.try_with(|s| s.backends[index].weight = 100);
            self.try_with(|s| s.backends[index].link = None);
        }
    }

    fn requests(&mut self) {
        for client in 0..self.best.clients.len() {
            for index in 0..self.best.clients[client].requests.len() {
                let mut change = |f: fn(&mut super::plan::RequestPlan)| {
                    self.try_with(|s| f(&mut s.clients[client].requests[index]))
                };
                change(|r| r.at = Duration::ZERO);
                change(|r| r.cancelled = None);
                change(|r| r.padding = 0);
                change(|r| r.asks = Behaviour::Answer);
                change(|r| r.stalls = false);
                change(|r| r.upload = 0);
                change(|r| r.download = 0);
                while change(|r| r.upload /= 2) {}
                while change(|r| r.download /= 2) {}
            }
        }
    }

    /// What was done to single datagrams: none of it, or as little as it takes.
    fn packets(&mut self) {
        let mut kept: Vec<PacketFault> = self.failure.faults.clone();
        let keep = |faults: &[PacketFault]| Some(faults.iter().copied().collect());
        if !self.try_with(|s| s.kept = keep(&kept)) {
            return;
        }
        let mut chunk = kept.len().div_ceil(2).max(1);
        loop {
            let mut begin = 0;
            while begin < kept.len() {
                let end = (begin + chunk).min(kept.len());
                let rest = [&kept[..begin], &kept[end..]].concat();
                if self.try_with(|s| s.kept = keep(&rest)) {
                    kept = rest;
                } else {
                    begin = end;
                }
            }
            if chunk == 1 || self.is_late() {
                return;
            }
            chunk = chunk.div_ceil(2);
        }
    }
}

fn remove_client(scenario: &mut Scenario, index: usize) {
    scenario.clients.remove(index);
    let gone = index as u32;
    scenario.faults.retain_mut(|fault| match &mut fault.what {
        FaultKind::CutOffClient { client }
        | FaultKind::Rebind { client }
        | FaultKind::Replay { client }
        | FaultKind::Migrate { client } => move_up(client, gone),
        FaultKind::Crash { .. }
        | FaultKind::Restart { .. }
        | FaultKind::Goaway { .. }
        | FaultKind::CutOffBackend { .. }
        | FaultKind::Heal
        | FaultKind::Unreachable { .. }
        | FaultKind::Links { .. }
        | FaultKind::RestartBalancer
        | FaultKind::Drain { .. } => true,
    });
}

fn remove_backend(scenario: &mut Scenario, index: usize) {
    if scenario.backends.len() == 1 {
        return; // a configuration has one at least
    }
    scenario.backends.remove(index);
    let gone = index as u32;
    scenario.faults.retain_mut(|fault| match &mut fault.what {
        FaultKind::Crash { backend, .. }
        | FaultKind::Restart { backend }
        | FaultKind::Goaway { backend }
        | FaultKind::CutOffBackend { backend }
        | FaultKind::Unreachable { backend } => move_up(backend, gone),
        FaultKind::CutOffClient { .. }
        | FaultKind::Rebind { .. }
        | FaultKind::Replay { .. }
        | FaultKind::Migrate { .. }
        | FaultKind::Heal
        | FaultKind::Links { .. }
        | FaultKind::RestartBalancer
        | FaultKind::Drain { .. } => true,
    });
}

/// After `gone` was removed; false if it is the one.
fn move_up(index: &mut u32, gone: u32) -> bool {
    if *index == gone {
        return false;
    }
    *index -= u32::from(*index > gone);
    true
}

fn remove_line(scenario: &mut Scenario, index: usize) {
    let lines = scenario.config.lines().enumerate();
    let rest = lines.filter(|(i, _)| *i != index).map(|(_, line)| line);
    scenario.config = rest.collect::<Vec<_>>().join("\n");
}
