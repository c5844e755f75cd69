//! How much a client wants each of its responses (RFC 9218).
//!
//! The last word counts: the request's `priority` field, a PRIORITY_UPDATE frame
//! instead of it (section 7: it "overrides"), then the parameters that the backend's
//! response names (section 8), because who makes a page knows what it is drawn from,
//! then PRIORITY_UPDATE frames that come later.

use super::Proxy;
use crate::http::{Fields, Priority};
use crate::io::Handle;

impl Proxy {
    /// A PRIORITY_UPDATE frame. What it says of a request that has not come yet is
    /// kept for it; of one that is over, nobody cares.
    pub(super) fn priority_update(&mut self, downstream: Handle, stream: u64, value: &[u8]) {
        let priority = Priority::parse([value]);
        let Some(conn) = self.downstreams.get_mut(downstream) else {
            return;
        };
        match conn.session.exchanges.get(&stream) {
            Some(&id) => self.prioritise(id, priority),
            None if stream >= conn.next_stream => conn.early.keep(stream, priority),
            // It is over, or its head was overtaken by that of a later one and is on its
            // way: then what that says counts.
            None => {}
        }
    }

    /// What the client says of a request that has just come.
    pub(super) fn first_priority(&mut self, id: Handle, fields: &Fields) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let early = self
            .downstreams
            .get_mut(exchange.downstream)
            .and_then(|c| c.early.take(exchange.stream));
        exchange.priority = early.unwrap_or_else(|| Priority::of(fields));
    }

    /// What the backend says of its response.
    pub(super) fn backend_priority(&mut self, id: Handle, fields: &Fields) {
        if let Some(exchange) = self.exchanges.get(id) {
            let priority = exchange.priority.overridden_by(Priority::of(fields));
            self.prioritise(id, priority);
        }
    }

    /// From now on `priority` counts, also for a turn that is waited for.
    fn prioritise(&mut self, id: Handle, priority: Priority) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        if std::mem::replace(&mut exchange.priority, priority) == priority {
            return;
        }
        let Some(conn) = self.downstreams.get_mut(exchange.downstream) else {
            return;
        };
        if let Some(place) = exchange.response.queued.take() {
            let ready = &mut conn.session.ready;
            ready.remove(place);
            exchange.response.queued = Some(ready.push(id, exchange.stream, priority));
        }
        if exchange.response_head.is_sent() {
            self.leave_at(id, None);
        }
    }

    /// What was and is written of the response leaves at this urgency, or its own.
    pub(super) fn leave_at(&mut self, id: Handle, urgency: Option<u8>) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        let urgency = urgency.unwrap_or(exchange.priority.urgency());
        if std::mem::replace(&mut exchange.leaves_at, urgency) == urgency {
            return;
        }
        if let Some(conn) = self.downstreams.get_mut(exchange.downstream) {
            conn.session.prioritise(exchange.stream, urgency);
        }
    }
}
