//! What everybody knows about every request, held against each other.
//!
//! A request has a key, which is its path. The client says when it sent it and how
//! it ended, the backend when it came and what of its body, the balancer leaves
//! its record. Whatever contradicts a promise panics with a sentence.

use std::collections::BTreeMap;
use std::time::Duration;

use spooky_core::observe::{Outcome, Reason, Record};

use spooky_core::config::Config;

use super::plan::{Method, RequestPlan, Scenario};
use super::world;

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A whole response.
    Answered {
        /// Its status.
        status: u16,
        /// The balancer made it.
        local: bool,
        /// Bytes of its body.
        bytes: u64,
    },
    /// The stream was reset, with this code.
    Reset(u64),
    /// The connection ended first.
    Gone,
    /// The client gave it up.
    Cancelled,
}

/// What the balancer's record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, if it did not simply work.
    pub reason: Option<Reason>,
    /// Status sent.
    pub status: Option<u16>,
    /// Backends asked.
    pub attempts: u32,
    /// From the head to the end.
    pub duration: Duration,
}

/// Once that a request came to a backend.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    backend: u32,
    /// The backend told that it did not process it.
    disowned: bool,
}

/// One request and all that is known of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Index of its client.
    pub client: u32,
    /// What was planned.
    pub plan: RequestPlan,
    /// When it was sent.
    pub sent: Option<Duration>,
    /// How it ended for its client, and when.
    pub end: Option<(End, Duration)>,
    /// The balancer's record.
    pub record: Option<Recorded>,
    arrivals: Vec<Arrival>,
    /// A backend saw the end of its body.
    whole: bool,
    /// Whoever would have recorded it is no more.
    forgotten: bool,
    /// A copy of it came in 0-RTT, or it itself, whose handshake was never completed.
    pub unproven: u32,
}

impl Entry {
    /// The backends it came to, in order.
    pub fn backends(&self) -> Vec<u32> {
        self.arrivals
            .iter()
            .map(|arrival| arrival.backend)
            .collect()
    }

    /// A backend read its body to the end.
    pub fn is_uploaded(&self) -> bool {
        self.whole
    }

    /// A backend answered it, whole.
    pub fn is_answered(&self) -> bool {
        matches!(self.end, Some((End::Answered { local: false, .. }, _)))
    }

    /// From when it was sent to its end, as its client saw it.
    pub fn took(&self) -> Option<Duration> {
        let (_, end) = self.end?;
        end.checked_sub(self.sent?)
    }
}

/// From a deadline to its end a local reply may wait for room, and the balancer for
/// its turn.
const LATE: Duration = Duration::from_secs(1);

impl Entry {
    /// What the configuration promises of any request.
    fn check_limits(&self, key: usize, record: &Recorded, config: &Config) {
        let limits = &config.limits;
        // What passes through a tunnel is no body.
        let bounded = limits.body_bytes > 0 && self.plan.method != Method::Connect;
        if bounded && self.plan.upload > limits.body_bytes {
            assert!(!self.whole, "request {key} is too large, and came whole");
            assert!(
                !self.plan.announced || self.arrivals.is_empty(),
                "request {key} announces too much, and came to a backend"
            );
        }
        let timeouts = &config.upstream.timeouts;
        if !timeouts.request.is_zero() && record.outcome != Outcome::LocalReply {
            assert!(
                record.duration < timeouts.request + LATE,
                "request {key} takes longer than it may: {record:?}"
            );
        }
        let least = match record.reason {
            Some(Reason::IdleTimeout) => timeouts.idle,
            Some(Reason::RequestTimeout) => timeouts.request,
            _ => Duration::ZERO,
        };
        assert!(
            record.duration >= least,
            "request {key} has not had its time: {record:?}"
        );
        if let Some(Reason::TooManyResets) = record.reason {
            assert!(
                matches!(self.end, Some((End::Gone | End::Cancelled, _))),
                "request {key} survives its connection: {self:?}"
            );
        }
    }
}

/// All requests of a simulation, by key.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// The first key of each client.
    first: Vec<usize>,
    /// Records of requests whose head was not readable.
    unreadable: u64,
}

