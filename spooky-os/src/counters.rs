//! What the drivers count beside the core's own counters.

/// Counts of one worker's sockets and letterbox since the start, or sums over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoCounters {
    /// Sends that the system refused, each one or more datagrams.
    pub send_errors: u64,
    /// Times a full socket buffer held a send back.
    pub sends_blocked: u64,
    /// Receives that failed for another reason than an empty socket.
    pub receive_errors: u64,
    /// Messages whose sender no answer could ever reach (source port 0).
    pub datagrams_refused: u64,
    /// Reports that a datagram of ours reached nobody (ICMP).
    pub unreachable: u64,
    /// Datagrams passed to the worker they belong to.
    pub handed_over: u64,
    /// Datagrams lost because that worker's queue was full, or forged.
    pub handed_over_dropped: u64,
}

impl IoCounters {
    /// Adds another worker's counts.
    pub fn merge(&mut self, other: &IoCounters) {
        self.send_errors += other.send_errors;
        self.sends_blocked += other.sends_blocked;
        self.receive_errors += other.receive_errors;
        self.datagrams_refused += other.datagrams_refused;
        self.unreachable += other.unreachable;
        self.handed_over += other.handed_over;
        self.handed_over_dropped += other.handed_over_dropped;
    }
}
