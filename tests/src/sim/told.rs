//! What a [`Story`](super::Story)'s author asks about its outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use spooky_core::observe::{Counters, Reason};

use super::ledger::{End, Entry};
use super::run::Report;

/// How a story went.
pub struct Told {
    /// Everything.
    pub report: Report,
}

impl Told {
    /// How often each end was met.
    pub fn tally(&self) -> BTreeMap<String, u64> {
        self.report.ledger.tally()
    }

    /// Requests that were sent.
    pub fn sent(&self) -> usize {
        self.count(|entry| entry.sent.is_some())
    }

    /// Requests that a backend answered, whole.
    pub fn answered(&self) -> usize {
        self.ended(|end| matches!(end, End::Answered { local: false, .. }))
    }

    /// Requests that the balancer answered with a status.
    pub fn local(&self, status: u16) -> usize {
        self.ended(|end| matches!(end, End::Answered { local: true, status: s, .. } if s == status))
    }

    /// Requests whose stream was reset.
    pub fn reset(&self) -> usize {
        self.ended(|end| matches!(end, End::Reset(_)))
    }

    /// Requests that ended so.
    pub fn ended(&self, is: impl Fn(End) -> bool) -> usize {
        self.count(|entry| entry.end.is_some_and(|(end, _)| is(end)))
    }

    /// Requests that the balancer recorded with this reason.
    pub fn because(&self, reason: Reason) -> usize {
        self.count(|entry| {
            let record = entry.record.as_ref();
            record.is_some_and(|record| record.reason == Some(reason))
        })
    }

    /// Requests of which this is true.
    pub fn count(&self, is: impl Fn(&Entry) -> bool) -> usize {
        self.entries().filter(|entry| is(entry)).count()
    }

    /// All requests, a client's after the other's, in order of their plans.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.report.ledger.entries().iter()
    }

    /// What the balancer counted.
    pub fn counters(&self) -> &Counters {
        &self.report.snapshot.counters
    }

    /// When the last answer of a backend was whole.
    pub fn last_answer(&self) -> Option<Duration> {
        let answers = self.entries().filter(|entry| entry.is_answered());
        answers
            .filter_map(|entry| entry.end.map(|(_, at)| at))
            .max()
    }
}