impl Ledger {
    /// The requests that `scenario` plans.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut ledger = Ledger::default();
        for (client, plan) in (0..).zip(&scenario.clients) {
            ledger.first.push(ledger.entries.len());
            let entry = |plan: &RequestPlan| Entry {
                client,
                plan: plan.clone(),
                sent: None,
                end: None,
                record: None,
                arrivals: Vec::new(),
                whole: false,
                forgotten: false,
                unproven: 0,
            };
            ledger.entries.extend(plan.requests.iter().map(entry));
        }
        ledger
    }

    /// The key of a client's `n`th request.
    pub(crate) fn key(&self, client: u32, n: usize) -> usize {
        self.first[client as usize] + n
    }

    /// All requests.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn plan(&self, key: usize) -> &RequestPlan {
        &self.entries[key].plan
    }

    /// The key in a `:path`.
    pub(crate) fn parse(path: &[u8]) -> Option<usize> {
        std::str::from_utf8(path.strip_prefix(b"/")?)
            .ok()?
            .parse()
            .ok()
    }

    // ---- the client --------------------------------------------------------

    pub(crate) fn sent(&mut self, key: usize) {
        self.entries[key].sent = Some(world::elapsed());
    }

    pub(crate) fn ended(&mut self, key: usize, end: End) {
        let entry = &mut self.entries[key];
        assert!(
            entry.end.is_none(),
            "request {key} ends twice: {:?}, then {end:?}",
            entry.end
        );
        if let End::Answered {
            status,
            local,
            bytes,
        } = end
        {
            let plan = &entry.plan;
            assert!(
                local || status == 200,
                "request {key}: status {status} is nobody's"
            );
            assert!(
                local || (plan.is_answered() && bytes == plan.answer()),
                "request {key} ends clean after {bytes} bytes of {}, asked for {:?}",
                plan.answer(),
                plan.asks
            );
        }
        entry.end = Some((end, world::elapsed()));
    }

    // ---- the backend -------------------------------------------------------

    /// A request's head came to a backend. Returns which of its arrivals it is.
    pub(crate) fn arrived(&mut self, key: usize, backend: u32) -> usize {
        let entry = &mut self.entries[key];
        assert!(
            entry.sent.is_some(),
            "request {key} comes to a backend before it was sent"
        );
        let before = entry.arrivals.iter().find(|arrival| !arrival.disowned);
        assert!(
            entry.plan.method.is_idempotent() || before.is_none(),
            "request {key}, a {}, comes to backend {backend} after {before:?}",
            entry.plan.method.as_str()
        );
        entry.arrivals.push(Arrival {
            backend,
            disowned: false,
        });
        entry.arrivals.len() - 1
    }

    /// The backend says that it does not process a request that came.
    pub(crate) fn disowned(&mut self, key: usize, arrival: usize) {
        self.entries[key].arrivals[arrival].disowned = true;
    }

    /// A backend read the end of a request's body.
    pub(crate) fn uploaded(&mut self, key: usize, bytes: u64) {
        let entry = &mut self.entries[key];
        let upload = entry.plan.upload;
        assert!(
            bytes == upload,
            "request {key}: its body ends clean at the backend after {bytes} of {upload} bytes"
        );
        entry.whole = true;
    }

    // ---- the balancer --------------------------------------------------------

    pub(crate) fn recorded(&mut self, record: &Record) {
        // A head that was too large, or cut short by a cancellation, is not kept: its
        // record tells no path.
        let Some(head) = &record.request else {
            self.unreadable += 1;
            return;
        };
        let key = Ledger::parse(head.path());
        let key = key.unwrap_or_else(|| panic!("a record of no request of ours: {record:?}"));
        let entry = &mut self.entries[key];
        let repeated = super::run::is_repeater(record.client);
        if repeated || record.reason == Some(Reason::HandshakeIncomplete) {
            // The client's own has another record, as a rule.
            entry.unproven += 1;
            return;
        }
        assert!(
            entry.record.is_none(),
            "request {key} is recorded twice: {:?}, then {record:?}",
            entry.record
        );
        entry.record = Some(Recorded {
            outcome: record.outcome,
            reason: record.reason,
            status: record.status,
            attempts: record.attempts,
            duration: record.duration,
        });
    }

    /// The balancer's process is gone, and its records with it.
    pub(crate) fn forgotten(&mut self) {
        for entry in &mut self.entries {
            entry.forgotten = entry.sent.is_some() && entry.record.is_none();
        }
    }

    // ---- when all is over ----------------------------------------------------

    /// What must hold once everything has ended.
    pub(crate) fn check_end(&self, config: &Config) {
        let mut unreadable = 0;
        for (key, entry) in self.entries.iter().enumerate() {
            if entry.sent.is_none() {
                continue;
            }
            let Some((end, _)) = entry.end else {
                panic!("request {key} never ends: {entry:?}");
            };
            let Some(record) = &entry.record else {
                if entry.forgotten || entry.unproven > 0 {
                    continue;
                }
                assert!(
                    entry.arrivals.is_empty(),
                    "request {key} came to a backend and left no record: {entry:?}"
                );
                let heard = matches!(end, End::Answered { .. } | End::Reset(_));
                unreadable += u64::from(heard);
                continue;
            };
            let agree = match end {
                // A tunnel's other way may have been cut off after this one had ended.
                End::Answered { local: false, .. } => {
                    record.outcome == Outcome::Complete || entry.plan.method == Method::Connect
                }
                End::Answered {
                    local: true,
                    status,
                    ..
                } => record.outcome == Outcome::LocalReply && record.status == Some(status),
                End::Reset(_) => record.outcome == Outcome::Reset,
                // It may have been over for the balancer before the client gave up.
                End::Gone | End::Cancelled => true,
            };
            assert!(agree, "request {key} ended {end:?}, recorded as {record:?}");
            entry.check_limits(key, record, config);
        }
        assert!(
            unreadable <= self.unreadable,
            "{unreadable} requests were heard and left no record that names them, {} records name none",
            self.unreadable
        );
    }

    /// How often each end was met.
    pub fn tally(&self) -> BTreeMap<String, u64> {
        let mut tally = BTreeMap::new();
        for entry in &self.entries {
            let name = match (entry.end, entry.sent) {
                (_, None) => "unsent".to_owned(),
                (None, Some(_)) => "open".to_owned(),
                (Some((End::Answered { local: false, .. }, _)), _) => "answered".to_owned(),
                (Some((End::Answered { status, .. }, _)), _) => format!("local {status}"),
                (Some((End::Reset(_), _)), _) => "reset".to_owned(),
                (Some((End::Gone, _)), _) => "gone".to_owned(),
                (Some((End::Cancelled, _)), _) => "cancelled".to_owned(),
            };
            *tally.entry(name).or_insert(0) += 1;
        }
        tally
    }
}
