//! What quiche writes for whoever debugs: secrets of connections, and their traces.
//!
//! Both are off unless the configuration asks for them, and then leave as events, which
//! the driver writes: the core opens no file.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rand::{Rng, RngExt};

use crate::config::{Log, Sample};
use crate::io::Event;
use crate::limits;

/// Whole lines of an NSS key log, each with its line break.
///
/// Who has them and the datagrams reads everything that was said on a connection, so
/// printing this shows none of it.
pub struct KeyLines(Vec<u8>);

impl KeyLines {
    /// The lines.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for KeyLines {
    fn from(lines: Vec<u8>) -> Self {
        KeyLines(lines)
    }
}

impl fmt::Debug for KeyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyLines({} bytes)", self.0.len())
    }
}

/// Whole records of a connection's qlog trace, as JSON text sequences (RFC 7464).
#[derive(Debug)]
pub struct QlogPiece {
    /// Which connection's.
    pub trace: Arc<Trace>,
    /// Where they begin in the trace. At 0 stands the record that describes the trace.
    pub offset: u64,
    /// The records, each with its line break.
    pub records: Vec<u8>,
}

/// A connection that is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// When the connection began, wall clock.
    pub began: SystemTime,
    /// Who is at its other end.
    pub peer: Peer,
    /// Our first id of the connection, in hexadecimal digits: it stands in its datagrams.
    pub connection: String,
}

/// Who is at the other end of a traced connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// We are the server.
    Client,
    /// We are the client.
    Backend,
}

impl Trace {
    /// Begins the name of every trace's file.
    pub const PREFIX: &str = "spooky-";
    /// Ends the name of every trace's file: JSON text sequences of qlog.
    pub const SUFFIX: &str = ".sqlog";

    /// A name for its file, which no other trace has. Names sort by age.
    pub fn file_name(&self) -> String {
        let since = self.began.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        let peer = match self.peer {
            Peer::Client => "client",
            Peer::Backend => "backend",
        };
        let (prefix, suffix, connection) = (Self::PREFIX, Self::SUFFIX, &self.connection);
        format!("{prefix}{millis:015}-{peer}-{connection}{suffix}")
    }
}

/// Where the connections of a worker leave what they write.
///
/// Nothing and no lock if both logs are off.
#[derive(Debug)]
pub(crate) struct Tap {
    queue: Option<Shared>,
    keys: bool,
    qlog: Option<Sample>,
}

/// quiche wants writers that are `Send` and `Sync`, and keeps them; hence the lock. All
/// who take it run on the worker's thread, so nobody ever waits.
type Shared = Arc<Mutex<Queue>>;

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    dropped: u64,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} events)", self.events.len())
    }
}

impl Tap {
    pub(crate) fn new(log: &Log) -> Self {
        let keys = log.tls_keys.is_some();
        let qlog = log.qlog.as_ref().map(|qlog| qlog.sample);
        let queue = (keys || qlog.is_some()).then(Shared::default);
        Tap { queue, keys, qlog }
    }

    /// Listens to a connection that was made just now, if that is asked for. True if it
    /// will be traced.
    pub(crate) fn attach(
        &self,
        quic: &mut quiche::Connection,
        peer: Peer,
        wall: SystemTime,
        rng: &mut impl Rng,
    ) -> bool {
        let Some(queue) = &self.queue else {
            return false;
        };
        if self.keys {
            quic.set_keylog(Box::new(Lines::new(queue, Kind::Keys)));
        }
        let traced = self.qlog.is_some_and(|sample| is_drawn(sample, rng));
        if traced {
            // quiche reads the clocks by itself here, and whenever it writes a record.
            let (what, level) = (describe(peer), quiche::QlogLevel::Extra);
            let trace = Arc::new(Trace {
                began: wall,
                peer,
                connection: quic.trace_id().to_owned(),
            });
            let lines = Lines::new(queue, Kind::Qlog { trace, written: 0 });
            quic.set_qlog_with_level(Box::new(lines), "spooky".to_owned(), what.to_owned(), level);
        }
        traced
    }

    /// The next of what was written.
    pub(crate) fn poll(&self) -> Option<Event> {
        let mut queue = locked(self.queue.as_ref()?);
        let event = queue.events.pop_front()?;
        queue.bytes -= size(&event);
        Some(event)
    }

    /// Lines and records that found too much waiting.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| locked(queue).dropped)
    }
}

fn is_drawn(sample: Sample, rng: &mut impl Rng) -> bool {
    rng.random_range(0..Sample::ALL) < sample.per_million()
}

