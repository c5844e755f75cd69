//! What an operator can see: records of exchanges, counters, snapshots.

mod record;
mod snapshot;

pub use record::{Early, Outcome, Reason, Record};
pub use snapshot::{BackendSnapshot, Counters, Snapshot};
