//! Clients that are not let in: counted, told, and written down now and then.

use std::net::SocketAddr;
use std::time::Instant;

use super::Proxy;
use crate::downstream::{Answer, Refusal};
use crate::listener::stateless::{self, Code};

impl Proxy {
    /// The connection that begins with `header` is refused. What this costs is little,
    /// and none of it is kept; most of a flood is not even answered.
    pub(super) fn refuse(
        &mut self,
        refusal: Refusal,
        header: &quiche::Header<'_>,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) {
        let counters = &mut self.counters;
        counters.connections_refused += 1;
        let counter = match refusal {
            Refusal::Connections => &mut counters.connections_refused_limit,
            Refusal::HalfOpen => &mut counters.connections_refused_half_open,
            Refusal::PerIp => &mut counters.connections_refused_per_ip,
            Refusal::Rate => &mut counters.connections_refused_rate,
            Refusal::RatePerIp => &mut counters.connections_refused_rate_per_ip,
            Refusal::Draining => &mut counters.connections_refused_draining,
            // It has no place among the reasons that an operator can do something about.
            Refusal::Broken => return,
        };
        *counter += 1;
        let admission = &self.shared.admission;
        if let Some(limit) = refusal.limit()
            && let Some(count) = admission.tell(refusal, now)
        {
            log::warn!("{limit} is reached: {count} refused, the last from {from}");
        }
        if admission.answers(Answer::Refusal, now)
            && let Some(bytes) = stateless::refusal(header, Code::ConnectionRefused)
        {
            self.reply(bytes, from, to);
        }
    }
}