fn describe(peer: Peer) -> &'static str {
    match peer {
        Peer::Client => "the connection of a client",
        Peer::Backend => "a connection to a backend",
    }
}

/// A panic elsewhere leaves the queue as good as it was.
fn locked(queue: &Shared) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(event: &Event) -> usize {
    limits::TAPPED_OVERHEAD
        + match event {
            Event::KeyLog(lines) => lines.0.len(),
            Event::Qlog(piece) => piece.records.len(),
            Event::Exchange(_) | Event::Drained => 0,
        }
}

/// What quiche writes to: collects a line and passes it on whole.
struct Lines {
    queue: Shared,
    kind: Kind,
    line: Vec<u8>,
    /// The line is too long, and its rest is not wanted.
    lost: bool,
}

enum Kind {
    Keys,
    /// `written`: how much of the trace was passed on.
    Qlog {
        trace: Arc<Trace>,
        written: u64,
    },
}

impl Lines {
    fn new(queue: &Shared, kind: Kind) -> Self {
        Lines {
            queue: Arc::clone(queue),
            kind,
            line: Vec::new(),
            lost: false,
        }
    }

    /// The line is whole.
    fn pass_on(&mut self) {
        let mut queue = locked(&self.queue);
        if std::mem::take(&mut self.lost) {
            queue.dropped += 1;
        } else {
            match &mut self.kind {
                Kind::Keys => {
                    let lines = KeyLines(std::mem::take(&mut self.line));
                    queue.push(Event::KeyLog(lines));
                }
                Kind::Qlog { trace, written } => queue.push_records(trace, written, &self.line),
            }
        }
        self.line.clear();
        self.line.shrink_to(limits::SCRATCH_BYTES);
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Kind::Qlog { written, .. } = self.kind
            && written >= limits::QLOG_TRACE_BYTES
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // A datagram of 64 KiB may hold a frame a byte, each with words of its own.
        self.lost |= self.line.len() + bytes.len() > limits::TAPPED_PIECE;
        if !self.lost {
            self.line.extend_from_slice(bytes);
        }
        // quiche ends every line, and breaks none: JSON has no line break inside.
        if bytes.ends_with(b"\n") {
            self.pass_on();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    /// Takes an event, or counts it as dropped.
    fn push(&mut self, event: Event) {
        let size = size(&event);
        if self.bytes + size > limits::TAPPED_BYTES {
            self.dropped += 1;
            return;
        }
        self.bytes += size;
        self.events.push_back(event);
    }

    /// Takes records of a trace, together with those that stand before it if they are
    /// of the same: a turn's records are then one event.
    fn push_records(&mut self, trace: &Arc<Trace>, written: &mut u64, records: &[u8]) {
        let room = limits::TAPPED_BYTES.saturating_sub(self.bytes);
        if room < records.len() + limits::TAPPED_OVERHEAD {
            self.dropped += 1;
            return;
        }
        let (offset, len) = (*written, records.len());
        *written += len as u64;
        if let Some(Event::Qlog(last)) = self.events.back_mut()
            && Arc::ptr_eq(&last.trace, trace)
            && last.records.len() + len <= limits::TAPPED_PIECE
        {
            last.records.extend_from_slice(records);
            self.bytes += len;
            return;
        }
        self.push(Event::Qlog(Box::new(QlogPiece {
            trace: Arc::clone(trace),
            offset,
            records: records.to_vec(),
        })));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn names_of_traces_sort_by_age_and_tell_whose_they_are() {
        let name = |secs, peer| trace(secs, peer, "00ff").file_name();
        let (old, new) = (name(999, Peer::Backend), name(1_000_000, Peer::Client));
        assert_eq!(old, "spooky-000000000999000-backend-00ff.sqlog");
        assert_eq!(new, "spooky-000001000000000-client-00ff.sqlog");
        assert!(old < new);
    }

    #[test]
    fn records_of_a_turn_leave_together_and_whole() {
        let tap = tap();
        let (mut one, mut two) = (writer(&tap, "01"), writer(&tap, "02"));
        for part in ["{\"a\":", "1}", "\n"] {
            one.write_all(part.as_bytes()).expect("taken");
        }
        assert!(one.write_all(b"{\"half\"").is_ok());
        two.write_all(b"{}\n").expect("taken");
        one.write_all(b":2}\n").expect("taken");
        one.write_all(b"{}\n").expect("taken");
        let said = |(trace, offset, records): (&str, u64, &str)| {
            (trace.to_owned(), offset, records.to_owned())
        };
        let wanted = [
            ("01", 0, "{\"a\":1}\n"),
            ("02", 0, "{}\n"),
            ("01", 8, "{\"half\":2}\n{}\n"),
        ];
        assert_eq!(pieces(&tap), wanted.map(said));
    }

    #[test]
    fn what_finds_too_much_waiting_is_dropped_whole_and_counted() {
        let tap = tap();
        let mut writer = writer(&tap, "01");
        let line = [&[b'x'; 1000][..], b"\n"].concat();
        let fits = limits::TAPPED_BYTES / line.len();
        for _ in 0..fits + 50 {
            writer
                .write_all(&line)
                .expect("never the connection's fault");
        }
        let dropped = tap.dropped();
        assert!((50..100).contains(&dropped), "{dropped}");
        let bytes: usize = pieces(&tap)
            .iter()
            .map(|(_, _, records)| records.len())
            .sum();
        assert_eq!(bytes % line.len(), 0);
        assert!(bytes <= limits::TAPPED_BYTES);
        writer.write_all(b"{}\n").expect("taken");
        let after = pieces(&tap);
        assert_eq!(
            after[0].1, bytes as u64,
            "the trace has no gap that it does not tell"
        );
        assert_eq!(tap.dropped(), dropped);
        assert_eq!(locked(tap.queue.as_ref().expect("it is on")).bytes, 0);
    }

    #[test]
    fn a_record_without_end_is_left_out() {
        let tap = tap();
        let mut writer = writer(&tap, "01");
        for _ in 0..100 {
            writer.write_all(&[b'x'; 10_000]).expect("taken");
            assert!(writer.line.len() <= limits::TAPPED_PIECE);
        }
        writer.write_all(b"\n{}\n").expect("taken");
        writer.write_all(b"{}\n").expect("taken");
        assert_eq!(pieces(&tap), [("01".to_owned(), 0, "{}\n".to_owned())]);
        assert_eq!(tap.dropped(), 1);
    }

    #[test]
    fn a_trace_has_an_end() {
        let tap = tap();
        let mut writer = writer(&tap, "01");
        let line = [&[b'x'; 50_000][..], b"\n"].concat();
        let mut written = 0;
        while writer.write_all(&line).is_ok() {
            written += pieces(&tap)
                .iter()
                .map(|(_, _, r)| r.len() as u64)
                .sum::<u64>();
            assert!(written < 2 * limits::QLOG_TRACE_BYTES, "it never ends");
        }
        assert!(written >= limits::QLOG_TRACE_BYTES);
    }

    #[test]
    fn a_sample_is_drawn_in_its_proportion() {
        let mut rng = StdRng::seed_from_u64(5);
        let tenth = Sample::from_per_million(100_000).expect("a share");
        let drawn = (0..10_000).filter(|_| is_drawn(tenth, &mut rng)).count();
        assert!((900..1100).contains(&drawn), "{drawn}");
        let all = Sample::from_per_million(Sample::ALL).expect("a share");
        assert!((0..10_000).all(|_| is_drawn(all, &mut rng)));
    }

    #[test]
    fn secrets_are_not_printed() {
        let lines = KeyLines(b"CLIENT_RANDOM 00 11\n".to_vec());
        assert_eq!(
            format!("{:?}", Event::KeyLog(lines)),
            "KeyLog(KeyLines(20 bytes))"
        );
    }

    #[test]
    fn nothing_is_made_for_logs_that_are_off() {
        let tap = Tap::new(&Log::default());
        assert!(tap.queue.is_none() && tap.poll().is_none());
    }

    fn tap() -> Tap {
        Tap {
            queue: Some(Shared::default()),
            keys: true,
            qlog: None,
        }
    }

    fn trace(secs: u64, peer: Peer, connection: &str) -> Trace {
        Trace {
            began: SystemTime::UNIX_EPOCH + Duration::from_secs(secs),
            peer,
            connection: connection.to_owned(),
        }
    }

    fn writer(tap: &Tap, connection: &str) -> Lines {
        let trace = Arc::new(trace(1, Peer::Client, connection));
        let queue = tap.queue.as_ref().expect("it is on");
        Lines::new(queue, Kind::Qlog { trace, written: 0 })
    }

    fn pieces(tap: &Tap) -> Vec<(String, u64, String)> {
        let events = std::iter::from_fn(|| tap.poll());
        let piece = |event| {
            let Event::Qlog(piece) = event else {
                panic!("not of a trace");
            };
            let records = String::from_utf8(piece.records).expect("text");
            (piece.trace.connection.clone(), piece.offset, records)
        };
        events.map(piece).collect()
    }
}
