use std::io::Read;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use spooky_core::observe::{Early, Outcome, Reason};

use super::*;

const LONG: Duration = Duration::from_secs(10);

#[test]
fn every_record_becomes_one_line_of_json() {
    let sink = Shared::default();
    let log = AccessLog::to(sink.clone()).expect("a thread");
    for id in 0..1000 {
        log.record(record(id));
    }
    log.close(LONG);
    let text = sink.text();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 1000);
    assert_eq!(log.dropped(), 0);
    let line = &lines[999];
    assert_eq!(line["id"], "00000000000003e7");
    assert_eq!(line["time"], "1970-01-01T00:00:01.500Z");
    assert_eq!(line["client"], "[2001:db8::1]:4433");
    assert_eq!(line["status"], 502);
    assert_eq!(line["resumed"], true);
    assert_eq!(line["early_data"], "held");
    assert_eq!(line["duration_ms"], 12.345);
    assert_eq!(line["time_to_head_ms"], serde_json::Value::Null);
    assert_eq!(line["outcome"], "local_reply");
    assert_eq!(line["reason"], "backend_reset");
    assert_eq!(line["detail"], "one\n\"two\"\u{2028}three");
}

#[test]
fn a_sink_that_is_stuck_loses_lines_and_holds_nobody_up() {
    let (mut reader, sink) = io::pipe().expect("a pipe");
    let log = AccessLog::to(sink).expect("a thread");
    let begun = Instant::now();
    let sent = QUEUE as u64 * 3;
    for id in 0..sent {
        log.record(record(id));
    }
    assert!(begun.elapsed() < LONG, "it took {:?}", begun.elapsed());
    assert!(log.dropped() > 0);
    // Somebody reads again: what had waited comes, whole.
    let collect = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    log.close(LONG);
    let dropped = log.dropped();
    drop(log);
    let text = collect.join().expect("no panic").expect("text");
    assert!(
        text.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    assert_eq!(text.lines().count() as u64 + dropped, sent);
}

#[test]
fn closing_gives_up_on_a_sink_that_stays_stuck() {
    let (reader, sink) = io::pipe().expect("a pipe");
    let log = AccessLog::to(sink).expect("a thread");
    for id in 0..QUEUE as u64 / 2 {
        log.record(record(id));
    }
    let begun = Instant::now();
    log.close(Duration::from_millis(50));
    assert!(begun.elapsed() < LONG);
    assert!(log.dropped() > 0);
    drop(reader);
}

#[test]
fn a_disk_that_was_full_leaves_no_broken_line_but_its_own() {
    let sink = Shared::default();
    sink.fail_after(100);
    let log = AccessLog::to(sink.clone()).expect("a thread");
    log.record(record(1));
    wait_for(|| log.dropped() == 1);
    log.record(record(2));
    log.close(LONG);
    assert_eq!(log.dropped(), 1);
    let text = sink.text();
    let (half, whole) = text
        .split_once('\n')
        .expect("a line break after the half line");
    assert_eq!(half.len(), 100);
    assert!(
        serde_json::from_str::<serde_json::Value>(whole).is_ok(),
        "{whole}"
    );
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}

fn record(id: u64) -> Box<Record> {
    Box::new(Record {
        id,
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
        client: SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4433)),
        request: None,
        refused: None,
        backend: Some("web1".into()),
        attempts: 1,
        status: Some(502),
        resumed: true,
        early: Some(Early::Held),
        request_bytes: 3,
        response_bytes: 5,
        time_to_head: None,
        duration: Duration::from_micros(12_345),
        outcome: Outcome::LocalReply,
        reason: Some(Reason::BackendReset),
        detail: Some("one\n\"two\"\u{2028}three".into()),
    })
}

/// A sink in memory. It can fail once, after so many bytes.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<(Vec<u8>, Option<usize>)>>);

impl Shared {
    fn fail_after(&self, bytes: usize) {
        self.0.lock().expect("no panic").1 = Some(bytes);
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").0.clone()).expect("UTF-8")
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (taken, fail) = &mut *self.0.lock().expect("no panic");
        let count = match *fail {
            Some(0) => {
                *fail = None;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(left) => bytes.len().min(left),
            None => bytes.len(),
        };
        *fail = fail.map(|left| left - count);
        taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
