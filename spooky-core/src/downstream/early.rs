//! Priorities of requests that have not come yet.

use std::collections::VecDeque;

use crate::http::Priority;
use crate::limits;

/// What PRIORITY_UPDATE frames said of streams that were not open.
///
/// RFC 9218 section 7: a server "SHOULD buffer the most recently received
/// PRIORITY_UPDATE frame and apply it once the referenced stream is opened. Holding
/// PRIORITY_UPDATE frames for each stream requires server resources, which can be
/// bounded by local implementation policy": here by [`limits::EARLY_PRIORITIES`], the
/// oldest giving way. Hence a look through all of them takes constant time.
#[derive(Debug, Default)]
pub(crate) struct EarlyPriorities {
    streams: VecDeque<(u64, Priority)>,
}

impl EarlyPriorities {
    pub(crate) fn keep(&mut self, stream: u64, priority: Priority) {
        self.take(stream);
        if self.streams.len() == limits::EARLY_PRIORITIES {
            self.streams.pop_front();
        }
        self.streams.push_back((stream, priority));
    }

    /// What was said of `stream`, which is open now.
    pub(crate) fn take(&mut self, stream: u64) -> Option<Priority> {
        let at = self.streams.iter().position(|(s, _)| *s == stream)?;
        self.streams.remove(at).map(|(_, priority)| priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_counts_and_the_oldest_stream_gives_way() {
        let said = |text: &str| Priority::parse([text.as_bytes()]);
        let mut early = EarlyPriorities::default();
        for stream in (0..limits::EARLY_PRIORITIES as u64).map(|n| n * 4) {
            early.keep(stream, said("u=1"));
        }
        early.keep(0, said("u=6"));
        early.keep(4000, said("i"));
        assert_eq!(early.take(4), None, "the oldest, after 0 was told anew");
        assert_eq!(early.take(0), Some(said("u=6")));
        assert_eq!(early.take(0), None);
        assert_eq!(early.take(4000), Some(said("i")));
        assert!(early.streams.capacity() <= 2 * limits::EARLY_PRIORITIES);
    }
}
