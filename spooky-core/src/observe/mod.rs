//! What an operator can see: records of exchanges, counters, snapshots.

mod record;
mod snapshot;
mod tap;

pub use record::{Early, Outcome, Reason, Record};
pub use snapshot::{BackendSnapshot, Counters, Snapshot};
pub(crate) use tap::Tap;
pub use tap::{KeyLines, Peer, QlogPiece, Trace};
